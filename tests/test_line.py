"""One client's socket: whole pieces, and the time that either side has."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from raw import PATIENCE, eventually

from stubserver import line as module
from stubserver.line import Line

LARGE = bytes(range(256)) * 100_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        client.settimeout(PATIENCE)
        sock, _ = listener.accept()
        with sock:
            yield sock, client


@pytest.fixture
def line(pair: tuple[socket.socket, socket.socket]) -> Line:
    line = Line(pair[0], PATIENCE)
    line.begin()
    return line


@pytest.fixture
def client(pair: tuple[socket.socket, socket.socket]) -> socket.socket:
    return pair[1]


def test_a_piece_is_sent_whole_however_slowly_it_is_read(line: Line, client: socket.socket) -> None:
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(line.send, LARGE)
        found = b""
        while len(found) < len(LARGE):
            found += client.recv(1_000_000)
        assert found == LARGE
        assert sending.result(PATIENCE) > 0


def test_who_never_reads_is_given_up(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOWEST", 10**12)
    line._patience = 0.01
    with pytest.raises((TimeoutError, BlockingIOError)):
        line.send(LARGE * 4)


def test_nothing_in_time_is_said(line: Line, client: socket.socket) -> None:
    line.wait_at_most(0.01)
    with pytest.raises(BlockingIOError):
        line.sock.recv(1)
    line.wait_at_most(PATIENCE)
    client.send(b"x")
    assert line.sock.recv(1) == b"x"


def test_what_there_is_to_read(line: Line, client: socket.socket) -> None:
    assert line.has_more() is None
    client.send(b"x")
    assert eventually(line.has_more)
    line.sock.recv(1)
    client.close()
    assert eventually(lambda: line.has_more() is False)
    line.close()
    line.close()
    assert line.has_more() is False


def test_the_end_is_one_of_ours_alone(line: Line, client: socket.socket) -> None:
    line.end()
    assert client.recv(1) == b""
    client.send(b"x")
    assert line.sock.recv(1) == b"x"


def test_a_reset_is_one(line: Line, client: socket.socket) -> None:
    line.reset()
    line.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


@pytest.mark.parametrize("both", [False, True])
def test_whoever_waits_hears_of_an_interruption(line: Line, *, both: bool) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(line.sock.recv, 1)
        line.interrupt(both=both)
        assert waiting.result(PATIENCE) == b""
    line.close()
    line.interrupt(both=both)
