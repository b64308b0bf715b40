"""What a recording, or none, becomes: decisions, answers made once, drift, errors."""

from __future__ import annotations

import gc
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tapes import ask, chunks, completion, events, recorded, request, tape

from stubserver import recorder as recorder_module
from stubserver.canonical import Rules
from stubserver.cassettes.library import Library
from stubserver.cassettes.playlist import Exhausted, Played
from stubserver.cassettes.recordings import CassetteFile
from stubserver.messages import Answer, Request, header
from stubserver.recorder import Recorder, source_headers

RULES = Rules()
STREAM = events(*chunks({"role": "assistant", "content": ""}, {"content": "Hi"}))
GZIP = gzip.compress(json.dumps(completion()).encode(), mtime=0)


class Stage:
    """A recorder with one cassette."""

    def __init__(self, folder: Path, *items: dict[str, Any], status: int = 404, **options: Any) -> None:
        self.library = Library([tape(folder / "tapes" / "chat.yaml", *items).parent], RULES, **options)
        self.recorder = Recorder(RULES, status)

    def find(self, made: Request) -> Played | Exhausted | None:
        return self.library.playlist.play(RULES.key(made), made)

    def play(self, made: Request, accepted: str = "") -> Answer:
        found = self.find(made)
        assert isinstance(found, Played)
        return self.recorder.replayed(found, made, accepted)

    def miss(self, made: Request) -> Answer:
        found = self.find(made)
        assert not isinstance(found, Played)
        return self.recorder.unmatched(self.library.playlist, RULES.key(made), made, found)

    def lose(self) -> None:
        """Take the file away while it is served."""
        self.library.files[0].text = None
        self.library.files[0].path.unlink()


def test_a_recording_is_played_and_says_which_it_is(tmp_path: Path) -> None:
    answer = Stage(tmp_path, recorded(ask())).play(request(ask()))
    assert answer.source == "replayed"
    assert answer.cassette == "tapes/chat.yaml#1"
    assert answer.drift == ()
    assert json.loads(answer.response.body) == completion()
    assert answer.response.headers == (
        ("content-type", "application/json"),
        ("x-request-id", "req_1"),
        ("x-stubserver-source", "replayed"),
        ("x-stubserver-cassette", "tapes/chat.yaml#1"),
    )


def test_an_answer_is_made_once_for_each_recording_and_encoding(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask(), GZIP, headers={"content-encoding": ["gzip"]}), recorded(ask("b")))
    first = stage.play(request(ask()), "gzip")
    assert stage.play(request(ask()), "gzip") is first
    plain = stage.play(request(ask()), "")
    assert plain is not first
    assert (first.response.body, json.loads(plain.response.body)) == (GZIP, completion())
    assert stage.play(request(ask("b")), "gzip") is not first


def test_what_is_kept_is_bounded_and_the_oldest_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_CACHED_BYTES", 30_000)
    stage = Stage(tmp_path, *(recorded(ask(str(i)), b"x" * 4000) for i in range(6)))
    made = [[stage.play(request(ask(str(i)))) for _ in range(2)][1] for i in range(6)]
    assert stage.play(request(ask("5"))) is made[5]
    again = stage.play(request(ask("0")))
    assert again is not made[0]
    assert again.response == made[0].response
    assert stage.recorder._made_bytes <= 30_000


def test_an_answer_larger_than_all_that_is_kept_is_made_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_CACHED_BYTES", 1000)
    stage = Stage(tmp_path, recorded(ask(), b"x" * 5000))
    assert stage.play(request(ask())) is not stage.play(request(ask()))
    assert stage.recorder._made_bytes == 0


def test_the_same_answer_kept_twice_counts_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask()))
    first = stage.play(request(ask()))
    bytes_kept = stage.recorder._made_bytes
    stage.recorder._keep((stage.library.files[0].serial, 1, ""), first, 10**9)
    assert stage.recorder._made_bytes == bytes_kept > 0


def test_a_stream_is_played_to_a_client_that_wants_none_as_one_answer(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask(stream=True), STREAM))
    answer = stage.play(request(ask()))
    assert json.loads(answer.response.body)["choices"][0]["message"]["content"] == "Hi"
    assert header(answer.response.headers, "x-stubserver-source") == "replayed"
    assert stage.play(request(ask(stream=True))).response.body == STREAM.encode()


@pytest.mark.parametrize("options", [None, {}, {"include_usage": True}])
def test_an_answer_is_played_to_a_client_that_wants_a_stream_as_one(tmp_path: Path, options: Any) -> None:
    stage = Stage(tmp_path, recorded(ask()))
    answer = stage.play(request(ask(stream=True, stream_options=options)))
    assert answer.response.events
    assert (b'"usage":{' in answer.response.body) is bool(options)


# --- drift --------------------------------------------------------------------------------------------------------


def test_a_drifted_answer_names_the_paths(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask("old", seed=1)), drift=True)
    answer = stage.play(request(ask("new", seed=2)))
    assert answer.drift == ("messages[0].content", "seed")
    assert header(answer.response.headers, "x-stubserver-drift") == "messages[0].content, seed"
    assert header(answer.response.headers, "x-stubserver-cassette") == "tapes/chat.yaml#1"


def test_drift_is_told_of_the_request_it_was_played_for_alone(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask("old", seed=1)), drift=True)
    assert stage.play(request(ask("old", seed=2))).drift == ("seed",)
    assert stage.play(request(ask("old", seed=1))).drift == ()


@pytest.mark.parametrize("name", ["é\x00\r\n\x7f", "x" * 9000, "漢", "\ud800"])
def test_the_drift_header_can_be_sent_whatever_a_member_is_called(tmp_path: Path, name: str) -> None:
    stage = Stage(tmp_path, recorded(ask()), drift=True)
    answer = stage.play(request({**ask(), **{f"{name}{i}": 1 for i in range(60)}}))
    value = header(answer.response.headers, "x-stubserver-drift")
    assert value is not None
    assert value.isascii()
    assert value.isprintable()
    assert len(value) < 4000
    assert value.count(",") == 9
    assert len(answer.drift) == 50


def test_a_drifted_stream_is_folded_too(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask("old", stream=True), STREAM), drift=True)
    answer = stage.play(request(ask("new")))
    assert json.loads(answer.response.body)["object"] == "chat.completion"
    assert "messages[0].content" in answer.drift


def test_a_drifted_stream_is_folded_for_a_request_that_is_no_json(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask("old", stream=True), STREAM), drift=True)
    assert not stage.play(request(b"raw")).response.events


# --- nothing found ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 400, 501])
def test_a_miss_is_an_error_that_says_what_came_nearest(tmp_path: Path, status: int) -> None:
    stage = Stage(tmp_path, recorded(ask("one", seed=1)), status=status)
    answer = stage.miss(request(ask("two", seed=1)))
    assert answer.source == "unmatched"
    assert answer.response.status == status
    assert header(answer.response.headers, "x-should-retry") == "false"
    assert header(answer.response.headers, "x-stubserver-source") == "unmatched"
    assert header(answer.response.headers, "x-stubserver-cassette") is None
    error = json.loads(answer.response.body)["error"]
    difference = {"path": "messages[0].content", "recorded": "one", "received": "two"}
    assert error == {
        "message": error["message"],
        "type": "BadRequestError" if status == 400 else "invalid_request_error",  # datatrove looks for it in the text
        "param": None,
        "code": "no_recording",
        "near_misses": [{"cassette": "tapes/chat.yaml#1", "differences": [difference]}],
    }
    assert "messages[0].content" in error["message"]


def test_what_was_used_up_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask()), on_exhausted="error")
    stage.play(request(ask()))
    assert stage.find(request(ask())) == Exhausted(stage.library.playlist.recordings[0])
    assert "was played" in json.loads(stage.miss(request(ask())).response.body)["error"]["message"]


@pytest.mark.parametrize("drift", [False, True])
def test_a_recording_that_can_no_longer_be_read_is_an_error_that_is_not_retried(tmp_path: Path, drift: bool) -> None:  # noqa: FBT001
    stage = Stage(tmp_path, recorded(ask()), drift=drift)
    stage.lose()
    answer = stage.play(request(ask("new") if drift else ask()))
    assert answer.source == "unmatched"
    assert answer.response.status == 500
    assert header(answer.response.headers, "x-should-retry") == "false"
    error = json.loads(answer.response.body)["error"]
    assert error["code"] == "damaged_recording"
    assert "chat.yaml" in error["message"]


def test_a_drifted_answer_that_was_made_before_needs_its_recording_too(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recorded(ask()), drift=True)
    stage.play(request(ask()))
    stage.library.reset()
    stage.lose()
    assert stage.play(request(ask("new"))).response.status == 500


@pytest.mark.parametrize("label", ["plain#1", "é#1", "a\r\nb\0#1", "\udcff#1"])
def test_the_headers_of_a_source_can_be_sent(label: str) -> None:
    headers = source_headers("replayed", label)
    assert [name for name, _ in headers] == ["x-stubserver-source", "x-stubserver-cassette"]
    assert all(value.isascii() and value.isprintable() for _, value in headers)
    assert source_headers("dummy") == (("x-stubserver-source", "dummy"),)


def test_what_is_kept_of_a_file_that_was_read_again_is_the_answer_alone(tmp_path: Path) -> None:
    """Its text may be megabytes: one that grows while it is served would be kept as often as it was read."""
    stage = Stage(tmp_path, recorded(ask()))
    stage.play(request(ask()))

    tape(tmp_path / "tapes" / "chat.yaml", recorded(ask(), {"another": "answer"}))
    stage.library.reload()
    stage.play(request(ask()))

    gc.collect()
    path = stage.library.files[0].path
    files = [each for each in gc.get_objects() if isinstance(each, CassetteFile) and each.path == path]
    assert files == stage.library.files
