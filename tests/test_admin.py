"""The admin API, asked over a socket as its users do."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import call, chat, get, when_done
from tapes import CHAT, ask, chunks, completion, events, recorded, tape

from stubserver import StubServer
from stubserver.errors import UsageError


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubServer]:
    tape(tmp_path / "tapes" / "a.yaml", recorded(ask("one")), recorded(ask("two"), completion("Second.")))
    stream = events(*chunks({"role": "assistant", "content": ""}, {"content": "Hello"}))
    tape(tmp_path / "tapes" / "sub" / "b.yaml", recorded(ask("three", stream=True), stream))
    with StubServer(tmp_path / "tapes", fallback="error") as started:
        yield started


def test_health(stub: StubServer) -> None:
    got = get(stub, "/health")
    assert (got.status, got.json["status"]) == (200, "healthy")


def test_requests_are_listed_newest_first(stub: StubServer) -> None:
    chat(stub, "one")
    chat(stub, "three", stream=True)
    chat(stub, "four")
    rows = when_done(stub)
    assert [(row["id"], row["source"], row["status"], row["stream"]) for row in rows] == [
        (3, "unmatched", 404, False),
        (2, "replayed", 200, True),
        (1, "replayed", 200, False),
    ]
    first = rows[2]
    assert first["cassette"] == "tapes/a.yaml#1"
    assert first["model"] == "gpt-4o-mini"
    assert first["tokens"] == {"prompt": 8, "completion": 3}
    assert first["path"] == CHAT
    assert 0 < first["ttfb_ms"] <= first["duration_ms"]
    assert first["done"]
    assert first["request_bytes"] == len(json.dumps(ask("one")))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("limit=1", [3]),
        ("since=2", [3]),
        ("source=replayed", [2, 1]),
        ("status=404", [3]),
        ("status=2xx", [2, 1]),
        ("path=completions", [3, 2, 1]),
        ("path=embeddings", []),
        ("model=gpt-4o-mini&source=unmatched", [3]),
        ("model=other", []),
        ("q=HELLO", [2, 1]),
        ("q=FOUR", [3]),
    ],
)
def test_requests_are_filtered(stub: StubServer, query: str, ids: list[int]) -> None:
    chat(stub, "one")
    chat(stub, "three", stream=True)
    chat(stub, "four")
    assert [row["id"] for row in get(stub, f"/requests?{query}").json["requests"]] == ids


def test_the_total_counts_what_the_filter_lets_through(stub: StubServer) -> None:
    for _ in range(5):
        chat(stub, "one")
    found = get(stub, "/requests?limit=2").json
    assert (len(found["requests"]), found["meta"]["total"]) == (2, 5)


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "limit=99999999999999999999", "since=1.5", "limit=1&limit=2"])
def test_a_bad_parameter_is_named(stub: StubServer, query: str) -> None:
    got = get(stub, f"/requests?{query}")
    assert (got.status, got.code) == (400, "bad_parameter")


def test_an_unknown_parameter_is_refused_with_those_there_are(stub: StubServer) -> None:
    got = get(stub, "/requests?limt=1")
    assert got.code == "unknown_parameter"
    assert "limit" in got.json["error"]["message"]


def test_one_request_is_shown_whole(stub: StubServer) -> None:
    chat(stub, "one")
    found = get(stub, "/requests/1").json
    assert found["request"]["json"] == ask("one")
    assert json.loads(found["request"]["body"]) == ask("one")
    assert ["content-type", "application/json"] in found["request"]["headers"]
    assert found["response"]["status"] == 200
    assert found["response"]["json"]["choices"][0]["message"]["content"] == "Hello there!"
    assert found["response"]["events"] is None
    assert "near_misses" not in found


def test_the_events_of_a_stream_have_their_times(stub: StubServer) -> None:
    chat(stub, "three", stream=True)
    when_done(stub)
    shown = get(stub, "/requests/1").json
    listed = shown["response"]["events"]
    assert len(listed) == 4
    assert listed[-1]["data"] == "[DONE]"
    times = [event["at_ms"] for event in listed]
    assert times == sorted(times)
    assert shown["ttfb_ms"] <= times[0] <= times[-1] <= shown["duration_ms"]


def test_an_unmatched_request_has_its_near_misses(stub: StubServer) -> None:
    chat(stub, "onE")
    (first, *_) = get(stub, "/requests/1").json["near_misses"]
    assert first["cassette"] == "tapes/a.yaml#1"
    assert first["differences"] == [{"path": "messages[0].content", "recorded": "one", "received": "onE"}]


@pytest.mark.parametrize("number", ["2", "0", "x", "1.5", "-1", "9" * 400, "%00"])
def test_a_request_that_is_not_there(stub: StubServer, number: str) -> None:
    chat(stub, "one")
    got = get(stub, f"/requests/{number}")
    assert (got.status, got.code) == (404, "no_such_request")


def test_requests_are_deleted(stub: StubServer) -> None:
    for _ in range(3):
        chat(stub, "one")
    assert call(stub, "DELETE", "/__admin/requests/2").status == 204
    assert [row["id"] for row in get(stub, "/requests").json["requests"]] == [3, 1]
    assert call(stub, "DELETE", "/__admin/requests/2").status == 404
    assert call(stub, "DELETE", "/__admin/requests").status == 204
    assert get(stub, "/requests").json == {"requests": [], "meta": {"total": 0}}


def test_interactions(stub: StubServer) -> None:
    chat(stub, "two")
    rows = get(stub, "/interactions").json["interactions"]
    assert [(row["id"], row["played"]) for row in rows] == [
        ("tapes/a.yaml#1", 0),
        ("tapes/a.yaml#2", 1),
        ("tapes/sub/b.yaml#1", 0),
    ]
    assert [row["id"] for row in get(stub, "/interactions/unplayed").json["interactions"]] == [
        "tapes/a.yaml#1",
        "tapes/sub/b.yaml#1",
    ]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("file=sub/b", ["tapes/sub/b.yaml#1"]),
        ("file=tapes/a.yaml&offset=1", ["tapes/a.yaml#2"]),
        ("limit=1", ["tapes/a.yaml#1"]),
        ("played=true", []),
        ("q=SECOND", ["tapes/a.yaml#2"]),
    ],
)
def test_interactions_are_filtered(stub: StubServer, query: str, ids: list[str]) -> None:
    assert [row["id"] for row in get(stub, f"/interactions?{query}").json["interactions"]] == ids


def test_one_interaction(stub: StubServer) -> None:
    call(stub, "POST", "/__cassette/a" + CHAT, ask("two"))
    found = get(stub, "/interactions/tapes/a.yaml%232").json
    assert found["played"] == 1
    assert found["request"]["json"] == ask("two")
    assert found["response"]["json"]["choices"][0]["message"]["content"] == "Second."
    assert get(stub, "/interactions/tapes/a.yaml%239").code == "no_such_interaction"


def test_cassettes_and_their_files(stub: StubServer, tmp_path: Path) -> None:
    chat(stub, "one")
    rows = get(stub, "/cassettes").json["cassettes"]
    assert [(row["name"], row["interactions"], row["played"]) for row in rows] == [("a", 2, 1), ("sub/b", 1, 0)]
    got = get(stub, "/cassettes/sub/b/file")
    assert got.body == (tmp_path / "tapes" / "sub" / "b.yaml").read_bytes()
    assert got.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "name", ["..%2fa", "../a", "%2fetc%2fpasswd", "/etc/passwd", "a.yaml", "sub/../a", "a%00", "."]
)
def test_no_file_is_had_by_its_path(stub: StubServer, name: str) -> None:
    got = get(stub, f"/cassettes/{name}/file")
    assert (got.status, got.code) == (404, "no_cassette")


def test_reset(stub: StubServer) -> None:
    chat(stub, "one")
    assert call(stub, "POST", "/__admin/reset").status == 204
    assert get(stub, "/requests").json["requests"] == []
    assert get(stub, "/interactions?played=true").json["interactions"] == []


def test_settings_take_effect_at_once(stub: StubServer) -> None:
    assert get(stub, "/settings").json["fallback"] == "error"
    assert call(stub, "PUT", "/__admin/settings", {"fallback": "dummy"}).json["fallback"] == "dummy"
    assert chat(stub, "nothing").status == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"fallback": "dummy", "nonsense": 1}, 400, "unknown_member"),
        ({"fallback": "sometimes"}, 400, "bad_setting"),
        ({"fallback": ["dummy"]}, 400, "bad_setting"),
        ({"fallback": "forward"}, 409, "no_upstream"),
        ("[]", 400, "not_json"),
        ("{", 400, "not_json"),
        ("[" * 5000, 400, "not_json"),
        (b"{}" + b" " * 5_000_000, 413, "request_too_large"),
    ],
)
def test_settings_are_taken_whole_or_not_at_all(stub: StubServer, body: Any, status: int, code: str) -> None:
    got = call(stub, "PUT", "/__admin/settings", body)
    assert (got.status, got.code) == (status, code)
    assert get(stub, "/settings").json["fallback"] == "error"


def test_what_is_not_there_and_what_may_not_be_done(stub: StubServer) -> None:
    assert get(stub, "/nothing").code == "not_found"
    got = call(stub, "PUT", "/__admin/requests", {})
    assert (got.status, got.headers["allow"]) == (405, "DELETE, GET, HEAD")
    assert call(stub, "HEAD", "/__admin/health").status == 200


def test_calls_are_not_written_down(stub: StubServer) -> None:
    get(stub, "/health")
    assert get(stub, "/requests").json["meta"]["total"] == 0


def test_without_admin_its_paths_are_requests_like_any_other() -> None:
    with StubServer(admin=False) as stub:
        assert get(stub, "/requests").status == 404
        assert len(stub.journal) == 1


def test_a_path_that_only_begins_alike_is_none_of_its(stub: StubServer) -> None:
    call(stub, "GET", "/__administrator")
    assert len(stub.journal) == 1


def test_the_page_and_its_policy(stub: StubServer) -> None:
    assert get(stub, "").headers["location"] == "/__admin/"
    got = get(stub, "/")
    assert got.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in got.headers["content-security-policy"]
    for found in (got, get(stub, "/health"), get(stub, "/nothing")):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"
        assert not [name for name in found.headers if name.lower().startswith("access-control")]
    for name in ("../stub.py", "..%2fstub.py", "nothing.js", "%2e%2e"):
        assert get(stub, f"/static/{name}").status == 404


def test_the_feed_tells_what_is_done(stub: StubServer) -> None:
    chat(stub, "one")
    client = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
    client.request("GET", "/__admin/events", headers={"Last-Event-ID": "0"})
    feed = client.getresponse()
    assert feed.headers["content-type"].startswith("text/event-stream")

    def next_of(kind: str) -> tuple[str, Any]:
        while True:
            lines = []
            while (line := feed.readline().decode().rstrip("\n")) or not lines:
                lines.append(line)
            fields = dict(line.split(": ", 1) for line in lines)
            if fields.get("event") == kind:
                return fields.get("id", ""), json.loads(fields["data"])

    number, told = next_of("request")
    assert (number, [told]) == ("1", when_done(stub))
    chat(stub, "two")
    assert next_of("request")[1]["cassette"] == "tapes/a.yaml#2"
    numbers = next_of("stats")[1]
    assert (numbers["total"], numbers["sources"]["replayed"], numbers["unplayed"]) == (2, 2, 1)
    stub.stop()
    assert feed.read() is not None
    client.close()


def test_a_foreign_host_is_refused(stub: StubServer) -> None:
    for host in ("evil.example", f"evil.example:{stub.port}", "127.0.0.1.evil.example", "localhost.evil.example"):
        got = get(stub, "/requests", Host=host)
        assert (got.status, got.code) == (403, "host_not_allowed")
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:80"):
        assert get(stub, "/requests", Host=host).status == 200


def test_a_foreign_page_is_refused(stub: StubServer) -> None:
    own = f"http://127.0.0.1:{stub.port}"
    assert get(stub, "/requests", Origin=own, Sec_Fetch_Site="same-origin").status == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", own + ".evil.example", "", "file://"):
        got = get(stub, "/requests", Origin=origin)
        assert (got.status, got.code) == (403, "foreign_origin")
    for site in ("cross-site", "same-site"):
        assert get(stub, "/requests", Sec_Fetch_Site=site).status == 403
    assert (
        get(stub, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").status == 200
    )
    assert get(stub, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe").status == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_could_send_is_refused(stub: StubServer, kind: str) -> None:
    for method, path in (("PUT", "/settings"), ("POST", "/reset")):
        got = call(stub, method, f"/__admin{path}", b'{"fallback": "dummy"}', {"content-type": kind})
        assert (got.status, got.code) == (415, "not_json")
    assert get(stub, "/settings").json["fallback"] == "error"


def test_the_token_is_asked_for() -> None:
    with StubServer(admin_token="s3cret") as stub:
        assert get(stub, "/health").status == 200
        assert get(stub, "/nothing").status == 401
        got = get(stub, "/requests")
        assert (got.status, got.code) == (401, "no_admin_token")
        assert got.headers["www-authenticate"].startswith("Basic")
        wrong = ("Bearer s3cre", "Bearer ", "Bearer s3cret2", "Basic czNjcmV0", "Basic %%%", "s3cret", "Bearer \xff")
        for given in wrong:
            assert get(stub, "/requests", Authorization=given).status == 401
        for given in ("Bearer s3cret", "bearer  s3cret", "Basic YW55OnMzY3JldA=="):
            assert get(stub, "/requests", Authorization=given).status == 200
        assert chat(stub).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_whoever_lets_others_in_has_to_say_so(host: str) -> None:
    with pytest.raises(UsageError, match="--admin-token"):
        StubServer(host=host).start()
    with StubServer(host=host, admin=False) as stub:
        assert chat(stub).status == 200
    with StubServer(host=host, admin_token="s3cret", allowed_host=["stub.test"]) as stub:
        token = "Bearer s3cret"
        for name in ("127.0.0.1", "10.1.2.3", "[::1]", "stub.test", "stub.test:80"):
            assert get(stub, "/requests", Host=name, Authorization=token).status == 200
        assert get(stub, "/requests", Host="other.test", Authorization=token).status == 403


def test_an_empty_token_is_none() -> None:
    with pytest.raises(UsageError, match="empty"):
        StubServer(admin_token="")
