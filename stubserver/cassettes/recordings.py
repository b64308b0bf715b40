"""Cassette files as they are served: where each interaction is, and the way back to it."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, overload

from stubserver.canonical import KEY_SIZE, ROUTE_SIZE, Rules, asks_for_stream
from stubserver.errors import CassetteError
from stubserver.messages import Interaction, Request, Response

if TYPE_CHECKING:
    from stubserver.cassettes.index import Index

__all__ = [
    "HALVES",
    "ROUTES",
    "ROW_SIZE",
    "SIZES",
    "CassetteFile",
    "Recording",
    "Reel",
    "Stamp",
    "part_of",
    "recording_of",
    "stamp_of",
]

_SERIALS: Final = count()
_Part = TypeVar("_Part")
_new = tuple.__new__
_ALL_BITS: Final = 2**64 - 1
# key, the body's half of the loose key, normal route, offset, place, number, length, check, size, flags
_ROW: Final = Struct("<24s16s8sQQIIIII")
ROW_SIZE: Final = _ROW.size
"""So many bytes of memory a recording takes. Of all rows, these columns are read at once:"""
HALVES: Final = Struct("<QQ68x")  # the route, and the first half of the body's key
ROUTES: Final = Struct("<8s32x8s36x")  # the route, and its normal form
SIZES: Final = Struct("<8s68xI4x")  # the route, and the size of the body
_PLACE: Final = Struct("<Q")
_BODY: Final = Struct("<8xQ8x")  # the first half of the body's part of a key
_PLACE_AT: Final = 24 + 16 + 8 + 8
_ITEM: Final = Struct("<48xQ8x4x4xI8x")  # offset, check
_PLACES: Final = Struct(f"<{_PLACE_AT}xQ{_ROW.size - _PLACE_AT - 8}x")
_PIECE: Final = 1024 * _ROW.size
_STREAM: Final = 1
_LOOSE: Final = 2
_IS_LOOSE: Final = bytes(bool(flags & _LOOSE) for flags in range(256))

Stamp = tuple[int, int, int]
"""What tells a changed file: size, mtime in ns, inode."""


class Recording(NamedTuple):
    """Where one interaction is, and under which keys it is found. Made when it is asked for: see :class:`Reel`.

    ``key`` and ``loose`` are the match keys of the request, ``normal`` is its :func:`normal_route`, ``stream`` tells
    whether it asked for a stream, ``size`` is the length of its body. ``check`` is the checksum of the item. ``kept``
    holds the interaction itself when its file cannot be read in parts; ``row`` is its place in the reel, ``place``
    that of its answer in the index. ``mark`` is 64 bits that stand for it: the same when its file is read again and it
    is still there.
    """

    file: CassetteFile
    number: int
    offset: int
    length: int
    check: int
    key: bytes
    loose: bytes
    normal: bytes
    stream: bool
    size: int
    kept: Interaction | None = None
    row: int = -1
    place: int = 0
    mark: int = 0

    @property
    def label(self) -> str:
        """``<file>#<n>``, as the header ``x-stubserver-cassette`` has it."""
        return f"{self.file.label}#{self.number}"

    def interaction(self) -> Interaction:
        """Read the interaction. Raises CassetteError when the file no longer holds it."""
        from stubserver.cassettes.items import read_item  # noqa: PLC0415  # start-up: only what is played is read

        kept = self._kept()
        return kept or self._read(read_item)

    def response(self) -> Response:
        """Read the response alone, in half the time. Raises CassetteError when the file no longer holds it."""
        from stubserver.cassettes.items import read_item_response  # noqa: PLC0415  # as above

        kept = self._kept()
        return kept.response if kept else self._read(read_item_response)

    def stored(self) -> bytes | None:
        """Return the answer that the index has of it."""
        index = self.file.index
        # Who has had us since before it was stored, as a playlist has, finds it all the same.
        place = index and (self.place or self.file.recordings.place(self.row))
        return index.answer(place, self.check) if index and place else None

    def store(self, answer: bytes) -> None:
        """Let the index have the answer that was made of it, if there is one."""
        if self.file.index is not None:
            self.file.index.put_later(self, answer)

    def _kept(self) -> Interaction | None:
        """Return the interaction of a file that is read as a whole."""
        if self.kept is not None or self.file.kind != "whole":
            return self.kept
        found = self.file.read_again(self.number)
        if found is None or zlib.crc32(found.response.body) != self.check:
            raise CassetteError(self.file.label, "the file was changed while it was served", self.number)
        return found

    def _read(self, read: Callable[[bytes], _Part]) -> _Part:
        raw = self.file.part(self.offset, self.length)
        if zlib.crc32(raw) != self.check:
            raise CassetteError(self.file.label, "the file was changed while it was served", self.number)
        try:
            return read(raw)
        except ValueError as error:
            raise CassetteError(self.file.label, str(error), self.number) from error


class Reel(Sequence[Recording]):
    """The recordings of one file, packed: 84 bytes each, and no object until one is asked for."""

    __slots__ = ("_kept", "data", "file")

    def __init__(self, file: CassetteFile, data: bytes | bytearray | memoryview = b"") -> None:
        self.file = file
        # A view is of memory that is a file's, and mapped: it may be written to, and cannot grow.
        self.data = data if isinstance(data, (bytearray, memoryview)) else bytearray(data)
        self._kept: dict[int, Interaction] = {}

    def __len__(self) -> int:
        return len(self.data) // _ROW.size

    @overload
    def __getitem__(self, index: int) -> Recording: ...
    @overload
    def __getitem__(self, index: slice) -> list[Recording]: ...
    def __getitem__(self, index: int | slice) -> Recording | list[Recording]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(index)
        return self.at(row)

    def at(self, row: int) -> Recording:
        """Return the recording in one row."""
        file = self.file
        found = _ROW.unpack_from(self.data, row * ROW_SIZE)
        key, loose, normal, offset, place, number, length, check, size, flags = found
        loose = key[:ROUTE_SIZE] + loose if flags & _LOOSE else key
        stream, kept = flags & _STREAM != 0, self._kept.get(row) if self._kept else None
        mark = hash((file.mark, number, check, *_BODY.unpack(key))) & _ALL_BITS or 1
        # In half the time that a call of the class takes.
        values = file, number, offset, length, check, key, loose, normal, stream, size, kept, row, place, mark
        return _new(Recording, values)

    def append(self, made: Recording) -> None:
        """Take in one more recording of the file."""
        flags = (_STREAM if made.stream else 0) | (_LOOSE if made.loose != made.key else 0)
        if made.kept is not None:
            self._kept[len(self)] = made.kept
        places = made.offset, made.place, made.number, made.length, made.check, made.size
        if isinstance(self.data, memoryview):
            self.data = bytearray(self.data)
        self.data += _ROW.pack(made.key, made.loose[ROUTE_SIZE:], made.normal, *places, flags)

    def set_place(self, row: int, place: int) -> None:
        """Note where the answer of a recording is in the index."""
        _PLACE.pack_into(self.data, row * _ROW.size + _PLACE_AT, place)

    def place(self, row: int) -> int:
        """Return where the answer of a recording is in the index; 0 for none, or for a row that there is not."""
        at = row * _ROW.size + _PLACE_AT
        return int(_PLACE.unpack_from(self.data, at)[0]) if 0 <= row < len(self) else 0

    def places(self) -> list[int]:
        """Return where the answer of each is in the index; 0 for none."""
        return [place for (place,) in _PLACES.iter_unpack(self.data)]

    def set_places(self, places: dict[tuple[int, int], int]) -> None:
        """Note where the answers of many are, by offset and checksum of their items."""
        for row, item in enumerate(_ITEM.iter_unpack(self.data)):
            if item in places:
                self.set_place(row, places[item])

    @staticmethod
    def renumbered(rows: bytes, more: int) -> bytes:
        """Return packed rows with *more* added to each number."""
        return b"".join(_ROW.pack(*row[:5], row[5] + more, *row[6:]) for row in _ROW.iter_unpack(rows))

    @staticmethod
    def loose(piece: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield those rows of a piece that have a loose key other than their key, and that."""
        flags = piece[_ROW.size - 4 :: _ROW.size].translate(_IS_LOOSE)
        row = flags.find(1)
        while row >= 0:
            at = row * _ROW.size
            yield row, piece[at : at + ROUTE_SIZE] + piece[at + KEY_SIZE : at + 2 * KEY_SIZE - ROUTE_SIZE]
            row = flags.find(1, row + 1)

    def key(self, row: int) -> bytes:
        """Return the key of one recording."""
        start = row * _ROW.size
        return bytes(self.data[start : start + KEY_SIZE])

    def pieces(self, first: int = 0) -> Iterator[bytes]:
        """Yield the rows in copies of some hundred: what is iterated over could not grow meanwhile."""
        start, size = first * _ROW.size, len(self.data)
        while start < size:
            yield bytes(self.data[start : min(start + _PIECE, size)])
            start += _PIECE


@dataclass(slots=True, eq=False)
class CassetteFile:
    """One file with its recordings. ``problems`` are items that could not be taken, ``skipped`` those that are no HTTP.

    ``label`` is how messages name the file, ``name`` how ``/__cassette/<name>/`` does. ``kind`` tells what offsets are:
    ``parts`` of the file, of what is ``packed`` in it, or of nothing, because it is read as a ``whole``. ``index`` is
    where its recordings' answers are stored, and ``index_id`` its number there. ``serial`` is another one for each
    time that a file is read: who remembers it keeps nothing of the file in memory.
    """

    path: Path
    label: str
    name: str
    stamp: Stamp
    recordings: Reel = field(init=False)
    problems: list[CassetteError] = field(default_factory=list)
    skipped: int = 0
    text: bytes | None = None
    kind: str = "parts"
    index: Index | None = None
    index_id: int = 0
    mark: int = 0
    serial: int = field(default_factory=_SERIALS.__next__)

    def __post_init__(self) -> None:
        """Begin with no recordings; ``mark`` stands for the path."""
        self.recordings = Reel(self)
        # Not of hash() of a text or of bytes, which is another one in every process.
        self.mark = int.from_bytes(blake2b(str(self.path).encode("utf-8", "surrogateescape"), digest_size=7).digest())

    def part(self, offset: int, length: int) -> bytes:
        """Return a part of the file: from memory, or else from the disk."""
        if self.text is not None and offset + length <= len(self.text):
            return self.text[offset : offset + length]
        try:
            return self._part_on_disk(offset, length)
        except OSError as error:
            raise CassetteError(self.label, error.strerror or str(error)) from error

    def _part_on_disk(self, offset: int, length: int) -> bytes:
        if self.kind == "packed":
            from stubserver.cassettes.again import unpacked  # noqa: PLC0415  # start-up: only an index leads here

            return unpacked(self, offset, length)
        return part_of(self.path, offset, length)

    def read_again(self, number: int) -> Interaction | None:
        """Return an interaction of a file that is read as a whole; None when it is not there any more."""
        from stubserver.cassettes.again import interactions  # noqa: PLC0415  # start-up: only an index leads here

        return interactions(self).get(number)


def recording_of(  # noqa: PLR0913  # where it is, and what it is of
    file: CassetteFile,
    number: int,
    request: Request,
    rules: Rules,
    *,
    normal: Callable[[bytes, Request], bytes],
    offset: int = 0,
    raw: bytes = b"",
    kept: Interaction | None = None,
) -> Recording:
    """Make the recording of *request*, whose item *raw* is at *offset*; *normal* gives the normal form of a route."""
    key = rules.key(request)
    loose = key[:ROUTE_SIZE] + rules.loose_body_key(request) if rules.may_be_loose(request) else key
    return Recording(
        file=file,
        number=number,
        offset=offset,
        length=len(raw),
        check=zlib.crc32(raw if kept is None else kept.response.body),
        key=key,
        loose=key if loose == key else loose,
        normal=normal(key[:ROUTE_SIZE], request),
        stream=asks_for_stream(request),
        size=len(request.body),
        kept=kept,
    )


def part_of(path: str | Path, offset: int, length: int) -> bytes:
    """Return what is in a part of a file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


def stamp_of(path: str | Path) -> Stamp:
    """Return what changes when the file does. Raises OSError, also for what is no regular file."""
    status = os.stat(path)  # noqa: PTH116  # a Path is not always there, and takes longer to make than this
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size, status.st_mtime_ns, status.st_ino
