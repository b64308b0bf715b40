"""Packed cassettes that are too large for memory: unpacked once, beside the index, and read in pieces from there."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassette_texts import dump, in_json
from tapes import ask, recorded

from stubserver.building import build
from stubserver.canonical import Rules
from stubserver.cassettes import again, indexing, packed
from stubserver.cassettes.index import Index
from stubserver.cassettes.library import Library, found
from stubserver.errors import CassetteError, PackedError
from stubserver.messages import Interaction

RULES = Rules()
NAMES = [str(n) for n in range(30)]


def text(*names: str) -> bytes:
    items = [recorded(ask(name), {"n": name, "more": os.urandom(200).hex()}) for name in names]
    return dump({"interactions": items, "version": 1}).encode()


WHOLE = text(*NAMES)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a few items be a large file."""
    monkeypatch.setattr(packed, "_IN_MEMORY", 10_000)
    monkeypatch.setattr(indexing, "_STEP", 3_000)
    monkeypatch.setattr(indexing, "_SMALLEST_KEPT", 750)
    again._last.clear()
    yield
    again._last.clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tape.yaml.gz"
    made.write_bytes(gzip.compress(WHOLE))
    return made


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def copies(index: Path) -> list[Path]:
    return sorted(Path(f"{index}.unpacked").iterdir())


def plain(folder: Path, text: bytes) -> list[Interaction]:
    """Return what is in the same cassette when it is not packed."""
    path = folder / "plain.yaml"
    path.write_bytes(text)
    return [recording.interaction() for recording in Library([path]).playlist]


def played(library: Library) -> list[Interaction]:
    assert library.report.errors == []
    return [recording.interaction() for recording in library.playlist]


def test_a_large_one_is_what_it_is_unpacked(tmp_path: Path, path: Path, index: Path) -> None:
    for _ in range(2):
        library = Library([path], index=index)
        (file,) = library.files
        assert (file.kind, file.text, file.stamp[0]) == ("packed", None, path.stat().st_size)
        assert played(library) == plain(tmp_path, WHOLE)
        library.close()
    (copy,) = copies(index)
    assert copy.read_bytes() == WHOLE
    assert copy.stat().st_mode == path.stat().st_mode
    assert not again._last  # none of it is in memory


def test_it_is_built_in_several_processes(path: Path, index: Path) -> None:
    made = Index(index, RULES, pytest.fail)
    built = build(made, [Path(place) for place, _ in found([path])], RULES, 2)
    assert (built.files, built.items, built.problems) == (1, len(NAMES), [])
    assert len(made.known(str(path))[1]) > 3
    assert build(made, [path], RULES, 2).files == 0
    made.close()
    copies(index)[0].unlink()
    library = Library([path], index=index)
    assert all(recording.stored() for recording in library.playlist)
    assert copies(index) == []
    library.close()


def test_without_an_index_it_is_refused(path: Path) -> None:
    (error,) = Library([path]).report.errors
    assert error.cause.startswith("unpacks to more than 0 MB: unpack it, or serve it with an index (--index PATH)")


def test_of_one_that_grew_the_tail_alone_is_read(
    tmp_path: Path, path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library([path], index=index)
    before, read = copies(index), list[indexing.Work]()
    do = indexing.do
    monkeypatch.setattr(indexing, "do", lambda work, *others: read.append(work) or do(work, *others))
    longer = WHOLE.removesuffix(b"version: 1\n") + text("new").removeprefix(b"interactions:\n")
    path.write_bytes(gzip.compress(longer))
    assert library.changed()
    assert library.reload().errors == []
    assert played(library) == plain(tmp_path, longer)
    assert len(read) == 1
    assert len(copies(index)) == 1
    assert copies(index) != before
    library.close()


def test_a_copy_that_was_deleted_is_made_again(tmp_path: Path, path: Path, index: Path) -> None:
    library = Library([path], index=index)
    copies(index)[0].unlink()
    assert played(library) == plain(tmp_path, WHOLE)
    (copy,) = copies(index)
    copy.unlink()
    path.write_bytes(gzip.compress(text("other", *NAMES)))
    with pytest.raises(CassetteError, match="the file was changed while it was served"):
        library.playlist.recordings[3].interaction()
    assert copies(index) == []
    library.close()


def test_where_there_is_no_room_that_is_told(path: Path, index: Path) -> None:
    Path(f"{index}.unpacked").write_text("in the way")
    library = Library([path], index=index)
    (error,) = library.report.errors
    assert error.path.endswith("tape.yaml.gz")
    assert "it cannot be unpacked to " in error.cause
    library.close()
    made = Index(index, RULES, pytest.fail)
    (problem,) = build(made, [path], RULES, 1).problems
    assert problem.startswith(f"{path}: it cannot be unpacked to ")
    made.close()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (gzip.compress(in_json().encode() * 20), "and is not in the layout vcrpy writes"),
        (gzip.compress(bytes(50_000)), "and is not in the layout vcrpy writes"),
        (gzip.compress(WHOLE + bytes(9)), "there are NUL bytes in it"),
        (gzip.compress(WHOLE)[:-9], "not a whole gzip file"),
        (gzip.compress(WHOLE) + b"more", "not a whole gzip file"),
    ],
    ids=["JSON", "zeros", "zeros behind it", "cut", "more behind it"],
)
def test_what_is_no_sound_cassette_is_refused_and_leaves_nothing(
    path: Path, index: Path, content: bytes, cause: str
) -> None:
    path.write_bytes(content)
    library = Library([path], index=index)
    (error,) = library.report.errors
    assert cause in error.cause
    assert not Path(f"{index}.unpacked").exists() or copies(index) == []
    library.close()


def test_there_is_an_end_to_it(path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_LARGEST", len(WHOLE) - 1)
    with pytest.raises(PackedError, match="unpacks to more than 0 GB"):
        packed.large_copy(index, path, (path.stat().st_size, 0, 0))


def test_copies_that_nobody_asks_for_go_with_the_next_build(tmp_path: Path, path: Path, index: Path) -> None:
    other = tmp_path / "other.yaml.gz"
    other.write_bytes(gzip.compress(text(*NAMES)))
    made = Index(index, RULES, pytest.fail)
    build(made, [path, other], RULES, 1)
    assert len(copies(index)) == 2
    other.unlink()
    now, killed = (Path(f"{index}.unpacked", name) for name in (".now", ".killed"))
    now.touch()
    killed.touch()
    os.utime(killed, (1, 1))
    made.compact()
    left, copy = copies(index)
    assert left == now
    assert copy.read_bytes() == WHOLE
    made.close()


def test_damaged_items_are_told_by_number(path: Path, index: Path) -> None:
    path.write_bytes(gzip.compress(WHOLE.replace(b"code: 200", b"code: x", 1)))
    library = Library([path], index=index)
    (error,) = library.report.errors
    assert (error.item, len(library.playlist)) == (1, len(NAMES) - 1)
    library.close()
