"""Files that can only be read as a whole, read once more: what an index says of them is not enough to play them.

The last one stays in memory, for the next recording of it; packed files and JSON are slow this way, and flat.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from stubserver.canonical import Rules
from stubserver.messages import Interaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stubserver.cassettes.recordings import CassetteFile

__all__ = ["interactions", "unpacked"]

_last: dict[str, tuple[Any, Any]] = {}
_lock = Lock()


def unpacked(file: CassetteFile) -> bytes:
    """Return what is packed in a file. Raises CassetteError and OSError."""
    from stubserver.cassettes.reader import unpacked_text  # noqa: PLC0415  # it imports what imports this

    text: bytes = _remembered("packed", file, lambda: unpacked_text(file.path, file.label))
    return text


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
