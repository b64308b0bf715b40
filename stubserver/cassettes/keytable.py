"""Numbers -> entries, for millions of them: open addressing in two flat arrays, 16 bytes a slot and no objects.

One thread writes at a time; others may read meanwhile, without a lock.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, TypeAlias

__all__ = ["KeyTable", "Words"]

Words: TypeAlias = "array[int] | memoryview[int]"
"""Numbers of 64 bits in a row: our own memory, or a file's that is mapped."""

_FEWEST_BITS: Final = 4
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
        self._slots: tuple[Words, Words] = _empty(expected)
        self._links: dict[int, Words] = {}

    def parts(self) -> tuple[int, Words, Words, dict[int, Words]]:
        """Return what it is made of, to be kept: how many numbers there are, slots, and the links of each group."""
        return (self._used, *self._slots, self._links)

    @classmethod
    def of_parts(cls, used: int, numbers: Words, last: Words, links: dict[int, Words]) -> KeyTable:
        """Return a table made of its :meth:`parts`, which are written to where it changes."""
        table = cls()
        table._used, table._slots, table._links = used, (numbers, last), links
        return table

    def __len__(self) -> int:
        return self._used

    def extend(self, numbers: Iterable[int], entry: int) -> None:
        """Add one entry after the other, from *entry* on."""
        for number in numbers:
            self.add(number, entry)
            entry += 1

    def add(self, number: int, entry: int) -> None:
        """Add one entry."""
        numbers, last = self._slots
        mask = len(numbers) - 1
        place = number & mask
        while True:
            found = numbers[place]
            if found == number:
                self._link(last[place], entry)
                last[place] = entry
                return
            if not found:
                break
            place = (place + 1) & mask
        last[place] = entry  # before the number: whoever finds that one finds this, too
        numbers[place] = number
        self._used += 1
        if self._used * 3 > len(numbers) * 2:
            self._grow()

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

    def _grow(self) -> None:
        numbers, last = self._slots
        grown, moved = _empty(2 * self._used)
        mask = len(grown) - 1
        for number, entry in zip(numbers, last, strict=True):
            if number:
                place = number & mask
                while grown[place]:
                    place = (place + 1) & mask
                grown[place], moved[place] = number, entry
        self._slots = grown, moved

    def last(self, number: int) -> int:
        """Return the last entry of a number; 0 when there is none."""
        numbers, last = self._slots
        mask = len(numbers) - 1
        place = number & mask
        while (found := numbers[place]) != number:
            if not found:
                return 0
            place = (place + 1) & mask
        return last[place]

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


def _empty(expected: int) -> tuple[array[int], array[int]]:
    """Make room for so many numbers: at most two thirds of the slots are taken."""
    bits = _FEWEST_BITS
    while (1 << bits) * 2 < expected * 3 + 3:
        bits += 1
    return array("Q", bytes(8 << bits)), array("Q", bytes(8 << bits))
