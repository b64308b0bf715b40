"""Streams with something wrong in them: events in, events out, one at a time, so that live streams pass as they come.

Events are whole, as ``sse.split`` cuts them. Positions count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from stubserver import sse
from stubserver.dummy.errors import json_bytes
from stubserver.jsonvalue import json_value

__all__ = ["TRANSFORMS", "changed_data", "ends_stream"]

_DONE: Final = b"[DONE]"
_TERMINAL: Final = re.compile(rb"response\.(?:completed|incomplete|failed)|message_stop")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_COMMENT: Final = b": ping\n\n"
_ERROR: Final = {
    "message": "The server had an error while processing your request. Sorry about that!",
    "type": "server_error",
    "param": None,
    "code": None,
}

Events = Iterator[bytes]
Transform = Callable[[Events, int], Events]


def _name(event: bytes) -> bytes:
    """Return what the ``event:`` line says, or the type of its data."""
    for line in _LINE_END.split(event):
        if line.startswith(b"event:"):
            return line[6:].strip()
    return b""


def ends_stream(event: bytes) -> bool:
    """Tell whether this is the event by which a client knows that the stream is whole."""
    data = sse.data_of(event)
    if data is None:
        return False
    return data.strip() == _DONE or _TERMINAL.fullmatch(_name(event)) is not None


def changed_data(event: bytes, change: Callable[[Any], Any]) -> bytes:
    """Return *event* with what *change* makes of its JSON; as it is when it has none, or is not changed."""
    data = sse.data_of(event)
    value = json_value(data) if data is not None else None
    if not isinstance(value, dict):
        return event
    made = change(value)
    if made is None:
        return event
    other = [line for line in _LINE_END.split(event) if line and not line.startswith(b"data:")]
    return b"\n".join([*other, b"data: " + json_bytes(made), b"", b""])


def _truncate(events: Events, number: int) -> Events:
    yield from islice(events, number)


def _no_done(events: Events, _number: int) -> Events:
    for event in events:
        if not ends_stream(event):
            yield event


def _no_finish(events: Events, _number: int) -> Events:
    for event in events:
        if _TERMINAL.fullmatch(_name(event)) is None:
            yield changed_data(event, _unfinished)


def _unfinished(value: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
    choices = value.get("choices")
    if not isinstance(choices, list) or not any(isinstance(c, dict) and c.get("finish_reason") for c in choices):
        return None
    return {**value, "choices": [{**c, "finish_reason": None} if isinstance(c, dict) else c for c in choices]}


def _bad_event(events: Events, number: int) -> Events:
    for place, event in enumerate(events, 1):
        yield _halved(event) if place == number else event


def _halved(event: bytes) -> bytes:
    """Cut the JSON of *event* in the middle."""
    data = sse.data_of(event)
    if not data:
        return event
    other = [line for line in _LINE_END.split(event) if line and not line.startswith(b"data:")]
    return b"\n".join([*other, b"data: " + data.splitlines()[0][: max(len(data) // 2, 1)], b"", b""])


def _error_event(events: Events, number: int) -> Events:
    named = False
    for event in islice(events, number):
        named = named or bool(_name(event))
        yield event
    if not named:
        yield b"data: %b\n\n" % json_bytes({"error": _ERROR})
        return
    error = {"type": "error", "code": "server_error", "message": _ERROR["message"], "param": None}
    yield b"event: error\ndata: %b\n\n" % json_bytes({**error, "sequence_number": number})


def _repeat_event(events: Events, number: int) -> Events:
    for place, event in enumerate(events, 1):
        yield event
        if place == number:
            yield event


def _swap_events(events: Events, number: int) -> Events:
    held = None
    for place, event in enumerate(events, 1):
        if place == number:
            held = event
            continue
        yield event
        if held is not None:
            yield held
            held = None
    if held is not None:
        yield held


def _comments(events: Events, _number: int) -> Events:
    for event in events:
        yield _COMMENT
        yield event


def _crlf(events: Events, _number: int) -> Events:
    for event in events:
        yield _LINE_END.sub(b"\r\n", event)


TRANSFORMS: Final[dict[str, Transform]] = {
    "truncate": _truncate,
    "no-done": _no_done,
    "no-finish": _no_finish,
    "bad-event": _bad_event,
    "error-event": _error_event,
    "repeat-event": _repeat_event,
    "swap-events": _swap_events,
    "comments": _comments,
    "crlf": _crlf,
}
"""What becomes of the events of a stream, by the fault's name; the number is the fault's value, 0 where it has none."""
