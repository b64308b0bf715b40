"""Connections that wait for their next request without a thread: thousands of them cost their memory and no more."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from stubserver.watch import READ, Watch

__all__ = ["Resting", "Rests"]

_now = time.monotonic


class Rests(Protocol):
    """A connection between two requests."""

    def fileno(self) -> int:
        """Return the descriptor of its socket, -1 when that was closed."""

    def has_more(self) -> bool | None:
        """Tell whether there is something to read; False when the other side left, None as long as neither is so."""


C = TypeVar("C", bound=Rests)


class Resting(Watch[C], Generic[C]):
    """Watches connections for at most *seconds* each.

    *resume* is called for each that has something to say, *end* for one that has not, or whose other side left. What
    waits the longest is the first in ``_resting``: the time is the same for all of them.
    """

    name = "stubserver-resting"

    def __init__(self, seconds: float, resume: Callable[[C], object], end: Callable[[C], object]) -> None:
        super().__init__()
        self._seconds = seconds
        self._resume = resume
        self._end = end
        self._resting: OrderedDict[int, tuple[float, C]] = OrderedDict()

    def __len__(self) -> int:
        """How many connections rest."""
        return len(self._resting)

    def taken(self, item: C) -> None:
        """Watch a connection from now on."""
        number = item.fileno()
        if number >= 0:
            self._resting[number] = (_now() + self._seconds, item)
            self.watch(number, READ)

    def stirred(self, number: int, events: int) -> None:
        """Let a connection go on, or end it here: thousands that end at once need no thread for that."""
        del events
        found = self._resting.get(number)
        more = found[1].has_more() if found is not None else None
        if more is not None:
            (self._resume if more else self._end)(self._forget(number))

    def turn(self) -> float | None:
        """End what has waited long enough."""
        while self._resting:
            number, (until, _) = next(iter(self._resting.items()))
            left = until - _now()
            if left > 0:
                return left
            self._end(self._forget(number))
        return None

    def drop(self) -> None:
        """Let those go on that have something to say, and end the others."""
        for number, (_, item) in list(self._resting.items()):
            (self._resume if item.has_more() else self._end)(self._forget(number))

    def _forget(self, number: int) -> C:
        """Watch it no longer, before anything else is done with it."""
        self.unwatch(number)
        return self._resting.pop(number)[1]
