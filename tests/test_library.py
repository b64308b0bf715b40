"""Many cassettes as one: what is found, how it is named, and what happens when it changes on disk."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cassette_texts import dump
from tapes import ask, recorded, request

from stubserver.canonical import Rules
from stubserver.cassettes.items import read_item
from stubserver.cassettes.library import Library, name_of
from stubserver.cassettes.playlist import Exhausted, Played, Playlist
from stubserver.errors import CassetteError, UsageError
from stubserver.messages import Interaction


def text(*names: str) -> str:
    """Write a cassette with an item for each name: its question and its answer."""
    return dump({"interactions": [recorded(ask(name), {"n": name}) for name in names], "version": 1})


def write(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(*names), "utf-8")
    return path


def answers(library: Library) -> list[str]:
    """Return the names in all recordings, in order."""
    return names_of(library.playlist)


def names_of(playlist: Playlist) -> list[str]:
    return [json.loads(r.interaction().response.body)["n"] for r in playlist.recordings]


def played(playlist: Playlist, name: str) -> Any:
    """Play the recording of that name; None when there is none, its label when there is one."""
    asked = request(ask(name))
    found = playlist.play(Rules().key(asked), asked)
    return found.recording.label if isinstance(found, Played) else found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of cassettes of every kind, with other things between them."""
    root = tmp_path / "tapes"
    write(root / "b.yaml", "b1", "b2")
    write(root / "a.yml", "a")
    write(root / "sub" / "deep" / "c.yaml", "c")
    (root / "d.json").write_text(json.dumps({"interactions": [recorded(ask("d"), {"n": "d"})]}), "utf-8")
    (root / "e.yaml.gz").write_bytes(gzip.compress(text("e").encode()))
    for left_out in (".hidden.yaml", ".git/f.yaml", "notes.txt", "g.yaml.bak"):
        write(root / left_out, "left out")
    return root


def test_a_folder_is_searched_for_cassettes(folder: Path) -> None:
    library = Library([folder])
    assert answers(library) == ["a", "b1", "b2", "d", "e", "c"]
    assert library.names == ["a", "b", "d", "e", "sub/deep/c"]
    assert [f.label for f in library.files] == [
        "tapes/a.yml", "tapes/b.yaml", "tapes/d.json", "tapes/e.yaml.gz", "tapes/sub/deep/c.yaml",
    ]  # fmt: skip
    assert (library.report.errors, library.report.warnings) == ([], [])
    assert library.watched


def test_files_are_served_in_the_order_they_are_given(folder: Path) -> None:
    library = Library([folder / "sub", folder / "b.yaml", folder / "a.yml"])
    assert answers(library) == ["c", "b1", "b2", "a"]
    assert library.names == ["deep/c", "b", "a"]
    assert [f.label for f in library.files] == ["sub/deep/c.yaml", str(folder / "b.yaml"), str(folder / "a.yml")]


def test_a_file_that_is_named_may_have_any_ending(tmp_path: Path) -> None:
    assert answers(Library([write(tmp_path / "test_it", "a"), write(tmp_path / ".hidden", "b")])) == ["a", "b"]


def test_without_paths_there_is_nothing_to_watch() -> None:
    library = Library([])
    assert (library.files, library.watched, library.changed()) == ([], False, False)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        Library([tmp_path / "none"])


@pytest.mark.parametrize(
    ("relative", "name"),
    [
        ("a.yaml", "a"),
        ("sub/a.b.yml.gz", "sub/a.b"),
        ("test_x[gpt-4.1].json", "test_x[gpt-4.1]"),
        ("plain", "plain"),
        ("plain.gz", "plain"),
    ],
)
def test_the_name_of_a_cassette_is_its_path_without_the_ending(relative: str, name: str) -> None:
    assert name_of(relative) == name


@pytest.mark.parametrize(
    ("target", "name", "rest"),
    [
        ("a/v1/models", "a", "/v1/models"),
        ("sub/deep/c/v1/chat/completions", "sub/deep/c", "/v1/chat/completions"),
        ("a", "a", "/"),
        ("a//x", "a", "//x"),
        ("none/v1", None, None),
        ("sub/deep/v1", None, None),
        ("../tapes/a/v1", None, None),
        ("", None, None),
    ],
)
def test_a_cassette_is_found_by_its_name(folder: Path, target: str, name: str | None, rest: str | None) -> None:
    found = Library([folder]).named(target)
    assert (found and found[1]) == rest
    assert (found and found[0].recordings[0].file.name) == name


@pytest.mark.parametrize("target", ["test_x[gpt 4]/é/v1", "test_x%5Bgpt%204%5D/%C3%A9/v1", "a%2520b/v1", "a%20b/v1"])
def test_a_name_may_come_percent_encoded(tmp_path: Path, target: str) -> None:
    write(tmp_path / "test_x[gpt 4]" / "é.yaml", "x")
    write(tmp_path / "a%20b.yaml", "x")
    found = Library([tmp_path]).named(target)
    assert found is not None
    assert found[1] == "/v1"


def test_a_named_cassette_has_its_own_positions(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "x", "x")
    write(tmp_path / "b.yaml", "x")
    library = Library([tmp_path], on_exhausted="error")
    for name, labels in (("a", ["a.yaml#1", "a.yaml#2"]), ("b", ["b.yaml#1"])):
        found = library.named(f"{name}/v1")
        assert found is not None
        assert [played(found[0], "x") for _ in labels] == [f"{tmp_path.name}/{label}" for label in labels]
        assert isinstance(played(found[0], "x"), Exhausted)
    assert played(library.playlist, "x") == f"{tmp_path.name}/a.yaml#1"
    library.reset()
    assert played(library.named("b")[0], "x") == f"{tmp_path.name}/b.yaml#1"  # type: ignore[index]
    assert played(library.playlist, "x") == f"{tmp_path.name}/a.yaml#1"


def test_of_two_cassettes_with_one_name_it_is_the_first(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one" / "chat.yaml", "1"), write(tmp_path / "two" / "chat.yaml", "2")
    (tmp_path / "two" / "chat.json").write_text(json.dumps({"interactions": []}), "utf-8")
    for paths, names in (((one.parent, two.parent), ["1"]), ((two, one), ["2"])):
        library = Library(paths)
        found = library.named("chat/v1")
        assert found is not None
        assert names_of(found[0]) == names
        assert sorted(answers(library)) == ["1", "2"]


def test_a_file_is_served_once_however_often_it_is_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [folder / "b.yaml", folder, "tapes/b.yaml", tmp_path / "tapes" / "sub" / ".." / "b.yaml"]
    assert answers(Library(paths)) == ["b1", "b2", "a", "d", "e", "c"]


def test_links_have_their_own_names_but_no_recordings_of_their_own(folder: Path) -> None:
    (folder / "latest.yaml").symlink_to("b.yaml")
    os.link(folder / "b.yaml", folder / "hard.yaml")
    (folder / "linked").symlink_to("sub")
    (folder / "gone.yaml").symlink_to("nothing.yaml")
    library = Library([folder])
    assert answers(library) == ["a", "b1", "b2", "d", "e", "c"]
    for name in ("b", "latest", "hard"):
        found = library.named(name)
        assert found is not None
        assert names_of(found[0]) == ["b1", "b2"]
    assert [str(error) for error in library.report.errors] == ["tapes/gone.yaml: No such file or directory"]
    assert not library.changed()


@pytest.mark.usefixtures("folder")
def test_a_linked_folder_can_be_served(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("tapes")
    library = Library([tmp_path / "link"])
    assert answers(library) == ["a", "b1", "b2", "d", "e", "c"]
    assert library.files[0].label == "link/a.yml"


def test_a_folder_of_mixed_content_is_served_as_far_as_it_goes(folder: Path) -> None:
    (folder / "package.json").write_text('{"name": "x"}', "utf-8")
    (folder / "empty.yaml").write_text("", "utf-8")
    (folder / "torn.json").write_text('{"interactions": [', "utf-8")
    (folder / "evil.yaml").write_text(text("1", "2").replace("body: '", "body: !!python/name:os.system '", 1), "utf-8")
    (folder / "sockets.yaml").write_text("interactions:\n- kind: websocket\n", "utf-8")
    (folder / "noise.yml").write_bytes(bytes(range(256)))
    os.mkfifo(folder / "pipe.yaml")
    library = Library([folder])
    assert answers(library) == ["a", "b1", "b2", "d", "e", "2", "c"]
    assert [(error.path, error.item) for error in library.report.errors] == [
        ("tapes/evil.yaml", 1), ("tapes/pipe.yaml", 0), ("tapes/torn.json", 0),
    ]  # fmt: skip
    assert library.report.warnings == [
        "tapes/empty.yaml: not a cassette, skipped: the file is empty",
        "tapes/noise.yml: not a cassette, skipped: no recorded interactions in it",
        "tapes/package.json: not a cassette, skipped: no recorded interactions in it",
        "tapes/sockets.yaml: 1 items are no HTTP interactions, skipped",
    ]
    assert not library.changed()
    again = library.reload()
    assert (again.errors, again.warnings) == ([], [])


def add(folder: Path) -> None:
    write(folder / "new.yaml", "new")


def append(folder: Path) -> None:
    with (folder / "b.yaml").open("r+") as file:
        content = file.read().replace("version: 1\n", text("b3").removeprefix("interactions:\n"))
        file.seek(0)
        file.write(content)


def rewrite(folder: Path) -> None:
    write(folder / "b.yaml", "B1", "B2")
    os.utime(folder / "b.yaml", ns=(0, 1))


def edit(folder: Path) -> None:
    write(folder / "b.yaml~", "renamed")
    (folder / "b.yaml~").replace(folder / "b.yaml")


CHANGES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "a new file": (add, ["a", "b1", "b2", "d", "e", "new", "c"]),
    "a new folder": (lambda folder: write(folder / "x" / "y.yml", "y"), ["a", "b1", "b2", "d", "e", "c", "y"]),
    "an item more": (append, ["a", "b1", "b2", "b3", "d", "e", "c"]),
    "other content of the same size": (rewrite, ["a", "B1", "B2", "d", "e", "c"]),
    "an editor's rename": (edit, ["a", "renamed", "d", "e", "c"]),
    "a file less": (lambda folder: (folder / "b.yaml").unlink(), ["a", "d", "e", "c"]),
    "a folder less": (lambda folder: shutil.rmtree(folder / "sub"), ["a", "b1", "b2", "d", "e"]),
    "everything gone": (shutil.rmtree, []),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_on_disk_is_noticed_and_read(folder: Path, name: str) -> None:
    change, expected = CHANGES[name]
    library = Library([folder])
    assert not library.changed()
    change(folder)
    assert library.changed()
    report = library.reload()
    assert (report.errors, report.warnings) == ([], [])
    assert answers(library) == expected
    assert not library.changed()


def test_what_did_not_change_is_not_read_again(folder: Path) -> None:
    library = Library([folder])
    before = {file.name: file for file in library.files}
    playlist = library.playlist
    library.reload()
    assert library.playlist is playlist
    append(folder)
    library.reload()
    assert [file.name for file in library.files if before[file.name] is not file] == ["b"]


def test_a_named_file_that_is_deleted_is_served_no_more_and_may_come_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "a")
    library = Library([path])
    path.unlink()
    assert library.changed()
    library.reload()
    assert answers(library) == []
    assert not library.changed()
    write(path, "back")
    assert library.changed()
    library.reload()
    assert answers(library) == ["back"]


HALF = text("b1", "b2", "b3")
WORSE = {
    "half written": HALF[: HALF.index("b2") + 40],
    "empty": "",
    "no cassette": "a: 1\n",
    "with a tag": HALF.replace("uri: ", "uri: !!python/name:os.system "),
    "with a damaged item": HALF.replace("code: 200", "code: x", 1),
}


@pytest.mark.parametrize("name", WORSE)
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_file_that_is_damaged_now_is_served_as_it_was_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, in_memory: bool  # noqa: FBT001
) -> None:  # fmt: skip
    monkeypatch.setattr("stubserver.cassettes.library._KEPT_BYTES", 10**6 * in_memory)
    library = Library([folder])
    label = played(library.playlist, "b1")
    (folder / "b.yaml").write_text(WORSE[name], "utf-8")
    assert library.changed()
    report = library.reload()
    assert [*(e.path for e in report.errors), *(w.partition(":")[0] for w in report.warnings)][0] == "tapes/b.yaml"
    assert not library.changed()
    recordings = [r for r in library.playlist.recordings if r.file.name == "b"]
    assert [r.label for r in recordings] == [label, "tapes/b.yaml#2"]
    assert [r.label for r in library.playlist.unplayed() if r.file.name == "b"] == ["tapes/b.yaml#2"]
    if in_memory:
        assert names_of(library.playlist)[1:3] == ["b1", "b2"]
    else:
        with pytest.raises(CassetteError, match="changed while it was served"):
            recordings[1].interaction()
    again = library.reload()
    assert (again.errors, again.warnings) == ([], [])
    (folder / "b.yaml").write_text(HALF, "utf-8")
    report = library.reload()
    assert (report.errors, report.warnings) == ([], [])
    assert answers(library) == ["a", "b1", "b2", "b3", "d", "e", "c"]


def test_a_file_that_always_was_damaged_is_taken_as_it_gets_better(folder: Path) -> None:
    (folder / "b.yaml").write_text(HALF.replace("code: 200", "code: x", 2), "utf-8")
    library = Library([folder])
    assert answers(library) == ["a", "b3", "d", "e", "c"]
    (folder / "b.yaml").write_text(HALF.replace("code: 200", "code: x", 1), "utf-8")
    assert [e.item for e in library.reload().errors] == [1]
    assert answers(library) == ["a", "b2", "b3", "d", "e", "c"]
    (folder / "b.yaml").write_text(HALF.replace("code: 200", "code: 2", 1), "utf-8")
    library.reload()
    assert answers(library) == ["a", "b2", "b3", "d", "e", "c"]


def test_positions_outlive_a_reload(folder: Path) -> None:
    write(folder / "b.yaml", "b1", "b1", "b1")
    library = Library([folder], on_exhausted="error")
    named = library.named("b")
    assert named is not None
    for playlist in (library.playlist, named[0], named[0]):
        played(playlist, "b1")
    add(folder)
    append(folder)
    library.reload()
    assert played(library.playlist, "b1") == "tapes/b.yaml#2"
    assert played(library.named("b")[0], "b1") == "tapes/b.yaml#3"  # type: ignore[index]
    (folder / "b.yaml").unlink()
    library.reload()
    assert library.named("b") is None


TAIL = "version: 1\n"


def record(path: Path, *names: str) -> list[tuple[int, bytes, Interaction]]:
    """Append to a cassette, as the recorder does; return where the items are, what they are, and what is in them."""
    written = []
    for name in names:
        item = text(name).removeprefix("interactions:\n").removesuffix(TAIL).encode()
        content = path.read_bytes().removesuffix(TAIL.encode()) if path.exists() else b"interactions:\n"
        path.write_bytes(content + item + TAIL.encode())
        written.append((len(content), item, read_item(item)))
    return written


@pytest.mark.parametrize("name", ["b.yaml", "new.yaml"])
def test_what_was_just_recorded_counts_as_played_and_is_not_read_again(folder: Path, name: str) -> None:
    library = Library([folder], on_exhausted="error")
    path = folder / name
    before = library.named("b")
    assert before is not None
    for made, number in zip(record(path, "x", "x"), (3, 4) if name == "b.yaml" else (1, 2), strict=True):
        assert library.add(path, *made) == f"tapes/{name}#{number}"
    assert not library.changed()
    assert isinstance(played(library.playlist, "x"), Exhausted)
    expected = (
        ["a", "b1", "b2", "x", "x", "d", "e", "c"] if name == "b.yaml" else ["a", "b1", "b2", "d", "e", "c", "x", "x"]
    )
    assert answers(library) == expected
    found = library.named(path.stem)
    assert found is not None
    assert names_of(found[0])[-2:] == ["x", "x"]
    assert names_of(before[0]) == (["b1", "b2", "x", "x"] if name == "b.yaml" else ["b1", "b2"])


def test_what_others_recorded_at_the_same_time_is_found_by_the_next_look(folder: Path) -> None:
    library = Library([folder])
    path = folder / "b.yaml"
    first, second = record(path, "x", "y")
    library.add(path, *second)
    library.add(path, *first)
    assert library.changed()
    library.reload()
    assert answers(library) == ["a", "b1", "b2", "x", "y", "d", "e", "c"]
    assert "tapes/b.yaml#3" not in [r.label for r in library.playlist.unplayed()]
    assert not library.changed()


def test_a_file_that_is_still_to_come_is_served_when_it_is_there(tmp_path: Path) -> None:
    library = Library([tmp_path / "later.yaml"], to_come=True)
    assert (library.files, library.changed()) == ([], False)
    write(tmp_path / "later.yaml", "a")
    assert library.changed()
    library.reload()
    assert answers(library) == ["a"]


def test_a_few_bytes_of_text_are_kept_and_the_rest_is_read_from_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (folder / "a.yml").stat().st_size
    monkeypatch.setattr("stubserver.cassettes.library._KEPT_BYTES", size + 10)
    library = Library([folder])
    kept = {file.name: file.text is not None for file in library.files}
    assert kept == {"a": True, "b": False, "d": False, "e": True, "sub/deep/c": False}
    assert answers(library) == ["a", "b1", "b2", "d", "e", "c"]
    add(folder)
    library.reload()
    assert {file.name: file.text is not None for file in library.files} == {**kept, "new": False}


def test_options_reach_every_playlist(folder: Path) -> None:
    library = Library([folder], Rules(("method", "path")), on_exhausted="error", drift=True)
    asked = request(ask("anything"))
    found = library.named("a")
    assert found is not None
    for playlist in (library.playlist, found[0]):
        key = library.rules.key(asked)
        outcomes = [playlist.play(key, asked) for _ in range(len(playlist.recordings) + 1)]
        assert [type(outcome) for outcome in outcomes] == [Played] * len(playlist.recordings) + [Exhausted]


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        Library([], on_exhausted="sometimes")


def test_only_files_whose_names_begin_so(folder: Path) -> None:
    write(folder / "rank-00001-2.yaml", "x")

    assert [file.path.name for file in Library([folder], only="rank-00001").files] == ["rank-00001-2.yaml"]
