"""What becomes of an answer: the file it is written to, and what is said when it cannot be."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tapes import ask, recorded, request
from tapes import tape as vcrpys

from stubserver import keeper as module
from stubserver.cassettes import writer
from stubserver.cassettes.library import Library
from stubserver.errors import UsageError
from stubserver.keeper import Keeper, Per, RecordMode, prepare_target
from stubserver.messages import Response
from stubserver.relay import Relayed
from stubserver.scrubbing import Scrubber

HEAD = Response(200, (("content-type", "application/json"), ("x-stubserver-source", "recorded")))
WHOLE = Relayed(b'{"a": 1}', "", (5, 9))


def keeping(target: Path, **options: Any) -> tuple[Keeper, Library]:
    library = Library([target], to_come=True)
    return Keeper(target, library, options.pop("scrubber", Scrubber()), **options), library


def test_what_is_kept_is_in_the_library_at_once_and_counts_as_played(tmp_path: Path) -> None:
    keeper, library = keeping(tmp_path / "t.yaml")

    first, second = (keeper.keep(request(ask(text)), HEAD, WHOLE) for text in ("one", "two"))

    assert [kept.label.rpartition("#")[2] for kept in (first, second)] == ["1", "2"]
    assert [r.interaction().response.body for r in library.playlist.recordings] == [b'{"a": 1}'] * 2
    assert library.playlist.unplayed() == []
    assert not library.changed()


def test_nothing_of_ours_and_nothing_of_the_connection_is_stored(tmp_path: Path) -> None:
    keeper, library = keeping(tmp_path / "t.yaml")
    head = HEAD._replace(headers=(*HEAD.headers, ("Content-Encoding", "identity"), ("Keep-Alive", "timeout=5")))
    keeper.keep(request(ask(), Content_Length="999"), head, WHOLE)

    sent, got = library.playlist.recordings[0].interaction()

    assert dict(got.headers) == {"content-type": "application/json", "content-length": "8"}
    assert dict(sent.headers)["Content-Length"] == str(len(sent.body))


@pytest.mark.parametrize(
    ("relayed", "said"),
    [
        (WHOLE._replace(cut="it was cut"), "it was cut"),
        (WHOLE._replace(body=None), "too large"),
        (WHOLE._replace(body=b"{"), "no whole JSON"),
    ],
)
def test_what_is_not_kept_leaves_no_file(relayed: Relayed, said: str, tmp_path: Path) -> None:
    keeper, library = keeping(tmp_path / "t.yaml")

    kept = keeper.keep(request(ask()), HEAD, relayed)

    assert kept.label == ""
    assert said in kept.why_not
    assert (list(tmp_path.iterdir()), library.playlist.recordings) == ([], [])


def test_a_hook_may_refuse(tmp_path: Path) -> None:
    keeper, _ = keeping(tmp_path / "t.yaml", scrubber=Scrubber(hooks=[lambda _: None]))

    assert keeper.keep(request(ask()), HEAD, WHOLE).why_not == "a hook refused it"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_a_disk_that_refuses_is_said_and_recording_goes_on_when_it_can(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, library = keeping(tmp_path / "t.yaml")
    keeper.keep(request(ask("one")), HEAD, WHOLE)
    real = getattr(os, call)
    failing = iter([OSError(number, os.strerror(number))])

    def fails(*args: Any) -> Any:
        for error in failing:
            raise error
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(writer.os, call, fails)
        lost = keeper.keep(request(ask("two")), HEAD, WHOLE)
    kept = keeper.keep(request(ask("three")), HEAD, WHOLE)

    assert lost[:2] == ("", f"it could not be written: {os.strerror(number)}")
    assert kept.label.endswith("#2")
    assert len(Library([tmp_path]).playlist.recordings) == len(library.playlist.recordings) == 2


def test_a_folder_that_vanished_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    folder.mkdir()
    keeper, _ = keeping(folder)
    keeper.keep(request(ask("one")), HEAD, WHOLE)
    shutil.rmtree(folder)

    assert keeper.keep(request(ask("two")), HEAD, WHOLE).why_not == ""
    assert [path.suffix for path in folder.iterdir()] == [".yaml"]


def test_a_cassette_of_another_layout_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("# mine\ninteractions: []\n")
    keeper, _ = keeping(path)

    assert "nothing can be appended" in keeper.keep(request(ask()), HEAD, WHOLE).why_not
    assert path.read_text() == "# mine\ninteractions: []\n"


def test_a_new_part_begins_before_a_file_grows_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_BYTES", 2000)
    keeper, library = keeping(tmp_path, per=Per.MODEL)
    for number in range(12):
        assert keeper.keep(request(ask(str(number))), HEAD, WHOLE).why_not == ""

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["gpt-4o-mini-2.yaml", "gpt-4o-mini-3.yaml"]
    assert "gpt-4o-mini.yaml" in names
    assert all(path.stat().st_size <= 2000 + len("version: 1\n") for path in tmp_path.iterdir())
    assert len(Library([tmp_path]).playlist.recordings) == len(library.playlist.recordings) == 12


@pytest.mark.parametrize(
    ("per", "body", "target", "name"),
    [
        (Per.MODEL, {"model": "../../etc/passwd"}, "/v1/x", "etc-passwd"),
        (Per.MODEL, {"model": "a/b:c\0"}, "/v1/x", "a-b-c"),
        (Per.MODEL, {"model": "m" * 300}, "/v1/x", "m" * 100),
        (Per.MODEL, {"model": 5}, "/v1/x", "no-model"),
        (Per.MODEL, {"model": "..."}, "/v1/x", "root"),
        (Per.PATH, {}, "/v1/../../x%2F..", "x"),
    ],
)
def test_no_name_leads_out_of_the_folder(per: Per, body: Any, target: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    folder.mkdir()
    keeper, _ = keeping(folder, per=per)

    assert keeper.keep(request(body, target), HEAD, WHOLE).why_not == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tapes"]
    assert [path.stem for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("name", ["t.json", "t", "t.yaml.gz"])
def test_what_cannot_be_appended_to_is_refused_at_the_start(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.yaml"):
        keeping(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "there", "settled"),
    [
        ("once", False, "new_episodes"),
        ("once", True, "none"),
        ("new_episodes", True, "new_episodes"),
        ("new_episodes", False, "new_episodes"),
        ("all", False, "all"),
        ("all", True, "all"),
    ],
)
def test_what_a_mode_means_for_a_cassette_that_is_there(mode: str, there: bool, settled: str, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / "t.yaml"
    if there:
        vcrpys(path, recorded())
    said: list[str] = []

    assert prepare_target(path, RecordMode(mode), said.append) == settled
    assert path.exists() == (there and mode != "all")
    assert len(said) == (there and mode == "all")


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_torn_cassette_is_mended_at_the_start_and_said(in_folder: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = vcrpys(tmp_path / "t.yaml", recorded(), recorded(ask("two")))
    path.write_bytes(path.read_bytes()[:-40])
    said: list[str] = []
    prepare_target(tmp_path if in_folder else path, RecordMode.NEW_EPISODES, said.append)

    assert ["its end was torn" in line for line in said] == [True]
    assert len(Library([path]).playlist.recordings) == 1
    assert (tmp_path / "t.yaml.torn").exists()


def test_a_hook_that_fails_costs_the_recording_alone(tmp_path: Path) -> None:
    def fails(_: object) -> None:
        raise KeyError("sk-a-secret-in-its-text")

    keeper, _ = keeping(tmp_path / "t.yaml", scrubber=Scrubber(hooks=[fails]))

    assert keeper.keep(request(ask()), HEAD, WHOLE).why_not == "a hook failed: KeyError"


def test_an_answer_larger_than_a_file_may_be_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_BYTES", 2000)
    keeper, _ = keeping(tmp_path / "t.yaml")

    assert "too large" in keeper.keep(request(ask()), HEAD, WHOLE._replace(body=b'"%b"' % (b"x" * 2000))).why_not
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("per", [Per.PATH, Per.MODEL, Per.DAY])
def test_one_file_cannot_be_divided(per: Per, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a folder"):
        keeping(tmp_path / "t.yaml", per=per)


@pytest.mark.parametrize(("mode", "settled"), [("once", "none"), ("new_episodes", "new_episodes"), ("all", "all")])
def test_what_a_mode_means_for_a_folder_and_for_a_file_with_parts(mode: str, settled: str, tmp_path: Path) -> None:
    for target in (tmp_path / "folder", tmp_path / "t.yaml"):
        names = ["a.yaml", "b.yml"] if target.suffix == "" else ["t.yaml", "t-2.yaml"]
        folder = target if target.suffix == "" else tmp_path
        for name in names:
            vcrpys(folder / name, recorded())
        said: list[str] = []

        assert prepare_target(target, RecordMode(mode), said.append) == settled
        assert [(folder / name).exists() for name in names] == [mode != "all"] * 2
        assert [(folder / f"{name}.before").exists() for name in names] == [mode == "all"] * 2
        assert len(said) == 2 * (mode == "all")


def test_once_records_to_a_folder_that_is_empty(tmp_path: Path) -> None:
    assert prepare_target(tmp_path, RecordMode.ONCE, lambda _: None) == "new_episodes"
