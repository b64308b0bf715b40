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
_FEW: Final = 4096
"""So many are moved to a larger table in two milliseconds."""
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


class _Table:
    """Marks with their counts, behind a head, in one piece of *memory*: any writable buffer."""

    __slots__ = ("counts", "head", "marks", "mask", "memory")

    def __init__(self, memory: Any, lanes: int) -> None:  # noqa: ANN401  # as above
        view = memoryview(memory)
        slots = (len(view) - _HEAD.size) // (_MARK + _COUNT * lanes)
        counts = _HEAD.size + _MARK * slots
        self.memory = memory
        self.head = view[: _HEAD.size].cast("Q")
        self.marks = view[_HEAD.size : counts].cast("Q")
        self.counts = view[counts : counts + _COUNT * lanes * slots].cast("I")
        self.mask = slots - 1

    @property
    def room(self) -> int:
        """How many more marks it may take."""
        return max(0, (len(self.marks) * 2 + 2) // 3 - self.head[1])

    def find(self, mark: int) -> int:
        """Return where *mark* is, or where it would go."""
        marks, mask = self.marks, self.mask
        place = mark & mask
        found = marks[place]
        while found and found != mark:
            place = (place + 1) & mask
            found = marks[place]
        return place


class Positions:
    """Counts by mark. Whoever reads or writes them holds ``lock``, and nothing else meanwhile; but for :meth:`again`.

    *memory* is what several processes share, each with another *lane* of *lanes*; without, it is this process's own,
    and grows: a large table that is full gets another beside it, since moving all of its marks would take a while.
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
        self._tables: tuple[_Table, ...] = (_Table(bytearray(bytes_for(0)) if memory is None else memory, lanes),)

    @property
    def epoch(self) -> int:
        """Another number after every :meth:`clear`: what is remembered about counts holds until then."""
        return self._tables[0].head[0]

    def _find(self, mark: int) -> tuple[_Table, int]:
        """Return where *mark* is, or where it would go."""
        for table in self._tables:
            place = table.find(mark)
            if table.marks[place]:
                break
        return table, place

    def copy(self) -> Positions:
        """Return a copy, in memory of its own."""
        twin = Positions(lane=self._lane, lanes=self._lanes)
        twin._tables = tuple(_Table(bytearray(table.memory), self._lanes) for table in self._tables)
        twin._grows = self._grows
        return twin

    def get(self, mark: int) -> int:
        """Return how often it was played."""
        table, place = self._find(mark)
        first = place * self._lanes
        return sum(table.counts[first : first + self._lanes]) if table.marks[place] else 0

    def again(self, mark: int) -> bool:
        """Count one more play of what was played before, without the lock; False, and nothing done, for others."""
        for table in self._tables:
            marks, mask = table.marks, table.mask
            place = mark & mask
            while (found := marks[place]) and found != mark:  # as find, in half the time
                place = (place + 1) & mask
            if found:
                mine = place * self._lanes + self._lane
                count = table.counts[mine]
                if 0 < count < _MOST:
                    table.counts[mine] = count + 1
                return count > 0
        return False

    def add(self, mark: int) -> None:
        """Count one more play. What no longer fits into shared memory is not counted."""
        table, place = self._find(mark)
        if not table.marks[place]:
            if not table.room:
                if not self._grows:
                    return
                self._grow(table.head[1])
                table, place = self._find(mark)
            self._set(table, place, (0,) * self._lanes)
            table.marks[place] = mark
            table.head[1] += 1
        mine = place * self._lanes + self._lane
        count = table.counts[mine]
        if count < _MOST:
            table.counts[mine] = count + 1

    def _set(self, table: _Table, place: int, counts: tuple[int, ...]) -> None:
        for lane, count in enumerate(counts):
            table.counts[place * self._lanes + lane] = count

    def reserve(self, marks: int) -> None:
        """Have room for so many, where it is our own. What nothing was written to is no memory yet."""
        missing = marks - sum(table.room + table.head[1] for table in self._tables)
        if self._grows and missing > 0:
            self._grow(missing)

    def _grow(self, more: int) -> None:
        """Have room for so many more."""
        used = sum(table.head[1] for table in self._tables)
        if used > _FEW:
            self._tables = (*self._tables, _Table(zeros(bytes_for(max(more, used))), self._lanes))
            return
        grown, known = _Table(zeros(bytes_for(used + more)), self._lanes), self._tables
        grown.head[0], grown.head[1] = self.epoch, used
        for table in known:
            for mark, count in zip(table.marks, table.counts, strict=True):
                if mark:
                    place = grown.find(mark)
                    grown.marks[place], grown.counts[place] = mark, count
        self._tables = (grown,)

    def forget(self, mark: int) -> None:
        """Set one back to never played."""
        table, place = self._find(mark)
        if table.marks[place]:
            self._set(table, place, (0,) * self._lanes)

    def forgotten(self) -> None:
        """Begin another epoch: something was set back."""
        self._tables[0].head[0] += 1

    def clear(self) -> None:
        """Set all back to never played."""
        if self._grows:
            room = sum(len(table.marks) for table in self._tables) * 2 // 3
            empty = _Table(zeros(bytes_for(room)), self._lanes)
            empty.head[0] = self.epoch
            self._tables = (empty,)
        else:
            self._zero(self._tables[0])
        self.forgotten()

    @staticmethod
    def _zero(table: _Table) -> None:
        """Set shared memory back, piece by piece: others look at it."""
        table.head[1] = 0
        for view in (table.marks, table.counts):
            piece = array(view.format, bytes(view.itemsize * _FEWEST))
            for start in range(0, len(view), _FEWEST):
                view[start : start + _FEWEST] = piece[: len(view) - start]

    def close(self) -> None:
        """Let go of the memory: shared memory cannot be closed while somebody looks at it."""
        for table in self._tables:
            for view in (table.head, table.marks, table.counts):
                view.release()
