"""The values that travel between the parts. Bodies are always bytes; nothing here knows a socket or a file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

__all__ = [
    "FORWARDED",
    "MOST_TIMES",
    "Answer",
    "Delivery",
    "Headers",
    "Interaction",
    "Live",
    "Notes",
    "Request",
    "Response",
    "Script",
    "Step",
    "header",
    "without_headers",
]

MOST_TIMES: Final = 2000
"""So many pieces of an answer are timed."""

FORWARDED: Final = frozenset({"recorded", "forwarded"})
"""The sources of answers for which an upstream was asked."""

Headers = tuple[tuple[str, str], ...]
"""Header fields in order, names as they were sent."""

Notes = dict[type, Any]
"""What several parts worked out from one request's head alone, each by a type of its own; kept with that head."""


def header(headers: Headers, name: str) -> str | None:
    """Return the first value of the field *name* (any case), or None."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None


def without_headers(headers: Headers, names: frozenset[str]) -> Headers:
    """Return *headers* without the fields in *names* (lower case)."""
    return tuple(pair for pair in headers if pair[0].lower() not in names)


class Request(NamedTuple):
    """One request, whole. ``target`` is the path with its query, exactly as sent or recorded."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    scheme: str = "http"
    authority: str = ""

    @classmethod
    def from_uri(cls, method: str, uri: str, headers: Headers = (), body: bytes = b"") -> Request:
        """Build a request from an absolute URI; a text that is none (a redaction mark) becomes the path."""
        scheme, mark, rest = uri.partition("://")
        if not mark or not scheme.isalnum():
            return cls(method, _rooted(uri.partition("#")[0]), headers, body, "", "")
        end = min((i for i in map(rest.find, "/?#") if i >= 0), default=len(rest))
        return cls(method, _rooted(rest[end:].partition("#")[0]), headers, body, scheme.lower(), rest[:end])

    @property
    def path(self) -> str:
        """The path without the query; never collapsed, never decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query without its question mark."""
        return self.target.partition("?")[2]

    @property
    def uri(self) -> str:
        """The absolute URI, as far as it is known."""
        return f"{self.scheme}://{self.authority}{self.target}" if self.scheme else self.target

    @property
    def host(self) -> str:
        """The host name in lower case, without port or user; empty when the authority is none."""
        try:
            return urlsplit(f"//{self.authority}").hostname or ""
        except ValueError:
            return ""

    @property
    def port(self) -> int | None:
        """The port, the scheme's own where none is named."""
        try:
            named = urlsplit(f"//{self.authority}").port
        except ValueError:
            return None
        return named or {"http": 80, "https": 443}.get(self.scheme)


def _rooted(target: str) -> str:
    return target if target.startswith("/") else f"/{target}"


class Response(NamedTuple):
    """One answer, whole. ``events``: the body is an event stream, to be sent one event per write.

    ``length``: what the answer to a HEAD request says of the body that it does not have. ``times``: where that was
    recorded, when each event came, or the end of what is no event stream, in milliseconds after the request.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    reason: str = ""
    events: bool = False
    length: int | None = None
    times: tuple[int, ...] = ()


class Interaction(NamedTuple):
    """A recorded request with the response it got."""

    request: Request
    response: Response


class Step(NamedTuple):
    """One step of sending an answer by a script: wait *delay* seconds, send *data*, and *end* it there if that is said.

    A *delay* below zero: so many seconds ago it was due, and may go out together with others that are late, too.
    ``close`` ends the connection after what was sent, ``reset`` at once, with an RST. ``leaves``: a client that ends
    its side while we wait has left; else it may have nothing more to say, and still listen.
    """

    delay: float = 0.0
    data: bytes = b""
    end: Literal["", "close", "reset"] = ""
    leaves: bool = False


class Live(Protocol):
    """An answer whose body is still coming: ``head`` without it, ``length`` in bytes where that is known."""

    head: Response
    length: int | None

    def pieces(self) -> Generator[bytes]:
        """Yield what is to be sent, as it comes: at first nothing. Raises UpstreamError when the rest will not come."""


Script = Callable[[Response, int], Generator[Step]]
"""What is sent in place of ``wire.render(response, flags)``: its steps, which follow from the same two."""


@dataclass(slots=True, eq=False)
class Answer:
    """A response and where it came from.

    ``source`` is replayed, recorded, forwarded, dummy, unmatched or fault; ``cassette`` is ``<file>#<n>`` for a
    recording; ``drift`` holds the JSON paths in which that differs from the request. ``rendered`` keeps the bytes of
    the answer by connection flags once they were made: they follow from ``response`` alone. ``live`` is there while the
    body is still coming from an upstream; ``response`` is then its head. ``script`` sends the answer in steps of its
    own, paced or broken on purpose, in place of its bytes all at once; with ``live``, it waits for what they are made
    of. ``note`` says what went wrong, or why it was not
    recorded; ``fault`` what was done to it on purpose, or in its place (``source`` is then fault, too).
    """

    response: Response
    source: str
    cassette: str = ""
    drift: tuple[str, ...] = ()
    rendered: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    live: Live | None = None
    script: Script | None = None
    note: str = ""
    fault: str = ""

    def changed(self, **changes: Any) -> Answer:  # noqa: ANN401  # whatever the fields are
        """Return another answer with these fields changed; of whatever kind this one is, that is a plain one."""
        return Answer(**{each.name: getattr(self, each.name) for each in fields(Answer)} | changes)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.response.body)

    @property
    def status(self) -> int:
        """The status of the response."""
        return self.response.status

    @property
    def events(self) -> bool:
        """Whether the response is an event stream."""
        return self.response.events

    @property
    def forwarded(self) -> bool:
        """Whether an upstream was asked; such an answer writes its own journal entry, when it is through."""
        return self.source in FORWARDED


class Delivery:
    """When a request came and its answer went, in seconds of ``time.perf_counter``; written by the connection.

    ``received``: the request was whole; ``first``: the first byte was sent, ``last``: the last one, each 0.0 as long
    as it was not; ``times``: each piece of an answer in several, the head first, the first 2 000 of them. ``cut``:
    the client left before the end, or was made to. ``shown`` is a place for what a reader makes of an answer
    that has left.
    """

    # Defaults of the class, and no __init__: one is made for every request, in half the time.
    received = 0.0
    first = 0.0
    last = 0.0
    times: array[float] | None = None
    cut = False
    shown: dict[str, Any] | None = None

    def sent(self, when: float) -> None:
        """Note that one piece of the answer, the head or what followed, was sent."""
        if self.times is None:
            self.first = when
            self.times = array("d")
        if len(self.times) < MOST_TIMES:
            self.times.append(when)
