"""What the recordings of many files are found by: key, loose key, route, size. No object for each of them.

An *entry* is a number that stands for one recording: which reel, and which row in it. Tables only grow; who changes
them and who reads them meanwhile is said in ``catalogue``. All of them are made as the recordings come, because a
table that waits for the first miss holds that up by the time of them all.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from stubserver.cassettes.keytable import KeyTable, Words
from stubserver.cassettes.recordings import HALVES, ROUTES, ROW_SIZE, SIZES, Reel

__all__ = ["ROW", "ROW_BITS", "Sizes", "Tables", "number_of"]

ROW_BITS: Final = 32
ROW: Final = (1 << ROW_BITS) - 1
_KEY: Final = Struct("<QQ")

Sizes = tuple[list[int], dict[int, Words]]
"""The sizes of the bodies of one route in order, and the entries of each size."""


@dataclass(slots=True, eq=False)
class Tables:
    """All that a catalogue has of its reels: their entries are by their places in ``reels``.

    A reel that is gone, or another by now, is None. ``rows`` are the entries of each route in each reel, ``routes``
    those whose normal form is the same; ``dead`` is how many entries lead nowhere.
    """

    reels: list[Reel | None] = field(default_factory=lambda: [None])  # the first, so that no entry is 0
    keys: KeyTable = field(default_factory=KeyTable)
    loose: KeyTable = field(default_factory=KeyTable)
    rows: dict[bytes, dict[int, Words]] = field(default_factory=dict)
    routes: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    sizes: dict[bytes, Sizes] = field(default_factory=dict)
    dead: int = 0

    def extend(self, slot: int, first: int = 0) -> Iterator[None]:
        """Take in the rows of a reel from *first* on, some hundred with each step; between two, others may."""
        entry, reel = (slot << ROW_BITS) + first, self.reels[slot]
        for piece in reel.pieces(first) if reel is not None else ():
            self._extend_keys(piece, entry)
            self._extend_routes(piece, entry)
            entry += len(piece) // ROW_SIZE
            yield

    def _extend_keys(self, piece: bytes, entry: int) -> None:
        self.keys.extend((_mixed(route, body) for route, body in HALVES.iter_unpack(piece)), entry)
        for row, key in Reel.loose(piece):
            self.loose.add(number_of(key), entry + row)

    def _extend_routes(self, piece: bytes, entry: int) -> None:
        for route, normal in set(ROUTES.iter_unpack(piece)):
            known = self.routes.get(normal, frozenset())
            if route not in known:
                self.routes[normal] = known | {route}  # another one: who reads the old goes on with it
        slot, before = entry >> ROW_BITS, b""
        for number, (route, size) in enumerate(SIZES.iter_unpack(piece), entry):
            if route != before:
                before = route
                rows = _own(self.rows.setdefault(route, {}), slot)
                sizes, entries = self.sizes.setdefault(route, ([], {}))
            rows.append(number)
            if size not in entries:
                insort(sizes, size)
            _own(entries, size).append(number)


def _own(entries: dict[int, Words], key: int) -> array[int]:
    """Return those of *key* as memory of our own: what is a file's does not grow."""
    found = entries.get(key)
    if not isinstance(found, array):
        found = entries[key] = array("Q", b"" if found is None else found.tobytes())
    return found


def _mixed(route: int, body: int) -> int:
    return route ^ body or 1


def number_of(key: bytes) -> int:
    """Return the number under which a key stands in a table: both of its halves take part."""
    return _mixed(*_KEY.unpack_from(key))
