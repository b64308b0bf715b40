"""What is left to be read of a file that the index knows something of; and the reading of it.

A file that grew is read from where it grew on, one that was rewritten in place where it is another than it was: the
pieces that are still the same are told by their checksums. What a kill left undone is done the next time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from stubserver.canonical import Rules
from stubserver.cassettes.index import Index, Known
from stubserver.cassettes.packed import large_copy
from stubserver.cassettes.pieces import Piece, Seal, checksum, first_item, read_range, read_whole
from stubserver.cassettes.recordings import CassetteFile, Stamp, stamp_of
from stubserver.errors import CassetteError, PackedError

__all__ = ["Work", "do", "left_to_do", "load"]

_STEP: Final = 8 * 1024**2
_LARGEST_WHOLE: Final = 256 * 1024**2
_SMALLEST_KEPT: Final = 1024**2
"""A shorter piece at the end of a file is read again with what comes behind it: else there would be more and more."""


class Work(NamedTuple):
    """A range of a file that is to be read; all of it when *start* is 0; to its end when *stop* is None.

    ``size`` is how many bytes that are. Of a large file that is ``packed``, *path* is the copy of what is in it.
    """

    path: Path
    size: int
    start: int = 0
    stop: int | None = None
    packed: bool = False


def left_to_do(index: Index, path: Path, place: str, stamp: Stamp) -> list[Work]:
    """Return what is to be read before the index knows all of a file. Raises CassetteError, OSError.

    *place* is its absolute path, *stamp* its state; what the index knew of another state is dropped where it changed.
    """
    known_stamp, pieces = index.known(place)
    if known_stamp == stamp and pieces and pieces[0].start == 0:
        return []
    copy = large_copy(index.path, path, stamp)
    source, size = (copy, stamp_of(copy)[0]) if copy else (path, stamp[0])
    start = first_item(source)
    if known_stamp != stamp:
        pieces = [piece for piece in _without_stub(pieces) if checksum(source, piece.start, piece.end) == piece.check]
        pieces = [piece for piece in pieces if (piece.start > 0 and start is not None) or piece.end == size]
        index.keep_only(place, stamp, (piece.start for piece in pieces))
    if pieces and pieces[0].start == 0:
        return []
    if start is None:
        return [Work(source, size)]
    return [
        Work(source, (size if stop is None else stop) - begin, begin, stop, copy is not None)
        for begin, stop in _gaps(source, start, size, pieces)
    ]


def _without_stub(pieces: list[Known]) -> list[Known]:
    last = pieces[-1] if len(pieces) > 1 else None
    return pieces[:-1] if last is not None and last.end - last.start < _SMALLEST_KEPT else pieces


def _gaps(path: Path, start: int, size: int, pieces: list[Known]) -> list[tuple[int, int | None]]:
    """Return the ranges between the pieces; a piece ends where an item begins, or the list of them ends."""
    found: list[tuple[int, int | None]] = []
    for piece in pieces:
        if piece.start > start:
            steps = range(start, piece.start, _STEP)
            found += [(step, min(step + _STEP, piece.start)) for step in steps]
        start = piece.end
    if not pieces or not pieces[-1].last or _goes_on(path, start):
        steps = range(start, max(size, start + 1), _STEP)
        found += [(step, step + _STEP if step + _STEP < size else None) for step in steps]
    return found


def _goes_on(path: Path, end: int) -> bool:
    with path.open("rb") as file:
        file.seek(end)
        return file.read(2) == b"- "


def do(work: Work, rules: Rules, seal: Seal | None = None) -> Piece:
    """Read what is to be read. A file with damaged items is read as a whole, if it is not too large for that.

    Raises CassetteError, NotACassetteError, OSError.
    """
    if not work.start:
        return read_whole(work.path, rules, seal)
    piece = read_range(work.path, rules, work.start, work.stop, seal)
    if work.packed:
        return piece._replace(kind="packed")
    if piece.problems and stamp_of(work.path)[0] <= _LARGEST_WHOLE:
        return read_whole(work.path, rules, seal)
    return piece


def load(index: Index, path: Path, label: str, name: str, rules: Rules) -> CassetteFile | None:
    """Return a file from the index, after reading what the index does not know of it yet; None: it has to be read.

    *label* and *name* are the file's, as in :class:`CassetteFile`. Raises PackedError.
    """
    place = str(path.absolute())
    try:
        stamp = stamp_of(path)
        file = index.load(path, place, label, name, stamp)
        if file is None and index.writable:
            _fill(index, path, place, stamp, rules)
            file = index.load(path, place, label, name, stamp)
    except PackedError as error:
        raise PackedError(label, error.cause) from error
    except (CassetteError, OSError):
        return None
    return file


def _fill(index: Index, path: Path, place: str, stamp: Stamp, rules: Rules) -> None:
    for work in left_to_do(index, path, place, stamp):
        piece = do(work, rules)
        if piece.start == 0:  # all of it, whatever was asked for
            index.keep_only(place, stamp, ())
        if piece.items or piece.start == 0:
            index.put(place, [piece])
        if piece.start == 0:
            break
    index.finish(place)
