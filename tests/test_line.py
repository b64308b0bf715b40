"""A conversation goes on when what it waits for is there, wherever that is waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from raw import PATIENCE, eventually

from stubserver import line
from stubserver.line import Line, Talk
from stubserver.loop import Loop
from stubserver.poller import READ
from stubserver.threads import Threads


class Echo(Line):
    """Says back what it hears; "apart" in a thread, "ident" who leads; "big" in a megabyte, "wait" after a while."""

    ended = False

    def converse(self) -> Talk[None]:
        try:
            while True:
                self.wait_at_most(PATIENCE)
                if not (yield READ):
                    return
                data = self.receive_now()
                if not data:
                    return
                yield from self._reply(data)
        except ZeroDivisionError:
            yield from self.send(b"caught")
            yield from self.linger()
        finally:
            self._loop.detach(self)
            self.let_go()
            self.ended = True

    def _reply(self, data: bytes) -> Talk[None]:
        if data == b"apart":
            data = yield lambda: str(threading.get_ident()).encode()
        elif data == b"twice":
            first = yield threading.get_ident
            second = yield threading.get_ident
            data = str(first == second).encode()
        elif data == b"ident":
            data = str(threading.get_ident()).encode()
        elif data == b"wrong":
            yield lambda: 1 // 0
        elif data == b"big":
            data = b"x" * 20_000_000
        elif data == b"waiting":
            data = str((yield lambda: self.follow(self.send(b"y" * 20_000_000)))).encode()
        yield from self.send(data)


@contextmanager
def led() -> Iterator[tuple[Loop, Threads]]:
    """Lead a loop in a thread of its own within the block."""
    threads, ended = Threads(), threading.Event()
    loop = Loop(threads)
    leading = threading.Thread(target=loop.run, args=(ended.is_set,))
    leading.start()
    yield loop, threads
    ended.set()
    loop.wake()
    leading.join(PATIENCE)
    threads.end(PATIENCE)
    loop.close()


@contextmanager
def talking(timeout: float = PATIENCE) -> Iterator[tuple[Echo, socket.socket]]:
    ours, client = socket.socketpair()
    with ours, client, led() as (loop, threads):  # the sockets are closed when nobody leads any more
        client.settimeout(PATIENCE)
        echo = Echo(ours, loop, threads, timeout)
        echo.begin()
        yield echo, client


def ask(client: socket.socket, text: bytes) -> bytes:
    client.send(text)
    return client.recv(100)


def test_the_loop_leads_and_jobs_are_done_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "_change_leader", lambda _: None)
    with talking() as (_, client):
        leader = ask(client, b"ident")
        assert ask(client, b"hello") == b"hello"
        assert ask(client, b"apart") != leader
        assert ask(client, b"twice") == b"True"
        assert ask(client, b"ident") == leader


def test_what_a_job_raises_is_raised_in_the_conversation() -> None:
    with talking() as (line, client):
        assert ask(client, b"wrong") == b"caught"
        client.send(b"dropped")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        assert eventually(lambda: line.ended)


@pytest.mark.parametrize("how", [b"big", b"waiting"])
def test_a_slow_reader_gets_all_of_it(how: bytes) -> None:
    with talking() as (_, client):
        client.send(how)
        left = 20_000_000
        while left > 0:
            left -= len(client.recv(min(left, 1_000_000)))
            time.sleep(0.001)
        if how == b"waiting":
            assert float(client.recv(100)) > 0
        assert ask(client, b"next") == b"next"


@pytest.mark.parametrize("how", [b"big", b"waiting"])
def test_who_does_not_read_is_given_up(how: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stubserver.line.UPLOAD_SPEED", 1e12)
    monkeypatch.setattr(Echo, "converse", _given_up)
    with talking(timeout=0.05) as (line, client):
        client.send(how)
        assert eventually(lambda: line.ended)


def _given_up(self: Echo) -> Talk[None]:
    try:
        yield READ
        yield from self._reply(self.receive_now())
    except TimeoutError:
        self.ended = True
    finally:
        self._loop.detach(self)
        self.let_go()


def test_a_client_that_leaves_ends_it() -> None:
    with talking() as (line, client):
        client.close()
        assert eventually(lambda: line.ended)


def test_an_interrupted_line_ends() -> None:
    with talking() as (line, client):
        assert ask(client, b"hello") == b"hello"
        line.interrupt(busy_too=False)
        assert eventually(lambda: line.ended)


def test_a_job_that_outlives_the_loop_ends_without_a_word() -> None:
    """As when a server ends while an upstream is connected to; a mistake in the thread would fail this test."""
    threads, begun, closed = Threads(), threading.Event(), threading.Event()
    loop = Loop(threads)
    ours, client = socket.socketpair()

    def reply(self: Echo, _: bytes) -> Talk[None]:
        yield begun_and_closed
        yield from self.send(b"done")

    def begun_and_closed() -> None:
        begun.set()
        loop.wake()
        assert closed.wait(PATIENCE)

    with ours, client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Echo, "_reply", reply)
        line = Echo(ours, loop, threads, PATIENCE)
        line.begin()
        client.send(b"x")
        loop.run(begun.is_set)
        loop.close()
        closed.set()
        assert client.recv(100) == b"done"
        assert eventually(lambda: line.ended)
        threads.end(PATIENCE)


def test_what_is_received_into_is_used_again() -> None:
    line._buffers.clear()
    ours, theirs = socket.socketpair()
    quiet, other = socket.socketpair()
    with ours, theirs, quiet, other, led() as (loop, threads):
        lines = [Echo(sock, loop, threads, PATIENCE) for sock in (ours, quiet)]
        for said in (b"one", b"x" * 60_000, b""):
            theirs.sendall(said) if said else theirs.shutdown(socket.SHUT_WR)
            assert lines[0].receive_now() == said
            with pytest.raises(BlockingIOError):
                lines[1].receive_now()
        assert len(line._buffers) == 1
