"""An upstream for the tests of recording: plain sockets, so that it can misbehave in every way there is."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from raw import PATIENCE

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"

Say = Callable[[socket.socket], object]
"""Says one answer, in its own way; the connection is closed behind it."""


def answer(body: bytes = b"", kind: str = JSON, *fields: str, status: str = "200 OK") -> bytes:
    """Write a well-behaved answer."""
    return head(f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields, status=status) + body


def head(*fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "\r\n"]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*events: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Write an event stream in chunks, one for each event."""
    return head(f"Content-Type: {SSE}", "Transfer-Encoding: chunked") + b"".join(map(chunk, events)) + end


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
STREAM = (event("one"), event("two"), DONE)
WHOLE = json.dumps({"id": "c", "object": "chat.completion", "choices": [], "model": "m"}).encode()


def sending(data: bytes) -> Say:
    return lambda sock: sock.sendall(data)


def resetting(data: bytes) -> Say:
    def say(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return say


def silent(data: bytes = b"") -> Say:
    """Send *data* and then nothing, until the other side leaves."""

    def say(sock: socket.socket) -> None:
        sock.sendall(data)
        with suppress(OSError):
            sock.recv(1)

    return say


class Fault(NamedTuple):
    """How an upstream misbehaves, and what comes of it.

    ``status`` is what the client sees, None for an answer that is cut; ``note`` is part of what the journal says.
    """

    say: Say
    status: int | None
    note: str


_PACKED = gzip.compress(WHOLE)
_BOMB = gzip.compress(bytes(80 * 1024 * 1024), 1)
_ERROR_EVENT = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'


def _packed(body: bytes) -> Say:
    return sending(answer(body, JSON, "Content-Encoding: gzip"))


FAULTS = {
    "closes at once": Fault(sending(b""), 502, "broke off"),
    "resets at once": Fault(resetting(b""), 502, "broke off"),
    "closes within the head": Fault(sending(b"HTTP/1.1 200 OK\r\nContent-Ty"), None, "ended with its head"),
    "garbage": Fault(sending(b"\x00\xff\xfe not HTTP \x01\r\n\r\n"), 502, "broke off"),
    "a page of SMTP": Fault(sending(b"220 mail ESMTP\r\n"), 502, "broke off"),
    "status out of range": Fault(sending(b"HTTP/1.1 7 Odd\r\n\r\n"), 502, "broke off"),
    "switches protocols": Fault(sending(head("Upgrade: h2c", status="101 Switching Protocols")), 502, "status 101"),
    "more than 100 fields": Fault(
        sending(head(*(f"X-{n}: {n}" for n in range(150)), "Content-Length: 0")), 502, "broke off"
    ),
    "an endless field": Fault(sending(head("X-A: " + "a" * 70_000, "Content-Length: 0")), 502, "broke off"),
    "two lengths": Fault(
        sending(head("Content-Length: 5", "Content-Length: 6", f"Content-Type: {JSON}") + b"12345"), 502, "broke off"
    ),
    "silent": Fault(silent(), 504, "did not answer in time"),
    "cut by its length": Fault(
        sending(head(f"Content-Type: {JSON}", "Content-Length: 500") + WHOLE), None, "broke off"
    ),
    "reset in its body": Fault(resetting(head(f"Content-Type: {JSON}", "Content-Length: 500") + WHOLE), None, "broke"),
    "cut within a chunk": Fault(sending(stream(STREAM[0], end=b"ff\r\nabc")), None, "broke off"),
    "without the last chunk": Fault(sending(stream(*STREAM, end=b"")), None, "broke off"),
    "a chunk without a size": Fault(sending(stream(STREAM[0], end=b"zz\r\nabc\r\n")), None, "broke off"),
    "silent in its body": Fault(silent(stream(STREAM[0], end=b"")), None, "did not answer in time"),
    "truncated gzip": Fault(_packed(_PACKED[:-6]), 200, "compression"),
    "gzip that is none": Fault(_packed(WHOLE), 200, "compression"),
    "gzip with more behind it": Fault(_packed(_PACKED + b"more"), 200, "compression"),
    "gzip with a wrong sum": Fault(_packed(_PACKED[:-8] + bytes(8)), 200, "compression"),
    "gzip bomb": Fault(_packed(_BOMB), 200, "compression"),
    "an encoding nobody knows": Fault(sending(answer(WHOLE, JSON, "Content-Encoding: odd")), 200, "compression"),
    "half JSON": Fault(sending(answer(WHOLE[:-1])), 200, "no whole JSON"),
    "stream without its end": Fault(sending(stream(*STREAM[:2])), 200, "without its last event"),
    "stream cut within an event": Fault(sending(stream(STREAM[0], b'data: {"a"')), 200, "within an event"),
    "stream with an error": Fault(sending(stream(STREAM[0], _ERROR_EVENT, DONE)), 200, "holds an error"),
    "empty stream": Fault(sending(stream()), 200, "within an event"),
    "a page of an error": Fault(
        sending(answer(b"<html>", "text/html", status="500 Oh")), 500, "status 500 is not kept"
    ),
    "too many requests": Fault(sending(answer(b"{}", status="429 Slow down")), 429, "status 429 is not kept"),
    "not authorized": Fault(sending(answer(b"{}", status="401 No")), 401, "status 401 is not kept"),
}
"""Everything here is kept nowhere."""

ODD = {
    "folded field": sending(head("X-A: one", " Set-Cookie: b", "Content-Length: 2", f"Content-Type: {JSON}") + b"{}"),
    "bare CR in a field": sending(answer(b"{}", JSON, "X-A: b\rX-Injected: 1")),
    "NUL in a field": sending(answer(b"{}", JSON, "X-A: b\0c")),
    "name that is none": sending(answer(b"{}", JSON, "X(A): b", "X-@: c")),
    "NUL in the reason": sending(answer(b"{}", status="200 O\0K")),
    "no reason": sending(answer(b"{}", status="200")),
    "length and chunks": sending(
        head("Content-Length: 9999", "Transfer-Encoding: chunked", f"Content-Type: {JSON}")
        + chunk(b"{")
        + chunk(b"}")
        + b"0\r\n\r\n"
    ),
    "until the end of the connection": sending(head(f"Content-Type: {JSON}") + b"{}"),
    "continue first": sending(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}")),
    "HTTP/1.0": sending(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}"),
    "trailers": sending(
        head("Transfer-Encoding: chunked", f"Content-Type: {JSON}") + chunk(b"{}") + b"0\r\nX-Late: 1\r\n\r\n"
    ),
    "deflate": sending(answer(zlib.compress(b"{}"), JSON, "Content-Encoding: deflate")),
}
"""Whole answers, ``{}`` each, said in an odd way: passed on and kept."""


class Asked(NamedTuple):
    """A request as it came in."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes


class Upstream:
    """Answers each path with what ``says`` holds for it; ``asked`` and ``connections`` are what was seen.

    With *tls*, over TLS, under the name localhost.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.says: dict[str, bytes | Say] = {}
        self.otherwise: bytes | Say = answer(WHOLE)
        self.asked: list[Asked] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="upstream")]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), name="upstream")
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        try:
            if self._tls is not None:
                with suppress(OSError):
                    sock = self._tls.wrap_socket(sock, server_side=True)
                    self._open.add(sock)
            with sock, suppress(OSError), sock.makefile("rb") as file:
                while asked := _read(file):
                    self.asked.append(asked)
                    say = self.says.get(asked.target, self.otherwise)
                    if not isinstance(say, bytes):
                        say(sock)
                        return
                    sock.sendall(say)
        finally:
            self._open.discard(sock)

    def close(self) -> None:
        """Stop, and refuse connections from now on."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE)


def _read(file: object) -> Asked | None:
    lines = []
    while (line := file.readline()) not in {b"\r\n", b""}:  # type: ignore[attr-defined]
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    if not lines:
        return None
    method, target, _ = lines[0].split(" ")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Asked(method, target, fields, file.read(int(fields.get("content-length", 0))))  # type: ignore[attr-defined]


@contextmanager
def upstream(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    found = Upstream(tls)
    try:
        yield found
    finally:
        with suppress(OSError):
            found.close()
