"""Who may use the admin API, over real sockets and byte by byte: rebinding, other sites, tokens, what is no call."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import call, chat, get
from raw import Raw
from tapes import ask, recorded, tape

from stubserver import StubServer
from stubserver.admin.calls import RefusedError
from stubserver.admin.guard import Guard
from stubserver.messages import Request


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubServer]:
    with StubServer(tape(tmp_path / "a.yaml", recorded(ask("one"))), fallback="error") as started:
        yield started


def asked(stub: StubServer, raw: str) -> int:
    with Raw(("127.0.0.1", stub.port)) as client:
        return client.send(raw.replace("\n", "\r\n").encode("latin-1")).head()[0]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("GET /__admin/requests HTTP/1.1\nHost: localhost\n\n", 200),
        ("GET http://localhost/__admin/requests HTTP/1.1\nHost: localhost\n\n", 200),
        ("GET http://localhost/__admin/requests HTTP/1.1\nHost: evil.example\n\n", 403),
        ("GET http://evil.example/__admin/requests HTTP/1.1\nHost: localhost\n\n", 403),
        ("GET /__admin/requests HTTP/1.1\nHost: \n\n", 403),
        ("GET /__admin/requests HTTP/1.0\n\n", 403),
        ("GET /__admin/requests HTTP/1.0\nHost: 127.0.0.1\n\n", 200),
        ("GET /__admin/requests HTTP/1.1\nHost: localhost\nHost: localhost\n\n", 400),
        ("GET /__admin/requests HTTP/1.1\nHost: localhost.\n\n", 403),
        ("GET /__admin/requests HTTP/1.1\nHost: 2130706433\n\n", 403),
        ("GET /__admin/requests HTTP/1.1\nHost: 10.0.0.1\n\n", 403),
        ("GET /__admin/requests HTTP/1.1\nHost: [::1]:99\n\n", 200),
        ("GET /__admin/requests HTTP/1.1\nHost: localhost\nOrigin: http://localhost\n\n", 200),
        ("GET /__admin/requests HTTP/1.1\nHost: localhost\nOrigin: http://localhost\nOrigin: http://evil\n\n", 403),
        ("GET /__admin/requests HTTP/1.1\nHost: localhost\nORIGIN: http://evil.example\n\n", 403),
        ("OPTIONS /__admin/requests HTTP/1.1\nHost: localhost\nOrigin: http://evil.example\n\n", 403),
        ("OPTIONS /__admin/requests HTTP/1.1\nHost: localhost\n\n", 405),
        ("GET /__admin//requests HTTP/1.1\nHost: localhost\n\n", 404),
        ("GET /__admin/../__admin/requests HTTP/1.1\nHost: localhost\n\n", 404),
        ("GET /__admin/static/../../stub.py HTTP/1.1\nHost: localhost\n\n", 404),
        ("GET /__admin/static/..%2f..%2fstub.py HTTP/1.1\nHost: localhost\n\n", 404),
        ("GET /__admin/interactions/%zz%ff%00 HTTP/1.1\nHost: localhost\n\n", 404),
        ("GET /__admin/requests?limit=%zz HTTP/1.1\nHost: localhost\n\n", 400),
        ("PUT /__admin/settings HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n", 415),
        ("POST /__admin/reset HTTP/1.1\nHost: localhost\n\n", 204),
    ],
)
def test_who_is_answered(stub: StubServer, raw: str, status: int) -> None:
    assert asked(stub, raw) == status


def test_what_asks_under_a_foreign_name_hears_nothing_of_what_there_is(stub: StubServer) -> None:
    found = {get(stub, path, Host="evil.example").body for path in ("/requests", "/nothing", "/health", "/")}
    assert len(found) == 1


def test_no_answer_has_a_header_for_other_origins(stub: StubServer) -> None:
    for method, path in (("GET", "/requests"), ("OPTIONS", "/requests"), ("GET", "/"), ("GET", "/nothing")):
        got = call(stub, method, f"/__admin{path}", headers={"Origin": f"http://127.0.0.1:{stub.port}"})
        assert not [name for name in got.headers if name.lower().startswith("access-control")]
        assert got.headers["cross-origin-resource-policy"] == "same-origin"


def test_other_hosts_may_be_allowed_as_they_are_written() -> None:
    with StubServer(allowed_host=["Stub.Test:8080", "[fd00::1]"]) as stub:
        for host in ("stub.test", "STUB.TEST:1", "[fd00::1]:80"):
            assert get(stub, "/health", Host=host).status == 200
        assert get(stub, "/health", Host="stub.test.evil.example").status == 403


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("Bearer töken", True),
        (basic("any:töken"), True),
        (basic(":töken"), True),
        (basic("töken"), False),
        (basic("any:töken:more"), False),
        ("Bearer token", False),
        ("Bearer", False),
        ("", False),
        ("Digest töken", False),
        ("Bearer töken töken", False),
    ],
)
def test_tokens(given: str, known: bool) -> None:  # noqa: FBT001  # a parameter
    guard = Guard("127.0.0.1", token="töken")
    request = Request("GET", "/", (("Host", "localhost"), ("Authorization", given)), b"", "http", "localhost")
    if known:
        guard.check(request)
    else:
        with pytest.raises(RefusedError):
            guard.check(request)
    guard.check(request, is_open=True)


@pytest.mark.parametrize(
    "accept", ["", ";;;", "application/openmetrics-text;version=x", "text/plain;version=9;q=x", ","]
)
def test_metrics_for_whoever_accepts_whatever(stub: StubServer, accept: str) -> None:
    assert get(stub, "/metrics", Accept=accept).status == 200


def test_a_head_of_what_never_ends_comes_to_its_end(stub: StubServer) -> None:
    with Raw(("127.0.0.1", stub.port)) as client:
        for path in ("/events", "/requests.har", "/cassettes/a/file", "/requests"):
            status, fields = client.send(f"HEAD /__admin{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).head()
            assert status == 200
            assert fields["x-content-type-options"] == "nosniff"
        assert client.ask(b"GET /__admin/health HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200


def test_nothing_secret_is_told_of_a_request(stub: StubServer) -> None:
    key = "sk-proj-" + "a1B2c3D4" * 5
    secrets: dict[str, Any] = {"Authorization": f"Bearer {key}", "X-Api-Key": key, "Cookie": f"a={key}"}
    body = {**ask(f"my key is {key}"), "model": "x" * 190 + f" {key}", "api_key": key, "metadata": {"password": key}}
    call(stub, "POST", f"/v1/{'x' * 1985}?key={key}", body, secrets)
    call(stub, "POST", f"/v1/chat/completions?api_key={key}", body, secrets)
    chat(stub, "one")
    paths = ("/requests", "/requests/1", "/requests/2", "/requests.har", "/metrics", "/requests/unmatched/near-misses")
    for path in paths:
        told = get(stub, path).body.decode()
        assert key[:14] not in told, path
        assert key[-14:] not in told, path
