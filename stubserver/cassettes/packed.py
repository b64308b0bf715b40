"""Packed cassettes (``.gz``): unpacked in memory, or, when they are too large for that, into a copy beside the index.

The middle of a packed file cannot be read without all that is before it. So a large one is unpacked once for each state
of it, and what is in its copy is read in pieces, as of any other cassette. Copies can be deleted at any time.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final, cast

from stubserver.cassettes.recordings import Stamp, stamp_of
from stubserver.errors import CassetteError, PackedError

__all__ = ["copy_of", "forget_copies", "is_packed", "large_copy", "opened", "unpack"]

_MAGIC: Final = b"\x1f\x8b"
_IN_MEMORY: Final = 128 * 1024**2
_LARGEST: Final = 4 * 1024**3
_MOST_DENSE: Final = 1032
"""Deflate packs no more bytes into one."""
_PIECE: Final = 1024**2
_LONGEST_SECONDS: Final = 3600


def is_packed(text: bytes) -> bool:
    """Tell whether what begins with *text* is packed."""
    return text.startswith(_MAGIC)


def unpack(file: BinaryIO, label: str) -> bytes:
    """Return what is packed in *file*. Raises CassetteError, PackedError for what is too large to be in memory."""
    pieces, size = [], 0
    for piece in _inflated(file, label):
        pieces.append(piece)
        size += len(piece)
        if size > _IN_MEMORY:
            cause = f"unpacks to more than {_IN_MEMORY >> 20} MB: unpack it, or serve it with an index (--index PATH)"
            raise PackedError(label, cause)
    return b"".join(pieces)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read what is in it, packed or not, from beginning to end. Raises CassetteError, OSError."""
    import gzip  # noqa: PLC0415  # as below

    with path.open("rb") as file:
        packed = is_packed(file.read(len(_MAGIC)))
        file.seek(0)
        try:
            yield cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb")) if packed else file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CassetteError(str(path), f"not a whole gzip file: {error}") from error


def _inflated(file: BinaryIO, label: str) -> Iterator[bytes]:
    """Yield what is packed in *file*, in pieces; there may be several members, as in what was appended to."""
    import gzip  # noqa: PLC0415  # start-up: few are packed

    with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
        try:
            while piece := unpacked.read(_PIECE):
                yield piece
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CassetteError(label, f"not a whole gzip file: {error}") from error


def copy_of(index: Path, path: Path, stamp: Stamp) -> Path:
    """Return where the copy of what is packed in *path* is, if there is one, beside the index at *index*."""
    return _folder(index) / f"{_name(str(path.absolute()))}-{'-'.join(map(str, stamp))}"


def _folder(index: Path) -> Path:
    return Path(f"{index}.unpacked")


def _name(place: str) -> str:
    return blake2b(place.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def large_copy(index: Path, path: Path, stamp: Stamp) -> Path | None:
    """Return the copy of a large packed file, made now where it is not there yet; None for every other file.

    Raises CassetteError, PackedError when there is no room for it, and OSError for the file itself.
    """
    with path.open("rb") as file:
        if not is_packed(file.read(len(_MAGIC))):
            return None
    copy = copy_of(index, path, stamp)
    if copy.exists():
        return copy
    if not _is_large(path, stamp[0]):
        return None
    try:
        _make(copy, path, stamp)
    except OSError as error:
        raise PackedError(str(path), f"it cannot be unpacked to {copy}: {error.strerror or error}") from error
    return copy


def _is_large(path: Path, size: int) -> bool:
    if size * _MOST_DENSE <= _IN_MEMORY:
        return False
    unpacked = 0
    with path.open("rb") as file:
        for piece in _inflated(file, str(path)):
            unpacked += len(piece)
            if unpacked > _IN_MEMORY:
                return True
    return False


def _make(copy: Path, path: Path, stamp: Stamp) -> None:
    """Unpack a file; the copy appears when it is whole, and takes the place of those of earlier states."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    from tempfile import NamedTemporaryFile  # noqa: PLC0415  # start-up: few are so large

    # A name of its own: two may unpack the same file at once.
    with NamedTemporaryFile(prefix=".", dir=copy.parent, delete=False) as file:
        beside = Path(file.name)
    try:
        with path.open("rb") as packed, beside.open("wb") as file:
            file.writelines(_checked(_inflated(packed, str(path)), str(path)))
            os.fsync(file.fileno())  # it is taken for whole from now on, also after a power cut
        beside.chmod(path.stat().st_mode & 0o666)
        if stamp_of(path) != stamp:
            raise CassetteError(str(path), "the file was changed while it was served")
        beside.replace(copy)
    finally:
        beside.unlink(missing_ok=True)
    name = copy.name.partition("-")[0]
    _delete(other for other in copy.parent.iterdir() if other.name.startswith(f"{name}-") and other != copy)


def _checked(pieces: Iterator[bytes], label: str) -> Iterator[bytes]:
    """Refuse early what is no cassette, of which a small file may hold any amount."""
    from stubserver.cassettes.reader import start_of_items  # noqa: PLC0415  # it imports what imports this

    size = 0
    for piece in pieces:
        if not size and start_of_items(piece) is None:
            raise PackedError(
                label, f"unpacks to more than {_IN_MEMORY >> 20} MB, and is not in the layout vcrpy writes"
            )
        if b"\0" in piece:
            raise PackedError(label, "there are NUL bytes in it")
        size += len(piece)
        if size > _LARGEST:
            raise PackedError(label, f"unpacks to more than {_LARGEST >> 30} GB")
        yield piece


def forget_copies(index: Path, kept: Iterable[tuple[str, Stamp]]) -> None:
    """Delete the copies of all files but those that are *kept*, by place and state; and what a kill left half made."""
    names = {copy_of(index, Path(place), stamp).name for place, stamp in kept}
    begun = time.time() - _LONGEST_SECONDS
    with suppress(FileNotFoundError):
        others = [copy for copy in _folder(index).iterdir() if copy.name not in names]
        _delete(copy for copy in others if not copy.name.startswith(".") or copy.stat().st_mtime < begun)


def _delete(copies: Iterable[Path]) -> None:
    for copy in copies:
        with suppress(OSError):  # another process was quicker
            copy.unlink()
