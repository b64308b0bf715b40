"""Numbers -> entries, for millions of them: open addressing in flat arrays, 16 bytes a slot and no objects.

One thread writes at a time; others may read meanwhile, without a lock. Nobody waits for a large table to be filled
anew: one that is full gets another beside it, as large as itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, TypeAlias

from stubserver.cassettes.memory import zeros

__all__ = ["KeyTable", "Words"]

Words: TypeAlias = "array[int] | memoryview[int]"
"""Numbers of 64 bits in a row: our own memory, or a file's that is mapped."""
_Slots: TypeAlias = tuple[Words, Words]
"""A number and its last entry in each slot; 0 where it is free."""

_FEWEST_BITS: Final = 4
_LARGE: Final = 4096
"""Below, all is moved to a larger table in a millisecond."""
_ROW_BITS: Final = 32
_ROW: Final = (1 << _ROW_BITS) - 1


class KeyTable:
    """Entries by number: 64 bits, not 0. Several of one number come in the order in which they were added.

    An entry is 64 bits, too: 1 and more. Its upper half groups them (the entries of one file), so that the links
    between those of one number take 8 bytes each, and none where nothing is there twice.
    """

    def __init__(self, expected: int = 0) -> None:
        self._used = 0
        # Of each number there is the last entry; each entry links to the next, the last to the first.
        self._tables: tuple[_Slots, ...] = (_empty(expected),)
        self._room = _room(self._tables[0])
        self._links: dict[int, Words] = {}

    def parts(self) -> tuple[int, Words, Words, dict[int, Words]]:
        """Return what it is made of, to be kept: how many numbers there are, slots, and the links of each group."""
        if len(self._tables) > 1:
            self._move(self._used)
        return (self._used, *self._tables[0], self._links)

    @classmethod
    def of_parts(cls, used: int, numbers: Words, last: Words, links: dict[int, Words]) -> KeyTable:
        """Return a table made of its :meth:`parts`, which are written to where it changes."""
        table = cls()
        table._used, table._tables, table._links = used, ((numbers, last),), links
        table._room = _room((numbers, last)) - used
        return table

    def __len__(self) -> int:
        return self._used

    def reserve(self, more: int) -> None:
        """Make room for so many more numbers. What takes long then are those, and not what is there."""
        if more <= self._room:
            return
        if self._used < max(more, _LARGE):
            self._move(self._used + more)
        else:
            self._tables = (*self._tables, _empty(max(more, self._used)))
            self._room = _room(self._tables[-1])

    def extend(self, numbers: Iterable[int], entry: int) -> None:
        """Add one entry after the other, from *entry* on."""
        for number in numbers:
            self.add(number, entry)
            entry += 1

    def add(self, number: int, entry: int) -> None:
        """Add one entry."""
        for numbers, last in self._tables:
            mask = len(numbers) - 1
            place = number & mask
            while found := numbers[place]:
                if found == number:
                    self._link(last[place], entry)
                    last[place] = entry
                    return
                place = (place + 1) & mask
        last[place] = entry  # before the number: whoever finds that one finds this, too
        numbers[place] = number
        self._used += 1
        self._room -= 1
        if not self._room:
            self.reserve(self._used)

    def _link(self, last: int, entry: int) -> None:
        self._set_next(entry, self._next(last))
        self._set_next(last, entry)

    def _next(self, entry: int) -> int:
        """Return the entry behind *entry*; one that is alone is behind itself."""
        links, row = self._links.get(entry >> _ROW_BITS), entry & _ROW
        return (links[row] if links is not None and row < len(links) else 0) or entry

    def _set_next(self, entry: int, following: int) -> None:
        group, row = entry >> _ROW_BITS, entry & _ROW
        links = self._links.get(group)
        if links is None or row >= len(links):
            links = self._longer(group, row)
        links[row] = following

    def _longer(self, group: int, row: int) -> array[int]:
        """Make room for the link of one more row; memory that is a file's does not grow."""
        links = self._links.get(group)
        if not isinstance(links, array):
            links = self._links[group] = array("Q", b"" if links is None else links.tobytes())
        if row >= len(links):
            links.frombytes(bytes(8 * (row + 1 + row // 8 - len(links))))
        return links

    def _move(self, expected: int) -> None:
        """Move all to one table with room for *expected* numbers."""
        grown, moved = table = _empty(expected)
        mask = len(grown) - 1
        for numbers, last in self._tables:
            for number, entry in zip(numbers, last, strict=True):
                if number:
                    place = number & mask
                    while grown[place]:
                        place = (place + 1) & mask
                    grown[place], moved[place] = number, entry
        self._tables, self._room = (table,), _room(table) - self._used

    def last(self, number: int) -> int:
        """Return the last entry of a number; 0 when there is none."""
        for numbers, last in self._tables:
            mask = len(numbers) - 1
            place = number & mask
            while found := numbers[place]:
                if found == number:
                    return last[place]
                place = (place + 1) & mask
        return 0

    def is_alone(self, entry: int) -> bool:
        """Tell whether an entry is the only one of its number."""
        links, row = self._links.get(entry >> _ROW_BITS), entry & _ROW
        return links is None or row >= len(links) or not links[row]

    def find(self, number: int) -> list[int]:
        """Return the entries of a number, in order."""
        end = self.last(number)
        if not end:
            return []
        found, entry = [], self._next(end)
        while entry != end:
            found.append(entry)
            entry = self._next(entry)
        return [*found, end]


def _empty(expected: int) -> _Slots:
    """Make room for so many numbers: at most two thirds of the slots are taken."""
    bits = _FEWEST_BITS
    while (1 << bits) * 2 < expected * 3 + 3:
        bits += 1
    return _words(8 << bits), _words(8 << bits)


def _words(size: int) -> Words:
    memory = zeros(size)
    return array("Q", bytes(memory)) if isinstance(memory, bytearray) else memoryview(memory).cast("Q")


def _room(table: _Slots) -> int:
    """Return how many numbers go into a table that is empty."""
    return len(table[0]) * 2 // 3
