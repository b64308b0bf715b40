"""How many answers there were, of which kind, and how long they took: counters that only grow.

Adding one costs an append. They are counted some thousand at a time, or when somebody asks: an answer is added before
it leaves, and when it did is only known afterwards.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from threading import Lock
from typing import Final

from stubserver.messages import Delivery

__all__ = ["BOUNDS", "Cell", "Tally"]

BOUNDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
"""Upper bounds of the histograms' buckets, in seconds; what is above the last is counted behind it."""

_AT_ONCE: Final = 1024
_MOST_TARGETS: Final = 4096
_MOST_CELLS: Final = 512
_OTHER: Final = "other"
_ERROR: Final = 400
_API: Final = re.compile(r"/(?:chat/completions|completions|embeddings|responses|moderations|models)\b")
# An id in a path, such as resp_0a1b2c3d: what holds a digit and is long, or what is digits alone.
_ID: Final = re.compile(r"/(?=[^/]*[0-9])(?:[^/]{16,}|[a-z]{2,12}[_-][^/]{6,}|[0-9]+)(?=/|$)")
_NAMED: Final = re.compile(r"/__cassette/.*?(?=/v1/|/chat/|/completions|/embeddings|/responses|/models|$)")


class Cell:
    """The answers to one path, from one source, of one status.

    ``durations`` and ``first_bytes`` count by :data:`BOUNDS`; ``seconds`` and ``first_seconds`` are their sums, ``cut``
    counts those whose client left before the end.
    """

    __slots__ = ("count", "cut", "durations", "first_bytes", "first_seconds", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.cut = 0
        self.seconds = 0.0
        self.first_seconds = 0.0
        self.durations = [0] * (len(BOUNDS) + 1)
        self.first_bytes = [0] * (len(BOUNDS) + 1)

    def merge(self, other: Cell) -> None:
        """Add what another one counted."""
        self.count += other.count
        self.cut += other.cut
        self.seconds += other.seconds
        self.first_seconds += other.first_seconds
        self.durations = [a + b for a, b in zip(self.durations, other.durations, strict=True)]
        self.first_bytes = [a + b for a, b in zip(self.first_bytes, other.first_bytes, strict=True)]

    def add(self, deliveries: list[Delivery]) -> None:
        """Count answers that have left."""
        took = sorted([delivery.last - delivery.received for delivery in deliveries])
        self.count += len(took)
        self.seconds += sum(took)
        self.cut += sum([delivery.cut for delivery in deliveries])
        _count_by_bounds(self.durations, took)
        if any(delivery.first != delivery.last for delivery in deliveries):
            took = sorted([(delivery.first or delivery.last) - delivery.received for delivery in deliveries])
        self.first_seconds += sum(took)
        _count_by_bounds(self.first_bytes, took)


def _count_by_bounds(counts: list[int], values: list[float]) -> None:
    """Count sorted values by the bounds that they do not exceed."""
    before = 0
    for number, bound in enumerate(BOUNDS):
        up_to = bisect_right(values, bound, before)
        counts[number] += up_to - before
        before = up_to
    counts[-1] += len(values) - before


_Key = tuple[str, str, int]


class Tally:
    """Counts by path, source and status. Thread-safe."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[_Key, Delivery]] = deque()  # never another one: others append meanwhile
        self._when = _AT_ONCE
        self._by_target: dict[_Key, Cell] = {}
        self._cells: dict[_Key, Cell] = {}
        self._lock = Lock()

    def add(self, target: str, source: str, status: int, delivery: Delivery) -> None:
        """Add an answer that is about to leave."""
        waiting = self._waiting
        waiting.append(((target, source, status), delivery))
        if len(waiting) > self._when:
            self._count()

    def cells(self) -> dict[tuple[str, str, int], Cell]:
        """Return what was counted by path, source and status, of answers that have left; not to be changed."""
        self._count()
        return dict(self._cells)

    def taken(self) -> dict[tuple[str, str, int], Cell]:
        """Return what was counted and begin anew: for another tally to :meth:`merge`."""
        self._count()
        with self._lock:
            cells, self._cells, self._by_target = self._cells, {}, {}
        return cells

    def merge(self, cells: dict[tuple[str, str, int], Cell]) -> None:
        """Add what another process counted."""
        with self._lock:
            for key, cell in cells.items():
                self._cells.setdefault(key, Cell()).merge(cell)

    def sources(self) -> dict[str, int]:
        """Count the answers that have left by where they came from."""
        sums = dict.fromkeys(("replayed", "recorded", "forwarded", "dummy", "unmatched"), 0)
        for (_, source, _), cell in self.cells().items():
            sums[source] = sums.get(source, 0) + cell.count
        return sums

    def _count(self) -> None:
        waiting = self._waiting
        with self._lock:
            groups: dict[_Key, list[Delivery]] = {}
            for _ in range(len(waiting)):
                key, delivery = waiting.popleft()
                if not delivery.last:
                    waiting.append((key, delivery))
                elif key in groups:
                    groups[key].append(delivery)
                else:
                    groups[key] = [delivery]
            for key, deliveries in groups.items():
                (self._by_target.get(key) or self._cell(key)).add(deliveries)
            self._when = len(waiting) + _AT_ONCE

    def _cell(self, key: _Key) -> Cell:
        target, source, status = key
        label = label_of(target)
        if status >= _ERROR and not _API.search(label):
            label = _OTHER  # whoever tries paths at random gets no label for each
        if (label, source, status) not in self._cells and len(self._cells) >= _MOST_CELLS:
            label = _OTHER
        if len(self._by_target) >= _MOST_TARGETS:
            self._by_target.clear()
        cell = self._by_target[key] = self._cells.setdefault((label, source, status), Cell())
        return cell


def label_of(target: str) -> str:
    """Return the path of *target* with what changes from request to request taken out."""
    path = target.partition("?")[0][:200]
    return _ID.sub("/{id}", _NAMED.sub("/__cassette/{name}", path))
