"""Recordings with their positions: find the one for a request and mark it as played, in one step under one lock.

The first look is by the exact key. Only when that misses come the others, each less strict than the one before: the
path's prefix and server-made ids, then the other stream mode, then (``drift``) the next unplayed recording of the
same method, path and query.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from stubserver.canonical import ROUTE_SIZE, Rules, asks_for_stream, route_key
from stubserver.cassettes.catalogue import Catalogue
from stubserver.cassettes.positions import Positions
from stubserver.cassettes.recordings import Recording, Reel
from stubserver.cassettes.routes import any_route
from stubserver.cassettes.tables import Tables
from stubserver.messages import Request
from stubserver.newcomers import Newcomers

__all__ = ["Exhausted", "OnExhausted", "Played", "Playlist"]

_QUEUES: Final = 16_384
"""So many keys are remembered with their recordings; those of others are looked up again."""
_SMALL: Final = 64


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
    """The recordings of one key (or route), in recorded order: where they are, and how far they were played."""

    __slots__ = ("_at", "_catalogue", "_entries", "_epoch", "_made", "_next", "_round")

    def __init__(self, catalogue: Catalogue, entries: Sequence[int]) -> None:
        self._catalogue = catalogue
        self._entries = entries
        self._made: dict[int, Recording] = {}
        self._epoch = -1
        self._next = self._at = 0
        self._round = 1

    def __getitem__(self, index: int) -> Recording:
        recording = self._made.get(index)
        if recording is None:
            recording = self._catalogue.at(self._entries[index])
            if len(self._made) < _SMALL:
                self._made[index] = recording
        return recording

    @property
    def last(self) -> Recording:
        return self[len(self._entries) - 1]

    def take(self, positions: Positions, salt: int, policy: OnExhausted) -> Recording | None:
        """Return the first one not played yet; then by *policy* the last, each in turn, or none."""
        if self._epoch != positions.epoch:
            self._epoch = positions.epoch
            self._next = self._at = 0
            self._round = 1
        while self._next < len(self._entries):
            recording = self[self._next]
            self._next += 1
            if not positions.get(recording.mark ^ salt):
                return recording
        if policy is OnExhausted.LAST:
            return self.last
        return None if policy is OnExhausted.ERROR else self._in_turn(positions, salt)

    def _in_turn(self, positions: Positions, salt: int) -> Recording:
        """Return the first that was played least: all were ``_round`` times, those before ``_at`` more often."""
        while True:
            while self._at < len(self._entries):
                recording = self[self._at]
                if positions.get(recording.mark ^ salt) <= self._round:
                    return recording
                self._at += 1
            self._at = 0
            self._round += 1


_Kept = TypeVar("_Kept", _Queue, Played)


class Playlist:
    """Recordings with their positions: what was played how often. Thread-safe.

    *positions* may be shared with other playlists and other processes; *salt* keeps this one's apart from theirs.
    """

    def __init__(  # noqa: PLR0913  # the options of the command line
        self,
        reels: Iterable[Reel],
        rules: Rules,
        policy: OnExhausted,
        *,
        drift: bool = False,
        scrub: Callable[[Request], Request] = clean_secrets,
        positions: Positions | None = None,
        salt: int = 0,
    ) -> None:
        self._rules = rules
        self._policy = policy
        self._drift = drift
        self._scrub = scrub
        self._salt = salt
        self._positions = positions or Positions()
        self._lock = self._positions.lock
        self._queues: OrderedDict[bytes, _Queue | Played] = OrderedDict()
        self._newcomers = Newcomers()
        self._catalogue = Catalogue(reels)

    def share(self, positions: Positions) -> None:
        """Count in *positions* from now on."""
        self._positions, self._lock = positions, positions.lock

    @property
    def recordings(self) -> list[Recording]:
        """All of them, in order: made now, which takes time and memory when there are many. See also ``len``."""
        return list(self._catalogue)

    @property
    def reels(self) -> list[Reel]:
        """All of them, packed, file by file in order."""
        return self._catalogue.reels

    @property
    def tables(self) -> Tables:
        """What they are found by."""
        return self._catalogue.tables

    def __len__(self) -> int:
        return len(self._catalogue)

    def __iter__(self) -> Iterator[Recording]:
        """Make the recordings one by one, in order."""
        return iter(self._catalogue)

    def __bool__(self) -> bool:
        return not self._catalogue.empty

    def add(self, reel: Reel) -> None:
        """Take in a recording that was just made and appended to *reel*: it counts as played."""
        with self._lock:
            self._catalogue.add(reel)
            made = reel[-1]
            for known in (made.key, made.key[:ROUTE_SIZE]):
                self._queues.pop(known, None)
            self._positions.add(made.mark ^ self._salt)

    def play(self, key: bytes, request: Request) -> Played | Exhausted | None:
        """Find the recording for *request*, whose key is *key*, and mark it as played; None when there is none."""
        queue = self._queues.get(key)
        if not isinstance(queue, Played):
            with self._lock:
                queue = self._queues.get(key) or self._queue(key)
                if isinstance(queue, _Queue):
                    return self._take(queue)
        if queue is not None:
            return self._play_alone(queue)
        request = self._scrub(request)  # a recording holds no secrets: a request that does is compared without
        with self._lock:
            return self._second_look(key, request)

    def plays_next(self, key: bytes) -> bool:
        """Tell whether :meth:`play` would find a recording that is alone with its key; False is not certain."""
        with self._lock:
            queue = self._queues.get(key) or self._queue(key)
            if not isinstance(queue, Played):
                return False
            return self._policy is not OnExhausted.ERROR or not self._positions.get(queue.recording.mark ^ self._salt)

    def _take(self, queue: _Queue) -> Played | Exhausted:
        recording = queue.take(self._positions, self._salt, self._policy)
        if recording is None:
            return Exhausted(queue.last)
        self._positions.add(recording.mark ^ self._salt)
        return Played(recording)

    def _play_alone(self, played: Played) -> Played | Exhausted:
        """Play the only recording of its key: all but a few are, and one that was played before needs no lock."""
        mark, positions = played.recording.mark ^ self._salt, self._positions
        once = self._policy is OnExhausted.ERROR
        if once or not positions.again(mark):
            with self._lock:
                if once and positions.get(mark):
                    return Exhausted(played.recording)
                positions.add(mark)
        return played

    def _queue(self, key: bytes) -> _Queue | Played | None:
        """Return the recordings of a key, None when there are none; Played is how the only one is played, each time."""
        recording = self._catalogue.only(key)
        if recording is not None:
            return self._remember(key, Played(recording))
        entries = self._catalogue.find(key)
        if not entries:
            return None
        if len(entries) == 1:
            return self._remember(key, Played(self._catalogue.at(entries[0])))
        return self._remember(key, _Queue(self._catalogue, entries))

    def _queue_of_route(self, route: bytes) -> _Queue | None:
        entries = self._catalogue.find_route(route)
        return self._remember(route, _Queue(self._catalogue, entries)) if entries else None

    def _remember(self, key: bytes, queue: _Kept) -> _Kept:
        queues = self._queues
        if len(queues) <= _QUEUES // 2 or not self._newcomers.add(key):
            queues[key] = queue
            if len(queues) > _QUEUES:
                queues.popitem(last=False)
        return queue

    def _second_look(self, key: bytes, request: Request) -> Played | Exhausted | None:
        routes = self._same_routes(key[:ROUTE_SIZE], request)
        stream = asks_for_stream(request)
        body = self._rules.loose_body_key(request)
        found = self._catalogue.find_second(route + body for route in routes)
        for other_mode in (False, True):
            matching = [r for r in found if (r.stream != stream) == other_mode or not self._rules.reads_body]
            if matching:
                return self._from(matching, other_mode=other_mode and self._rules.reads_body)
        if self._drift:
            return self._drifted(routes, stream=stream)
        return None

    def _from(self, recordings: list[Recording], *, other_mode: bool) -> Played | Exhausted:
        """Play from several keys at once: recorded order, then by the policy."""
        counts = [self._positions.get(r.mark ^ self._salt) for r in recordings]
        least = min(counts)
        if least and self._policy is OnExhausted.ERROR:
            return Exhausted(recordings[-1])
        last = least and self._policy is OnExhausted.LAST
        recording = recordings[-1] if last else recordings[counts.index(least)]
        self._positions.add(recording.mark ^ self._salt)
        return Played(recording, other_mode=other_mode)

    def _drifted(self, routes: Iterable[bytes], *, stream: bool) -> Played | None:
        for route in routes:
            queue = self._queues.get(route) or self._queue_of_route(route)
            recording = None
            if isinstance(queue, _Queue):
                recording = queue.take(self._positions, self._salt, OnExhausted.ERROR)
            if recording is not None:
                self._positions.add(recording.mark ^ self._salt)
                return Played(recording, drifted=True, other_mode=recording.stream != stream)
        return None

    def _same_routes(self, own: bytes, request: Request) -> list[bytes]:
        """Return the routes that differ from *own* in the path's prefix only, *own* first."""
        names = (route_key(self._rules.route(request, normal=True)), any_route(request.method))
        return [own, *sorted({r for name in names for r in self._catalogue.routes(name) if r != own})]

    def similar(self, key: bytes, request: Request, most: int) -> list[Recording]:
        """Return at most *most* recordings that may be near *request*: of its route first, nearest in length first."""
        return self._catalogue.of_size(key[:ROUTE_SIZE], len(request.body), most)

    def unplayed(self) -> list[Recording]:
        """Return the recordings that were never played, in order."""
        get, salt = self._positions.get, self._salt
        found = []
        for reel in self._catalogue.reels:
            with self._lock:  # file by file: there may be a million of them
                found += [r for r in reel if not get(r.mark ^ salt)]
        return found

    def played(self, recording: Recording) -> int:
        """Return how often *recording* was played."""
        with self._lock:
            return self._positions.get(recording.mark ^ self._salt)

    def repeats(self, key: bytes) -> int:
        """Count the recordings whose match key is *key*."""
        return len(self._catalogue.find(key))

    def rehearsal(self) -> Playlist:
        """Return a playlist that plays what this one would, and changes nothing of it."""
        with self._lock:
            positions = self._positions.copy()
        twin = Playlist((), self._rules, self._policy, drift=self._drift, scrub=self._scrub, positions=positions)
        twin._salt, twin._catalogue = self._salt, self._catalogue
        return twin

    def reset(self) -> None:
        """Forget what was played."""
        for reel in self._catalogue.reels:
            with self._lock:
                for recording in reel:
                    self._positions.forget(recording.mark ^ self._salt)
        with self._lock:
            self._positions.forgotten()

    def renew(self, reels: Iterable[Reel], tables: Tables | None = None) -> None:
        """Play from *reels* from now on; what was played of those that stay is known by their marks.

        *tables* are to be begun with, where they are known.
        """
        anew = tables is not None or self._catalogue.stale
        catalogue = Catalogue((), tables) if anew else self._catalogue
        prepared = catalogue.prepare(reels)  # before the lock: it takes a while when there are many
        # Nobody waits until what is gone is let go of: of a large library, that takes a while, too.
        gone = self._catalogue, self._catalogue.reels, self._queues
        with self._lock:
            catalogue.publish(prepared)
            self._catalogue, self._queues = catalogue, OrderedDict()
        del gone
