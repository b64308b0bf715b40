"""Recordings with their positions: find the one for a request and mark it as played, in one step under one lock.

The first look is by the exact key. Only when that misses come the others, each less strict than the one before: the
path's prefix and server-made ids, then the other stream mode, then (``drift``) the next unplayed recording of the
same method, path and query.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from enum import StrEnum
from threading import Lock
from typing import NamedTuple

from stubserver.canonical import Rules, asks_for_stream, route_key
from stubserver.cassettes.recordings import Recording, any_route
from stubserver.messages import Request

__all__ = ["Exhausted", "OnExhausted", "Played", "Playlist"]


class OnExhausted(StrEnum):
    """What is played when every recording of a key was."""

    LAST = "last"
    CYCLE = "cycle"
    ERROR = "error"


class Played(NamedTuple):
    """A recording that was found and marked as played. ``other_mode``: it was recorded in the other stream mode."""

    recording: Recording
    drifted: bool = False
    other_mode: bool = False


class Exhausted(NamedTuple):
    """The recording that would have been played once more, under ``on_exhausted="error"``."""

    recording: Recording


def clean_secrets(request: Request) -> Request:
    """Return *request* without what the registry takes for a secret, and without its own credential."""
    from stubserver.scrubbing import Scrubber  # noqa: PLC0415  # start-up: only a miss needs it

    return Scrubber().request(request)


class _Queue:
    """The recordings of one key, in recorded order."""

    __slots__ = ("items", "next")

    def __init__(self) -> None:
        self.items: list[Recording] = []
        self.next = 0

    def take(self, counts: dict[Recording, int], policy: OnExhausted) -> Recording | None:
        """Return the first one not played yet; then by *policy* the last, each in turn, or none."""
        items = self.items
        while self.next < len(items):
            recording = items[self.next]
            self.next += 1
            if recording not in counts:
                return recording
        if policy is OnExhausted.LAST:
            return items[-1]
        if policy is OnExhausted.ERROR:
            return None
        self.next += 1
        return items[(self.next - len(items) - 1) % len(items)]


class Playlist:
    """Recordings with their positions: what was played how often. Thread-safe."""

    def __init__(
        self,
        recordings: Iterable[Recording],
        rules: Rules,
        policy: OnExhausted,
        *,
        drift: bool = False,
        scrub: Callable[[Request], Request] = clean_secrets,
    ) -> None:
        self._rules = rules
        self._policy = policy
        self._drift = drift
        self._scrub = scrub
        self._lock = Lock()
        self._counts: dict[Recording, int] = {}
        self._exact: dict[bytes, _Queue] = {}
        self._loose: dict[bytes, list[Recording]] = {}
        self._routes: dict[bytes, set[bytes]] | None = None
        self._order: dict[Recording, int] = {}
        self._by_route: dict[bytes, _Queue] = {}
        self._by_size: dict[bytes, list[Recording]] | None = None
        self.recordings: list[Recording] = []
        for recording in recordings:
            self._add(recording)

    def _add(self, recording: Recording) -> None:
        self.recordings.append(recording)
        queue = self._exact.get(recording.key)
        if queue is None:
            queue = self._exact[recording.key] = _Queue()
        queue.items.append(recording)
        if recording.loose != recording.key:
            self._loose.setdefault(recording.loose, []).append(recording)
        if self._drift:
            self._by_route.setdefault(recording.key[:8], _Queue()).items.append(recording)

    def add(self, recording: Recording) -> None:
        """Take in a recording that was just made: it counts as played."""
        with self._lock:
            self._add(recording)
            self._counts[recording] = 1
            self._by_size = None
            if self._order:
                self._order[recording] = len(self._order)
            if self._routes is not None:
                self._routes.setdefault(recording.normal, set()).add(recording.key[:8])

    def play(self, key: bytes, request: Request) -> Played | Exhausted | None:
        """Find the recording for *request*, whose key is *key*, and mark it as played; None when there is none."""
        with self._lock:
            queue = self._exact.get(key)
            if queue is not None:
                recording = queue.take(self._counts, self._policy)
                if recording is None:
                    return Exhausted(queue.items[-1])
                self._counts[recording] = self._counts.get(recording, 0) + 1
                return Played(recording)
        request = self._scrub(request)  # a recording holds no secrets: a request that does is compared without
        with self._lock:
            return self._second_look(key, request)

    def _second_look(self, key: bytes, request: Request) -> Played | Exhausted | None:
        routes = self._same_routes(key[:8], request)
        stream = asks_for_stream(request)
        body = self._rules.loose_body_key(request)
        found = [r for route in routes for r in self._candidates(route + body)]
        for other_mode in (False, True):
            matching = [r for r in found if (r.stream != stream) == other_mode or not self._rules.reads_body]
            if matching:
                return self._from(matching, other_mode=other_mode and self._rules.reads_body)
        if self._drift:
            return self._drifted(routes, stream=stream)
        return None

    def _candidates(self, key: bytes) -> list[Recording]:
        exact = self._exact.get(key)
        return [*(exact.items if exact else ()), *self._loose.get(key, ())]

    def _from(self, recordings: list[Recording], *, other_mode: bool) -> Played | Exhausted:
        """Play from several keys at once: recorded order, then by the policy."""
        if not self._order:
            self._order = {recording: n for n, recording in enumerate(self.recordings)}
        recordings.sort(key=self._order.__getitem__)
        counts = self._counts
        least = min(counts.get(r, 0) for r in recordings)
        if least and self._policy is OnExhausted.ERROR:
            return Exhausted(recordings[-1])
        if least and self._policy is OnExhausted.LAST:
            recording = recordings[-1]
        else:
            recording = next(r for r in recordings if counts.get(r, 0) == least)
        counts[recording] = counts.get(recording, 0) + 1
        return Played(recording, other_mode=other_mode)

    def _drifted(self, routes: Iterable[bytes], *, stream: bool) -> Played | None:
        for route in routes:
            queue = self._by_route.get(route)
            recording = queue.take(self._counts, OnExhausted.ERROR) if queue else None
            if recording is not None:
                self._counts[recording] = self._counts.get(recording, 0) + 1
                return Played(recording, drifted=True, other_mode=recording.stream != stream)
        return None

    def _same_routes(self, own: bytes, request: Request) -> list[bytes]:
        """Return the routes that differ from *own* in the path's prefix only, *own* first."""
        if self._routes is None:
            self._routes = {}
            for recording in self.recordings:
                self._routes.setdefault(recording.normal, set()).add(recording.key[:8])
        names = (route_key(self._rules.route(request, normal=True)), any_route(request.method))
        return [own, *sorted({r for name in names for r in self._routes.get(name, ()) if r != own})]

    def similar(self, key: bytes, request: Request, most: int) -> list[Recording]:
        """Return at most *most* recordings that may be near *request*: of its route first, nearest in length first."""
        with self._lock:
            if self._by_size is None:
                self._by_size = {}
                for recording in self.recordings:
                    self._by_size.setdefault(recording.key[:8], []).append(recording)
                for recordings in self._by_size.values():
                    recordings.sort(key=_size)
            own = self._by_size.get(key[:8], [])
            size = len(request.body)
            middle = bisect_left(own, size, key=_size)
            near = own[max(0, middle - most) : middle + most]
            others = (
                [r for route, rs in self._by_size.items() if route != key[:8] for r in rs[:most]] if not near else []
            )
        return sorted(near or others, key=lambda r: abs(r.size - size))[:most]

    def unplayed(self) -> list[Recording]:
        """Return the recordings that were never played, in order."""
        with self._lock:
            return [r for r in self.recordings if r not in self._counts]

    def reset(self) -> None:
        """Forget what was played."""
        with self._lock:
            self._counts.clear()
            for queue in (*self._exact.values(), *self._by_route.values()):
                queue.next = 0

    def renewed(self, recordings: Iterable[Recording]) -> Playlist:
        """Return a playlist of *recordings* that knows what was played of those that are in both."""
        new = Playlist(recordings, self._rules, self._policy, drift=self._drift, scrub=self._scrub)
        same = {(r.file.path, r.number, r.check, r.key): r for r in new.recordings}
        with self._lock:
            counts = list(self._counts.items())
        for old, count in counts:
            recording = same.get((old.file.path, old.number, old.check, old.key))
            if recording is not None:
                new._counts[recording] = count
        return new


def _size(recording: Recording) -> int:
    return recording.size
