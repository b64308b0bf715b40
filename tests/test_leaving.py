"""Clients that leave are noticed, those that are there are not; and nothing is left of the watching."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator

import pytest
from raw import eventually

from stubserver.leaving import Leavers


@pytest.fixture
def leavers() -> Iterator[Leavers]:
    found = Leavers()
    yield found
    found.end()
    assert "stubserver-leavers" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("how", ["close", "half"])
def test_a_client_that_leaves_is_told_of(how: str, leavers: Leavers, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    left = threading.Event()
    with leavers.watching(ours, left.set):
        theirs.close() if how == "close" else theirs.shutdown(socket.SHUT_WR)
        assert left.wait(60)


def test_a_client_that_sends_more_is_there(leavers: Leavers, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    left: list[int] = []
    with leavers.watching(ours, lambda: left.append(1)):
        theirs.send(b"GET")
        selector = leavers._selector
        assert selector is not None
        assert eventually(lambda: len(selector.get_map()) == 1)  # looked at, and let be
        assert ours.recv(3) == b"GET"
    assert left == []


def test_nothing_is_told_behind_the_block(leavers: Leavers, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    left: list[int] = []
    with leavers.watching(ours, lambda: left.append(1)):
        pass
    other_ours, other_theirs = socket.socketpair()
    heard = threading.Event()
    with other_ours, other_theirs, leavers.watching(other_ours, heard.set):
        theirs.close()
        other_theirs.close()
        assert heard.wait(60)
    assert left == []


def test_one_connection_is_watched_many_times(leavers: Leavers, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    for _ in range(100):
        with leavers.watching(ours, lambda: None):
            pass
    left = threading.Event()
    with leavers.watching(ours, left.set):
        theirs.close()
        assert left.wait(60)


def test_without_a_descriptor_nobody_watches(
    leavers: Leavers, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(selectors, "DefaultSelector", full)
    with leavers.watching(pair[0], pytest.fail):
        pair[1].close()


def test_a_thread_that_does_not_start_leaves_nothing_open(
    leavers: Leavers, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with leavers.watching(pair[0], pytest.fail):
        pair[1].close()
    assert leavers._selector is None


def test_behind_the_end_nobody_watches(pair: tuple[socket.socket, socket.socket]) -> None:
    leavers = Leavers()
    leavers.end()
    leavers.end()
    with leavers.watching(pair[0], pytest.fail):
        pair[1].close()
