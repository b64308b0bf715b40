"""One thread leads all; who is slow holds nobody up; nobody is led by two at once; and times are kept."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import inf

import pytest
from raw import PATIENCE, eventually

from stubserver.loop import Loop
from stubserver.poller import READ
from stubserver.threads import Threads


class Reader:
    """A source that notes the bytes it gets; ``slow`` is what it does with each first."""

    def __init__(self, slow: Callable[[bytes], object] = lambda _: None) -> None:
        self.sock, self.client = socket.socketpair()
        self.sock.settimeout(0)
        self.descriptor = self.sock.fileno()
        self.watched = 0
        self.deadline = inf
        self.turn = threading.Lock()
        self.got = b""
        self.times = 0
        self.led_by_two = False
        self.leaders: set[int] = set()
        self._inside = threading.Lock()
        self._slow = slow

    def ready(self) -> None:
        if not self._inside.acquire(blocking=False):
            self.led_by_two = True
            return
        try:
            data = self.sock.recv(1)
        except OSError:  # nothing was there, or the test is over
            data = b""
        self.leaders.add(threading.get_ident())
        self._slow(data)
        self.got += data
        self._inside.release()

    def late(self) -> None:
        self.times += 1
        self.deadline = inf


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that is led by a thread of its own until the test is over."""
    threads = Threads()
    found, ended = Loop(threads), threading.Event()
    leading = threading.Thread(target=found.run, args=(ended.is_set,))
    leading.start()
    yield found
    ended.set()
    found.wake()
    leading.join(PATIENCE)
    assert not leading.is_alive()
    threads.end(PATIENCE)
    found.close()


@pytest.fixture
def readers(loop: Loop) -> Iterator[Callable[..., Reader]]:
    """Make a source that the loop leads."""
    with ExitStack() as stack:

        def make(*arguments: Callable[[bytes], object]) -> Reader:
            reader = Reader(*arguments)
            stack.enter_context(reader.sock)
            stack.enter_context(reader.client)
            stack.callback(loop.detach, reader)
            loop.attach(reader, READ)
            return reader

        yield make


def test_whoever_has_bytes_goes_on(readers: Callable[..., Reader]) -> None:
    several = [readers() for _ in range(5)]
    for reader in several[::2]:
        reader.client.send(b"abc")
    assert eventually(lambda: all(reader.got == b"abc" for reader in several[::2]))
    assert [reader.got for reader in several[1::2]] == [b""] * 2


def test_who_is_detached_is_not_led_until_it_is_back(loop: Loop, readers: Callable[..., Reader]) -> None:
    reader, other = readers(), readers()
    loop.detach(reader)
    loop.detach(reader)
    reader.client.send(b"a")
    other.client.send(b"b")
    assert eventually(lambda: other.got == b"b")
    assert reader.got == b""
    loop.attach(reader, READ)
    assert eventually(lambda: reader.got == b"a")


def test_who_leaves_in_the_moment_in_which_another_one_is_through_is_not_watched() -> None:
    """The one unparks it just before the other takes it out: as if one had come behind the other."""
    loop, reader = Loop(Threads()), Reader()
    with reader.sock, reader.client:
        loop.attach(reader, READ)
        with reader.turn:
            loop._park(reader)
        loop._lock = _Contended(loop._lock, lambda: loop._unpark(reader))  # type: ignore[assignment]
        loop.detach(reader)
        reader.client.send(b"a")
        assert loop._poller.wait(0) == []
        assert (loop._parked, loop._sources, reader.watched) == (set(), {}, 0)
    loop.close()


class _Contended:
    """A lock that somebody else gets first, once."""

    def __init__(self, lock: threading.Lock, other: Callable[[], object]) -> None:
        self._lock = lock
        self._others = [other]

    def __enter__(self) -> None:
        if self._others:
            self._others.pop()()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_one_that_is_slow_holds_up_nobody_else(readers: Callable[..., Reader]) -> None:
    let = threading.Event()
    slow, quick = [readers(lambda _: let.wait(PATIENCE)) for _ in range(3)], readers()
    for reader in slow:
        reader.client.send(b"ab")
    quick.client.send(b"quick")
    assert eventually(lambda: quick.got == b"quick")
    assert [reader.got for reader in slow] == [b""] * 3
    let.set()
    assert eventually(lambda: all(reader.got == b"ab" for reader in slow))


def test_nobody_is_led_by_two_however_often_the_leader_changes(readers: Callable[..., Reader]) -> None:
    chance = random.Random(5)
    several = [readers(lambda _: time.sleep(chance.choice((0, 0, 0, 0.004, 0.012)))) for _ in range(12)]
    for reader in several:
        reader.client.send(b"0123456789")
    assert eventually(lambda: all(reader.got == b"0123456789" for reader in several))
    assert not any(reader.led_by_two for reader in several)
    assert len(set.union(*(reader.leaders for reader in several))) > 1


def test_there_is_an_end_to_the_threads_that_lead(readers: Callable[..., Reader]) -> None:
    let, before = threading.Event(), threading.active_count()
    stuck = [readers(lambda _: let.wait(PATIENCE)) for _ in range(100)]
    for reader in stuck:
        reader.client.send(b"a")
    assert eventually(lambda: threading.active_count() > before + 10)
    time.sleep(0.3)
    assert threading.active_count() < before + 80
    let.set()
    assert eventually(lambda: all(reader.got == b"a" for reader in stuck))


def test_a_deadline_that_is_over_is_told_of_once(loop: Loop, readers: Callable[..., Reader]) -> None:
    reader, other = readers(), readers()
    reader.deadline = time.perf_counter() + 0.02
    loop.expect(reader)
    assert eventually(lambda: reader.times == 1)
    other.client.send(b"a")
    assert eventually(lambda: other.got == b"a")
    assert (reader.times, other.times) == (1, 0)


def test_a_deadline_may_move_on_without_a_word(loop: Loop, readers: Callable[..., Reader]) -> None:
    reader = readers()
    begun = time.perf_counter()
    reader.deadline = begun + 0.01
    loop.expect(reader)
    reader.deadline = begun + 0.2
    assert eventually(lambda: reader.times == 1)
    assert time.perf_counter() >= begun + 0.2


def test_an_earlier_deadline_wakes_up_who_waits_for_a_later_one(loop: Loop, readers: Callable[..., Reader]) -> None:
    reader = readers()
    for seconds in (3600, 60, 0.01):
        reader.deadline = time.perf_counter() + seconds
        loop.expect(reader)
    assert eventually(lambda: reader.times == 1)


def test_a_leader_that_only_waits_ends_with_the_one_that_took_its_place() -> None:
    for _ in range(20):
        threads = Threads()
        loop, ended = Loop(threads), threading.Event()
        leading = threading.Thread(target=loop.run, args=(ended.is_set,))
        leading.start()
        assert eventually(lambda loop=loop: loop._waits_until != -inf)
        loop._change_leader()  # as the watchdog does when it looks before the wait, and acts within
        assert eventually(lambda threads=threads: len(threads._threads) == 1)
        ended.set()
        loop.wake()
        leading.join(PATIENCE)
        assert not leading.is_alive()
        threads.end(PATIENCE)
        assert not threads._threads
        loop.close()


def test_many_deadlines_of_one_source_are_one_time(loop: Loop, readers: Callable[..., Reader]) -> None:
    """A connection for each request leaves none behind: what is kept is for a descriptor, which comes again."""
    reader = readers()
    for _ in range(1000):
        loop.detach(reader)
        reader.deadline = time.perf_counter() + 3600
        loop.attach(reader, READ)
    assert len(loop._times) == 1


def test_calls_are_made_by_the_leader(loop: Loop, readers: Callable[..., Reader]) -> None:
    reader, made = readers(), []
    reader.client.send(b"a")
    assert eventually(lambda: reader.got == b"a")
    loop.call_at(time.perf_counter() + 0.02, lambda: made.append("later"))
    loop.call_at(time.perf_counter(), lambda: made.append("soon"))
    assert eventually(lambda: made == ["soon", "later"])


def test_a_mistake_ends_the_one_that_made_it_alone(
    readers: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))

    def break_down(_: bytes) -> None:
        raise LookupError

    bad, good = readers(break_down), readers()
    bad.client.send(b"ab")
    good.client.send(b"a")
    assert eventually(lambda: good.got == b"a")
    assert eventually(lambda: seen)
    assert (seen, bad.watched) == ([LookupError], 0)


def test_the_next_run_takes_over(loop: Loop, readers: Callable[..., Reader]) -> None:
    """As when a server ends: it leads what is left from another thread."""
    reader = readers()
    reader.client.send(b"ab")
    assert eventually(lambda: reader.got == b"ab")
    loop.run(lambda: reader.got == b"abc", seconds=0.01)
    reader.client.send(b"c")
    loop.run(lambda: reader.got == b"abc", PATIENCE)
    assert reader.got == b"abc"


def test_nothing_stays_behind() -> None:
    before = threading.active_count()
    for _ in range(20):
        threads = Threads()
        loop = Loop(threads)
        loop.run(lambda: True)
        loop.close()
        threads.end(PATIENCE)
    assert eventually(lambda: threading.active_count() <= before)


def test_a_loop_that_has_nothing_to_do_rests(loop: Loop, readers: Callable[..., Reader]) -> None:
    reader = readers()
    reader.client.send(b"a")
    assert eventually(lambda: reader.got == b"a")
    assert eventually(lambda: loop._rests)
    reader.client.send(b"b")
    assert eventually(lambda: reader.got == b"ab")
    assert eventually(lambda: loop._rests)
