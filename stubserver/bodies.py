"""How long a request's body is, and taking it out of what arrived: by Content-Length, or in chunks."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from stubserver.errors import ProtocolError

__all__ = ["FIELD_LINES", "TOKEN", "Chunked", "Limits", "Sized", "too_large"]

TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
FIELD_LINES: Final = re.compile(rb"(?:" + TOKEN + rb":[\t \x21-\x7e\x80-\xff]*\r\n)*\r\n")
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t \x21-\x7e\x80-\xff]*)?")
_CHUNK_LINE_LIMIT: Final = 4096


class Limits(NamedTuple):
    """Sizes in bytes; a request beyond one is refused with the status named here."""

    head: int = 65_536  # 431
    fields: int = 100  # 431
    target: int = 16_384  # 414
    body: int = 64 * 1024 * 1024  # 413


class Sized:
    """A body with a Content-Length, or none."""

    __slots__ = ("_content", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._content = b""

    def take(self, buffer: bytearray) -> bool:
        """Move the body out of *buffer* if it is whole."""
        if len(buffer) < self.size:
            return False
        if self.size:
            self._content = bytes(memoryview(buffer)[: self.size])
            del buffer[: self.size]
        return True

    def content(self) -> bytes:
        """Return the body, once it is whole."""
        return self._content


class Chunked:
    """A body in chunks (RFC 9112, 7.1): extensions are skipped, trailers are read and dropped."""

    __slots__ = ("_content", "_left", "_limits", "_trailers", "size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._content = bytearray()  # not a list of parts: chunks of a byte would cost forty times their size
        self._left = 0
        self._trailers = -1
        self.size = 0

    def take(self, buffer: bytearray) -> bool:
        """Move what is there of the body out of *buffer*; True when it is whole."""
        while True:
            if self._left:
                if not self._take_data(buffer):
                    return False
                continue
            line = self._take_line(buffer)
            if line is None:
                return False
            if self._trailers >= 0:
                if not line:
                    return True
                self._check_trailer(line)
            else:
                self._start_chunk(line)

    def content(self) -> bytes:
        """Return the body, once it is whole."""
        return bytes(self._content)

    def _take_data(self, buffer: bytearray) -> bool:
        """Take the data of one chunk with its line end."""
        if len(buffer) < self._left + 2:
            return False
        if buffer[self._left : self._left + 2] != b"\r\n":
            raise ProtocolError(400, "A chunk of the body is longer than its size says.")
        self._content += memoryview(buffer)[: self._left]
        del buffer[: self._left + 2]
        self._left = 0
        return True

    def _take_line(self, buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\n", 0, _CHUNK_LINE_LIMIT)
        if end < 0:
            if len(buffer) >= _CHUNK_LINE_LIMIT:
                raise ProtocolError(400, f"A chunk's size line is longer than {_CHUNK_LINE_LIMIT} bytes.")
            return None
        line = bytes(buffer[: end + 1])
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise ProtocolError(400, "A line of the chunked body does not end with CR LF.")
        del buffer[: end + 1]
        return line[:-2]

    def _start_chunk(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if not found:
            raise ProtocolError(400, "A chunk's size is no hexadecimal number.")
        self._left = int(found[1], 16)
        self.size += self._left
        if self.size > self._limits.body:
            raise too_large(self._limits)
        if not self._left:
            self._trailers = 0

    def _check_trailer(self, line: bytes) -> None:
        self._trailers += 1
        if self._trailers > self._limits.fields // 2:
            raise ProtocolError(431, "The chunked body has too many trailer fields.")
        if not FIELD_LINES.fullmatch(line + b"\r\n\r\n"):
            raise ProtocolError(400, "A trailer field of the chunked body is malformed.")


def too_large(limits: Limits) -> ProtocolError:
    """Make the error for a body beyond the limit."""
    text = f"Request body too large: the limit is {limits.body} bytes (see --max-body)."
    return ProtocolError(413, text, "request_too_large")
