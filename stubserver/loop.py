"""One loop for all connections: it waits for what they wait for, and lets each go on when that has come.

One thread leads: it waits, and does what has come, one thing after the other, since under Python's lock several would
only be in each other's way. What may wait for something else is done by threads of its own; whoever is led says so. A
request that takes long all the same (a large one, a slow search) does not hold up the others: another thread takes the
lead after some milliseconds, and the one that was late leaves when it is through.
"""

from __future__ import annotations

import heapq
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final, Protocol

from stubserver.poller import new_poller
from stubserver.threads import Threads

__all__ = ["Loop", "Source", "report_mistake"]

_now = time.perf_counter
_LOOK_SECONDS: Final = 0.005
_REST_SECONDS: Final = 1.0
_MOST_STUCK: Final = 64
_LONGEST_SECONDS: Final = 3600.0
_TIMES_AT_ONCE: Final = 256
_AGAIN_SECONDS: Final = 0.005
_AT_ONCE: Final = False


class Source(Protocol):
    """What is led: one thing that waits.

    ``deadline`` is when it has waited long enough, in seconds of ``time.perf_counter``. ``turn`` is held by the thread
    in which it goes on; ``watched`` is what it waits for, 0 while the loop does not watch it.
    """

    descriptor: int
    watched: int
    deadline: float
    turn: threading.Lock

    def ready(self) -> None:
        """Go on: what was waited for is there. Never waits, and never raises."""

    def late(self) -> None:
        """Go on: the deadline is over."""


class _Run:
    """One call of :meth:`Loop.run`."""

    def __init__(self, ends: Callable[[], bool], until: float) -> None:
        self.ends = ends
        self.until = until
        self.over = threading.Event()


class Loop:
    """Waits for sources, and for times. Whatever is called from outside may be called from any thread."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._poller = new_poller()
        self.leaving = self._poller.leaving
        self._sources: dict[int, Source] = {}
        self._parked: set[int] = set()
        self._ready: deque[int] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._later: dict[int, Callable[[], None]] = {}
        """What is called at a time, by numbers below those of descriptors."""
        self._later_number = 0
        self._times: list[tuple[float, int]] = []
        self._time_of: dict[int, float] = {}
        """The time in ``_times`` that counts for a descriptor: one for each, however often its deadline moves on."""
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._leader: object = None
        self._beat = 0
        self._waits_until = -inf
        self._stuck = 0
        self._watchdog: threading.Thread | None = None
        self._rests = False
        self._rouse = threading.Event()
        self._ended = False

    # -- what is led

    def attach(self, source: Source, wanted: int) -> None:
        """Wait for *wanted* on a source that is new, or was away; it is the loop's from then on."""
        descriptor = source.descriptor
        source.watched = wanted
        self._sources[descriptor] = source
        self.expect(source)
        self._poller.watch(descriptor, wanted)

    def detach(self, source: Source) -> None:
        """Wait for nothing on a source; in its turn, or when nobody else can have it."""
        if source.watched and not self._ended:
            with self._lock:  # in one step for those that park it, or no longer do
                source.watched = 0
                if self._sources.get(source.descriptor) is source:
                    del self._sources[source.descriptor]
                self._parked.discard(source.descriptor)
            self._poller.forget(source.descriptor)

    def want(self, source: Source, wanted: int) -> None:
        """Wait for something else on a source; in its turn."""
        before, source.watched = source.watched, wanted
        with self._lock:
            if source.descriptor not in self._parked:
                self._poller.watch(source.descriptor, wanted, before)

    def expect(self, source: Source) -> None:
        """Take note of a deadline that is earlier than before, or for which no time is kept."""
        with self._lock:
            self._note(source.descriptor, source.deadline)
        if source.deadline < self._waits_until:
            self._poller.wake()

    def _note(self, descriptor: int, when: float) -> None:
        if when < self._time_of.get(descriptor, inf):
            self._time_of[descriptor] = when
            heapq.heappush(self._times, (when, descriptor))

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Let the leading thread call something at a time."""
        with self._lock:
            number = self._later_number = self._later_number - 1
            self._later[number] = call
            self._note(number, when)
        if when < self._waits_until:
            self._poller.wake()

    def wake(self) -> None:
        """Let the loop look whether it is to end."""
        self._poller.wake()

    # -- leading

    def run(self, ends: Callable[[], bool], seconds: float = inf) -> None:
        """Lead until *ends* says so, *seconds* at most; a call that runs already returns."""
        run = _Run(ends, _now() + seconds)
        with self._lock:
            before, self._run = self._run, run
            self._leader = token = object()
        if before is not None:
            before.over.set()
            self._poller.wake()
        if self._watchdog is None:
            self._begin_watchdog()
        self._lead(run, token)
        run.over.wait()

    def _lead(self, run: _Run, token: object) -> None:  # noqa: C901  # in one piece: calls cost as much as what they do
        ready, sources, parked = self._ready, self._sources, self._parked
        while self._leader is token:
            if not ready:
                if run.ends() or _now() >= run.until:
                    run.over.set()
                    break  # another one may wait that led before, and was thought to be busy
                self._wait(run)
            try:
                source = sources.get(ready.popleft())
            except IndexError:
                continue
            if source is None:
                continue
            if not source.turn.acquire(_AT_ONCE):
                self._park(source)
                continue
            self._beat += 1
            try:
                source.ready()
            except Exception:  # noqa: BLE001  # a mistake of ours, which must not end all the others
                self._drop(source)
            source.turn.release()
            if parked:
                self._unpark(source)
        self._poller.wake()  # what we found and did not come to is for whoever leads now; and whoever does not, leaves

    def _drop(self, source: Source) -> None:
        self.detach(source)
        report_mistake()

    def _park(self, source: Source) -> None:
        """Watch a source no longer that another thread is busy with: it would be told of again and again."""
        with self._lock:
            if source.watched and source.descriptor not in self._parked:
                self._parked.add(source.descriptor)
                self._poller.forget(source.descriptor)
        if source.turn.acquire(_AT_ONCE):  # the other one was through before it could see that
            source.turn.release()
            self._unpark(source)

    def _unpark(self, source: Source) -> None:
        with self._lock:
            if source.descriptor in self._parked and not self._ended and self._sources.get(source.descriptor) is source:
                self._parked.discard(source.descriptor)
                self._poller.watch(source.descriptor, source.watched)

    def _wait(self, run: _Run) -> None:
        """Wait until something came, and let go on those whose time has."""
        until = min(run.until, self._first_time())
        self._waits_until = until  # who notes an earlier time from here on wakes us
        if self._first_time() < until:
            until = 0.0
        self._ready.extend(self._poller.wait(min(max(0.0, until - _now()), _LONGEST_SECONDS)))
        self._waits_until = -inf
        self._beat += 1
        if self._rests:
            self._rests = False
            self._rouse.set()
        self._pass_times()
        while self._calls:
            with suppress(IndexError):
                self._calls.popleft()()

    def _first_time(self) -> float:
        with self._lock:
            return self._times[0][0] if self._times else inf

    def _pass_times(self) -> None:
        """Let those go on whose time has come."""
        for _ in range(_TIMES_AT_ONCE):
            with self._lock:
                now = _now()
                if not self._times or self._times[0][0] > now:
                    return
                when, number = heapq.heappop(self._times)
                if self._time_of.get(number) != when:
                    continue  # another time counts by now
                del self._time_of[number]
                if number in self._later:
                    self._calls.append(self._later.pop(number))
                source = self._sources.get(number)
                if source is None or not self._has_waited(source, now):
                    continue
            self._beat += 1
            try:
                source.late()
            except Exception:  # noqa: BLE001  # as above
                self._drop(source)
            source.turn.release()
            if self._parked:
                self._unpark(source)

    def _has_waited(self, source: Source, now: float) -> bool:
        """Tell whether a source has waited long enough, and take its turn; else note when to look again."""
        if source.deadline > now:
            self._note(source.descriptor, source.deadline)
            return False
        if not source.turn.acquire(_AT_ONCE):
            self._note(source.descriptor, now + _AGAIN_SECONDS)
            return False
        return True

    # -- watching that it goes on

    def _begin_watchdog(self) -> None:
        self._watchdog = threading.Thread(target=self._watch, name="stubserver-watchdog", daemon=True)
        self._watchdog.start()

    def _watch(self) -> None:
        """Look again and again whether the leader gets on; not while there is nothing to do."""
        beat, quiet_since = -1, _now()
        while not self._ended:
            if self._waits_until != -inf:
                if _now() - quiet_since > _REST_SECONDS and beat == self._beat:
                    self._rouse.clear()
                    self._rests = True
                    self._rouse.wait()
            elif beat == self._beat:
                self._change_leader()
            if beat != self._beat:
                beat, quiet_since = self._beat, _now()
            time.sleep(_LOOK_SECONDS)

    def _change_leader(self) -> None:
        """Let another thread lead: the one that does has been busy with one thing for long."""
        with self._lock:
            run = self._run
            if run is None or run.over.is_set() or self._stuck >= _MOST_STUCK:
                return
            self._leader = token = object()
            self._beat += 1
            self._stuck += 1
        with suppress(OSError):  # no thread is left: then the others wait
            self._threads.run(lambda: self._lead_instead(run, token))

    def _lead_instead(self, run: _Run, token: object) -> None:
        try:
            self._lead(run, token)
        finally:
            with self._lock:
                self._stuck -= 1

    # -- the end

    def close(self) -> None:
        """End the watchdog, and let go of our own descriptors."""
        self._ended = True
        self._rouse.set()
        if self._watchdog is not None:
            self._watchdog.join()
        self.let_go()

    def let_go(self) -> None:
        """Let go of our own descriptors; in a forked child, where no thread of ours is, this alone."""
        self._ended = True
        self._poller.close()


def report_mistake() -> None:
    """Show the exception that is being handled as one that ended a thread: whoever runs the server is to see it."""
    kind, error, trace = sys.exc_info()
    if kind is not None:
        threading.excepthook(threading.ExceptHookArgs((kind, error, trace, threading.current_thread())))
