"""Where the recordings of many files are found: by key, by loose key, by route, by size. No object for each of them.

Files that change get a new reel; the entries of the old one stay in the tables and lead nowhere, until there are more
of them than of the others.

One thread changes it at a time (the library sees to that); others may look things up meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from threading import RLock
from typing import overload

from stubserver.cassettes.keytable import Words
from stubserver.cassettes.recordings import Recording, Reel
from stubserver.cassettes.tables import ROW, ROW_BITS, Sizes, Tables, number_of

__all__ = ["Catalogue", "Entries"]


class Entries(Sequence[int]):
    """Entries that stand one behind the other in several *parts*: there may be a million of them, and no list."""

    def __init__(self, parts: Iterable[Words]) -> None:
        self._parts = list(parts)
        self._ends = list(accumulate(map(len, self._parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part = bisect_right(self._ends, index)
        return self._parts[part][index - (self._ends[part - 1] if part else 0)]


class Catalogue:
    """The recordings of *reels*, in order; *tables* are those of some of them, ready made."""

    def __init__(self, reels: Iterable[Reel], tables: Tables | None = None) -> None:
        self._lock = RLock()  # for whoever changes the tables
        self._tables = tables or Tables()
        self._reels = self._tables.reels
        self._places = {id(reel): slot for slot, reel in enumerate(self._reels) if reel is not None}
        self._rank = {slot: slot for slot in self._places.values()}
        self.reels: list[Reel] = []
        self.empty = True
        """Whether there is no recording at all."""
        self.publish(self.prepare([*filter(None, self._reels), *reels]))

    def __len__(self) -> int:
        return sum(map(len, self.reels))

    # -- what is in it

    def prepare(self, reels: Iterable[Reel]) -> list[Reel]:
        """Take *reels* into the tables; nothing of what is new is found before they are published."""
        wanted = list(reels)
        new = [reel for reel in wanted if id(reel) not in self._places]
        with self._lock:
            self._tables.keys.reserve(sum(map(len, new)))
        for reel in new:
            with self._lock:
                slot = self._places[id(reel)] = len(self._reels)
                self._reels.append(reel)
            self._extend(slot)
        return wanted

    def _extend(self, slot: int, first: int = 0) -> None:
        """Take in the rows of a reel; whoever was just recorded waits for some hundred of them at most."""
        steps, done = self._tables.extend(slot, first), False
        while not done:
            with self._lock:
                done = next(steps, steps) is steps

    def publish(self, reels: list[Reel]) -> None:
        """Let exactly the prepared *reels* be found, in this order."""
        wanted = {self._places[id(reel)]: reel for reel in reels}
        for slot in self._rank.keys() - wanted.keys():
            gone, self._reels[slot] = self._reels[slot], None
            if gone is not None:
                del self._places[id(gone)]
                self._tables.dead += len(gone)
        self._rank = {slot: rank for rank, slot in enumerate(wanted)}
        self.reels = reels
        self.empty = not any(reels)

    @property
    def stale(self) -> bool:
        """Whether most of the tables leads nowhere: a new catalogue would be smaller."""
        return self._tables.dead > len(self) + 1024

    @property
    def tables(self) -> Tables:
        """All of its tables. They go on changing with the catalogue."""
        return self._tables

    def add(self, reel: Reel) -> None:
        """Take in the recording that was just appended to *reel*."""
        with self._lock:
            if id(reel) not in self._places:
                self.publish(self.prepare([*self.reels, reel]))
            else:
                self._extend(self._places[id(reel)], len(reel) - 1)
                self.empty = False

    # -- one recording

    def at(self, entry: int) -> Recording:
        """Return the recording of an entry that was found."""
        reel = self._reels[entry >> ROW_BITS]
        if reel is None:
            msg = "the entry's file is served no more"
            raise LookupError(msg)
        return reel.at(entry & ROW)

    def __iter__(self) -> Iterator[Recording]:
        for reel in self.reels:
            yield from reel

    # -- lookups: entries in recorded order

    def only(self, key: bytes) -> Recording | None:
        """Return the recording of a match key that is the only one of its number: nearly all are, and soon found."""
        keys = self._tables.keys
        entry = keys.last(number_of(key))
        slot = entry >> ROW_BITS
        reel = self._reels[slot] if slot in self._rank else None
        if reel is None or not keys.is_alone(entry):
            return None
        found = reel.at(entry & ROW)
        return found if found.key == key else None

    def find(self, key: bytes) -> list[int]:
        """Return the recordings of a key."""
        entries = self._tables.keys.find(number_of(key))
        if len(entries) > 1:
            return self._ordered([entry for entry in entries if self._key(entry) == key])
        return entries if entries and self._key(entries[0]) == key else []

    def find_second(self, keys: Iterable[bytes]) -> list[Recording]:
        """Return the recordings that have one of these as their key, or as their loose key."""
        found = []
        for key in keys:
            number, loose = number_of(key), self._tables.loose
            found += [e for e in self._tables.keys.find(number) if self._key(e) == key]
            found += [e for e in loose.find(number) if self._is_live(e) and self.at(e).loose == key]
        return [self.at(entry) for entry in self._ordered(found)]

    def find_route(self, route: bytes) -> Sequence[int]:
        """Return all recordings of a route."""
        rank = self._rank
        rows = [(rank[slot], found) for slot, found in [*self._tables.rows.get(route, {}).items()] if slot in rank]
        return Entries(found for _, found in sorted(rows, key=lambda row: row[0]))

    def routes(self, normal: bytes) -> frozenset[bytes]:
        """Return the routes whose normal form is *normal*."""
        return self._tables.routes.get(normal, frozenset())

    def of_size(self, route: bytes, size: int, most: int) -> list[Recording]:
        """Return at most *most* recordings whose bodies are nearest to *size*: of the route, else of any other."""
        with self._lock:
            by_route = self._tables.sizes
            own = by_route.get(route)
            found = list(self._nearest(own, size, most)) if own else []
            if not found:
                others = (sizes for sizes in by_route.values() if sizes is not own)
                found = [r for sizes in others for r in self._nearest(sizes, size, most)]
        return sorted(found, key=lambda r: abs(r.size - size))[:most]

    def _nearest(self, sizes: Sizes, size: int, most: int) -> Iterator[Recording]:
        """Yield recordings by size, going up and down from *size*; *most* each way are certain to be enough."""
        known, entries = sizes
        middle = bisect_left(known, size)
        for part in (known[middle : middle + most], reversed(known[max(0, middle - most) : middle])):
            left = most
            for near in part:
                for entry in self._ordered(filter(self._is_live, entries[near][: left + self._tables.dead]))[:left]:
                    yield self.at(entry)
                    left -= 1

    def _is_live(self, entry: int) -> bool:
        return entry >> ROW_BITS in self._rank

    def _key(self, entry: int) -> bytes:
        reel = self._reels[entry >> ROW_BITS] if self._is_live(entry) else None
        return b"" if reel is None else reel.key(entry & ROW)

    def _ordered(self, entries: Iterable[int]) -> list[int]:
        found, rank = list(entries), self._rank
        if len(found) > 1:
            found.sort(key=lambda entry: (rank.get(entry >> ROW_BITS, 0), entry & ROW))
        return found
