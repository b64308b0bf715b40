"""Cassette files as they are served: where each interaction is, and the way back to it."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from stubserver.canonical import ROUTE_SIZE, Rules, asks_for_stream, route_key
from stubserver.errors import CassetteError
from stubserver.messages import Interaction, Request, Response

__all__ = ["CassetteFile", "Recording", "Stamp", "any_route", "normal_route", "recording_of", "stamp_of"]

_PLACEHOLDER_LENGTH: Final = 64
_Part = TypeVar("_Part")

Stamp = tuple[int, int, int]
"""What tells a changed file: size, mtime in ns, inode."""


@dataclass(slots=True, eq=False)
class Recording:
    """Where one interaction is, and under which keys it is found.

    ``key`` and ``loose`` are the match keys of the request, ``normal`` is its :func:`normal_route`, ``stream`` tells
    whether it asked for a stream, ``size`` is the length of its body. ``kept`` holds the interaction itself when its
    file cannot be read in parts.
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
    method: str
    kept: Interaction | None = None

    @property
    def label(self) -> str:
        """``<file>#<n>``, as the header ``x-stubserver-cassette`` has it."""
        return f"{self.file.label}#{self.number}"

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


@dataclass(slots=True, eq=False)
class CassetteFile:
    """One file with its recordings. ``problems`` are items that could not be taken, ``skipped`` those that are no HTTP.

    ``label`` is how messages name the file, ``name`` how ``/__cassette/<name>/`` does.
    """

    path: Path
    label: str
    name: str
    stamp: Stamp
    recordings: list[Recording] = field(default_factory=list)
    problems: list[CassetteError] = field(default_factory=list)
    skipped: int = 0
    text: bytes | None = None

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


def recording_of(
    file: CassetteFile, number: int, request: Request, rules: Rules, *, normal: Callable[[bytes, Request], bytes]
) -> Recording:
    """Make the recording of *request*, without its place; *normal* gives the normal form of a route."""
    key = rules.key(request)
    loose = key[:ROUTE_SIZE] + rules.loose_body_key(request) if rules.may_be_loose(request) else key
    return Recording(
        file=file,
        number=number,
        offset=0,
        length=0,
        check=0,
        key=key,
        loose=key if loose == key else loose,
        normal=normal(key[:ROUTE_SIZE], request),
        stream=asks_for_stream(request),
        size=len(request.body),
        method=request.method,
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
