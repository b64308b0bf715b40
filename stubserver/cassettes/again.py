"""Files that can only be read as a whole, read once more: what an index says of them is not enough to play them.

The last one stays in memory, for the next recording of it; packed files and JSON are slow this way, and flat.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from stubserver.canonical import Rules
from stubserver.cassettes.packed import copy_of, large_copy, unpack
from stubserver.cassettes.recordings import part_of
from stubserver.errors import PackedError
from stubserver.messages import Interaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stubserver.cassettes.recordings import CassetteFile

__all__ = ["interactions", "unpacked"]

_last: dict[str, tuple[Any, Any]] = {}
_lock = Lock()


def unpacked(file: CassetteFile, offset: int, length: int) -> bytes:
    """Return a part of what is packed in a file: of its copy, if it is large. Raises CassetteError and OSError."""
    copy = copy_of(file.index.path, file.path, file.stamp) if file.index else None
    if copy is None or not copy.exists():
        try:
            text: bytes = _remembered("packed", file, lambda: _unpacked(file))
            return text[offset : offset + length]
        except PackedError:
            if file.index is None:
                raise
        copy = large_copy(file.index.path, file.path, file.stamp)  # somebody deleted it
    return part_of(copy, offset, length) if copy else b""


def _unpacked(file: CassetteFile) -> bytes:
    with file.path.open("rb") as packed:
        return unpack(packed, file.label)


def interactions(file: CassetteFile) -> dict[int, Interaction]:
    """Return the interactions of a file by number. Raises CassetteError."""
    from stubserver.cassettes.reader import read_file  # noqa: PLC0415  # it imports what imports this

    def read() -> dict[int, Interaction]:
        again = read_file(file.path, file.label, file.name, Rules())
        return {recording.number: recording.interaction() for recording in again.recordings}

    found: dict[int, Interaction] = _remembered("whole", file, read)
    return found


def _remembered(kind: str, file: CassetteFile, read: Callable[[], Any]) -> Any:  # noqa: ANN401  # what it reads
    with _lock:
        known, value = _last.get(kind, (None, None))
        if known != (file.label, file.stamp):
            value = read()
            _last[kind] = (file.label, file.stamp), value
        return value
