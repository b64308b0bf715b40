"""Connections without a thread: they go on when there is something, and end when their time is over."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from raw import PATIENCE, eventually

from stubserver.resting import Resting


class One:
    """A connection, and its client."""

    def __init__(self) -> None:
        self.sock, self.client = socket.socketpair()

    def fileno(self) -> int:
        return self.sock.fileno()

    def has_more(self) -> bool | None:
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return None

    def close(self) -> None:
        self.sock.close()
        self.client.close()


class Rests:
    """Connections that rest, and what came of them."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self.resumed: list[One] = []
        self.ended: list[One] = []
        self.resting: Resting[One] = Resting(seconds, self.resumed.append, self.ended.append)
        self.all: list[One] = []

    def add(self, count: int) -> list[One]:
        added = [One() for _ in range(count)]
        self.all += added
        assert all(self.resting.add(one) for one in added)
        return added

    def close(self) -> None:
        self.resting.end()
        for one in self.all:
            one.close()


@pytest.fixture
def rests() -> Iterator[Rests]:
    rests = Rests()
    yield rests
    rests.close()


def test_what_has_something_to_say_goes_on(rests: Rests) -> None:
    first, second, _ = rests.add(3)
    second.client.send(b"x")
    assert eventually(lambda: rests.resumed == [second])
    first.client.send(b"x")
    assert eventually(lambda: rests.resumed == [second, first])
    assert (len(rests.resting), rests.ended) == (1, [])


def test_what_was_said_before_is_heard(rests: Rests) -> None:
    one = One()
    rests.all.append(one)
    one.client.send(b"x")
    rests.resting.add(one)
    assert eventually(lambda: rests.resumed == [one])


def test_what_left_is_ended(rests: Rests) -> None:
    first, second = rests.add(2)
    first.client.close()
    second.client.shutdown(socket.SHUT_WR)
    assert eventually(lambda: {*rests.ended} == {first, second})
    assert (len(rests.resting), rests.resumed) == (0, [])


def test_what_has_waited_too_long_is_ended() -> None:
    rests = Rests(0.01)
    try:
        added = rests.add(100)
        assert eventually(lambda: rests.ended == added)
        assert (len(rests.resting), rests.resumed) == (0, [])
    finally:
        rests.close()


def test_it_may_rest_again(rests: Rests) -> None:
    (one,) = rests.add(1)
    for count in range(1, 6):
        one.client.send(b"x")
        assert eventually(lambda count=count: len(rests.resumed) == count)
        one.sock.recv(1)
        assert rests.resting.add(one)
    assert eventually(lambda: len(rests.resting) == 1)


def test_the_end_is_the_end_of_all_but_those_with_something_to_say(rests: Rests) -> None:
    _, talks, _ = rests.add(3)
    assert eventually(lambda: len(rests.resting) == 3)
    rests.resting.stirred = lambda *_: None  # type: ignore[method-assign]  # it comes in the moment of the end
    talks.client.send(b"x")
    rests.resting.end()
    assert (len(rests.ended), rests.resumed, len(rests.resting)) == (2, [talks], 0)
    assert not rests.resting.add(rests.all[0])


def test_a_stir_about_nothing_changes_nothing(rests: Rests) -> None:
    (one,) = rests.add(1)
    assert eventually(lambda: len(rests.resting) == 1)
    rests.resting.stirred(one.fileno(), 1)
    rests.resting.stirred(99_999, 1)
    assert (len(rests.resting), rests.resumed, rests.ended) == (1, [], [])


def test_what_was_closed_meanwhile_is_left_alone(rests: Rests) -> None:
    one = One()
    one.close()
    assert rests.resting.add(one)
    rests.add(1)[0].client.send(b"x")
    assert eventually(lambda: len(rests.resumed) == 1)
    assert len(rests.resting) == 0
