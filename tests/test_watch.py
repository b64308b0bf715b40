"""A thread that looks after many things: what it takes in, what it is told, and that it ends."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw import eventually

from stubserver import watch as module
from stubserver.watch import READ, Watch


class Watched(Watch[socket.socket]):
    """Reads what comes to its sockets."""

    name = "stubserver-watched"

    def __init__(self) -> None:
        super().__init__()
        self.socks: dict[int, socket.socket] = {}
        self.read: list[bytes] = []
        self.dropped = 0
        self.fails = False

    def taken(self, item: socket.socket) -> None:
        self.socks[item.fileno()] = item
        self.watch(item.fileno(), READ)

    def stirred(self, number: int, events: int) -> None:
        if self.fails:
            raise KeyError(events)
        self.read.append(self.socks[number].recv(100))
        self.unwatch(number)

    def turn(self) -> float | None:
        return None

    def drop(self) -> None:
        self.dropped += 1


@pytest.fixture(params=[True, False], ids=["epoll", "poll"])
def watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    if request.param and not hasattr(select, "epoll"):
        pytest.skip("this system has no epoll")
    monkeypatch.setattr(module, "_HAS_EPOLL", request.param)
    watch = Watched()
    yield watch
    watch.end()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == Watched.name]


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_nothing_is_begun_before_the_first_item() -> None:
    before = descriptors()
    watch = Watched()
    assert (descriptors(), running()) == (before, [])
    watch.end()


def test_what_is_added_from_any_thread_is_watched(watch: Watched) -> None:
    pairs = [socket.socketpair() for _ in range(40)]

    def add(part: list[tuple[socket.socket, socket.socket]]) -> None:
        for ours, theirs in part:
            assert watch.add(ours)
            theirs.send(b"x")

    threads = [threading.Thread(target=add, args=(pairs[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert eventually(lambda: len(watch.read) == 40)
    assert running() == [Watched.name]
    watch.end()
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def test_the_end_drops_everything_and_closes_what_is_ours(
    watch: Watched, pair: tuple[socket.socket, socket.socket]
) -> None:
    before = descriptors()
    assert watch.add(pair[0])
    watch.end()
    watch.end()
    assert (watch.dropped, running(), descriptors()) == (1, [], before)
    assert not watch.add(pair[0])


def test_what_was_never_begun_can_be_ended() -> None:
    watch = Watched()
    watch.end()
    assert not watch.dropped


def test_a_mistake_ends_it_and_leaves_nothing_waiting(
    watch: Watched, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failed.append(args.exc_type))
    watch.fails = True
    assert watch.add(pair[0])
    pair[1].send(b"x")
    assert eventually(lambda: failed == [KeyError] and not running())
    assert watch.dropped == 1
    assert not watch.add(pair[0])


@pytest.mark.parametrize("missing", ["epoll", "pair", "thread"])
def test_a_system_that_has_nothing_left_is_no_error(
    missing: str, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError if missing != "thread" else RuntimeError

    before = descriptors()
    place, name = {"epoll": (select, "epoll"), "pair": (socket, "socketpair"), "thread": (threading.Thread, "start")}[
        missing
    ]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, fail, raising=False)
        watch = Watched()
        assert not watch.add(pair[0])
        assert descriptors() == before
    assert watch.add(pair[0])
    watch.end()


def test_a_forked_child_lets_go_of_it(watch: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """What is called there: the thread is the parent's, and everything is closed."""
    before = descriptors()
    assert watch.add(pair[0])
    eyes, watch._eyes = watch._eyes, None
    assert eyes is not None
    other = Watched()
    other._eyes = type(eyes)()
    other.let_go()
    other.let_go()
    assert not other.add(pair[0])
    watch._eyes = eyes
    watch.end()
    assert descriptors() == before
