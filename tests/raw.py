"""What the tests of the server share: a client that sends exactly the bytes it is told to, and a server in a thread."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

from stubserver.app import App
from stubserver.cassettes.library import Library
from stubserver.connection import ServerSettings
from stubserver.messages import Answer, Response
from stubserver.server import Server

PATIENCE = 60.0
"""Seconds after which something that has to happen did not; no test is about how fast it does."""

GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


def eventually(found: Callable[[], Any]) -> Any:
    """Wait until *found* returns something true, and return that."""
    until = time.monotonic() + PATIENCE
    while not (value := found()) and time.monotonic() < until:
        time.sleep(0.005)
    return value


def post(body: bytes, *fields: str, target: str = "/v1/chat/completions") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *fields, "\r\n"]
    return "\r\n".join(lines).encode() + body


def chat(text: str = "hi", **more: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return post(json.dumps(body, separators=(",", ":")).encode(), "Content-Type: application/json")


class Raw:
    """One connection; *address* as ``socket.create_connection`` takes it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=PATIENCE)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def send(self, *pieces: bytes) -> Self:
        for piece in pieces:
            self.sock.sendall(piece)
        return self

    def half_close(self) -> Self:
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Leave without a word: the server gets a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> bytes:
        data = self.sock.recv(65_536)
        self._buffer += data
        return data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if not self._more():
                raise EOFError(self._buffer)
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._more():
                raise EOFError(self._buffer)
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def head(self) -> tuple[int, dict[str, str]]:
        """Read one head: the status, and the fields by their names in lower case."""
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        assert version == "HTTP/1.1"
        fields = [line.split(": ", 1) for line in lines]
        return int(status), {name.lower(): value for name, value in fields}

    def chunks(self) -> list[bytes]:
        """Read a chunked body: the data of each chunk as the server cut it."""
        found = []
        while size := int(self._until(b"\r\n"), 16):
            found.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"
        return found

    def answer(self) -> tuple[int, bytes]:
        """Read one whole answer: its status and its body."""
        status, fields = self.head()
        if fields.get("transfer-encoding") == "chunked":
            return status, b"".join(self.chunks())
        return status, self.exactly(int(fields["content-length"]))

    def status(self) -> int:
        return self.answer()[0]

    def rest(self) -> bytes:
        """Read until the server ends the connection; a RST is an end like any other."""
        try:
            while self._more():
                pass
        except ConnectionResetError:
            pass
        found, self._buffer = self._buffer, b""
        return found

    def ask(self, request: bytes) -> tuple[int, bytes]:
        return self.send(request).answer()


class Fixed(App):
    """An app that gives the same answer to everything."""

    def __init__(self, response: Response) -> None:
        super().__init__(Library(()))
        self._answer = Answer(response, "dummy")

    def answer(self, prepared: object, delivery: object = None) -> Answer:
        del prepared, delivery
        return self._answer


@contextmanager
def listening(
    app: App | None = None, settings: ServerSettings | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[tuple[Server, threading.Thread]]:
    """Listen, with the thread that will accept when it is started; at the end, everything is closed."""
    server = Server(host, port, app or App(Library(())), settings or ServerSettings())
    accepting = threading.Thread(target=server.serve_forever)
    try:
        yield server, accepting
    finally:
        server.shutdown()
        if accepting.ident is not None:
            accepting.join()
        server.server_close()
        server.end_connections(0.0)


@contextmanager
def serving(*args: Any, **options: Any) -> Iterator[Server]:
    """Listen and serve."""
    with listening(*args, **options) as (server, accepting):
        accepting.start()
        yield server


def address_of(server: Server) -> tuple[str, int]:
    return str(server.server_address[0]), server.server_port
