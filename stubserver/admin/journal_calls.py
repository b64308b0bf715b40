"""The journal over HTTP: list, search, wait, look at one entry, forget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from stubserver.admin.calls import Call, RefusedError, json_body, whole
from stubserver.admin.entries import detail, summary
from stubserver.admin.near import near_misses_of
from stubserver.admin.patterns import FIELDS, Wants, pattern
from stubserver.dummy.errors import json_response
from stubserver.journal import Entry
from stubserver.messages import Live, Response

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["FILTERS", "archive", "clear", "count", "entry_of", "find", "forget", "listed", "one", "unmatched", "wait"]

FILTERS: Final = ("limit", *FIELDS)
_MISSED: Final = frozenset({"unmatched", "dummy"})
_MOST_LISTED: Final = 10_000
_LISTED: Final = 1000
_MOST_DIGITS: Final = 15
_LONGEST_WAIT: Final = 300.0
_WAIT: Final = 10.0
_LOOK_SECONDS: Final = 0.02


def listed(context: Context, call: Call) -> Response:
    """``GET requests``: the newest first; ``total`` counts what the filters let through, however many are listed."""
    wants = pattern({name: value for name, value in call.parameters.items() if name != "limit"})
    return _rows(_found(context, wants), call.number("limit", _LISTED, most=_MOST_LISTED))


def unmatched(context: Context, call: Call) -> Response:
    """``GET requests/unmatched``."""
    limit = call.number("limit", _LISTED, most=_MOST_LISTED)
    return _rows(_found(context, pattern({"source": "unmatched"})), limit)


def count(context: Context, call: Call) -> Response:
    """``POST requests/count``."""
    found = _found(context, pattern(_asked(call)))
    return json_response({"count": sum(1 for _ in found)})


def find(context: Context, call: Call) -> Response:
    """``POST requests/find``."""
    asked = _asked(call, "limit")
    limit = whole("limit", asked.pop("limit", _LISTED), most=_MOST_LISTED)
    return _rows(_found(context, pattern(asked)), limit)


def wait(context: Context, call: Call) -> Response:
    """``POST requests/wait``: until ``count`` answers that fit have left, or ``timeout`` seconds are over."""
    asked = _asked(call, "count", "timeout")
    wanted = whole("count", asked.pop("count", 1), most=_MOST_LISTED)
    until = time.monotonic() + _seconds(asked.pop("timeout", _WAIT))
    wants = pattern(asked)
    while True:
        found = [entry for entry in _found(context, wants) if entry.done]
        reached = len(found) >= wanted
        if reached or time.monotonic() >= until or context.ended.wait(_LOOK_SECONDS):
            rows = [summary(entry) for entry in found[:_LISTED]]
            return json_response({"reached": reached, "count": len(found), "requests": rows})


def one(context: Context, call: Call) -> Response:
    """``GET requests/{id}``; with the near misses of one that no recording answered."""
    entry = entry_of(context, call)
    found = detail(entry)
    if entry.source in _MISSED:
        found["near_misses"] = near_misses_of(context, entry)
    return json_response(found)


def forget(context: Context, call: Call) -> Response:
    """``DELETE requests/{id}``."""
    context.app.journal.remove(entry_of(context, call).number)
    return Response(204)


def clear(context: Context, _call: Call) -> Response:
    """``DELETE requests``."""
    context.app.journal.clear()
    return Response(204)


def archive(context: Context, call: Call) -> Live:
    """``GET requests.har``: the entries that the filters let through, the oldest first, as browsers save theirs."""
    from stubserver.admin.archives import Archive  # noqa: PLC0415  # nothing else needs the format

    wants = pattern(call.parameters)
    return Archive(list(filter(wants, context.app.journal)))


def entry_of(context: Context, call: Call) -> Entry:
    """Return the entry whose number stands in the path. Raises RefusedError."""
    known = call.rest.isascii() and call.rest.isdigit() and len(call.rest) <= _MOST_DIGITS
    entry = context.app.journal.get(int(call.rest)) if known else None
    if entry is None:
        msg = f"there is no request {call.rest[:20]!a} in the journal; it keeps the last ones only"
        raise RefusedError(404, msg, "no_such_request")
    return entry


def _found(context: Context, wants: Wants) -> Iterator[Entry]:
    """Yield the entries that *wants* lets through, the newest first."""
    return filter(wants, reversed(list(context.app.journal)))


def _rows(entries: Iterator[Entry], limit: int) -> Response:
    found = list(entries)
    rows = [summary(entry) for entry in found[:limit]]
    return json_response({"requests": rows, "meta": {"total": len(found)}})


def _asked(call: Call, *more: str) -> dict[str, Any]:
    """Return the JSON of a search: the fields of a pattern and *more*, no others."""
    return json_body(call.request, (*FIELDS, *more), needed=False)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LONGEST_WAIT:
        msg = f"timeout has to be seconds, from 0 to {_LONGEST_WAIT:.0f}"
        raise RefusedError(400, msg, "bad_parameter")
    return float(value)
