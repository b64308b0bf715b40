"""What is read of a file that the index knows, and that what comes out is what the file holds."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassette_texts import dump, in_json
from tapes import ask, recorded

from stubserver.canonical import Rules
from stubserver.cassettes import indexing
from stubserver.cassettes.index import Index
from stubserver.cassettes.indexing import Work, do, left_to_do, load
from stubserver.cassettes.pieces import Piece
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.recordings import CassetteFile, stamp_of
from stubserver.stored import seal

RULES = Rules()
SIZE = 3000


def text(*names: str) -> bytes:
    items = [recorded(ask(name), {"n": name, "more": "y" * 500}) for name in names]
    return dump({"interactions": items, "version": 1}).encode()


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few items be a large file."""
    monkeypatch.setattr(indexing, "_STEP", SIZE)
    monkeypatch.setattr(indexing, "_SMALLEST_KEPT", SIZE // 4)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "index.sqlite", RULES, pytest.fail)
    yield made
    made.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Note what is read."""
    done: list[Work] = []

    def noting(work: Work, *others: object) -> Piece:
        done.append(work)
        return do(work, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(indexing, "do", noting)
    return done


def check(index: Index, path: Path) -> CassetteFile:
    """Load a file from the index and compare it with what the reader says."""
    found = load(index, path, "tape", "name", RULES)
    assert found is not None
    assert found.index is index
    read = read_file(path, "tape", "name", RULES)
    assert [r[1:10] for r in found.recordings] == [r[1:10] for r in read.recordings]
    assert [r.interaction() for r in found.recordings] == [r.interaction() for r in read.recordings]
    assert [str(p) for p in found.problems] == [str(p) for p in read.problems]
    assert (found.skipped, found.stamp) == (read.skipped, read.stamp)
    return found


NAMES = [str(n) for n in range(30)]
FILES = {
    "a.yaml": text(*NAMES),
    "one.yaml": text("1"),
    "none.yaml": b"interactions: []\n",
    "b.json": in_json().encode(),
    "c.yaml.gz": gzip.compress(text("1", "2")),
    "d.yaml": text(*NAMES).replace(b"method: POST", b"method: [", 2),
    "e.yaml": text("1", "2").replace(b"- request:", b"- kind: websocket\n  other:", 1),
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_what_the_reader_says(tmp_path: Path, index: Index, read: list[Work], name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    check(index, path)
    assert len(read) > (1 if name == "a.yaml" else 0)
    read.clear()
    check(index, path)
    assert read == []


def test_only_the_tail_of_a_file_that_grew_is_read(tmp_path: Path, index: Index, read: list[Work]) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text(*NAMES))
    check(index, path)
    end = path.read_bytes().index(b"version:")
    read.clear()
    path.write_bytes(text(*NAMES, "new", "newer"))
    assert len(check(index, path).recordings) == 32
    assert sum(1 for work in read) == 1
    assert end - SIZE < read[0].start <= end
    for n in range(5):
        path.write_bytes(text(*NAMES, "new", "newer", *NAMES[:n]))
        check(index, path)


def test_only_what_changed_in_place_is_read(tmp_path: Path, index: Index, read: list[Work]) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text(*NAMES))
    check(index, path)
    read.clear()
    path.write_bytes(text(*NAMES).replace(b'"n": "12"', b'"n": "xy"'))
    os.utime(path, ns=(1, 1))
    check(index, path)
    assert len(read) == 1


@pytest.mark.parametrize(
    "other",
    [
        text("other", *NAMES),
        text(*NAMES[:5]),
        in_json().encode(),
        b"interactions: []\n",
        text(*NAMES).replace(b"interactions:\n", b"# more\ninteractions:\n"),
        text(*NAMES)[:-300],
        gzip.compress(text("1")),
    ],
)
def test_any_other_content_is_read_as_it_is(tmp_path: Path, index: Index, other: bytes) -> None:
    path = tmp_path / "a.yaml"
    for content in (text(*NAMES), other, text(*NAMES)):
        path.write_bytes(content)
        check(index, path)


def test_a_file_that_was_only_touched_is_not_read(tmp_path: Path, index: Index, read: list[Work]) -> None:
    paths = [tmp_path / name for name in ("a.yaml", "b.json")]
    for path in paths:
        path.write_bytes(FILES[path.name])
        check(index, path)
    read.clear()
    for path in paths:
        os.utime(path, ns=(1, 1))
        check(index, path)
    assert read == []


def test_what_was_interrupted_goes_on(tmp_path: Path, index: Index) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text(*NAMES))
    place, stamp = str(path), stamp_of(path)
    works = left_to_do(index, path, place, stamp)
    assert len(works) > 3
    for work in works[1::2]:
        index.put(place, [do(work, RULES)])
    assert index.load(path, place, "", "", stamp) is None
    again = left_to_do(index, path, place, stamp)
    assert 0 < len(again) < len(works)
    check(index, path)


def test_rules_have_rows_of_their_own(tmp_path: Path, index: Index) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text("1", "2"))
    check(index, path)
    rules = Rules(("method", "path"))
    other = Index(tmp_path / "index.sqlite", rules, pytest.fail)
    found = load(other, path, "tape", "name", rules)
    assert found is not None
    assert len({recording.key for recording in found.recordings}) == 1
    assert load(index, path, "tape", "name", RULES) is not None
    other.close()


def test_answers_are_stored_beside(tmp_path: Path, index: Index) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text(*NAMES))
    place, stamp = str(path), stamp_of(path)
    for work in left_to_do(index, path, place, stamp):
        index.put(place, [do(work, RULES, seal)])
    index.finish(place)
    found = check(index, path)
    assert [recording.stored() for recording in found.recordings] == [seal(r.response()) for r in found.recordings]


def test_what_cannot_be_read_is_not_loaded(tmp_path: Path, index: Index) -> None:
    assert load(index, tmp_path / "gone.yaml", "", "", RULES) is None
    (tmp_path / "a.yaml").write_text("a: 1\n")
    assert load(index, tmp_path / "a.yaml", "", "", RULES) is None
