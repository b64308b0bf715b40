"""Plain sockets: how answers are framed, for clients that read bytes and trust them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

TIMEOUT = 30


@pytest.fixture
def at(base_url: str) -> tuple[str, int]:
    parts = urlsplit(base_url)
    return parts.hostname or "", parts.port or 80


def post(body: Any, *fields: str, path: str = "/v1/chat/completions", version: str = "1.1") -> bytes:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/{version}", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(sent)}", *fields, "\r\n"]).encode() + sent


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Say something."}], **more}


@contextmanager
def connected(at: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(at, TIMEOUT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def to_the_end(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def head_of(data: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return status, {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}, rest


def one(sock: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Read one answer that has a length, and not a byte more."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(1)
    status, fields, _ = head_of(data)
    body = b""
    while len(body) < int(fields["content-length"]):
        body += sock.recv(int(fields["content-length"]) - len(body))
    return status, fields, body


def test_an_answer_has_its_length_and_is_not_chunked(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        sock.sendall(post(chat(model), "Connection: close"))
        status, fields, body = head_of(to_the_end(sock))
    assert status == "HTTP/1.1 200 OK"
    assert int(fields["content-length"]) == len(body)
    assert "transfer-encoding" not in fields
    assert "content-encoding" not in fields
    assert fields["connection"].lower() == "close"
    assert fields["content-type"].startswith("application/json")


def test_who_reads_to_the_end_has_json(at: tuple[str, int], model: str) -> None:
    """As datatrove does: no port in Host, headers skipped, and the rest is the JSON."""
    with connected(at) as sock:
        sock.sendall(post(chat(model, n=2), "Connection: close"))
        found = json.loads(to_the_end(sock).partition(b"\r\n\r\n")[2])
    assert len(found["choices"]) == 2


def test_a_connection_serves_many_requests(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        for count in (1, 2, 3):
            sock.sendall(post(chat(model, n=count)))
            status, fields, body = one(sock)
            assert (status, fields.get("connection", "keep-alive").lower()) == ("HTTP/1.1 200 OK", "keep-alive")
            assert len(json.loads(body)["choices"]) == count


def test_pipelined_requests_are_answered_in_order(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        sock.sendall(b"".join(post(chat(model, n=count)) for count in (3, 1, 2)))
        assert [len(json.loads(one(sock)[2])["choices"]) for _ in range(3)] == [3, 1, 2]


def test_a_request_may_come_byte_by_byte(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        for byte in post(chat(model)):
            sock.sendall(bytes([byte]))
        assert one(sock)[0] == "HTTP/1.1 200 OK"


def test_a_request_may_be_chunked(at: tuple[str, int], model: str) -> None:
    body = json.dumps(chat(model)).encode()
    pieces = [body[:7], body[7:]]
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(at) as sock:
        sock.sendall(head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n")
        assert one(sock)[0] == "HTTP/1.1 200 OK"


def test_who_expects_100_gets_it(at: tuple[str, int], model: str) -> None:
    head, _, body = post(chat(model), "Expect: 100-continue").partition(b"\r\n\r\n")
    with connected(at) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert one(sock)[0] == "HTTP/1.1 200 OK"


def test_http_1_0_is_answered_and_closed(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        sock.sendall(post(chat(model), version="1.0"))
        _, fields, body = head_of(to_the_end(sock))
    assert "transfer-encoding" not in fields
    assert json.loads(body)["object"] == "chat.completion"


def chunks(data: bytes) -> list[bytes]:
    """Take the chunks of a body apart; it has to end as one does."""
    found = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        found.append(data[:length])
        assert data[length : length + 2] == b"\r\n"
        data = data[length + 2 :]
    assert found.pop() == b""
    return found


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_each_event_is_one_chunk_and_one_line(at: tuple[str, int], model: str, path: str) -> None:
    body = chat(model, stream=True) if "chat" in path else {"model": model, "prompt": "x", "stream": True}
    with connected(at) as sock:
        sock.sendall(post(body, "Connection: close", path=path))
        _, fields, rest = head_of(to_the_end(sock))
    events = chunks(rest)
    assert fields["content-type"].startswith("text/event-stream")
    assert "content-length" not in fields
    assert len(events) > 3
    assert events.pop() == b"data: [DONE]\n\n"
    for event in events:
        assert event.startswith(b"data: {")
        assert event.endswith(b"}\n\n")
        assert event.count(b"\n") == 2
        assert b"\r" not in event
        assert json.loads(event.removeprefix(b"data: "))["choices"]


def test_the_events_of_a_response_have_names_and_no_done(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        sock.sendall(post({"model": model, "input": "x", "stream": True}, "Connection: close", path="/v1/responses"))
        events = chunks(head_of(to_the_end(sock))[2])
    for number, event in enumerate(events):
        name, data, *rest = event.decode().split("\n")
        found = json.loads(data.removeprefix("data: "))
        assert rest == ["", ""]
        assert (name, found["sequence_number"]) == (f"event: {found['type']}", number)
    assert b"[DONE]" not in events[-1]


def test_a_stream_over_http_1_0_ends_with_its_connection(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        sock.sendall(post(chat(model, stream=True), version="1.0"))
        _, fields, rest = head_of(to_the_end(sock))
    assert "transfer-encoding" not in fields
    assert rest.startswith(b"data: {")
    assert rest.endswith(b"data: [DONE]\n\n")


def test_a_connection_goes_on_after_a_stream(at: tuple[str, int], model: str) -> None:
    with connected(at) as sock:
        sock.sendall(post(chat(model, stream=True)))
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += sock.recv(65536)
        sock.sendall(post(chat(model)))
        assert one(sock)[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b'{"model": '), "HTTP/1.1 400 Bad Request"),
        (post({"model": "m"}), "HTTP/1.1 400 Bad Request"),
        (post({}, path="/v1/nope"), "HTTP/1.1 404 Not Found"),
        (b"GET /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
    ],
)
def test_an_error_is_framed_like_an_answer(at: tuple[str, int], request_: bytes, status: str) -> None:
    with connected(at) as sock:
        for _ in range(2):  # the connection goes on
            sock.sendall(request_)
            found, fields, body = one(sock)
            assert found == status
            assert fields["content-type"].startswith("application/json")
            assert json.loads(body)["error"].keys() >= {"message", "type", "param", "code"}


def test_a_large_body_is_read_whole(at: tuple[str, int], model: str) -> None:
    body = chat(model)
    body["messages"][0]["content"] = "word " * 1_200_000
    with connected(at) as sock:
        sock.sendall(post(body))
        status, _, answer = one(sock)
    assert status == "HTTP/1.1 200 OK"
    assert json.loads(answer)["usage"]["prompt_tokens"] > 1_000_000


def test_head_has_no_body(at: tuple[str, int]) -> None:
    with connected(at) as sock:
        sock.sendall(b"HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status, fields, body = head_of(to_the_end(sock))
    assert (status, body) == ("HTTP/1.1 200 OK", b"")
    assert int(fields["content-length"]) > 0
