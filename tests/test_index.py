"""An index that is damaged, outdated, in use, without room or without permission: answers stay right."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cassette_texts import dump
from tapes import ask, recorded, request

from stubserver.canonical import Rules
from stubserver.cassettes.database import Database
from stubserver.cassettes.index import Index
from stubserver.cassettes.library import Library
from stubserver.cassettes.playlist import Played
from stubserver.recorder import Recorder

RULES = Rules()
NAMES = [str(n) for n in range(12)]


class Stage:
    """A folder of cassettes and the path of its index."""

    def __init__(self, folder: Path) -> None:
        self.tapes = folder / "tapes"
        self.tapes.mkdir()
        self.path = folder / "cache" / "index.sqlite"
        for name in "ab":
            self.write(name, *(name + n for n in NAMES))

    def write(self, name: str, *questions: str) -> None:
        items = [recorded(ask(question), {"n": question}) for question in questions]
        (self.tapes / f"{name}.yaml").write_text(dump({"interactions": items, "version": 1}))

    def library(self) -> Library:
        return Library([self.tapes], RULES, index=self.path)

    @property
    def answers(self) -> Path:
        """The file of the answers."""
        (found,) = self.path.parent.glob("*.answers")
        return found

    def check(self, library: Library | None = None, *, said: str = "") -> None:
        """Play everything, twice, and see what there was to be told."""
        opened = library or self.library()
        recorder = Recorder(RULES, 404)
        for _ in range(2):
            for question in [a + n for a in "ab" for n in NAMES]:
                asked = request(ask(question))
                played = opened.playlist.play(RULES.key(asked), asked)
                assert isinstance(played, Played)
                assert json.loads(recorder.replayed(played, asked, "").response.body) == {"n": question}
        notes = opened.tend()
        assert len(notes) == bool(said)
        assert said in "".join(notes)
        assert (opened.report.errors, opened.report.warnings) == ([], [])
        opened.close()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_was_played_is_stored_and_read_the_next_time(stage: Stage) -> None:
    stage.check()
    library = stage.library()
    assert [r.stored() is not None for r in library.playlist] == [True] * 24
    assert all(file.text is None for file in library.files)
    stage.check(library)


def test_who_has_had_a_recording_since_before_its_answer_was_stored_finds_that(stage: Stage) -> None:
    """As a playlist does: without it each play made the answer anew, and stored it once more."""
    library, recorder = stage.library(), Recorder(RULES, 404)
    asked = request(ask("a" + NAMES[0]))
    played = library.playlist.play(RULES.key(asked), asked)
    assert isinstance(played, Played)
    assert played.recording.stored() is None
    for _ in range(3):
        recorder._made.clear()
        recorder.replayed(played, asked, "")
    library.tend()
    assert played.recording.stored() is not None
    size = stage.answers.stat().st_size
    recorder._made.clear()
    recorder.replayed(played, asked, "")
    library.tend()
    assert stage.answers.stat().st_size == size
    again = Stage.library(stage).playlist.play(RULES.key(asked), asked)
    assert isinstance(again, Played)
    assert size < 2 * len(again.recording.stored() or b"") + 100
    library.close()


def test_a_changed_cassette_is_played_as_it_is_now(stage: Stage) -> None:
    stage.check()
    items = [recorded(ask(f"a{n}"), {"n": f"a{n}"}, headers={"x-new": ["yes"]}) for n in NAMES]
    (stage.tapes / "a.yaml").write_text(dump({"interactions": items, "version": 1}))
    library = stage.library()
    assert ("x-new", "yes") in library.playlist.recordings[0].response().headers
    stage.check(library)


def test_a_cassette_that_changes_while_it_is_served_is_read_again(stage: Stage) -> None:
    library = stage.library()
    stage.write("a", *(f"a{n}" for n in [*NAMES, "more"]))
    assert library.changed()
    library.reload()
    assert len(library.playlist) == 25
    stage.check(library)


def garbage(path: Path) -> None:
    path.write_bytes(b"\x07" * 5000)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)


def flipped(path: Path) -> None:
    content = path.read_bytes()
    key = RULES.key(request(ask("a3")))
    assert key in content
    path.write_bytes(content.replace(key, key[:-1] + bytes([key[-1] ^ 1])))


def outdated(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=77")
    connection.close()


def without_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE pieces")
    connection.commit()
    connection.close()


def nonsense(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE pieces SET problems='{', items='x'")
    connection.commit()
    connection.close()


def no_answers(path: Path) -> None:
    Path(f"{path}.answers").unlink()


def cut_answers(path: Path) -> None:
    half(Path(f"{path}.answers"))


def other_answers(path: Path) -> None:
    garbage(Path(f"{path}.answers"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (garbage, "it is no index of stubserver's"),
    "empty": (lambda path: os.truncate(path, 0), ""),
    "half": (half, "the index is made anew"),
    "scribbled over": (scribbled, "the index is made anew"),
    "a bit of a key": (flipped, ""),
    "another version": (outdated, "the index is made anew: it is of another version"),
    "without tables": (without_tables, "the index is not used"),
    "nonsense in it": (nonsense, "the index is not used"),
    "answers gone": (no_answers, ""),
    "answers cut": (cut_answers, ""),
    "answers of others": (other_answers, "not the answers of this index"),
    "a folder": (folder, "unable to open"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_index_makes_nothing_wrong(stage: Stage, name: str) -> None:
    stage.check()
    damage, said = DAMAGES[name]
    damage(stage.path)
    stage.check(said=said)


def test_a_cassette_given_for_an_index_is_left_alone(stage: Stage) -> None:
    stage.path = stage.tapes / "b.yaml"
    content = stage.path.read_bytes()
    stage.check(said="it is no index of stubserver's")
    assert stage.path.read_bytes() == content


@pytest.mark.parametrize("target", [".sqlite", ".sqlite.answers"])
def test_an_index_may_be_deleted_while_it_is_open(stage: Stage, target: str) -> None:
    stage.check()
    library = stage.library()
    stage.path.with_suffix(target).unlink()
    stage.write("a", *(f"a{n}" for n in NAMES), "new")
    library.reload()
    stage.check(library)
    stage.check()


def test_a_folder_that_cannot_be_written_to_is_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.check()
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not hold root back
    library = stage.library()
    assert all(file.index is not None for file in library.files)
    stage.write("a", *(f"a{n}" for n in NAMES), "new")
    library.reload()
    assert [file.index is not None for file in library.files] == [False, True]
    stage.check(library)


def test_a_folder_that_is_not_there_and_cannot_be(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.path = Path("/proc/none/index.sqlite")
    stage.check(said="the index is not used")
    stage.path = stage.tapes.parent / "index.sqlite"
    monkeypatch.setattr(os, "access", lambda *_: False)
    stage.check(said="unable to open")


def full(database: Database) -> None:
    writer = database._writer
    assert writer is not None
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_stops_the_writing_alone(stage: Stage) -> None:
    stage.check()
    library = stage.library()
    index = library.files[0].index
    assert index is not None
    full(index._database)
    for n in range(40):
        stage.write(f"new{n}", *("z" * 3000 + str(k) for k in range(5)))
    library.reload()
    assert len(library.playlist) == 24 + 200
    stage.check(library, said="nothing is added to the index any more")


def test_answers_that_do_not_fit_are_made_each_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    library = stage.library()

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stubserver.cassettes.answerfile.AnswerFile.append", no_room)
    stage.check(library, said="No space left on device")
    monkeypatch.undo()
    stage.check()


def test_several_read_while_one_writes(stage: Stage) -> None:
    ended, failed = threading.Event(), list[BaseException]()

    def read() -> None:
        try:
            while not ended.is_set():
                stage.check()
        except BaseException as error:  # noqa: BLE001  # told below
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    writer = Index(stage.path, RULES, pytest.fail)
    for n in range(100):
        writer.keep_only(f"/none/{n}.yaml", (1, 2, 3), ())
    ended.set()
    for reader in readers:
        reader.join()
    writer.close()
    assert failed == []


def test_an_index_is_begun_by_two_at_once(stage: Stage) -> None:
    made: list[Index] = []
    threads = [threading.Thread(target=lambda: made.append(Index(stage.path, RULES, pytest.fail))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [index.usable for index in made] == [True] * 6
    for index in made:
        index.close()
    stage.check()


def test_a_forked_child_has_connections_of_its_own(stage: Stage) -> None:
    stage.check()
    library = stage.library()
    index = library.files[0].index
    assert index is not None
    index.forked()
    assert not index.writable
    stage.check(library)
    for each in index._database._lost:  # there is no parent here that would
        each.close()
