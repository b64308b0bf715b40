"""Responses -> bytes. Framing is always ours: nothing that a cassette or an upstream holds can change it."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from stubserver import sse
from stubserver.bodies import TOKEN
from stubserver.messages import Headers, Response

__all__ = [
    "CLOSE",
    "CONTINUE",
    "HEAD",
    "HOP_BY_HOP",
    "HTTP10",
    "LiveFraming",
    "ends_connection",
    "head_lines",
    "is_bodiless",
    "printable",
    "render",
    "source_headers",
]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

CLOSE: Final = 1
"""Flag of :func:`render`: the connection ends after this answer."""
HTTP10: Final = 2
"""Flag of :func:`render`: the client speaks HTTP/1.0."""
HEAD: Final = 4
"""Flag of :func:`render`: the answer to a HEAD request, without its body."""

HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"proxy-authenticate", "proxy-authorization"}
)

_NAME: Final = re.compile(TOKEN.decode("ascii"))
_FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})
_INFORMATIONAL: Final = 200


def render(response: Response, flags: int) -> tuple[bytes, ...]:
    """Write *response* as the pieces to send: one for a whole answer, one per event (and the head) for a stream.

    Framing is always ours: Content-Length, or chunks for an event stream. ValueError for a header that could break it.
    """
    bodiless = is_bodiless(response)
    streamed = _is_streamed(response, flags)
    chunked = streamed and not flags & HTTP10
    head = head_lines(response)
    if chunked:
        head.append("Transfer-Encoding: chunked")
    elif not streamed and not bodiless:
        stated = response.length if flags & HEAD and response.length is not None else len(response.body)
        head.append(f"Content-Length: {stated}")
    if ends_connection(response, flags):
        head.append("Connection: close")
    elif flags & HTTP10:
        head.append("Connection: keep-alive")
    start = "\r\n".join([*head, "\r\n"]).encode("latin-1")
    if not streamed:
        return (start if bodiless or flags & HEAD else start + response.body,)
    events = sse.split(response.body)
    if not chunked:
        return (start, *events)
    return (start, *(b"%x\r\n%b\r\n" % (len(event), event) for event in events), b"0\r\n\r\n")


class LiveFraming:
    """How a body that is still coming is framed: by the length that is known, in chunks, or by the connection's end."""

    def __init__(self, response: Response, length: int | None, flags: int) -> None:
        self._has_body = not (is_bodiless(response) or flags & HEAD)
        self._chunked = self._has_body and length is None and not flags & HTTP10
        self.closes = bool(flags & CLOSE or (self._has_body and length is None and flags & HTTP10))
        head = head_lines(response)
        if self._chunked:
            head.append("Transfer-Encoding: chunked")
        elif length is not None and not is_bodiless(response):
            head.append(f"Content-Length: {length}")
        if self.closes:
            head.append("Connection: close")
        elif flags & HTTP10:
            head.append("Connection: keep-alive")
        self.head = "\r\n".join([*head, "\r\n"]).encode("latin-1")

    def piece(self, data: bytes) -> bytes:
        """Frame one piece of the body; empty when there is nothing to send."""
        if not self._has_body or not data:
            return b""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    @property
    def end(self) -> bytes:
        """What tells the client that the body is whole."""
        return b"0\r\n\r\n" if self._chunked else b""


def ends_connection(response: Response, flags: int) -> bool:
    """Tell whether the connection ends after *response*: asked for, or the only way to end a stream in HTTP/1.0."""
    return bool(flags & CLOSE or (flags & HTTP10 and _is_streamed(response, flags)))


def is_bodiless(response: Response) -> bool:
    """Tell whether the status alone says that there is no body."""
    return response.status in _BODILESS or response.status < _INFORMATIONAL


def _is_streamed(response: Response, flags: int) -> bool:
    return response.events and not flags & HEAD and not is_bodiless(response)


def head_lines(response: Response) -> list[str]:
    """Return status line and headers, without framing. ValueError for a header that could break it."""
    lines = [f"HTTP/1.1 {response.status} {response.reason or _reason(response.status)}"]
    for name, value in response.headers:
        if not _NAME.fullmatch(name) or name.lower() in _FRAMING:
            msg = f"the response has a header that only the server may set, or whose name is none: {name[:40]!r}"
            raise ValueError(msg)
        lines.append(f"{name}: {value}")
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        msg = "a header of the response holds a line end or a NUL"
        raise ValueError(msg)
    return lines


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def source_headers(source: str, cassette: str = "") -> Headers:
    """Return the headers that say where an answer came from."""
    named = (("x-stubserver-cassette", printable(cassette)),) if cassette else ()
    return (("x-stubserver-source", source), *named)


def printable(text: str) -> str:
    """Return *text* as a header can hold it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
