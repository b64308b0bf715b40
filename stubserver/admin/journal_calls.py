"""The journal over HTTP: list, look at one entry, forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from stubserver.admin.calls import Call, RefusedError
from stubserver.admin.entries import detail, summary
from stubserver.dummy.errors import json_response
from stubserver.journal import Entry
from stubserver.messages import Response

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["FILTERS", "clear", "find", "forget", "listed", "one", "wanted"]

FILTERS: Final = ("limit", "since", "source", "status", "path", "model", "q")
_MOST_LISTED: Final = 10_000
_LISTED: Final = 1000


def listed(context: Context, call: Call) -> Response:
    """``GET requests``: the newest first; ``total`` counts what the filters let through, however many are listed."""
    limit = call.number("limit", _LISTED, most=_MOST_LISTED)
    found = list(find(context, wanted(call)))
    rows = [summary(entry) for entry in found[:limit]]
    return json_response({"requests": rows, "meta": {"total": len(found)}})


def one(context: Context, call: Call) -> Response:
    """``GET requests/{id}``."""
    return json_response(detail(_entry(context, call)))


def forget(context: Context, call: Call) -> Response:
    """``DELETE requests/{id}``."""
    context.app.journal.remove(_entry(context, call).number)
    return Response(204)


def clear(context: Context, _call: Call) -> Response:
    """``DELETE requests``."""
    context.app.journal.clear()
    return Response(204)


def find(context: Context, wants: Callable[[Entry], bool]) -> Iterator[Entry]:
    """Yield the entries that *wants* lets through, the newest first."""
    return filter(wants, reversed(list(context.app.journal)))


def wanted(call: Call) -> Callable[[Entry], bool]:
    """Make a filter of the parameters ``since``, ``source``, ``status``, ``path``, ``model`` and ``q``."""
    since = call.number("since", 0)
    exact = {name: call.parameters[name] for name in ("source", "model") if name in call.parameters}
    status, path, text = call.text("status").lower(), call.text("path"), call.text("q").lower()

    def wants(entry: Entry) -> bool:
        if entry.number <= since or (exact.get("source") or entry.source) != entry.source:
            return False
        row = summary(entry)
        return (
            row["model"] == exact.get("model", row["model"])
            and (not status or _has_status(row["status"], status))
            and path in row["path"]
            and (not text or _holds(entry, row, text))
        )

    return wants


def _has_status(status: int, asked: str) -> bool:
    """Tell whether *status* is the one *asked* for, or, as ``4xx``, one of its hundred."""
    return asked in (str(status), f"{status // 100}xx")


def _holds(entry: Entry, row: dict[str, Any], text: str) -> bool:
    """Tell whether any part of what is shown of *entry* holds *text*, in any case."""
    shown = (row["path"], row["model"] or "", row["cassette"], row["note"])
    if any(text in part.lower() for part in shown):
        return True
    return any(text in part.body.decode("utf-8", "replace").lower() for part in (entry.request, entry.response))


def _entry(context: Context, call: Call) -> Entry:
    number = int(call.rest) if call.rest.isascii() and call.rest.isdigit() and len(call.rest) <= 15 else 0  # noqa: PLR2004  # digits
    entry = context.app.journal.get(number)
    if entry is None:
        msg = f"there is no request {call.rest[:20]!a} in the journal; it keeps the last ones only"
        raise RefusedError(404, msg, "no_such_request")
    return entry
