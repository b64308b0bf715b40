"""The faults there are: what each is called, what may stand behind it, and what it does. A plain table."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["KINDS", "Kind"]

Family = Literal["instead", "body", "events", "tools", "sending", "timing", "server"]
Takes = Literal["", "number", "time", "status", "text"]


class Kind(NamedTuple):
    """One kind of fault.

    ``family`` is what it works on: ``instead`` of an answer, a whole ``body``, the ``events`` of a stream, calls of
    ``tools``, the ``sending`` of bytes, its ``timing``, or the ``server`` itself. ``takes`` is what stands behind
    ``=``: a number from ``least`` on, a time in milliseconds (or how it is drawn), a status, a text; ``default`` is
    used where nothing does. ``places``: options say where it strikes. ``harmless``: a client has the whole answer all
    the same.
    """

    name: str
    family: Family
    text: str
    example: str = ""
    takes: Takes = ""
    default: str = ""
    places: bool = False
    harmless: bool = False
    least: int = 1


_ALL: Final = (
    # Time.
    Kind("delay", "timing", "before the first byte, in ms", "delay=200..800", "time", "1000", harmless=True),
    Kind("event-delay", "timing", "between events", "event-delay=lognormal(80,0.5)", "time", "100", harmless=True),
    Kind("bandwidth", "timing", "bytes a second of the body", "bandwidth=2000", "number", "1000", harmless=True),
    Kind(
        "stall", "sending", "stops sending, for so long", "stall=60000,after-events=3", "time", "3600000", places=True
    ),
    # An error of the API in place of the answer.
    Kind(
        "status", "instead", "an error of this status, with OpenAI's body", "status=503,retry-after=2", "status", "500"
    ),
    Kind(
        "rate-limit",
        "instead",
        "429 with retry-after (s), retry-after-ms, x-ratelimit-*",
        "rate-limit=0.5",
        "time",
        "1",
    ),
    Kind("quota", "instead", "429 insufficient_quota: a retry is of no use", "quota"),
    Kind("context-length", "instead", "400 context_length_exceeded", "context-length"),
    Kind("bad-key", "instead", "401 invalid_api_key", "bad-key"),
    Kind("html", "instead", "200 with a page of HTML", "html"),
    Kind("empty", "instead", "200 with an empty body", "empty"),
    # The connection.
    Kind(
        "refuse", "server", "closes the port for so many ms: the server is gone", "refuse=2000,once", "number", "1000"
    ),
    Kind("hang-up", "server", "accepts a connection and closes it, unread", "hang-up,first=2"),
    Kind("black-hole", "instead", "reads the request, and never answers", "black-hole", "number", "3600000"),
    Kind("garbage", "instead", "so many random bytes in place of HTTP, then the end", "garbage=200", "number", "64"),
    Kind("reset", "sending", "RST: before the head, or where it says", "reset,after-bytes=100", places=True),
    Kind("close", "sending", "FIN: before the head, or where it says", "close,after-events=2", places=True),
    # Framing.
    Kind("length-long", "sending", "Content-Length says so many bytes too many", "length-long=10", "number", "10"),
    Kind("length-short", "sending", "Content-Length says so many bytes too few", "length-short=10", "number", "10"),
    Kind("no-last-chunk", "sending", "chunked, ended without the last chunk", "no-last-chunk"),
    Kind("bad-chunk", "sending", "chunked, with a size that is no number", "bad-chunk"),
    # Streams.
    Kind("truncate", "events", "a clean end after so many events", "truncate=3", "number", "2", least=0),
    Kind("no-done", "events", "ends without [DONE] (or response.completed)", "no-done"),
    Kind("no-finish", "events", "no chunk has a finish_reason", "no-finish"),
    Kind("bad-event", "events", "the JSON of this event is cut in two", "bad-event=3", "number", "2"),
    Kind(
        "error-event",
        "events",
        "an error inside the stream, after so many events",
        "error-event=3",
        "number",
        "2",
        least=0,
    ),
    Kind("repeat-event", "events", "this event comes twice", "repeat-event=2", "number", "2"),
    Kind("swap-events", "events", "this event comes behind the next", "swap-events=2", "number", "2"),
    Kind("split-utf8", "sending", "each event in two pieces, cut inside a character", "split-utf8", harmless=True),
    Kind("comments", "events", "a comment before every event", "comments", harmless=True),
    Kind("crlf", "events", "line ends are CRLF", "crlf", harmless=True),
    # Content.
    Kind("content-type", "body", "another content type", "content-type=text/plain", "text", "text/plain"),
    Kind("bad-json", "body", "the JSON of a whole answer, cut in two", "bad-json"),
    Kind("bad-arguments", "tools", "tool arguments that are no JSON", "bad-arguments"),
    Kind(
        "unknown-tool",
        "tools",
        "a call of a tool that there is not",
        "unknown-tool=no_such_tool",
        "text",
        "no_such_tool",
    ),
)

KINDS: Final = {kind.name: kind for kind in _ALL}
"""Every kind by its name, in the order in which they are listed."""
