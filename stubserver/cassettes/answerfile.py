"""The answers of an index: one file that only ever grows, read in one call.

Beside the index's tables and not in them, because a thread that reads from SQLite lets others in several times for each
answer, and waits as often for its next turn: with 64 clients that took seven times as long as everything else.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["LONGEST", "AnswerFile", "moved"]

_MAGIC: Final = b"stubserver answers\n"
_NAME: Final = 32
_CHECK: Final = 4
_LENGTH_BITS: Final = 24
_LENGTH: Final = (1 << _LENGTH_BITS) - 1
LONGEST: Final = _LENGTH - _CHECK
"""A longer answer is not stored."""


class AnswerFile:
    """The answers at *path*. *name*, 32 bytes, is that of the index they belong to: others are not read.

    A *place* is a number that says where an answer is and how long. Raises OSError when it cannot be opened.
    """

    def __init__(self, path: Path, name: bytes, *, writable: bool) -> None:
        _finish_move(path, name, writable=writable)
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        head = os.pread(self._descriptor, len(_MAGIC) + _NAME, 0)
        if head != _MAGIC + name:
            os.close(self._descriptor)
            if not writable or (head and not head.startswith(_MAGIC)):
                msg = f"{path}: it is not the answers of this index"
                raise OSError(msg)
            # Not emptied: another process may be reading it.
            path.unlink()
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.pwrite(self._descriptor, _MAGIC + name, 0)

    def read(self, place: int, check: int) -> bytes | None:
        """Return the answer at *place* if it is whole, and of the item whose checksum is *check*."""
        try:
            found = os.pread(self._descriptor, place & _LENGTH, place >> _LENGTH_BITS)
        except OSError:
            return None
        answer = found[_CHECK:]
        return answer if found[:_CHECK] == zlib.crc32(answer, check).to_bytes(_CHECK, "little") else None

    @property
    def size(self) -> int:
        """How many bytes there are of answers, also of those that nobody asks for any more. Raises OSError."""
        return os.fstat(self._descriptor).st_size - len(_MAGIC) - _NAME

    @staticmethod
    def length(place: int) -> int:
        """Return how many bytes of the file the answer at *place* takes; 0 for none."""
        return place & _LENGTH

    def copy(self, places: Iterable[int], to: AnswerFile) -> list[int]:
        """Copy the answers at *places* to another file; return their places there, 0 for none. Raises OSError."""
        at = os.fstat(to._descriptor).st_size
        parts, moved = [], []
        for place in places:
            found = os.pread(self._descriptor, place & _LENGTH, place >> _LENGTH_BITS) if place else b""
            parts.append(found)
            moved.append((at << _LENGTH_BITS) + len(found) if found else 0)
            at += len(found)
        to._add(parts)
        return moved

    def append(self, answers: Iterable[tuple[int, bytes]]) -> list[int]:
        """Add answers, each behind the checksum of its item; return their places. One at a time. Raises OSError."""
        at = os.fstat(self._descriptor).st_size
        places, parts = [], []
        for check, answer in answers:
            parts += [zlib.crc32(answer, check).to_bytes(_CHECK, "little"), answer]
            places.append((at << _LENGTH_BITS) + _CHECK + len(answer))
            at += _CHECK + len(answer)
        self._add(parts)
        return places

    def _add(self, parts: list[bytes]) -> None:
        with os.fdopen(os.dup(self._descriptor), "ab") as file:
            file.write(b"".join(parts))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def moved(path: Path) -> Path:
    """Return where the answers at *path* are copied to, until all of them are there."""
    return path.with_name(f"{path.name}.new")


def _finish_move(path: Path, name: bytes, *, writable: bool) -> None:
    """Put a finished copy in the place of the file, if the index says that it is the one now; else it is no use."""
    with suppress(OSError):
        with moved(path).open("rb") as file:
            head = file.read(len(_MAGIC) + _NAME)
        if writable and head == _MAGIC + name:
            moved(path).replace(path)
