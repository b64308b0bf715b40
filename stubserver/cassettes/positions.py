"""How often each recording was played: 64-bit marks and their counts, in one flat piece of memory.

Flat, so that a million of them are 24 MB and no objects; and so that several processes can share one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from struct import Struct
from threading import Lock
from typing import Any, Final

__all__ = ["Positions", "bytes_for"]

_HEAD: Final = Struct("<QQ")  # epoch, and how many marks there are
_SLOT: Final = 12
_FEWEST: Final = 1024
_MOST: Final = 2**32 - 1


def bytes_for(marks: int) -> int:
    """Return how much memory so many marks need; the table is never more than two thirds full."""
    slots = _FEWEST
    while slots * 2 < marks * 3:
        slots *= 2
    return _HEAD.size + slots * _SLOT


class Positions:
    """Counts by mark. Whoever reads or writes them holds ``lock``, and nothing else meanwhile.

    *memory* is what several processes share; without, it is this process's own, and grows.
    """

    def __init__(self, memory: Any = None, lock: AbstractContextManager[Any] | None = None) -> None:  # noqa: ANN401
        self.lock: AbstractContextManager[Any] = lock or Lock()
        self._grows = memory is None
        self._lay_out(bytearray(bytes_for(0)) if memory is None else memory)

    def _lay_out(self, memory: Any) -> None:  # noqa: ANN401  # any writable buffer
        view = memoryview(memory)
        slots = (len(view) - _HEAD.size) // _SLOT
        self._memory = memory
        self._mask = slots - 1
        self._head = view[: _HEAD.size].cast("Q")
        self._marks = view[_HEAD.size : _HEAD.size + 8 * slots].cast("Q")
        self._counts = view[_HEAD.size + 8 * slots : _HEAD.size + _SLOT * slots].cast("I")

    @property
    def epoch(self) -> int:
        """Another number after every :meth:`clear`: what is remembered about counts holds until then."""
        return self._head[0]

    def _find(self, mark: int) -> int:
        """Return where *mark* is, or where it would go."""
        marks, mask = self._marks, self._mask
        place = mark & mask
        found = marks[place]
        while found and found != mark:
            place = (place + 1) & mask
            found = marks[place]
        return place

    def copy(self) -> Positions:
        """Return a copy, in memory of its own."""
        return Positions(bytearray(self._memory))

    def get(self, mark: int) -> int:
        """Return how often it was played."""
        place = self._find(mark)
        return self._counts[place] if self._marks[place] else 0

    def add(self, mark: int) -> None:
        """Count one more play. What no longer fits into shared memory is not counted."""
        place = self._find(mark)
        if not self._marks[place]:
            if self._head[1] * 3 >= len(self._marks) * 2:
                if not self._grows:
                    return
                self._grow()
                place = self._find(mark)
            self._marks[place] = mark
            self._head[1] += 1
        count = self._counts[place]
        if count < _MOST:
            self._counts[place] = count + 1

    def _grow(self) -> None:
        known = [(mark, count) for mark, count in zip(self._marks, self._counts, strict=True) if mark]
        epoch = self.epoch
        self._lay_out(bytearray(bytes_for(2 * len(known))))
        self._head[0], self._head[1] = epoch, len(known)
        for mark, count in known:
            place = self._find(mark)
            self._marks[place], self._counts[place] = mark, count

    def forget(self, mark: int) -> None:
        """Set one back to never played."""
        place = self._find(mark)
        if self._marks[place]:
            self._counts[place] = 0

    def forgotten(self) -> None:
        """Begin another epoch: something was set back."""
        self._head[0] += 1

    def clear(self) -> None:
        """Set all back to never played."""
        self._head[1] = 0
        self._marks[:] = memoryview(bytes(8 * len(self._marks))).cast("Q")
        self._counts[:] = memoryview(bytes(4 * len(self._counts))).cast("I")
        self.forgotten()

    def close(self) -> None:
        """Let go of the memory: shared memory cannot be closed while somebody looks at it."""
        for view in (self._head, self._marks, self._counts):
            view.release()
