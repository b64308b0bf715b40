"""When each part of an answer is sent: as it was recorded, that scaled, or at a pace of its own.

Nothing here waits: an answer gets a script of timed steps, which the connection performs. Each step is timed from the
request on, so that what sending takes does not add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from stubserver import wire
from stubserver.errors import UsageError
from stubserver.jsonvalue import json_value
from stubserver.messages import Answer, Request, Response, Step

__all__ = ["Pace", "Pacer", "pace_of", "pacer_of"]

_LONGEST: Final = 3_600_000.0
_FASTEST: Final = 1_000_000.0
_MOST_TOKENS: Final = 10_000_000

_Offsets = Callable[[int], Iterable[float]]
"""When each of so many parts is sent, in milliseconds after the request."""


class Pace(NamedTuple):
    """How fast answers are sent.

    ``speed`` is that of recorded timing: 1 as it was, 2 twice as fast, None at once. ``ttft`` and ``itl`` are the
    milliseconds before the first token, and from one to the next, of what has no timing or is not to keep it.
    """

    speed: float | None = None
    ttft: float | None = None
    itl: float | None = None


class Pacer:
    """Gives answers their pace; what is still coming from an upstream has its own, and errors of ours have none."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def __call__(self, request: Request, answer: Answer) -> Answer:
        """Return *answer* with the script of its pace, or as it is."""
        offsets = self._offsets(request, answer)
        if offsets is None:
            return answer
        return answer.changed(script=partial(_steps, offsets, time.monotonic(), answer.rendered))

    def timed(self, request: Request, answer: Answer) -> Callable[[list[bytes]], Iterator[tuple[float, bytes]]] | None:
        """Return what gives the pieces of a body their time, for whoever sends them otherwise; None: at once."""
        offsets = self._offsets(request, answer)
        return None if offsets is None else partial(_timed, offsets, time.monotonic())

    def _offsets(self, request: Request, answer: Answer) -> _Offsets | None:
        if answer.live is not None or answer.source == "unmatched":
            return None
        speed, ttft, itl = self.pace
        if speed is not None and answer.response.times:
            return partial(_recorded, answer.response.times, speed)
        # What is only looked up, such as the list of models, takes no time that is worth playing.
        if (ttft is None and itl is None) or request.method != "POST":
            return None
        return partial(_even, answer.response, ttft or 0.0, itl or 0.0)


def _recorded(times: tuple[int, ...], speed: float, count: int) -> list[float]:
    """Fit what was recorded to *count* parts: in the other stream mode there are more, or fewer, or one."""
    last = len(times) - 1
    if last == 0:
        return [times[0] * (i + 1) / count / speed for i in range(count)]
    return [times[last if i == count - 1 else i * last // (count - 1)] / speed for i in range(count)]


def _even(response: Response, ttft: float, itl: float, count: int) -> Iterable[float]:
    if response.events:
        return (ttft + itl * i for i in range(count))  # no list: there may be thousands of streams
    return [ttft + itl * (_tokens(response) - 1)]  # a whole answer is sent when its last token is there


def _tokens(response: Response) -> int:
    """Return how many tokens an answer says it was made of, at least 1."""
    answer = json_value(response.body)
    usage: Any = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return 1
    found = usage.get("completion_tokens", usage.get("output_tokens"))
    return min(max(found, 1), _MOST_TOKENS) if isinstance(found, int) else 1


def _steps(
    offsets: _Offsets, started: float, rendered: dict[int, tuple[bytes, ...]], response: Response, flags: int
) -> Generator[Step]:
    """Yield each part in its time; one that is late says by how much, so that it may go with others."""
    pieces = rendered.get(flags)
    if pieces is None:
        pieces = rendered[flags] = wire.render(response, flags)
    events = max(len(pieces) - (1 if flags & wire.HTTP10 else 2), 1)  # the head, and in chunks the last of them
    for offset, part in zip(offsets(events), _parts(pieces, events), strict=True):
        yield Step(started + min(offset, _LONGEST) / 1000 - time.monotonic(), part)


def _timed(offsets: _Offsets, started: float, parts: list[bytes]) -> Iterator[tuple[float, bytes]]:
    """Yield each part with the seconds that are left until its time."""
    for offset, part in zip(offsets(len(parts)), parts, strict=True):
        yield max(0.0, started + min(offset, _LONGEST) / 1000 - time.monotonic()), part


def _parts(pieces: tuple[bytes, ...], count: int) -> Iterator[bytes]:
    """Yield so many parts: the head goes with the first event, and what ends the stream with the last."""
    if count == 1:
        yield b"".join(pieces)
        return
    yield pieces[0] + pieces[1]
    yield from islice(pieces, 2, count)
    yield b"".join(pieces[count:])


def pace_of(pace: str | float = "none", ttft: float | None = None, itl: float | None = None) -> Pace:
    """Make a pace of the options: *pace* is recorded, none, or how many times as fast; the others are milliseconds.

    Raises UsageError for what is none of them.
    """
    speed = {"none": None, "recorded": 1.0}.get(str(pace), -1.0)
    if speed is not None and speed < 0:
        speed = _number(pace)
        if speed is None or not 1 / _FASTEST <= speed <= _FASTEST:
            msg = f"pace {pace!r} is not known: choose recorded, none, or a factor such as 2 for twice as fast"
            raise UsageError(msg)
    for name, value in (("ttft", ttft), ("itl", itl)):
        if value is not None and not 0 <= value <= _LONGEST:
            msg = f"{name} {value} cannot be: give milliseconds, from 0 to an hour"
            raise UsageError(msg)
    return Pace(speed, ttft, itl)


def pacer_of(pace: Pace) -> Pacer | None:
    """Return what gives answers this pace; None when they are all sent at once."""
    return None if pace == Pace() else Pacer(pace)


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
