"""Answers that are sent step by step: one thread sends all of them, each step in its time.

A thread for each, asleep between two events, is late when there are many: thousands that wake up fifty times a second
are in each other's way. Nothing here blocks: a client that does not read is waited for by itself, and a stream that is
late gets all that is due at once, so that less has to be done the more is to be done.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from heapq import heapify, heappop, heappush
from itertools import count
from queue import SimpleQueue
from typing import Final, Literal

from stubserver.messages import Delivery, Step
from stubserver.watch import ENDED, WRITE, Watch

__all__ = ["SLOWEST", "End", "Sender"]

SLOWEST: Final = 1_000_000
"""So many bytes a second a client takes or gives at least, beside the time that it has in all."""

_LATE_SECONDS: Final = 0.005
_AT_ONCE: Final = 256  # steps, until the sockets are looked at again
_now = time.monotonic

End = Literal["", "close", "reset"]
"""How the steps end the connection; empty: not at all."""

Ended = Callable[[End, BaseException | None], object]
"""What hears how the steps end the connection, and what ended them before that."""


class Sender(Watch["_Show"]):
    """Performs scripts: the steps of many answers, each of them sent in its time."""

    name = "stubserver-sender"

    def __init__(self) -> None:
        super().__init__()
        self._shows: dict[int, _Show] = {}
        self._due: list[tuple[float, int, _Show]] = []
        self._tickets = count(1)

    def begin(
        self, sock: socket.socket, steps: Iterator[Step], delivery: Delivery, patience: float, ended: Ended
    ) -> bool:
        """Begin to send *steps*; *ended* is called from another thread when that is over, and must not fail or block.

        *delivery* hears of each step; *patience* is how many seconds a client may take to read one, beside its size at
        1 MB/s. False: there is nobody any more who would do it.
        """
        return self.add(_Show(sock, steps, delivery, patience, ended))

    def perform(self, sock: socket.socket, steps: Generator[Step], delivery: Delivery, patience: float) -> End:
        """Send all *steps*, and return how they end the connection. What makes them may take its time.

        Raises OSError when the client left, and what *steps* raise.
        """
        outcome: SimpleQueue[tuple[End, BaseException | None]] = SimpleQueue()
        when = 0.0
        with closing(steps):
            for step in steps:
                show = _Show(sock, iter((step,)), delivery, patience, lambda *how: outcome.put(how), part=True)
                if not self.add(show):
                    raise ConnectionAbortedError
                end, error = outcome.get()
                if error is not None:
                    raise error
                if end:
                    return end
                when = show.when or when
        delivery.last = when or time.perf_counter()
        return ""

    def taken(self, item: _Show) -> None:
        """Begin with the first step."""
        if item.number < 0:  # it was closed in the meantime
            item.finish(ConnectionAbortedError())
            return
        self._shows[item.number] = item
        self._follow(item)

    def turn(self) -> float | None:
        """Send what is due."""
        for _ in range(_AT_ONCE):
            if not self._due:
                return None
            left = self._due[0][0] - _now()
            if left > 0:
                return left
            _, ticket, show = heappop(self._due)
            if ticket != show.ticket:
                continue  # there is another time for it now, or it is over
            if show.rest:
                self._finish(show, TimeoutError())
            else:
                self._play(show)
        return 0.0

    def stirred(self, number: int, events: int) -> None:
        """Go on with a client that reads again; or end what goes to one that has left."""
        show = self._shows.get(number)
        if show is None:
            return
        if show.rest and events & WRITE:
            self._send(show, show.rest)
        else:
            self._finish(show, ConnectionResetError())

    def drop(self) -> None:
        """End everything as if the clients had left."""
        for show in list(self._shows.values()):
            self._finish(show, ConnectionAbortedError())

    def _play(self, show: _Show) -> None:
        """Send the step that is due, and with it those that are late already."""
        step = show.step
        data, show.end, show.events = step.data, step.end, 1
        show.ahead = not step.end and _now() - show.due > _LATE_SECONDS
        if show.ahead:
            parts = [data]
            while show.advance() and not show.step.end and show.step.delay < -_LATE_SECONDS:
                parts.append(show.step.data)
            data, show.events = b"".join(parts), len(parts)
        self._send(show, data)

    def _send(self, show: _Show, data: bytes | memoryview) -> None:
        if data:
            show.when = time.perf_counter()  # not later than anything that the client does because of it
            try:
                sent = show.sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._finish(show, error)
                return
            if sent < len(data):
                self._hold(show, memoryview(data)[sent:])
                return
            show.sent()
        if show.rest is not None:
            show.rest = None
            self._watch(show, 0)
        self._follow(show)

    def _hold(self, show: _Show, rest: memoryview) -> None:
        """Keep what a client does not take yet, until it reads, or has taken too long."""
        if show.rest is None:
            self._watch(show, WRITE)
            self._at(show, _now() + show.patience + len(rest) / SLOWEST)
        show.rest = rest

    def _follow(self, show: _Show) -> None:
        """Put the next step in its time."""
        more = show.step is not _NONE if show.ahead else not show.end and show.advance()
        if not more:
            self._finish(show, show.error)
            return
        show.ahead = False
        if show.step.delay > 0:
            self._watch(show, ENDED if show.step.leaves else 0)
        self._at(show, show.due)

    def _at(self, show: _Show, when: float) -> None:
        show.ticket = next(self._tickets)
        heappush(self._due, (when, show.ticket, show))

    def _watch(self, show: _Show, events: int) -> None:
        if show.watched is None:
            self.watch(show.number, events)
        elif show.watched != events:
            self.change(show.number, events)
        show.watched = events

    def _finish(self, show: _Show, error: BaseException | None) -> None:
        del self._shows[show.number]
        if show.watched is not None:
            self.unwatch(show.number)
        show.finish(error)
        if len(self._due) > 2 * len(self._shows) + _AT_ONCE:  # what ended long before its time
            self._due = [each for each in self._due if each[1] == each[2].ticket]
            heapify(self._due)


class _Show:
    """One script on its way, or a *part* of it, and who is told of its end.

    ``step`` is the next one and ``due`` its time; ``ahead``: it was taken before the one in hand was sent. ``rest`` is
    what the client does not take yet, of ``events`` steps.
    """

    __slots__ = (
        *("_delivery", "_ended", "_part", "_steps", "ahead", "due", "end", "error", "events", "number", "patience"),
        *("rest", "sock", "step", "ticket", "watched", "when"),
    )

    def __init__(  # noqa: PLR0913  # those of begin()
        self,
        sock: socket.socket,
        steps: Iterator[Step],
        delivery: Delivery,
        patience: float,
        ended: Ended,
        *,
        part: bool = False,
    ) -> None:
        self.sock = sock
        self.number = sock.fileno()
        self.patience = patience
        self.step = _NONE
        self.due = 0.0
        self.ahead = False
        self.end: End = ""
        self.rest: memoryview | None = None
        self.events = 0
        self.ticket = 0
        self.watched: int | None = None
        self.when = 0.0
        self.error: BaseException | None = None
        self._steps = steps
        self._delivery = delivery
        self._ended = ended
        self._part = part

    def advance(self) -> bool:
        """Take the next step; False when there is none."""
        try:
            self.step = next(self._steps, _NONE)
        except Exception as error:  # noqa: BLE001  # it is raised where the script is from, and harms no other
            self.error, self.step = error, _NONE
        self.due = _time_of(self.step.delay)
        return self.step is not _NONE

    def sent(self) -> None:
        """Note that all of the step in hand was sent."""
        for _ in range(self.events):
            self._delivery.sent(self.when)

    def finish(self, error: BaseException | None) -> None:
        """Tell whoever began it. Of what is left in the heap, nothing is held on to."""
        self.ticket = 0
        self._steps = iter(())
        if error is None and not (self.end or self._part):
            self._delivery.last = self.when or time.perf_counter()
        self._ended(self.end, error)


_NONE: Final = Step()


def _time_of(delay: float) -> float:
    """Return when a step is due that is to wait for so many seconds."""
    return _now() + delay
