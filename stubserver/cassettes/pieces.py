"""A cassette read in pieces of some megabytes: so that memory stays flat, and several processes can share the work.

Only a file in vcrpy's own layout has pieces. What is in any other one is a single piece, read as a whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from stubserver.canonical import Rules
from stubserver.cassettes import reader
from stubserver.cassettes.items import read_item_request, read_item_response
from stubserver.cassettes.packed import opened
from stubserver.cassettes.recordings import CassetteFile, recording_of, stamp_of
from stubserver.cassettes.routes import normal_routes
from stubserver.errors import CassetteError
from stubserver.messages import Response

__all__ = ["Piece", "Seal", "checksum", "first_item", "raw_items", "read_range", "read_whole"]

_ITEM: Final = b"\n- "
_BLOCK: Final = 4 * 1024**2
_HEAD: Final = 1024**2
_LONGEST_ITEM: Final = 256 * 1024**2

Seal = Callable[[Response], bytes | None]
"""What makes of a recorded response the answer that is stored; None for one that is not."""


class Piece(NamedTuple):
    """What is in the bytes from *start* to *end* of a file; ``check`` is their checksum.

    ``items`` is how many there are, ``rows`` those that are recordings, as a reel has them; numbers in it, and in
    ``problems``, count from the piece's first item. ``answers`` are by the offset of their item. ``last``: nothing
    comes behind it. ``kind`` is ``parts``, ``packed`` for offsets in what is unpacked, ``whole`` for none.
    """

    start: int
    end: int
    check: int
    items: int
    rows: bytes
    problems: tuple[tuple[int, str], ...] = ()
    skipped: int = 0
    last: bool = True
    kind: str = "parts"
    answers: tuple[tuple[int, bytes], ...] = ()


def first_item(path: Path) -> int | None:
    """Return where the first item of a file in vcrpy's layout begins; None for a file in another one."""
    with path.open("rb") as file:
        return reader.start_of_items(file.read(_HEAD))


def checksum(path: Path, start: int, end: int) -> int:
    """Return the checksum of a part of a file. Raises OSError."""
    found = 0
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            block = file.read(min(_BLOCK, end - start))
            if not block:
                return -1
            found = zlib.crc32(block, found)
            start += len(block)
    return found


def read_range(path: Path, rules: Rules, start: int, stop: int | None, seal: Seal | None = None) -> Piece:
    """Read the items that begin from *start* on and before *stop*; both may be in the middle of one, unless it is None.

    Raises CassetteError, and OSError.
    """
    file = CassetteFile(path, str(path), "", stamp_of(path))
    reading = _Range(file, rules, seal)
    with path.open("rb") as source:
        for offset, raw, last in _items(source, start, stop):
            reading.add(offset, raw, last=last)
    return reading.piece(start)


def raw_items(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield offset and text of each item of a file in vcrpy's layout, packed or not. Raises CassetteError, OSError."""
    with opened(path) as source:
        start = reader.start_of_items(source.read(_HEAD))
        if start is None:
            raise CassetteError(str(path), "too large to be read at once, and not in the layout vcrpy writes")
        for offset, raw, _ in _items(source, start, None):
            yield offset, raw


class _Range:
    def __init__(self, file: CassetteFile, rules: Rules, seal: Seal | None) -> None:
        self._file = file
        self._rules = rules
        self._seal = seal
        self._headers = "headers" in rules.match_on
        self._normal = normal_routes(rules)
        self._start = self._end = -1
        self._items = self._skipped = self._check = 0
        self._last = False
        self._problems: list[tuple[int, str]] = []
        self._answers: list[tuple[int, bytes]] = []

    def add(self, offset: int, raw: bytes, *, last: bool) -> None:
        if self._start < 0:
            self._start = offset
        self._end, self._last = offset + len(raw), last
        self._check = zlib.crc32(raw, self._check)
        self._items += 1
        try:
            request = read_item_request(raw, headers=self._headers)
            if request is None:
                self._skipped += 1
                return
            made = recording_of(
                self._file, self._items, request, self._rules, normal=self._normal, offset=offset, raw=raw
            )
        except ValueError as error:
            self._problems.append((self._items, str(error)))
            return
        self._file.recordings.append(made)
        self._keep_answer(offset, raw)

    def _keep_answer(self, offset: int, raw: bytes) -> None:
        if self._seal is None:
            return
        try:
            answer = self._seal(read_item_response(raw))
        except ValueError:
            return  # whoever plays it is told
        if answer is not None:
            self._answers.append((offset, answer))

    def piece(self, start: int) -> Piece:
        found = (self._start, self._end) if self._items else (start, start)
        rows, problems = bytes(self._file.recordings.data), tuple(self._problems)
        return Piece(
            *found, self._check, self._items, rows, problems, self._skipped, self._last, "parts", tuple(self._answers)
        )


def _items(file: BinaryIO, start: int, stop: int | None) -> Iterator[tuple[int, bytes, bool]]:
    """Yield offset and text of each item that begins between *start* and *stop*, and whether it is the last one."""
    base, text = _to_item(file, start)
    at = 0
    while text and (stop is None or base + at < stop):
        end = text.find(_ITEM, at)
        while end < 0:
            block = _block(file)
            if not block:
                yield base + at, text[at : reader.end_of_items(text, at)], True
                return
            base, text, at = base + at, text[at:] + block, 0
            if len(text) > _LONGEST_ITEM:
                raise CassetteError(file.name, f"an item in it is larger than {_LONGEST_ITEM >> 20} MB")
            end = text.find(_ITEM)
        yield base + at, text[at : end + 1], False
        at = end + 1


def _to_item(file: BinaryIO, start: int) -> tuple[int, bytes]:
    """Return where the first item from *start* (1 at least) on begins, and some text from there on."""
    base = start - 1
    file.seek(base)
    text = _block(file)
    while text:
        found = text.find(_ITEM)
        if found >= 0:
            return base + found + 1, text[found + 1 :]
        block = _block(file)
        kept = len(text) - len(_ITEM) + 1 if block else len(text)
        base, text = base + kept, text[kept:] + block
    return base, b""


def _block(file: BinaryIO) -> bytes:
    block = file.read(_BLOCK)
    if b"\0" in block:
        raise CassetteError(file.name, "there are NUL bytes in it")
    return block


def read_whole(path: Path, rules: Rules, seal: Seal | None = None) -> Piece:
    """Read a file of any layout as one piece. Raises CassetteError, NotACassetteError, OSError."""
    size = stamp_of(path)[0]
    check = checksum(path, 0, size)
    file = reader.read_file(path, str(path), "", rules)
    whole = any(recording.kept for recording in file.recordings)
    kind = "whole" if whole else "packed" if file.text is not None else "parts"
    problems = tuple((problem.item, problem.cause) for problem in file.problems)
    sealed = ((r.offset, seal(r.response())) for r in file.recordings) if seal else ()
    answers = tuple((offset, answer) for offset, answer in sealed if answer is not None)
    items = max([0, *(r.number for r in file.recordings), *(number for number, _ in problems)])
    rows = bytes(file.recordings.data)
    return Piece(0, size, check, items, rows, problems, file.skipped, last=True, kind=kind, answers=answers)
