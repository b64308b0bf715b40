"""Cassette files as they are served: where each interaction is, and the way back to it."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from stubserver.errors import CassetteError
from stubserver.messages import Interaction

__all__ = ["CassetteFile", "Recording", "Stamp", "stamp_of"]

Stamp = tuple[int, int, int]
"""What tells a changed file: size, mtime in ns, inode."""


@dataclass(slots=True, eq=False)
class Recording:
    """Where one interaction is, and under which keys it is found.

    ``key`` and ``loose`` are the match keys of the request, ``stream`` tells whether it asked for a stream, ``size``
    is the length of its body. ``kept`` holds the interaction itself when its file cannot be read in parts.
    """

    file: CassetteFile
    number: int
    offset: int
    length: int
    check: int
    key: bytes
    loose: bytes
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
        if self.kept is not None:
            return self.kept
        raw = self.file.part(self.offset, self.length)
        if zlib.crc32(raw) != self.check:
            raise CassetteError(self.file.label, "the file was changed while it was served", self.number)
        from stubserver.cassettes.items import read_item  # noqa: PLC0415  # start-up: only what is played is read

        try:
            return read_item(raw)
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
        if self.text is not None:
            return self.text[offset : offset + length]
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                return os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CassetteError(self.label, error.strerror or str(error)) from error


def stamp_of(path: Path) -> Stamp:
    """Return what changes when the file does. Raises OSError."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
