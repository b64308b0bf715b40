"""The objects of one array in a JSON file of any size, one at a time; only that one is in memory.

Only brackets and strings are told apart here. What an object holds is parsed afterwards, by a parser that is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from stubserver.jsonvalue import json_value

__all__ = ["LARGEST", "ElementsError", "Line", "elements", "lines", "root_keys", "value_of"]

LARGEST: Final = 256 * 1024 * 1024
"""No single element, line or flow may be larger, in bytes."""

_PIECE: Final = 1024 * 1024
_DEEPEST: Final = 64
_PEEKED: Final = 256 * 1024
_TOKEN: Final = re.compile(rb'[\[\]{}]|"(?:[^"\\]|\\.)*+"|"', re.DOTALL)
_BOM: Final = b"\xef\xbb\xbf"


class ElementsError(ValueError):
    """The file is no JSON, ends too early, or holds an element that is too large."""


def elements(stream: BinaryIO, *path: str) -> Iterator[bytes]:
    """Yield the text of each object in the array that the keys of *path* lead to. Raises ElementsError."""
    walk = _Walk(path)
    buffer, found = b"", 0
    while True:
        piece = stream.read(max(_PIECE, len(buffer)))  # twice as much each time, so that no string is read again often
        if not piece:
            break
        buffer += piece
        for start, end in walk.over(buffer):
            found += 1
            yield buffer[start:end]
        buffer = walk.rest(buffer)
        if len(buffer) > LARGEST:
            raise ElementsError(f"entry {found + 1} is larger than {LARGEST >> 20} MB")
    if walk.open or buffer:
        raise ElementsError("the file ends too early: it was cut off, or is no JSON")


class _Walk:
    """A walk over the tokens of a JSON text that comes in pieces."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self._path = path
        self._stack: list[tuple[bytes, str]] = []
        self._key = ""
        self._depth = 0
        self._start: int | None = None
        self._seen = 0

    @property
    def open(self) -> bool:
        """Whether something has begun that has not ended."""
        return bool(self._stack) or self._depth > 0

    def over(self, buffer: bytes) -> Iterator[tuple[int, int]]:
        """Go on over *buffer*, which begins with what :meth:`rest` left; yield where each wanted object stands."""
        for token in _TOKEN.finditer(buffer, self._seen):
            text = token[0]
            if text == b'"':  # a string whose end is still to come
                self._seen = token.start()
                return
            if self._start is not None:
                self._depth += (text in {b"{", b"["}) - (text in {b"}", b"]"})
                if self._depth == 0:
                    yield self._start, token.end()
                    self._start = None
            elif text == b"{" and self._is_wanted():
                self._start, self._depth = token.start(), 1
            else:
                self._step(text)
        self._seen = len(buffer)

    def rest(self, buffer: bytes) -> bytes:
        """Return what of *buffer* is still needed."""
        kept = self._seen if self._start is None else self._start
        if self._start is not None:
            self._start = 0
        self._seen -= kept
        return buffer[kept:]

    def _step(self, text: bytes) -> None:
        if text[:1] == b'"':
            self._key = text[1:-1].decode("utf-8", "replace") if len(text) < _PEEKED else ""
        elif text in {b"{", b"["}:
            if len(self._stack) >= _DEEPEST:
                raise ElementsError("it is nested too deep")
            self._stack.append((text, self._key))
            self._key = ""
        elif not self._stack or self._stack.pop()[0] != {b"}": b"{", b"]": b"["}[text]:
            raise ElementsError("it is no JSON: its brackets do not agree")

    def _is_wanted(self) -> bool:
        stack = self._stack
        return (
            len(stack) == len(self._path) + 1 and stack[-1][0] == b"[" and tuple(k for _, k in stack[1:]) == self._path
        )


class Line(NamedTuple):
    """A line of a file: its number from 1, where it stands in bytes, and its text without the white space around it."""

    number: int
    offset: int
    length: int
    text: bytes


def lines(stream: BinaryIO) -> Iterator[Line]:
    """Yield each line that is not empty. Raises ElementsError for one that is too long."""
    number = offset = 0
    while line := stream.readline(LARGEST + 1):
        number += 1
        if len(line) > LARGEST:
            raise ElementsError(f"line {number} is longer than {LARGEST >> 20} MB")
        text = line.removeprefix(_BOM).strip()
        if text:
            yield Line(number, offset, len(line), text)
        offset += len(line)


def root_keys(head: bytes) -> set[str]:
    """Return the keys of the object that *head*, the beginning of a file, begins with: as many as are there."""
    depth, keys, last = 0, set(), ""
    for token in _TOKEN.finditer(head.removeprefix(_BOM)):
        text = token[0]
        if text in {b"{", b"["}:
            depth += 1
        elif text in {b"}", b"]"}:
            depth -= 1
            if depth == 0:
                break
        elif depth == 1 and text != b'"':
            last = text[1:-1].decode("utf-8", "replace")
            if head.removeprefix(_BOM)[token.end() : token.end() + 8].lstrip()[:1] == b":":
                keys.add(last)
    return keys


def value_of(raw: bytes) -> dict[str, Any] | None:
    """Parse one element; None when it is no sound JSON object, or nested too deep."""
    value = json_value(raw)
    return value if isinstance(value, dict) else None
