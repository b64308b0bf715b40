"""Cassette files as they are served: where each interaction is, and the way back to it."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, TypeVar, overload

from stubserver.canonical import KEY_SIZE, ROUTE_SIZE, Rules, asks_for_stream, route_key
from stubserver.errors import CassetteError
from stubserver.messages import Interaction, Request, Response

__all__ = ["CassetteFile", "Recording", "Reel", "Stamp", "any_route", "normal_route", "recording_of", "stamp_of"]

_PLACEHOLDER_LENGTH: Final = 64
_Part = TypeVar("_Part")
_ALL_BITS: Final = 2**64 - 1
# key, the body's half of the loose key, normal route, offset, number, length, check, size, flags
_ROW: Final = Struct("<24s16s8sQIIIII")
_HALVES: Final = Struct(f"<QQ{_ROW.size - 16}x")
_PIECE: Final = 4096 * _ROW.size
_STREAM: Final = 1
_LOOSE: Final = 2

Stamp = tuple[int, int, int]
"""What tells a changed file: size, mtime in ns, inode."""


class Recording(NamedTuple):
    """Where one interaction is, and under which keys it is found. Made when it is asked for: see :class:`Reel`.

    ``key`` and ``loose`` are the match keys of the request, ``normal`` is its :func:`normal_route`, ``stream`` tells
    whether it asked for a stream, ``size`` is the length of its body. ``check`` is the checksum of the item. ``kept``
    holds the interaction itself when its file cannot be read in parts.
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

    @property
    def label(self) -> str:
        """``<file>#<n>``, as the header ``x-stubserver-cassette`` has it."""
        return f"{self.file.label}#{self.number}"

    @property
    def mark(self) -> int:
        """64 bits that stand for the recording: the same when its file is read again and it is still there."""
        return hash((self.file.mark, self.number, self.check, self.key)) & _ALL_BITS or 1

    def interaction(self) -> Interaction:
        """Read the interaction. Raises CassetteError when the file no longer holds it."""
        from stubserver.cassettes.items import read_item  # noqa: PLC0415  # start-up: only what is played is read

        return self.kept or self._read(read_item)

    def response(self) -> Response:
        """Read the response alone, in half the time. Raises CassetteError when the file no longer holds it."""
        from stubserver.cassettes.items import read_item_response  # noqa: PLC0415  # as above

        return self.kept.response if self.kept else self._read(read_item_response)

    def _read(self, read: Callable[[bytes], _Part]) -> _Part:
        raw = self.file.part(self.offset, self.length)
        if zlib.crc32(raw) != self.check:
            raise CassetteError(self.file.label, "the file was changed while it was served", self.number)
        try:
            return read(raw)
        except ValueError as error:
            raise CassetteError(self.file.label, str(error), self.number) from error


class Reel(Sequence[Recording]):
    """The recordings of one file, packed: 76 bytes each, and no object until one is asked for."""

    __slots__ = ("_kept", "data", "file")

    def __init__(self, file: CassetteFile, data: bytes = b"") -> None:
        self.file = file
        self.data = bytearray(data)
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
        key, loose, normal, offset, number, length, check, size, flags = _ROW.unpack_from(self.data, row * _ROW.size)
        loose = key[:ROUTE_SIZE] + loose if flags & _LOOSE else key
        stream, kept = bool(flags & _STREAM), self._kept.get(row)
        return Recording(self.file, number, offset, length, check, key, loose, normal, stream, size, kept)

    def append(self, made: Recording) -> None:
        """Take in one more recording of the file."""
        flags = (_STREAM if made.stream else 0) | (_LOOSE if made.loose != made.key else 0)
        if made.kept is not None:
            self._kept[len(self)] = made.kept
        places = made.offset, made.number, made.length, made.check, made.size
        self.data += _ROW.pack(made.key, made.loose[ROUTE_SIZE:], made.normal, *places, flags)

    def key(self, row: int) -> bytes:
        """Return the key of one recording."""
        start = row * _ROW.size
        return bytes(self.data[start : start + KEY_SIZE])

    def columns(self, first: int = 0) -> Iterator[tuple[bytes, bytes, bytes, int, bool]]:
        """Yield key, the body's half of the loose key, normal route, size and whether loose is another than key."""
        for piece in self._pieces(first):
            for key, loose, normal, _, _, _, _, size, flags in _ROW.iter_unpack(piece):
                yield key, loose, normal, size, bool(flags & _LOOSE)

    def halves(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the route and the first half of the body of each key, as numbers: the fast way over all of them."""
        for piece in self._pieces(first):
            yield from _HALVES.iter_unpack(piece)

    def _pieces(self, first: int) -> Iterator[bytes]:
        """Yield the rows in copies of some thousand: what is iterated over could not grow meanwhile."""
        start, size = first * _ROW.size, len(self.data)
        while start < size:
            yield bytes(self.data[start : min(start + _PIECE, size)])
            start += _PIECE


@dataclass(slots=True, eq=False)
class CassetteFile:
    """One file with its recordings. ``problems`` are items that could not be taken, ``skipped`` those that are no HTTP.

    ``label`` is how messages name the file, ``name`` how ``/__cassette/<name>/`` does.
    """

    path: Path
    label: str
    name: str
    stamp: Stamp
    recordings: Reel = field(init=False)
    problems: list[CassetteError] = field(default_factory=list)
    skipped: int = 0
    text: bytes | None = None
    mark: int = 0

    def __post_init__(self) -> None:
        """Begin with no recordings; ``mark`` stands for the path."""
        self.recordings = Reel(self)
        self.mark = hash(str(self.path))

    def part(self, offset: int, length: int) -> bytes:
        """Return a part of the file: from memory, or else from the disk."""
        if self.text is not None and offset + length <= len(self.text):
            return self.text[offset : offset + length]
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                return os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CassetteError(self.label, error.strerror or str(error)) from error


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


def stamp_of(path: str | Path) -> Stamp:
    """Return what changes when the file does. Raises OSError, also for what is no regular file."""
    status = os.stat(path)  # noqa: PTH116  # a Path is not always there, and takes longer to make than this
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size, status.st_mtime_ns, status.st_ino


def normal_route(request: Request, rules: Rules) -> bytes:
    """Return what stands for the request's route without the path's prefix; a redacted URI stands for every path."""
    if _is_placeholder(request):
        return any_route(request.method)
    return route_key(rules.route(request, normal=True))


def any_route(method: str) -> bytes:
    """Return what stands for every path."""
    return route_key(f"{method.upper()} *")


def _is_placeholder(request: Request) -> bool:
    """Tell a URI that a recorder replaced by a mark, such as ``**REDACTED**``, from a path."""
    mark = request.path[1:]
    return not request.scheme and "/" not in mark and len(mark) < _PLACEHOLDER_LENGTH and not mark.isalnum()
