"""A recording finds its way back to its interaction, and notices when that is no longer there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from tapes import ask, recorded, tape

from stubserver.canonical import Rules
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.recordings import CassetteFile, stamp_of
from stubserver.errors import CassetteError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tape(tmp_path / "chat.yaml", recorded(ask("one"), {"n": 1}), recorded(ask("two"), {"n": 2}))


def read(path: Path, keep_below: int = 0) -> CassetteFile:
    return read_file(path, "chat.yaml", "chat", Rules(), keep_below=keep_below)


@pytest.mark.parametrize("keep_below", [0, 1_000_000])
def test_an_interaction_is_read_from_the_disk_or_from_memory(path: Path, keep_below: int) -> None:
    file = read(path, keep_below)
    assert (file.text is None) == (keep_below == 0)
    assert [r.interaction().response.body for r in file.recordings] == [b'{"n": 1}', b'{"n": 2}']
    assert [r.response() for r in file.recordings] == [r.interaction().response for r in file.recordings]
    assert [r.label for r in file.recordings] == ["chat.yaml#1", "chat.yaml#2"]


def test_what_was_read_as_a_whole_is_kept(path: Path) -> None:
    path.write_text(json.dumps(yaml.safe_load(path.read_text("utf-8"))), "utf-8")
    file = read(path)
    path.unlink()
    assert [r.response().body for r in file.recordings] == [b'{"n": 1}', b'{"n": 2}']
    assert [r.interaction().response for r in file.recordings] == [r.response() for r in file.recordings]


def test_what_is_in_memory_outlives_its_file(path: Path) -> None:
    file = read(path, 1_000_000)
    path.unlink()
    assert file.recordings[1].interaction().response.body == b'{"n": 2}'


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('{"n": 2}', '{"n": 3}'),
        lambda text: text[:-40],
        lambda text: "# more\n" + text,
        lambda _: "",
    ],
)
def test_a_file_that_changed_under_us_gives_an_error_and_never_other_data(path: Path, change: object) -> None:
    file = read(path)
    path.write_text(change(path.read_text("utf-8")), "utf-8")  # type: ignore[operator]
    with pytest.raises(CassetteError, match=r"chat\.yaml, item 2: the file was changed while it was served"):
        file.recordings[1].interaction()
    with pytest.raises(CassetteError, match="changed while it was served"):
        file.recordings[1].response()


def test_a_file_that_is_gone_is_named(path: Path) -> None:
    file = read(path)
    path.unlink()
    with pytest.raises(CassetteError, match=r"chat\.yaml: No such file"):
        file.recordings[0].interaction()


def test_damage_in_a_response_is_found_when_it_is_played(path: Path) -> None:
    path.write_text(path.read_text("utf-8").replace("message: OK", 'message: "\\q"', 1), "utf-8")
    file = read(path)
    with pytest.raises(CassetteError, match=r"chat\.yaml, item 1: line \d+: found unknown escape character"):
        file.recordings[0].interaction()


def test_a_stamp_changes_with_the_file(path: Path) -> None:
    before = stamp_of(path)
    assert stamp_of(path) == before
    os.utime(path, ns=(0, before[1] + 1))
    assert stamp_of(path) != before


def test_only_regular_files_have_a_stamp(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("pipe.yaml", "", "missing.yaml"):
        with pytest.raises(OSError, match=r"not a regular file|No such file"):
            stamp_of(tmp_path / name)
