"""Where the recordings of many files are found: by key, by loose key, by route, by size. No object for each of them.

An *entry* is a number that stands for one recording: which reel, and which row in it. Files that change get a new
reel; the entries of the old one stay in the tables and lead nowhere, until there are more of them than of the others.

One thread changes it at a time (the library sees to that); others may look things up meanwhile.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from threading import RLock
from typing import Final, TypeVar

from stubserver.canonical import ROUTE_SIZE
from stubserver.cassettes.keytable import KeyTable, Words
from stubserver.cassettes.recordings import Recording, Reel

__all__ = ["Catalogue", "Sizes", "Tables"]

_ROW_BITS: Final = 32
_ROW: Final = (1 << _ROW_BITS) - 1
_HALVES: Final = Struct("<QQ")
_WHOLE: Final = Struct("<QQQ")
_Index = TypeVar("_Index")

Sizes = dict[bytes, tuple[list[int], dict[int, Words]]]
"""Route -> the sizes of its bodies in order, and the entries of each size."""


@dataclass(slots=True, eq=False)
class Tables:
    """All that a catalogue has of its reels, to begin with: their entries are by their places in ``reels``.

    A reel that is gone, or another by now, is None.
    """

    reels: list[Reel | None] = field(default_factory=lambda: [None])  # the first, so that no entry is 0
    keys: KeyTable = field(default_factory=KeyTable)
    loose: KeyTable | None = None
    by_route: KeyTable | None = None
    routes: dict[bytes, set[bytes]] | None = None
    sizes: Sizes | None = None
    dead: int = 0


class Catalogue:
    """The recordings of *reels*, in order; *tables* are those of some of them, ready made."""

    def __init__(self, reels: Iterable[Reel], tables: Tables | None = None) -> None:
        self._lock = RLock()  # for whoever changes the tables
        tables = tables or Tables()
        self._reels = tables.reels
        self._places = {id(reel): slot for slot, reel in enumerate(self._reels) if reel is not None}
        self._rank = {slot: slot for slot in self._places.values()}
        self._dead = tables.dead
        self._keys, self._loose, self._by_route = tables.keys, tables.loose, tables.by_route
        self._routes, self._sizes = tables.routes, tables.sizes
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
        with self._lock:
            new = [reel for reel in wanted if id(reel) not in self._places]
            if not self._keys:
                self._keys = KeyTable(sum(map(len, new)))
            for reel in new:
                slot = self._places[id(reel)] = len(self._reels)
                self._reels.append(reel)
                self._extend(slot, reel, 0)
        return wanted

    def publish(self, reels: list[Reel]) -> None:
        """Let exactly the prepared *reels* be found, in this order."""
        wanted = {self._places[id(reel)]: reel for reel in reels}
        for slot in self._rank.keys() - wanted.keys():
            gone, self._reels[slot] = self._reels[slot], None
            if gone is not None:
                del self._places[id(gone)]
                self._dead += len(gone)
        self._rank = {slot: rank for rank, slot in enumerate(wanted)}
        self.reels = reels
        self.empty = not any(reels)

    @property
    def stale(self) -> bool:
        """Whether most of the tables leads nowhere: a new catalogue would be smaller."""
        return self._dead > len(self) + 1024

    def tables(self) -> Tables:
        """Return all of its tables, those too that only a miss needs. They go on changing with the catalogue."""
        self.get_ready(drift=True)
        sizes, routes = self._get_sizes(), self._get_routes()
        return Tables(self._reels, self._keys, self._loose, self._by_route, routes, sizes, self._dead)

    def add(self, reel: Reel) -> None:
        """Take in the recording that was just appended to *reel*."""
        with self._lock:
            if id(reel) not in self._places:
                self.publish(self.prepare([*self.reels, reel]))
            else:
                self._extend(self._places[id(reel)], reel, len(reel) - 1)
                self.empty = False

    def _extend(self, slot: int, reel: Reel, first: int) -> None:
        entry = (slot << _ROW_BITS) + first
        self._keys.extend((_mixed(route, body) for route, body in reel.halves(first)), entry)
        if self._loose is not None:
            _extend_loose(self._loose, reel, first, entry)
        if self._by_route is not None:
            _extend_by_route(self._by_route, reel, first, entry)
        if self._routes is not None:
            _extend_routes(self._routes, reel, first, entry)
        if self._sizes is not None:
            _extend_sizes(self._sizes, reel, first, entry)

    # -- one recording

    def at(self, entry: int) -> Recording:
        """Return the recording of an entry that was found."""
        reel = self._reels[entry >> _ROW_BITS]
        if reel is None:
            msg = "the entry's file is served no more"
            raise LookupError(msg)
        return reel.at(entry & _ROW)

    def __iter__(self) -> Iterator[Recording]:
        for reel in self.reels:
            yield from reel

    # -- lookups: entries in recorded order

    def only(self, key: bytes) -> Recording | None:
        """Return the recording of a match key that is the only one of its number: nearly all are, and soon found."""
        route, body, _ = _WHOLE.unpack(key)
        entry = self._keys.last(route ^ body or 1)
        slot = entry >> _ROW_BITS
        reel = self._reels[slot] if slot in self._rank else None
        if reel is None or not self._keys.is_alone(entry):
            return None
        found = reel.at(entry & _ROW)
        return found if found.key == key else None

    def find(self, key: bytes) -> list[int]:
        """Return the recordings of a key."""
        entries = self._keys.find(_number(key))
        if len(entries) > 1:
            return self._ordered([entry for entry in entries if self._key(entry) == key])
        return entries if entries and self._key(entries[0]) == key else []

    def find_second(self, keys: Iterable[bytes]) -> list[Recording]:
        """Return the recordings that have one of these as their key, or as their loose key."""
        found = []
        for key in keys:
            number, loose = _number(key), self._get_loose()
            found += [e for e in self._keys.find(number) if self._key(e) == key]
            found += [e for e in loose.find(number) if self._is_live(e) and self.at(e).loose == key]
        return [self.at(entry) for entry in self._ordered(found)]

    def find_route(self, route: bytes) -> list[int]:
        """Return all recordings of a route."""
        entries = self._get_by_route().find(_number(route))
        return self._ordered(e for e in entries if self._key(e)[:ROUTE_SIZE] == route)

    def routes(self, normal: bytes) -> set[bytes]:
        """Return the routes whose normal form is *normal*."""
        return self._get_routes().get(normal, set())

    def of_size(self, route: bytes, size: int, most: int) -> list[Recording]:
        """Return at most *most* recordings whose bodies are nearest to *size*: of the route, else of any other."""
        with self._lock:
            by_route = self._get_sizes()
            own = by_route.get(route)
            found = list(self._nearest(own, size, most)) if own else []
            if not found:
                others = (sizes for sizes in by_route.values() if sizes is not own)
                found = [r for sizes in others for r in self._nearest(sizes, size, most)]
        return sorted(found, key=lambda r: abs(r.size - size))[:most]

    def _nearest(self, sizes: tuple[list[int], dict[int, Words]], size: int, most: int) -> Iterator[Recording]:
        """Yield recordings by size, going up and down from *size*; *most* each way are certain to be enough."""
        known, entries = sizes
        middle = bisect_left(known, size)
        for part in (known[middle : middle + most], reversed(known[max(0, middle - most) : middle])):
            left = most
            for near in part:
                for entry in self._ordered(filter(self._is_live, entries[near][: left + self._dead]))[:left]:
                    yield self.at(entry)
                    left -= 1

    # -- what only a miss needs is built at the first one

    def get_ready(self, *, drift: bool) -> None:
        """Build what a second look needs, in a time that grows with the number of recordings."""
        self._get_loose()
        self._get_routes()
        if drift:
            self._get_by_route()

    def _get_loose(self) -> KeyTable:
        with self._lock:
            if self._loose is None:
                self._loose = self._built(KeyTable(), _extend_loose)
            return self._loose

    def _get_by_route(self) -> KeyTable:
        with self._lock:
            if self._by_route is None:
                self._by_route = self._built(KeyTable(), _extend_by_route)
            return self._by_route

    def _get_routes(self) -> dict[bytes, set[bytes]]:
        with self._lock:
            if self._routes is None:
                self._routes = self._built({}, _extend_routes)
            return self._routes

    def _get_sizes(self) -> Sizes:
        with self._lock:
            if self._sizes is None:
                self._sizes = self._built({}, _extend_sizes)
            return self._sizes

    def _built(self, index: _Index, extend: Callable[[_Index, Reel, int, int], None]) -> _Index:
        """Take in every reel that has a place, also one that is not published yet."""
        for slot, reel in enumerate(self._reels):
            if reel is not None:
                extend(index, reel, 0, slot << _ROW_BITS)
        return index

    def _is_live(self, entry: int) -> bool:
        return entry >> _ROW_BITS in self._rank

    def _key(self, entry: int) -> bytes:
        reel = self._reels[entry >> _ROW_BITS] if self._is_live(entry) else None
        return b"" if reel is None else reel.key(entry & _ROW)

    def _ordered(self, entries: Iterable[int]) -> list[int]:
        found, rank = list(entries), self._rank
        if len(found) > 1:
            found.sort(key=lambda entry: (rank.get(entry >> _ROW_BITS, 0), entry & _ROW))
        return found


def _mixed(route: int, body: int) -> int:
    return route ^ body or 1


def _number(key: bytes) -> int:
    """Return the number under which a key stands in a table: both of its halves take part."""
    route, body = _HALVES.unpack_from(key.ljust(2 * ROUTE_SIZE, b"\0"))
    return _mixed(route, body)


def _extend_loose(index: KeyTable, reel: Reel, first: int, entry: int) -> None:
    for number, (key, loose, _, _, differs) in enumerate(reel.columns(first), entry):
        if differs:
            index.add(_number(key[:ROUTE_SIZE] + loose), number)


def _extend_by_route(index: KeyTable, reel: Reel, first: int, entry: int) -> None:
    for number, (key, *_) in enumerate(reel.columns(first), entry):
        index.add(_number(key[:ROUTE_SIZE]), number)


def _extend_routes(index: dict[bytes, set[bytes]], reel: Reel, first: int, entry: int) -> None:
    del entry
    for key, _, normal, _, _ in reel.columns(first):
        index.setdefault(normal, set()).add(key[:ROUTE_SIZE])


def _extend_sizes(index: Sizes, reel: Reel, first: int, entry: int) -> None:
    for number, (key, _, _, size, _) in enumerate(reel.columns(first), entry):
        known, entries = index.setdefault(key[:ROUTE_SIZE], ([], {}))
        if size not in entries:
            insort(known, size)
        same = entries.get(size)
        if not isinstance(same, array):  # there is none, or it is a file's and cannot grow
            same = entries[size] = array("Q", b"" if same is None else same.tobytes())
        same.append(number)
