"""Searching the journal, waiting for it, dry runs, recording what was missed; and its export."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asking import call, chat, get, when_done
from raw import PATIENCE, eventually
from tapes import CHAT, ask, completion, recorded, tape

from stubserver import StubServer
from stubserver.interchange import har


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubServer]:
    tape(tmp_path / "tapes" / "a.yaml", recorded(ask("one")), recorded(ask("one"), completion("Again.")))
    with StubServer(tmp_path / "tapes", fallback="error") as started:
        yield started


def post(stub: StubServer, path: str, body: Any = None) -> Any:
    got = call(stub, "POST", f"/__admin{path}", body)
    return got.json if got.status < 300 else (got.status, got.code)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ({}, 3),
        ({"source": "replayed"}, 2),
        ({"status": 404}, 1),
        ({"status": "4xx"}, 1),
        ({"method": "POST", "path": "/chat/", "model": "gpt-4o-mini"}, 3),
        ({"method": "post"}, 0),
        ({"body_contains": "two"}, 1),
        ({"body_contains": "Two"}, 0),
        ({"since": 1}, 2),
        ({"cassette": "tapes/a.yaml#2"}, 1),
        ({"q": "AGAIN."}, 1),
    ],
)
def test_requests_are_counted_and_found(stub: StubServer, pattern: dict[str, Any], count: int) -> None:
    chat(stub, "one")
    chat(stub, "one")
    chat(stub, "two")
    assert post(stub, "/requests/count", pattern) == {"count": count}
    found = post(stub, "/requests/find", pattern)
    assert len(found["requests"]) == found["meta"]["total"] == count
    assert len(post(stub, "/requests/find", {**pattern, "limit": 1})["requests"]) == min(count, 1)


def test_a_search_without_a_body_means_all(stub: StubServer) -> None:
    chat(stub, "one")
    assert post(stub, "/requests/count") == {"count": 1}


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ({"modle": "x"}, "unknown_member"),
        ({"model": 1}, "bad_parameter"),
        ({"status": "4x"}, "bad_parameter"),
        ({"status": []}, "bad_parameter"),
        ({"since": True}, "bad_parameter"),
        ({"since": -1}, "bad_parameter"),
        ({"since": 1.5}, "bad_parameter"),
        ({"q": "x" * 10_001}, "bad_parameter"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(stub: StubServer, pattern: dict[str, Any], code: str) -> None:
    for path in ("count", "find", "wait"):
        assert post(stub, f"/requests/{path}", pattern) == (400, code)


@pytest.mark.parametrize("more", [{"count": "1"}, {"count": -1}, {"timeout": -1}, {"timeout": 1e9}, {"timeout": "1"}])
def test_a_wait_that_cannot_be_is_refused(stub: StubServer, more: dict[str, Any]) -> None:
    assert post(stub, "/requests/wait", more) == (400, "bad_parameter")


def test_waiting_ends_when_enough_have_been_answered(stub: StubServer) -> None:
    found: list[Any] = []

    def wait() -> None:
        found.append(post(stub, "/requests/wait", {"count": 2, "source": "replayed", "timeout": 60}))

    waiting = threading.Thread(target=wait)
    waiting.start()
    for question in ("one", "two", "one"):
        chat(stub, question)
    waiting.join()
    assert found[0]["reached"]
    assert found[0]["count"] == 2
    assert [row["source"] for row in found[0]["requests"]] == ["replayed", "replayed"]


def test_waiting_ends_when_time_is_up_or_the_server_ends(stub: StubServer) -> None:
    assert post(stub, "/requests/wait", {"count": 1, "timeout": 0}) == {"reached": False, "count": 0, "requests": []}
    found: list[Any] = []

    def wait() -> None:
        with suppress(OSError, http.client.HTTPException):  # what is under way may be cut
            found.append(post(stub, "/requests/wait", {"timeout": 300}))

    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(stub.open_connections)
    stub.stop()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_unmatched_requests_and_what_came_nearest(stub: StubServer) -> None:
    chat(stub, "one")
    chat(stub, "onE")
    assert [row["id"] for row in get(stub, "/requests/unmatched").json["requests"]] == [2]
    found = get(stub, "/requests/unmatched/near-misses").json
    (one,) = found["near_misses"]
    assert one["request"]["id"] == 2
    assert one["near_misses"][0]["differences"][0]["path"] == "messages[0].content"


def test_a_request_that_the_dummy_answered_has_near_misses_too(tmp_path: Path) -> None:
    tape(tmp_path / "a.yaml", recorded(ask("one")))
    with StubServer(tmp_path / "a.yaml") as stub:
        chat(stub, "onE")
        shown = get(stub, "/requests/1").json
        assert shown["source"] == "dummy"
        assert shown["near_misses"][0]["differences"][0]["received"] == "onE"


def test_a_dry_run_says_what_would_answer_and_plays_nothing(stub: StubServer) -> None:
    asked = {"method": "POST", "path": CHAT, "json": ask("one")}
    for _ in range(3):
        found = post(stub, "/near-misses/request", asked)
        assert found["answer"]["source"] == "replayed"
        assert found["answer"]["cassette"] == "tapes/a.yaml#1"
    chat(stub, "one")
    assert post(stub, "/near-misses/request", asked)["answer"]["cassette"] == "tapes/a.yaml#2"
    assert get(stub, "/requests").json["meta"]["total"] == 1
    body = json.dumps(ask("one"))
    assert post(stub, "/near-misses/request", {"path": CHAT, "body": body})["answer"]["cassette"] == "tapes/a.yaml#2"


def test_a_dry_run_of_the_other_stream_mode_and_of_one_cassette(stub: StubServer) -> None:
    streamed = post(stub, "/near-misses/request", {"path": CHAT, "json": ask("one", stream=True)})
    assert streamed["answer"] == {
        "source": "replayed",
        "cassette": "tapes/a.yaml#1",
        "other_stream_mode": True,
        "drift": [],
    }
    named = post(stub, "/near-misses/request", {"path": f"/__cassette/a{CHAT}", "json": ask("one")})
    assert named["answer"]["cassette"] == "tapes/a.yaml#1"
    unknown = post(stub, "/near-misses/request", {"path": f"/__cassette/b{CHAT}", "json": ask("one")})
    assert unknown["answer"]["source"] == "unmatched"


def test_a_dry_run_of_a_miss_names_what_is_nearest(stub: StubServer) -> None:
    found = post(stub, "/near-misses/request", {"path": CHAT, "json": ask("onE")})
    assert found["answer"]["source"] == "unmatched"
    assert "none of the 2 recordings matches" in found["note"]
    assert found["near_misses"][0]["differences"][0]["received"] == "onE"
    call(stub, "PUT", "/__admin/settings", {"fallback": "dummy"})
    assert post(stub, "/near-misses/request", {"path": CHAT, "json": ask("onE")})["answer"]["source"] == "dummy"


def test_a_dry_run_with_drift(tmp_path: Path) -> None:
    tape(tmp_path / "a.yaml", recorded(ask("one")))
    with StubServer(tmp_path / "a.yaml", drift="allow") as stub:
        found = post(stub, "/near-misses/request", {"path": CHAT, "json": ask("other")})
        assert found["answer"]["drift"] == ["messages[0].content"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"path": "v1"},
        {"path": "/a b"},
        {"path": "/\u00e9"},
        {"path": 1},
        {"path": "/x", "method": "GE T"},
        {"path": "/x", "method": 1},
        {"path": "/x", "headers": []},
        {"path": "/x", "headers": {"a": 1}},
        {"path": "/x", "body": {}},
        {"path": "/x", "body": "", "json": {}},
    ],
)
def test_a_dry_run_of_what_is_no_request(stub: StubServer, asked: dict[str, Any]) -> None:
    assert post(stub, "/near-misses/request", asked) == (400, "bad_parameter")


def test_what_was_missed_is_recorded_the_next_time(tmp_path: Path) -> None:
    cassette = tape(tmp_path / "mine.yaml", recorded(ask("one")))
    theirs = tape(tmp_path / "theirs.yaml", recorded(ask("two"), completion("From upstream.")))
    with StubServer(theirs) as upstream, StubServer(cassette, fallback="error", upstream=upstream.url) as stub:
        assert get(stub, "/settings").json["read_only"]["can_record"]
        assert chat(stub, "two").status == 404
        assert post(stub, "/requests/1/record-next") == {"id": 1, "record_next": True}
        assert chat(stub, "three").status == 404
        assert len(upstream.journal) == 0
        assert chat(stub, "two").json == chat(stub, "two").json == completion("From upstream.")
        assert len(upstream.journal) == 1
        assert [row["source"] for row in when_done(stub)] == ["replayed", "recorded", "unmatched", "unmatched"]
    assert cassette.read_text().count("- request:") == 2


def test_without_an_upstream_nothing_can_be_recorded(stub: StubServer) -> None:
    chat(stub, "two")
    assert not get(stub, "/settings").json["read_only"]["can_record"]
    assert post(stub, "/requests/1/record-next") == (409, "no_upstream")
    assert post(stub, "/requests/9/record-next") == (404, "no_such_request")
    call(stub, "POST", f"/__cassette/a{CHAT}", ask("two"))
    assert post(stub, "/requests/2/record-next") == (409, "not_recordable")


def test_the_journal_is_exported_as_an_archive(stub: StubServer, tmp_path: Path) -> None:
    chat(stub, "one", api_key="correct-horse-battery")
    chat(stub, "one")
    when_done(stub)
    got = get(stub, "/requests.har")
    assert "correct-horse" not in got.body.decode()
    entries = got.json["log"]["entries"]
    assert [entry["response"]["status"] for entry in entries] == [404, 200]
    assert entries[1]["comment"] == "replayed tapes/a.yaml#1"
    assert entries[1]["time"] > 0
    path = tmp_path / "requests.har"
    path.write_bytes(got.body)
    read = list(har.read(path))
    assert len(read) == 2
    assert len(get(stub, "/requests.har?source=replayed").json["log"]["entries"]) == 1
