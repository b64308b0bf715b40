"""How often each recording was played: 64-bit marks and their counts, in one flat piece of memory.

Flat, so that a million of them are 24 MB and no objects; and so that several processes can share one. Each process
counts in a lane of its own: so that two can count at the same time.
"""

from __future__ import annotations

import fcntl
from array import array
from contextlib import AbstractContextManager
from struct import Struct
from threading import Lock
from types import TracebackType
from typing import Any, Final

from stubserver.cassettes.memory import zeros

__all__ = ["Positions", "SharedLock", "bytes_for"]

_HEAD: Final = Struct("<QQ")  # epoch, and how many marks there are
_MARK: Final = 8
_COUNT: Final = 4
_FEWEST: Final = 1024
_MOST: Final = 2**32 - 1


def bytes_for(marks: int, lanes: int = 1) -> int:
    """Return how much memory so many marks need; the table is never more than two thirds full."""
    slots = _FEWEST
    while slots * 2 < marks * 3:
        slots *= 2
    return _HEAD.size + slots * (_MARK + _COUNT * lanes)


class SharedLock:
    """A lock of all threads of all processes that have the file *descriptor* open; who dies lets go of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads = Lock()

    def __enter__(self) -> None:
        """Wait for it."""
        self._threads.acquire()
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()


class Positions:
    """Counts by mark. Whoever reads or writes them holds ``lock``, and nothing else meanwhile; but for :meth:`again`.

    *memory* is what several processes share, each with another *lane* of *lanes*; without, it is this process's own,
    and grows.
    """

    def __init__(
        self,
        memory: Any = None,  # noqa: ANN401  # any writable buffer
        lock: AbstractContextManager[Any] | None = None,
        lane: int = 0,
        lanes: int = 1,
    ) -> None:
        self.lock: AbstractContextManager[Any] = lock or Lock()
        self._grows = memory is None
        self._lane, self._lanes = lane, lanes
        self._lay_out(bytearray(bytes_for(0)) if memory is None else memory)

    def _lay_out(self, memory: Any) -> None:  # noqa: ANN401  # any writable buffer
        view = memoryview(memory)
        slots = (len(view) - _HEAD.size) // (_MARK + _COUNT * self._lanes)
        counts = _HEAD.size + _MARK * slots
        self._memory = memory
        self._head = view[: _HEAD.size].cast("Q")
        self._marks = view[_HEAD.size : counts].cast("Q")
        self._counts = view[counts : counts + _COUNT * self._lanes * slots].cast("I")
        self._mask = slots - 1

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
        return Positions(bytearray(self._memory), lane=self._lane, lanes=self._lanes)

    def get(self, mark: int) -> int:
        """Return how often it was played."""
        place = self._find(mark)
        first = place * self._lanes
        return sum(self._counts[first : first + self._lanes]) if self._marks[place] else 0

    def again(self, mark: int) -> bool:
        """Count one more play of what was played before, without the lock; False, and nothing done, for others."""
        marks, mask = self._marks, self._mask
        place = mark & mask
        while (found := marks[place]) != mark:  # as _find, in half the time
            if not found:
                return False
            place = (place + 1) & mask
        mine = place * self._lanes + self._lane
        count = self._counts[mine]
        if 0 < count < _MOST:
            self._counts[mine] = count + 1
        return count > 0

    def add(self, mark: int) -> None:
        """Count one more play. What no longer fits into shared memory is not counted."""
        place = self._find(mark)
        if not self._marks[place]:
            if self._head[1] * 3 >= len(self._marks) * 2:
                if not self._grows:
                    return
                self._grow(2 * self._head[1])
                place = self._find(mark)
            self._set(place, (0,) * self._lanes)
            self._marks[place] = mark
            self._head[1] += 1
        mine = place * self._lanes + self._lane
        count = self._counts[mine]
        if count < _MOST:
            self._counts[mine] = count + 1

    def _set(self, place: int, counts: tuple[int, ...]) -> None:
        for lane, count in enumerate(counts):
            self._counts[place * self._lanes + lane] = count

    def reserve(self, marks: int) -> None:
        """Have room for so many, where it is our own: growing takes a while when there are many.

        What nothing was written to is no memory yet.
        """
        if self._grows and bytes_for(marks, self._lanes) > len(self._memory):
            self._grow(marks)

    def _grow(self, room: int) -> None:
        (epoch, used), marks, counts = self._head, self._marks, self._counts
        self._lay_out(zeros(bytes_for(room)))
        self._head[0], self._head[1] = epoch, used
        for mark, count in zip(marks, counts, strict=True):
            if mark:
                place = self._find(mark)
                self._marks[place], self._counts[place] = mark, count

    def forget(self, mark: int) -> None:
        """Set one back to never played."""
        place = self._find(mark)
        if self._marks[place]:
            self._set(place, (0,) * self._lanes)

    def forgotten(self) -> None:
        """Begin another epoch: something was set back."""
        self._head[0] += 1

    def clear(self) -> None:
        """Set all back to never played."""
        self._head[1] = 0
        for view in (self._marks, self._counts):
            zeros = array(view.format, bytes(view.itemsize * _FEWEST))
            for start in range(0, len(view), _FEWEST):
                view[start : start + _FEWEST] = zeros[: len(view) - start]
        self.forgotten()

    def close(self) -> None:
        """Let go of the memory: shared memory cannot be closed while somebody looks at it."""
        for view in (self._head, self._marks, self._counts):
            view.release()
