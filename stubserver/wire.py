"""HTTP/1.1 without sockets: bytes -> requests; the way back is in ``answers``, bodies are in ``bodies``.

A head is checked as a whole against a strict grammar first (llhttp alone would accept several spellings that other
servers read differently), then taken apart by httptools; how long the body is, is decided here. Whatever two servers
could read in two ways is refused, so that nothing can be smuggled.
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv6Address
from typing import Final, NamedTuple

import httptools

from stubserver.answers import CLOSE, CONTINUE, HEAD, HOP_BY_HOP, HTTP10, ends_connection, render
from stubserver.bodies import FIELD_LINES, TOKEN, Chunked, Limits, Sized, too_large
from stubserver.errors import ProtocolError
from stubserver.messages import Headers, Notes, Request

__all__ = [
    "CLOSE",
    "CONTINUE",
    "HEAD",
    "HOP_BY_HOP",
    "HTTP10",
    "Limits",
    "Parsed",
    "RequestParser",
    "State",
    "ends_connection",
    "render",
]

_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(TOKEN + rb" [\x21-\x7e]+ HTTP/[0-9]\.[0-9]\r\n")
_BARE_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(r"(https?)://([^/?]+)(.*)", re.IGNORECASE)
_LENGTH: Final = re.compile(r"0*([0-9]{1,19})")
_HUGE_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*0*[1-9][0-9]{19,}[ \t]*\r\n", re.IGNORECASE)
_FIRST_BYTE: Final = re.compile(TOKEN[:-1])
_NO_REQUEST_LINE: Final = "The request line is not 'METHOD target HTTP/1.1'."
_EMPTY_LINES: Final = 4
_HEADS_KEPT: Final = 1024
_LONGEST_HEAD_KEPT: Final = 4096


class State(Enum):
    """How far the parser is with the next request."""

    IDLE = "nothing of it is here"
    HEAD = "a part of its head is here"
    BODY = "its head and perhaps a part of its body is here"


class Parsed(NamedTuple):
    """A whole request with what its answer's framing depends on: the flags of :func:`render`."""

    request: Request
    flags: int


class RequestParser:
    """Takes bytes in with :meth:`receive`, gives requests out with :meth:`next_request`. One for each connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heads = _heads.setdefault(limits, {})
        self.notes: Notes = {}
        """Those of the head of the request that was returned last."""
        self._buffer = bytearray()
        self._scanned = 0
        self._empty_lines = 0
        self._head: _Head | None = None
        self._body: Sized | Chunked | None = None

    @property
    def state(self) -> State:
        """How far the next request is."""
        if self._head is not None:
            return State.BODY
        return State.HEAD if self._buffer else State.IDLE

    @property
    def body_size(self) -> int:
        """How many bytes the body has by its Content-Length, or, chunked, has so far."""
        return self._body.size if self._body is not None else 0

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body that is missing."""
        return self._head is not None and self._head.expects_continue

    def continued(self) -> None:
        """Note that ``100 Continue`` was sent."""
        if self._head is not None:
            self._head.expects_continue = False

    def receive(self, data: bytes) -> None:
        """Take in what arrived."""
        self._buffer += data

    def whole(self, data: bytes) -> Parsed | None:
        """Return the request that *data* is if it is one, whole, with a head that is known; else nothing is taken.

        What :meth:`receive` and :meth:`next_request` would give, without a way through the buffer.
        """
        raw, mark, body = data.partition(_END)
        head = self._heads.get(raw)
        if head is None or head.length != len(body) or not mark:
            return None
        request = Request(head.method, head.target, head.fields, body, "http", head.authority)
        self.notes = head.notes
        return Parsed(request, head.flags)

    def next_request(self) -> Parsed | None:
        """Return the next whole request, or None when more bytes are needed.

        Raises ProtocolError, after which the connection can only be closed.
        """
        if self._head is None and not self._take_head():
            return None
        head, body = self._head, self._body
        if head is None or body is None or not body.take(self._buffer):
            return None
        self._head = self._body = None
        self.notes = head.notes
        target, headers = head.target, head.fields
        request = Request(head.method, target, headers, body.content(), "http", head.authority)
        return Parsed(request, head.flags)

    def _take_head(self) -> bool:
        buffer = self._buffer
        self._skip_empty_lines()
        end = buffer.find(_END, max(0, self._scanned - 3))
        if end < 0 or end + 4 > self._limits.head:
            self._check_partial_head(end)
            self._scanned = len(buffer)
            return False
        raw = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        self._scanned = self._empty_lines = 0
        head = self._heads.get(raw[: -len(_END)])
        if head is None:
            head = _Head(raw, self._limits)
            self._remember(raw, head)
        self._head = head
        self._body = Chunked(self._limits) if head.length is None else Sized(head.length)
        return True

    def _remember(self, raw: bytes, head: _Head) -> None:
        """Remember a head: a client sends few different ones, and taking one apart costs more than all the rest."""
        if len(raw) <= _LONGEST_HEAD_KEPT and not head.expects_continue:
            if len(self._heads) >= _HEADS_KEPT:
                self._heads.clear()
            self._heads[raw[: -len(_END)]] = head

    def _skip_empty_lines(self) -> None:
        """Skip a few empty lines before a request (RFC 9112, 2.2); more are no HTTP."""
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
            self._empty_lines += 1
            if self._empty_lines > _EMPTY_LINES:
                raise ProtocolError(400, "Too many empty lines before the request.")

    def _check_partial_head(self, end: int) -> None:
        """Refuse at once what can no longer become a head, so that nobody waits for a deadline."""
        buffer = self._buffer
        if end < 0 and _BARE_LINE_END.search(buffer, max(0, self._scanned - 1)):
            raise ProtocolError(400, "A line of the request's head does not end with CR LF.")
        if buffer[:1] and buffer[0] != 13 and not _FIRST_BYTE.match(buffer):  # noqa: PLR2004  # a lone CR may go on
            raise ProtocolError(400, "This is not an HTTP request; note that the server speaks plain HTTP, not TLS.")
        line_end = buffer.find(b"\r\n")
        if (line_end if line_end >= 0 else len(buffer)) > self._limits.target + 64:
            raise ProtocolError(414, f"The request target is longer than {self._limits.target} bytes.")
        if line_end >= max(0, self._scanned - 1) and not _REQUEST_LINE.match(buffer):
            raise ProtocolError(400, _NO_REQUEST_LINE)
        if len(buffer) > self._limits.head or end >= 0:
            raise ProtocolError(431, f"The request's head is longer than {self._limits.head} bytes.")


class _Head:
    """A request's head, checked and taken apart. ``length`` is that of the body, None for one in chunks."""

    __slots__ = (
        *("_names", "_raw_target", "authority", "expects_continue", "fields", "flags", "length", "method", "notes"),
        "target",
    )

    def __init__(self, raw: bytes, limits: Limits) -> None:
        line = _REQUEST_LINE.match(raw)
        if line is None or not FIELD_LINES.fullmatch(raw, line.end()):
            raise ProtocolError(400, _cause(raw))
        version = raw[line.end() - 5 : line.end() - 2]
        if version not in (b"1.1", b"1.0"):
            raise ProtocolError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        self._raw_target = b""
        self.notes: Notes = {}
        fields: list[tuple[str, str]] = []
        self._parse(raw, fields, limits)
        if len(fields) > limits.fields:
            raise ProtocolError(431, f"The request has more than {limits.fields} header fields.")
        self.fields: Headers = tuple(fields)
        self._names = [name.lower() for name, _ in fields]
        old = version == b"1.0"
        self.flags = self._connection_flags(old=old)
        self.authority = self._host(old=old)
        self.target = self._read_target(limits)
        self.expects_continue = self._expectation(old=old)
        self.length = self._body_length(limits)

    def _parse(self, raw: bytes, fields: list[tuple[str, str]], limits: Limits) -> None:
        sink = _Sink(fields)
        parser = httptools.HttpRequestParser(sink)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # asked for, not given: an Upgrade may be ignored (RFC 9110, 7.8)
        except httptools.HttpParserInvalidMethodError:
            method = raw.partition(b" ")[0].decode("ascii")
            raise ProtocolError(405, f"The method {method[:40]} is not known.", "method_not_supported") from None
        except httptools.HttpParserError as error:
            self._refuse(raw, error, limits)
        self.method = parser.get_method().decode("ascii")
        self._raw_target = sink.target
        if self.method == "CONNECT":
            raise ProtocolError(405, "CONNECT is refused: this server is no proxy.", "method_not_supported")

    @staticmethod
    def _refuse(raw: bytes, error: Exception, limits: Limits) -> None:
        if _HUGE_LENGTH.search(raw):  # beyond what llhttp can count
            raise too_large(limits)
        raise ProtocolError(400, f"The request's head is malformed: {error}.") from None

    def _values(self, name: str) -> list[str]:
        if name not in self._names:
            return []
        return [self.fields[i][1] for i, other in enumerate(self._names) if other == name]

    def _tokens(self, name: str) -> set[str]:
        return {token.strip().lower() for value in self._values(name) for token in value.split(",")}

    def _connection_flags(self, *, old: bool) -> int:
        tokens = self._tokens("connection") if "connection" in self._names else set()
        close = "close" in tokens or (old and "keep-alive" not in tokens)
        head = HEAD if self.method == "HEAD" else 0
        return head | (CLOSE if close else 0) | (HTTP10 if old else 0)

    def _host(self, *, old: bool) -> str:
        hosts = self._values("host")
        if len(hosts) > 1 or (not hosts and not old):
            raise ProtocolError(400, "The request needs exactly one Host header field.")
        return _checked_host(hosts[0] if hosts else "", "Host header field")

    def _read_target(self, limits: Limits) -> str:
        if len(self._raw_target) > limits.target:
            raise ProtocolError(414, f"The request target is longer than {limits.target} bytes.")
        target = self._raw_target.decode("ascii")
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute:
            self.authority = _checked_host(absolute[2], "authority of the request target")
            target = absolute[3] if absolute[3].startswith("/") else f"/{absolute[3]}"
        if not target.startswith("/") and not (target == "*" and self.method == "OPTIONS"):
            raise ProtocolError(400, "The request target is neither a path nor an absolute http URI.")
        if "#" in target:
            raise ProtocolError(400, "The request target holds a fragment (#).")
        return target

    def _expectation(self, *, old: bool) -> bool:
        if "expect" not in self._names:
            return False
        if self._tokens("expect") != {"100-continue"}:
            raise ProtocolError(417, "Only the expectation 100-continue is understood.")
        return not old

    def _body_length(self, limits: Limits) -> int | None:
        """Decide how long the body is; every doubt is refused."""
        codings, lengths = self._values("transfer-encoding"), self._values("content-length")
        if codings:
            if lengths or self.flags & HTTP10 or [c.lower() for c in codings] != ["chunked"]:
                raise ProtocolError(400, "Transfer-Encoding must be 'chunked' alone, without Content-Length.")
            return None
        if not lengths:
            self.expects_continue = False
            return 0
        text = lengths[0]
        if len(lengths) > 1 or not text.isascii() or not text.isdigit():
            raise ProtocolError(400, "Content-Length must be there once, as a decimal number.")
        number = _LENGTH.fullmatch(text)
        if number is None or int(number[1]) > limits.body:
            raise too_large(limits)
        return int(number[1])


_heads: dict[Limits, dict[bytes, _Head]] = {}
"""Heads that came before, by their bytes without the empty line that ends them."""


class _Sink:
    """Receives what httptools finds in a head."""

    __slots__ = ("_fields", "target")

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields
        self.target = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves the space behind a value, which is not part of it (RFC 9110, 5.5).
        self._fields.append((name.decode("ascii"), value.decode("latin-1").rstrip(" \t")))


def _checked_host(host: str, where: str) -> str:
    if not _HOST.fullmatch(host) or (host.startswith("[") and not _is_ipv6(host[1 : host.index("]")])):
        raise ProtocolError(400, f"The {where} is no host name with an optional port.")
    return host


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _cause(raw: bytes) -> str:
    """Say why a head is refused."""
    if b"\0" in raw:
        return "The request's head holds a NUL byte."
    if _BARE_LINE_END.search(raw):
        return "A line of the request's head does not end with CR LF."
    if not _REQUEST_LINE.match(raw):
        return _NO_REQUEST_LINE
    if b"\r\n " in raw or b"\r\n\t" in raw:
        return "A header field is folded over several lines, which HTTP/1.1 no longer allows."
    return "A header field is malformed: 'Name: value' is expected, without a space before the colon."
