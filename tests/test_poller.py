"""Sockets are told of when what was waited for is there, by whatever the system offers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from raw import PATIENCE

from stubserver.poller import ACCEPT, GONE, LEAVES, READ, WRITE, Epoll, Poller, Selected, new_poller, wait_for

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[Epoll, Selected])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    found: Poller = request.param()
    yield found
    found.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_the_system_has_one() -> None:
    poller = new_poller()
    assert poller.wait(0) == []
    poller.close()


def test_bytes_are_told_of_until_they_are_read(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.watch(ours.fileno(), READ)
    assert poller.wait(0) == []
    theirs.send(b"x")
    assert poller.wait(PATIENCE) == [ours.fileno()] == poller.wait(PATIENCE)
    ours.recv(1)
    assert poller.wait(0) == []


def test_what_is_waited_for_may_change(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.watch(ours.fileno(), READ)
    poller.watch(ours.fileno(), WRITE, READ)
    assert poller.wait(PATIENCE) == [ours.fileno()]
    poller.watch(ours.fileno(), GONE, WRITE)
    theirs.send(b"x")
    assert poller.wait(0) == []
    poller.watch(ours.fileno(), READ, GONE)
    assert poller.wait(PATIENCE) == [ours.fileno()]


def test_what_is_forgotten_is_not_told_of(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    poller.watch(ours.fileno(), READ)
    poller.forget(ours.fileno())
    poller.forget(ours.fileno())
    assert poller.wait(0) == []


@pytest.mark.parametrize("leave", [socket.socket.close, lambda sock: sock.shutdown(socket.SHUT_WR)])
def test_a_client_that_leaves_is_told_of_and_what_it_sends_is_not(pair: Pair, leave: Callable[..., None]) -> None:
    poller, (ours, theirs) = Epoll(), pair
    poller.watch(ours.fileno(), LEAVES)
    theirs.send(b"x")
    assert poller.wait(0) == []
    leave(theirs)
    assert poller.wait(PATIENCE) == [ours.fileno()]
    poller.close()


def test_the_end_of_one_side_alone_is_not_the_end(pair: Pair) -> None:
    poller, (ours, theirs) = Epoll(), pair
    poller.watch(ours.fileno(), GONE)
    theirs.shutdown(socket.SHUT_WR)
    assert poller.wait(0) == []
    theirs.close()
    assert poller.wait(PATIENCE) == [ours.fileno()]
    poller.close()


def test_a_listening_socket_may_rest(poller: Poller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        poller.watch(listener.fileno(), ACCEPT)
        with socket.create_connection(listener.getsockname()):
            assert poller.wait(PATIENCE) == [listener.fileno()]
            poller.watch(listener.fileno(), GONE, ACCEPT)
            assert poller.wait(0) == []
            poller.watch(listener.fileno(), ACCEPT, GONE)
            assert poller.wait(PATIENCE) == [listener.fileno()]
        poller.forget(listener.fileno())


def test_a_wait_can_be_ended(poller: Poller) -> None:
    found: list[list[int]] = []
    waiting = threading.Thread(target=lambda: found.append(poller.wait(PATIENCE)))
    waiting.start()
    poller.wake()
    poller.wake()
    waiting.join(PATIENCE)
    assert found == [[]]


def test_a_closed_one_finds_nothing(poller: Poller, pair: Pair) -> None:
    poller.watch(pair[0].fileno(), READ)
    poller.close()
    poller.forget(pair[0].fileno())
    poller.wake()
    assert poller.wait(0) == []


def test_one_may_be_waited_for_alone(pair: Pair) -> None:
    ours, theirs = pair
    assert wait_for(ours.fileno(), WRITE, PATIENCE)
    assert not wait_for(ours.fileno(), READ, 0.01)
    assert not wait_for(ours.fileno(), GONE, -1.0)
    theirs.send(b"x")
    assert wait_for(ours.fileno(), READ, PATIENCE)
    assert not wait_for(ours.fileno(), LEAVES, 0.01)
    theirs.close()
    assert wait_for(ours.fileno(), LEAVES, PATIENCE)
    assert wait_for(ours.fileno(), GONE, PATIENCE)
