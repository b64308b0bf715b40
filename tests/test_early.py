"""Listening before the imports: what is listened on, and who gets it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from stubserver import StubServer, early


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    yield port
    left = early.take("127.0.0.1", port)
    if left is not None:
        socket.socket(fileno=left).close()


def test_what_connects_early_is_answered_by_the_server(port: int) -> None:
    early.listen(["--port", str(port), "--fallback=error"])
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with StubServer(port=port) as stub:
            assert stub.port == port
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert early.take("127.0.0.1", port) is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--port"],
        ["serve", "--port", "{port}"],
        ["--port", "{port}", "--host=0.0.0.0"],
        ["--port", "{port}", "--host", "::1"],
        ["--port", "0"],
        ["--port", "99999"],
        ["--port", "9" * 5000],
        ["--port", "²"],
        ["--port", "-1"],
        ["--port={port}"],
    ],
)
def test_nothing_is_listened_on_without_a_plain_port(arguments: list[str], port: int) -> None:
    early.listen([argument.format(port=port) for argument in arguments])

    assert early.take("127.0.0.1", port) is None


def test_port_in_use_is_left_to_the_server(port: int) -> None:
    with StubServer(port=port):
        early.listen(["--port", str(port)])

        assert early.take("127.0.0.1", port) is None


def test_the_port_is_open_before_the_command_line_is_imported() -> None:
    port = free_port()
    code = (
        "import sys; from stubserver import early; early.listen(sys.argv[1:]);"
        "print(sorted(m for m in ('click', 'socket', 'http', 're') if m in sys.modules), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-S", "-c", code, "--port", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=".")
    assert process.stdout is not None
    try:
        assert "click" not in process.stdout.readline()
        socket.create_connection(("127.0.0.1", port), 10).close()
    finally:
        process.communicate("")


def test_datatroves_way_of_starting_a_server_script() -> None:
    port = free_port()
    command = [sys.executable, "-mstubserver", "--port", str(port), "--style=datatrove", "--no-allow-headers-only"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 30
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", port), 10)
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.005)
        with client:
            client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
        process.terminate()
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert "Application startup complete" in out
    assert (process.returncode, err) == (0, "")
