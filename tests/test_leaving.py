"""Clients that leave are noticed, those that are there are not; and the loop leads them again behind it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from raw import PATIENCE, eventually

from stubserver import loop as loop_module
from stubserver.leaving import watching
from stubserver.loop import Loop
from stubserver.poller import LEAVES, Poller, Selected, new_poller
from stubserver.threads import Threads


@pytest.fixture(params=[new_poller, Selected], ids=["the best", "selected"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """A loop that is led by a thread of its own until the test is over."""
    make: Callable[[], Poller] = request.param
    monkeypatch.setattr(loop_module, "new_poller", make)
    threads = Threads()
    found, ended = Loop(threads), threading.Event()
    leader = threading.Thread(target=found.run, args=(ended.is_set,))
    leader.start()
    yield found
    assert found._sources == {}
    ended.set()
    found.wake()
    leader.join(PATIENCE)
    threads.end(PATIENCE)
    found.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("how", ["close", "half"])
def test_a_client_that_leaves_is_told_of(how: str, loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    left = threading.Event()
    with watching(loop, ours, left.set):
        theirs.close() if how == "close" else theirs.shutdown(socket.SHUT_WR)
        assert left.wait(PATIENCE)


def test_a_client_that_has_left_before_is_told_of(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    left = threading.Event()
    with watching(loop, ours, left.set):
        assert left.wait(PATIENCE)


def test_a_client_that_sends_more_is_there(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    left: list[int] = []
    with watching(loop, ours, lambda: left.append(1)):
        theirs.send(b"GET")
        assert loop.leaving == LEAVES or eventually(lambda: not loop._sources)  # looked at, and let be
        assert ours.recv(3) == b"GET"
    assert left == []


def test_a_client_that_sent_more_before_it_left_is_told_of(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"\r\n")  # as some do behind a body
    theirs.close()
    left = threading.Event()
    with watching(loop, ours, left.set):
        assert left.wait(PATIENCE)
    assert ours.recv(3) == b"\r\n"


def test_a_leader_that_is_told_of_the_request_itself_goes_on_watching(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """As when two leaders were told of it: the second one finds the client watched instead."""
    ours, theirs = pair
    left = threading.Event()
    with watching(loop, ours, left.set):
        client = loop._sources[ours.fileno()]
        with client.turn:
            client.ready()
        assert not left.is_set()
        theirs.close()
        assert left.wait(PATIENCE)


def test_nothing_is_told_behind_the_block(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    left: list[int] = []
    with watching(loop, ours, lambda: left.append(1)):
        pass
    other_ours, other_theirs = socket.socketpair()
    heard = threading.Event()
    with other_ours, other_theirs, watching(loop, other_ours, heard.set):
        theirs.close()
        other_theirs.close()
        assert heard.wait(PATIENCE)
    assert left == []


def test_the_block_ends_behind_what_is_told(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    told, through, out = threading.Event(), threading.Event(), threading.Event()

    def left() -> None:
        told.set()
        through.wait(PATIENCE)
        assert not out.is_set()

    def block() -> None:
        with watching(loop, pair[0], left):
            pair[1].close()
            told.wait(PATIENCE)
        out.set()

    thread = threading.Thread(target=block)
    thread.start()
    assert told.wait(PATIENCE)
    assert not out.wait(0.05)
    through.set()
    assert out.wait(PATIENCE)
    thread.join(PATIENCE)


def test_one_connection_is_watched_many_times(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    for _ in range(100):
        with watching(loop, ours, lambda: None):
            pass
    left = threading.Event()
    with watching(loop, ours, left.set):
        theirs.close()
        assert left.wait(PATIENCE)


def test_where_the_system_watches_no_more_nobody_does(
    loop: Loop, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop._poller, "watch", full)
    with watching(loop, pair[0], pytest.fail):
        pair[1].close()


def test_behind_the_end_nobody_watches(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = Loop(Threads())
    loop.close()
    with watching(loop, pair[0], pytest.fail):
        pair[1].close()
