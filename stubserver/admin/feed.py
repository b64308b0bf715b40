"""The journal as it grows, as server-sent events: ``request`` for each entry that is done, ``stats`` each second.

The reader's own thread looks into the journal ten times a second: who answers requests does nothing for it, and waits
for nobody. A reader that does not read is dropped by the deadline of all answers; entries that left the journal in
between, or are more than can be told, are counted (``missed``) and not sent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from stubserver.admin.calls import Call, RefusedError
from stubserver.admin.entries import summary
from stubserver.admin.follower import Follower
from stubserver.dummy.errors import json_bytes
from stubserver.messages import Response, header

if TYPE_CHECKING:
    from stubserver.admin.context import Context
    from stubserver.cassettes.library import Library

__all__ = ["Feed", "follow", "stats"]

_MOST_READERS: Final = 32
_LOOK_SECONDS: Final = 0.1
_STATS_SECONDS: Final = 1.0
_MOST_DIGITS: Final = 15
_MOST_COUNTED: Final = 10_000
_RETRY: Final = b"retry: 1000\n\n"
_QUANTILES: Final = (0.5, 0.9, 0.99)


def follow(context: Context, call: Call) -> Feed:
    """``GET events``: from ``Last-Event-ID`` on, the id of the last entry before which all were told; else from now."""
    last = header(call.request.headers, "last-event-id") or call.text("since")
    total = context.app.journal.total
    known = last.isascii() and last.isdigit() and len(last) <= _MOST_DIGITS
    if context.readers >= _MOST_READERS:
        raise RefusedError(503, f"{_MOST_READERS} readers follow already", "too_many_readers")
    return Feed(context, min(int(last), total) if known else total)


class Feed:
    """A live answer that ends with its reader or with the server."""

    def __init__(self, context: Context, since: int) -> None:
        self.length: int | None = None
        self.head = Response(200, (("content-type", "text/event-stream; charset=utf-8"),), events=True)
        self._context = context
        self._follower = Follower(context.app.journal, since)

    def pieces(self) -> Generator[bytes]:
        """Yield events as they come; at first nothing, when it is the head's turn."""
        with self._context.lock:
            self._context.readers += 1
        try:
            yield b""
            yield _RETRY
            next_stats = 0.0
            while not self._context.ended.is_set():
                for number, entry in self._follower.news():
                    yield _event("request", summary(entry), number)
                now = time.monotonic()
                if now >= next_stats:
                    next_stats = now + _STATS_SECONDS
                    yield _event("stats", {**stats(self._context), "missed": self._follower.missed})
                self._context.ended.wait(_LOOK_SECONDS)
        finally:
            with self._context.lock:
                self._context.readers -= 1


def stats(context: Context) -> dict[str, Any]:
    """Return the numbers of this moment: counts since the start, and what the last second of answers took."""
    journal, library = context.app.journal, context.app.library
    now = time.time()
    recent = [entry for entry in journal if entry.time > now - _STATS_SECONDS]
    return {
        "time": now,
        "total": journal.total,
        "kept": len(journal),
        "sources": context.app.tally.sources(),
        "recent": dict(Counter(entry.source for entry in recent)),
        "connections": context.connections(),
        "interactions": len(library.playlist),
        "unplayed": _unplayed(library),
        "duration_ms": _quantiles([entry.duration for entry in recent]),
        "ttfb_ms": _quantiles([entry.first_byte for entry in recent]),
    }


def _unplayed(library: Library) -> int | None:
    """Count what nothing asked for yet; None when there are too many to look at each second."""
    if len(library.playlist) > _MOST_COUNTED:
        return None
    return sum(not library.played(recording) for recording in library.playlist)


def _quantiles(seconds: list[float | None]) -> dict[str, float] | None:
    known = sorted(value for value in seconds if value is not None)
    if not known:
        return None
    return {f"p{round(q * 100)}": round(known[min(len(known) - 1, int(q * len(known)))] * 1000, 3) for q in _QUANTILES}


def _event(kind: str, data: dict[str, Any], number: int | None = None) -> bytes:
    mark = b"" if number is None else b"id: %d\n" % number
    return b"event: %b\n%bdata: %b\n\n" % (kind.encode(), mark, json_bytes(data))
