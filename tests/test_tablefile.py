"""The tables of a library in one mapped file: the same is found with and without, whatever became of the file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cassette_texts import dump
from tapes import ask, recorded, request

from stubserver.canonical import Rules
from stubserver.cassettes import tablefile
from stubserver.cassettes.library import Library
from stubserver.cassettes.playlist import Played
from stubserver.cassettes.tablefile import of_index
from stubserver.recorder import Recorder

RULES = Rules()
STREAM = "data: {}\n\ndata: [DONE]\n\n"


class Stage:
    """A folder of cassettes with an index, and what is answered from it."""

    def __init__(self, folder: Path) -> None:
        self.tapes = folder / "tapes"
        self.tapes.mkdir()
        self.index = folder / "cache" / "index.sqlite"
        self.questions: dict[str, list[str]] = {}
        for name in "abc":
            self.write(name, *(f"{name}{n}" for n in range(6)), "in all of them")

    def write(self, name: str, *questions: str) -> None:
        self.questions[name] = list(questions)
        items = [recorded(ask(question), {"n": name + question}) for question in questions]
        items.append(recorded(ask(f"stream {name}", stream=True), STREAM))
        (self.tapes / f"{name}.yaml").write_text(dump({"interactions": items, "version": 1}))

    def library(self, **options: Any) -> Library:
        return Library([self.tapes], RULES, index=self.index, **options)

    @property
    def table(self) -> Path:
        (found,) = of_index(self.index)
        return found

    def check(self, library: Library | None = None, *, said: str = "") -> None:
        """Compare all that is played, twice, and what there is to be told; nothing else may have been."""
        opened = library or self.library()
        recorder, asked = Recorder(RULES, 404), [q for questions in self.questions.values() for q in questions]
        played = []
        for question in asked:
            asking = request(ask(question))
            found = opened.playlist.play(RULES.key(asking), asking)
            assert isinstance(found, Played), question
            played.append(json.loads(recorder.replayed(found, asking, "").response.body)["n"])
        assert played == [name + question for name, questions in self.questions.items() for question in questions]
        notes = opened.tend()
        assert len(notes) == bool(said), notes
        assert said in "".join(notes)
        assert (opened.report.errors, opened.report.warnings) == ([], [])
        opened.close()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(tablefile, "_FEWEST", 1)
    made = Stage(tmp_path)
    made.check()
    assert made.table.is_file()
    return made


def mapped(library: Library) -> list[bool]:
    return [isinstance(file.recordings.data, memoryview) for file in library.files]


def looks(library: Library) -> list[Any]:
    """Return what every kind of look finds."""
    playlist, found = library.playlist, []
    for question in ("a1", "in all of them", "stream b", "b2"):
        for stream in (True, False):
            asking = request(ask(question, stream=True) if stream else ask(question))
            key = RULES.key(asking)
            play = playlist.play(key, asking)
            found.append((play.recording.label, play.other_mode) if isinstance(play, Played) else None)
            found.append((playlist.repeats(key), [r.label for r in playlist.similar(key, asking, 4)]))
    unknown = request(ask("something else"))
    for _ in range(3):
        play = playlist.play(RULES.key(unknown), unknown)
        found.append(play.recording.label if isinstance(play, Played) else None)
    return [*found, [r.label for r in playlist.unplayed()], [r.label for r in playlist]]


@pytest.mark.parametrize("drift", [True, False])
def test_the_same_is_found_with_and_without(stage: Stage, *, drift: bool) -> None:
    with_it, without = stage.library(drift=drift), Library([stage.tapes], RULES, drift=drift)
    assert (mapped(with_it), mapped(without)) == ([True] * 3, [False] * 3)
    assert looks(with_it) == looks(without)
    with_it.close()


def test_files_that_come_go_and_change_are_added_to_it(stage: Stage) -> None:
    stage.write("b", "b1", "something new", "in all of them")
    stage.write("d", "d1")
    (stage.tapes / "a.yaml").unlink()
    del stage.questions["a"]
    library = stage.library(drift=True)
    assert mapped(library) == [False, True, False]
    assert looks(library) == looks(Library([stage.tapes], RULES, drift=True))
    library.close()
    stage.check()


def test_a_file_may_change_while_it_is_mapped(stage: Stage) -> None:
    library = stage.library()
    stage.write("a", "a1", "in all of them")
    library.reload()
    assert mapped(library) == [False, True, True]
    library.reset()
    stage.check(library)


def test_a_recording_is_added_to_a_mapped_file(stage: Stage) -> None:
    library = stage.library()
    reel = library.files[0].recordings
    recording = reel[0]._replace(key=b"n" * 24, loose=b"n" * 24, number=99)
    reel.append(recording)
    library.playlist.add(reel)
    assert library.playlist.repeats(b"n" * 24) == 1
    assert [r.number for r in reel] == [*range(1, 9), 99]
    stage.check(library)


def test_it_is_made_anew_when_much_of_it_is_outdated(stage: Stage) -> None:
    stage.write("b", *(f"new {n}" for n in range(30)))
    for expected in ([True, False, True], [True] * 3):
        library = stage.library()
        assert mapped(library) == expected
        library.close()
    stage.check()


def test_answers_that_were_stored_since_then_are_known(stage: Stage) -> None:
    stage.table.unlink()
    library = stage.library()  # writes it, before the first answer is stored
    assert [r.stored() is not None for r in library.playlist][:3] == [True] * 3
    library.close()
    stage.index.unlink()
    library = stage.library()
    stage.check(library)
    library = stage.library()
    assert mapped(library) == [True] * 3
    assert sum(r.stored() is not None for r in library.playlist) == 21
    stage.check(library)


def test_many_answers_that_were_stored_since_then_make_it_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tablefile, "_MOST_LATE", 20)
    for path in (stage.index, stage.table):
        path.unlink()
    stage.check()
    for expected in (False, True):
        library = stage.library()
        assert mapped(library) == [expected] * 3
        assert sum(r.stored() is not None for r in library.playlist) == 21
        library.close()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def cut_short(path: Path) -> None:
    os.truncate(path, 40)


def flip(at: int) -> Callable[[Path], None]:
    def flipped(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    return flipped


def of_another(path: Path) -> None:
    description = path.read_bytes()
    start = description.index(b'"index":"') + 9
    path.write_bytes(description[:start] + b"0" * 64 + description[start + 64 :])


def older(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"stubserver tables 2", b"stubserver tables 0"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, "they are damaged"),
    "cut short": (cut_short, "the tables are made anew"),
    "empty": (lambda path: os.truncate(path, 0), ""),
    "gone": (Path.unlink, ""),
    "a bit of the rows": (flip(-30), "they are damaged"),
    "a bit of the tables": (flip(4096), "they are damaged"),
    "a bit of the description": (flip(60), "their description is damaged"),
    "another index": (of_another, "their description is damaged"),
    "an older version": (older, ""),
    "something else": (lambda path: path.write_bytes(b"\7" * 9000), ""),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_one_makes_nothing_wrong_and_is_made_anew(stage: Stage, name: str) -> None:
    damage, said = DAMAGES[name]
    damage(stage.table)
    stage.check(said=said)
    library = stage.library()
    assert mapped(library) == [True] * 3
    stage.check(library)


def test_a_folder_in_its_place_is_told(stage: Stage) -> None:
    path = stage.table
    folder(path)
    library = stage.library()
    notes = library.tend()
    assert len(notes) == 2
    assert "made anew" in notes[0]
    assert "not written" in notes[1]
    stage.check(library)


def test_that_of_an_index_which_was_made_anew_is_not_used(stage: Stage) -> None:
    stage.index.unlink()
    library = stage.library()
    assert mapped(library) == [False] * 3
    stage.check(library)
    stage.check()


def test_it_may_be_deleted_and_replaced_while_it_is_open(stage: Stage) -> None:
    library = stage.library()
    stage.table.unlink()
    stage.library().close()
    stage.check(library)


def test_no_room_for_it_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.table.unlink()

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_room)
    stage.check(said="not written, so opening these cassettes takes longer")
    assert [file.name for file in stage.index.parent.iterdir() if ".tables" in file.name] == []


def test_a_folder_that_cannot_be_written_to_has_it_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not hold root back
    stage.write("a", "new", *(f"n{n}" for n in range(20)))
    before = stage.table.read_bytes()
    library = stage.library()
    assert mapped(library) == [False, True, True]
    stage.check(library)
    assert stage.table.read_bytes() == before


def test_one_process_writes_it(stage: Stage) -> None:
    table = stage.table
    table.unlink()
    new = table.with_name(f"{table.name}.new")
    with new.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        stage.check()
        assert not table.exists()
    stage.check()
    assert table.exists()


def test_the_newest_of_an_index_are_kept(stage: Stage, tmp_path: Path) -> None:
    for n in range(12):
        tapes = tmp_path / str(n)
        tapes.mkdir()
        (tapes / "a.yaml").write_text(dump({"interactions": [recorded(ask("a"), {})], "version": 1}))
        Library([tapes], RULES, index=stage.index).close()
    assert len(of_index(stage.index)) == 8


def test_who_records_begins_with_the_tables_of_who_served(stage: Stage, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    library = Library([new, stage.tapes], RULES, index=stage.index, to_come=True, on_exhausted="error")
    assert mapped(library) == [True] * 3
    asking = request(ask("was never recorded"))
    assert library.playlist.play(RULES.key(asking), asking) is None
    with_it = Library([new, stage.tapes], RULES, index=stage.index, to_come=True, drift=True)
    assert looks(with_it) == looks(Library([stage.tapes], RULES, drift=True))
    with_it.close()
    library.close()


def test_the_tables_of_other_rules_or_of_mostly_other_files_are_not_used(stage: Stage) -> None:
    for library in (
        Library([stage.tapes], Rules(ignore=("n",)), index=stage.index),
        Library([stage.tapes / "a.yaml"], RULES, index=stage.index),
    ):
        assert not any(mapped(library))
        library.close()


def test_damaged_ones_of_others_are_passed_over(stage: Stage) -> None:
    flip(60)(stage.table)
    library = Library([*sorted(stage.tapes.iterdir())], RULES, index=stage.index)
    assert mapped(library) == [False] * 3
    stage.check(library)
