"""How a faulty answer is sent: its steps, with pauses, wrong framing, and the end of the connection where it is due."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import Final, Literal, NamedTuple

from stubserver import answers, sse
from stubserver.answers import LiveFraming
from stubserver.errors import UpstreamError
from stubserver.faults.choosing import Chosen
from stubserver.messages import Live, Response, Step

__all__ = ["Plan", "perform", "strike"]

_SLICE_SECONDS: Final = 0.05
_LENGTHS: Final = frozenset({"length-long", "length-short"})
_CHUNKS: Final = frozenset({"no-last-chunk", "bad-chunk"})
_STRIKES: Final = frozenset({"reset", "close", "stall"})
_ASCII: Final = 0x80
_HELD: Final = 2  # the last event, and what ends a chunked body
_WIDE: Final = b": \xe2\x80\xa6\n"  # a comment: where a stream has no character to cut, this one is

Timed = Iterator[tuple[float, bytes]]
"""Pieces of a body, each with the seconds to wait before it."""


class Plan(NamedTuple):
    """What is done to the sending of one answer: all that is about time, and one that is not, or none.

    ``timed`` gives the pieces of a body their pace; ``live`` is there while the body is still coming, and ``drains``
    when what the client does not get of it is to be read all the same.
    """

    timing: tuple[Chosen, ...]
    main: Chosen | None
    timed: Callable[[list[bytes]], Timed]
    live: Live | None = None
    drains: bool = False

    @property
    def name(self) -> str:
        """The name of the one that is not about time; empty for none."""
        return self.main.rule.kind.name if self.main is not None else ""


class _Wire(NamedTuple):
    """A piece as it is sent: after ``delay`` seconds, with so many bytes of framing before its data."""

    delay: float
    data: bytes
    part: Literal["head", "body", "end"]
    framing: int = 0


def perform(plan: Plan, response: Response, flags: int) -> Generator[Step]:
    """Yield the steps of sending *response* with the faults of *plan*."""
    live = plan.live.pieces() if plan.live is not None else _none()
    with closing(live):
        try:
            yield from _steps(plan, response, flags, live)
        except UpstreamError:
            # The rest will not come; as everywhere, a reset says so.
            yield Step(end="reset")


def _none() -> Generator[bytes]:
    yield from ()


def _steps(plan: Plan, response: Response, flags: int, live: Generator[bytes]) -> Iterator[Step]:
    next(live, b"")  # nothing yet; from here on it hears of a client that left
    body = ((0.0, data) for data in live) if plan.live is not None else plan.timed(_pieces(response, flags))
    if plan.name == "split-utf8":
        body = _split_characters(body)
    wires = _between(plan, _framed(plan, response, flags, body))
    steps = _in_time(plan, _struck(plan, wires, live, len(response.body)))
    yield from _after_ms(plan, steps, live)


def _pieces(response: Response, flags: int) -> list[bytes]:
    if flags & answers.HEAD:
        return []
    return sse.split(response.body) if response.events else [response.body]


def _split_characters(body: Timed) -> Timed:
    """Cut each piece inside its first character of several bytes."""
    for delay, given in body:
        wide = next((i for i, byte in enumerate(given) if byte >= _ASCII), None)
        data = given if wide is not None else _WIDE + given
        at = (wide if wide is not None else _WIDE.index(0xE2)) + 1
        yield delay, data[:at]
        yield 0.0, data[at:]


def _framed(plan: Plan, response: Response, flags: int, body: Timed) -> Iterator[_Wire]:
    """Put the head before the body, and frames around its pieces, as right or as wrong as they are to be."""
    length = _length(plan, response, flags)
    if plan.name in _LENGTHS:
        pieces = list(body)
        whole, by = sum(len(data) for _, data in pieces), plan.main.rule.number if plan.main is not None else 0
        length, body = max(whole + (by if plan.name == "length-long" else -by), 0), iter(pieces)
    framing = LiveFraming(response, length, flags)
    if plan.live is None:  # the head goes with the first piece, as it does without faults
        first = next(body, None)
        body = iter(()) if first is None else chain([(0.0, first[1])], body)
        yield _Wire(first[0] if first is not None else 0.0, framing.head, "head")
    else:
        yield _Wire(0.0, framing.head, "head")
    for delay, data in body:
        piece = framing.piece(data)
        if piece:
            yield _Wire(delay, piece, "body", piece.index(b"\r\n") + 2 if framing.end else 0)
    yield from _end(plan, framing, response, flags)


def _length(plan: Plan, response: Response, flags: int) -> int | None:
    if plan.live is not None:
        return None if plan.name in _CHUNKS else plan.live.length
    if response.events or plan.name in _CHUNKS:
        return None
    return response.length if flags & answers.HEAD and response.length is not None else len(response.body)


def _end(plan: Plan, framing: LiveFraming, response: Response, flags: int) -> Iterator[_Wire]:
    ends = plan.name in _LENGTHS | _CHUNKS or (framing.closes and not answers.ends_connection(response, flags))
    if plan.name == "bad-chunk" and framing.end:
        yield _Wire(0.0, b"zz\r\n", "end")
    elif plan.name != "no-last-chunk" and framing.end:
        yield _Wire(0.0, framing.end, "end")
    if ends:
        yield _Wire(0.0, b"", "end")


def _between(plan: Plan, wires: Iterator[_Wire]) -> Iterator[_Wire]:
    """Wait before the first byte, and between events."""
    waits = [chosen for chosen in plan.timing if chosen.rule.kind.name == "delay"]
    pauses = [chosen for chosen in plan.timing if chosen.rule.kind.name == "event-delay"]
    events = 0
    for wire in wires:
        delay = wire.delay
        if wire.part == "head":
            delay += sum(_drawn(chosen) for chosen in waits)
        elif wire.part == "body":
            delay += sum(_drawn(chosen) for chosen in pauses) if events else 0.0
            events += 1
        yield wire._replace(delay=delay)


def _drawn(chosen: Chosen) -> float:
    return float(chosen.rule.value.draw(chosen.chance)) / 1000


def strike(chosen: Chosen) -> Iterator[Step]:
    """Yield what a reset, a close or a stall does to the connection."""
    name = chosen.rule.kind.name
    if name == "stall":
        yield Step(_drawn(chosen), leaves=True)
    else:
        yield Step(end="reset" if name == "reset" else "close")


def _struck(plan: Plan, wires: Iterator[_Wire], live: Iterator[bytes], size: int) -> Iterator[Step]:
    """Strike before the head, in it, or after so many bytes or events; after a stall, the rest follows."""
    main = plan.main
    place = main.rule.place if main is not None and plan.name in _STRIKES else None
    if main is None or place is None or place.ms is not None:
        for wire in wires:
            yield _step(wire)
        return
    most = place.bytes
    if most is not None and plan.live is None:
        most = min(most, max(size - 1, 0))  # it is cut, however short it is
    for before, after in _cut(wires, _Cut(place.in_head, most, place.events)):
        if before is not None:
            yield _step(before)
        if after is None:
            continue
        _drain(plan, live)
        yield from strike(main)
        yield _step(after)


class _Cut(NamedTuple):
    in_head: bool
    bytes: int | None
    events: int | None


def _cut(wires: Iterator[_Wire], at: _Cut) -> Iterator[tuple[_Wire | None, _Wire | None]]:
    """Pair each piece with None, except where the cut is: there with what is behind it."""
    done = False
    size = events = 0
    for wire in wires:
        found = None if done else _place_in(wire, at, size, events)
        if wire.part == "body":
            size += len(wire.data) - wire.framing - (2 if wire.framing else 0)
            events += 1
        if found is None:
            yield wire, None
            continue
        done = True
        before = wire._replace(data=wire.data[:found]) if found else None
        yield before, wire._replace(data=wire.data[found:], delay=wire.delay if before is None else 0.0)
    if not done:  # what was still coming is shorter than that: it is struck at its end
        yield None, _Wire(0.0, b"", "end")


def _place_in(wire: _Wire, at: _Cut, size: int, events: int) -> int | None:
    """Return after how many bytes of this piece the cut is; None: it is not in it."""
    if at.bytes is None and at.events is None:
        if wire.part != "head":
            return None
        return len(wire.data) // 2 if at.in_head else 0
    if wire.part == "head":
        return None
    if at.events is not None:
        return 0 if events >= at.events or wire.part == "end" else None
    left = (at.bytes or 0) - size
    inside = len(wire.data) - wire.framing - (2 if wire.framing else 0)
    if wire.part == "end":
        return 0
    return (wire.framing + left if left else 0) if left < inside else None


def _drain(plan: Plan, live: Iterator[bytes]) -> None:
    """Read what is being recorded to its end, before a client is cut off from it."""
    if plan.drains:
        for _ in live:
            pass


def _step(wire: _Wire) -> Step:
    return Step(wire.delay, wire.data, "" if wire.data else "close", leaves=True)


def _in_time(plan: Plan, steps: Iterator[Step]) -> Iterator[Step]:
    """Let no more bytes a second through than there is bandwidth."""
    rates = [chosen.rule.number for chosen in plan.timing if chosen.rule.kind.name == "bandwidth"]
    if not rates:
        yield from steps
        return
    rate = min(rates)
    size = max(int(rate * _SLICE_SECONDS), 1)
    for step in steps:
        yield step._replace(data=step.data[:size], end="" if step.data else step.end)
        for start in range(size, len(step.data), size):
            yield Step(size / rate, step.data[start : start + size], leaves=True)


def _after_ms(plan: Plan, steps: Iterator[Step], live: Iterator[bytes]) -> Iterator[Step]:
    """Strike so many milliseconds after the head; the last piece of an answer that is faster is held back for it."""
    main = plan.main
    ms = main.rule.place.ms if main is not None and plan.name in _STRIKES else None
    if main is None or ms is None:
        yield from steps
        return
    yield from islice(steps, 1)  # the head
    started, planned = time.monotonic(), 0.0
    held: deque[Step] = deque()
    for step in steps:
        left = ms / 1000 - max(planned, time.monotonic() - started)
        if step.delay > left:
            yield from held
            held = deque([step._replace(delay=step.delay - left)])
            break
        planned += step.delay
        held.append(step)
        if len(held) > _HELD:
            yield held.popleft()
    _drain(plan, live)
    yield Step(max(ms / 1000 - max(planned, time.monotonic() - started), 0.0), leaves=True)
    yield from strike(main)
    yield from held
    yield from steps
