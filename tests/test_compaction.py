"""What is taken out of an index, and what stays right meanwhile and afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cassette_texts import dump
from tapes import ask, recorded

from stubserver.building import build
from stubserver.canonical import Rules
from stubserver.cassettes.answerfile import AnswerFile
from stubserver.cassettes.index import Index
from stubserver.cassettes.library import Library
from stubserver.replay import replayed
from stubserver.stored import StoredAnswer

RULES = Rules()


class Stage:
    """Three cassettes, of which two were written anew after their answers were stored."""

    def __init__(self, folder: Path) -> None:
        self.tapes = folder / "tapes"
        self.tapes.mkdir()
        self.path = folder / "index.sqlite"
        self.notes: list[str] = []
        self.write(*"abc", text="old")
        self.build()

    @property
    def answers(self) -> Path:
        return Path(f"{self.path}.answers")

    def write(self, *names: str, text: str) -> None:
        for name in names:
            items = [recorded(ask(f"{name}{n}"), {"text": f"{text} {name}{n} " * 50}) for n in range(20)]
            (self.tapes / f"{name}.yaml").write_text(dump({"interactions": items, "version": 1}))

    def build(self) -> None:
        index = self.index()
        build(index, sorted(self.tapes.iterdir()), RULES, 1)
        index.close()

    def index(self) -> Index:
        return Index(self.path, RULES, self.notes.append)

    def compact(self) -> int:
        index = self.index()
        saved = index.compact()
        index.close()
        return saved

    def library(self) -> Library:
        return Library([self.tapes], RULES, index=self.path)

    def check(self, library: Library | None = None) -> None:
        """All answers are stored, and are those of the cassettes as they are now."""
        opened = library or self.library()
        for recording in opened.playlist:
            stored = recording.stored()
            assert stored is not None, recording.label
            assert StoredAnswer(stored, "", 1).response.body == replayed(recording.response(), "").body
        assert opened.tend() == []
        opened.close()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.write("a", "b", text="new")
    made.build()
    return made


def test_answers_that_nothing_leads_to_are_taken_out(stage: Stage) -> None:
    stage.write("a", "b", text="newer")
    stage.build()
    before = stage.answers.stat().st_size
    saved = stage.compact()
    assert saved > before // 2
    assert stage.answers.stat().st_size == before - saved
    stage.check()
    assert stage.compact() == 0
    assert stage.notes == []
    assert [path.name for path in stage.path.parent.glob("*.new")] == []


def test_less_than_half_is_left_alone(stage: Stage) -> None:
    before = stage.answers.stat().st_size
    assert stage.compact() == 0
    assert stage.answers.stat().st_size == before
    stage.check()


def test_files_that_are_gone_are_forgotten(stage: Stage) -> None:
    (stage.tapes / "a.yaml").unlink()
    (stage.tapes / "b.yaml").unlink()
    before = stage.answers.stat().st_size
    assert stage.compact() > before // 2
    assert [file.name for file in stage.library().files] == ["c"]
    stage.check()


def test_who_reads_goes_on_reading_and_writes_to_the_new_file(stage: Stage) -> None:
    stage.write("a", "b", text="newer")
    stage.build()
    reader = stage.library()
    recording = reader.playlist.recordings[0]
    before = recording.stored()
    assert stage.compact() > 0
    assert recording.stored() == before
    index = recording.file.index
    assert index is not None
    index.put_later(recording, b"another")
    index.flush()
    assert reader.playlist.recordings[0].stored() == b"another"
    reader.close()
    opened = stage.library()
    assert opened.playlist.recordings[0].stored() == b"another"
    assert all(r.stored() is not None for r in opened.playlist)
    assert reader.tend() + opened.tend() + stage.notes == []
    opened.close()


def test_a_kill_before_the_copy_is_in_its_place_loses_nothing(stage: Stage) -> None:
    stage.write("a", "b", text="newer")
    stage.build()
    old = shutil.copy(stage.answers, stage.path.with_name("old"))
    assert stage.compact() > 0
    shutil.move(stage.answers, f"{stage.answers}.new")
    shutil.move(old, stage.answers)
    stage.check()


def test_a_kill_before_the_index_was_told_loses_nothing(stage: Stage) -> None:
    AnswerFile(Path(f"{stage.answers}.new"), b"x" * 32, writable=True).close()
    stage.check()
    stage.write("a", "b", text="newer")
    stage.build()
    assert stage.compact() > 0
    stage.check()


def test_no_room_for_the_copy_leaves_all_as_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.write("a", "b", text="newer")
    stage.build()

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AnswerFile, "copy", no_room)
    assert stage.compact() == 0
    assert len(stage.notes) == 1
    assert "No space left on device" in stage.notes[0]
    monkeypatch.undo()
    assert [path.name for path in stage.path.parent.glob("*.new")] == []
    stage.check()
