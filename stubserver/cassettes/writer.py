"""Add an interaction to a cassette: vcrpy's own text, in one write under a lock, at a cost that does not grow.

A file in vcrpy's layout ends with ``version: 1``; that line is overwritten by the new item with itself behind it. Until
that one write is done the file is as it was; if a kill tears it, :func:`repair` cuts the torn part off and keeps it.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import re
import time
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stubserver.cassettes.format import TIMING
from stubserver.cassettes.items import read_item
from stubserver.cassettes.serializer import serializer
from stubserver.errors import CassetteError
from stubserver.messages import Headers, Interaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["HEAD", "TAIL", "Fsync", "Place", "Writer", "cassette_text", "item_text", "repair", "with_rank"]

HEAD: Final = b"interactions:\n"
TAIL: Final = b"version: 1\n"
_VERSION_FIRST: Final = TAIL + HEAD
_ITEM: Final = b"- "
_IN_COLUMN_0: Final = re.compile(rb"\n(?=[^ \n\r])")
_COMPLETE: Final = re.compile(rb"\n {4}status:\n {6}code: [0-9]+\n {6}message: [^\n]*\n(?: {4}[^\n]*\n)*\Z")
_TIMED: Final = re.compile(rb"\n {4}x_stubserver:\n {6}events_ms: [^\n]*\n\Z")
_RANKED: Final = re.compile(rb"\n {6}rank: [0-9]+\n\Z")
_BLOCK: Final = 256 * 1024
_INTERVAL: Final = 1.0


class Fsync(StrEnum):
    """When the disk is told to keep what was written: each time, at most a second later, or when the system likes."""

    ALWAYS = "always"
    INTERVAL = "interval"
    OFF = "off"


class Place(NamedTuple):
    """Where an item was written, in bytes."""

    offset: int
    length: int


def item_text(interaction: Interaction) -> bytes:
    """Write one item as vcrpy does; when the events came goes where vcrpy ignores it.

    Raises ValueError for text that YAML cannot hold.
    """
    request, response = interaction.request, interaction.response
    answer: dict[str, Any] = {
        "body": {"string": _text_or_bytes(response.body)},
        "headers": _lists(response.headers),
        "status": {"code": response.status, "message": response.reason or "OK"},
    }
    if response.times:
        answer[TIMING] = {"events_ms": ",".join(map(str, response.times))}
    asked = {
        "body": _text_or_bytes(request.body) if request.body else None,
        "headers": _lists(request.headers),
        "method": request.method,
        "uri": request.uri,
    }
    item = {"request": asked, "response": answer}
    text: str = serializer().serialize({"interactions": [item], "version": 1})
    return text.encode("utf-8")[len(HEAD) : -len(TAIL)]


def _text_or_bytes(body: bytes) -> str | bytes:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body


def _lists(headers: Headers) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name, []).append(value)
    return fields


def with_rank(item: bytes, rank: int) -> bytes:
    """Write into the text of *item* which *rank* recorded it, unless that stands there, or the item is no HTTP."""
    if _RANKED.search(item) or not _COMPLETE.search(item):
        return item
    head = b"" if _TIMED.search(item) else b"    x_stubserver:\n"
    return item + head + b"      rank: %d\n" % rank


def cassette_text(interactions: Iterable[Interaction]) -> bytes:
    """Write a whole cassette as vcrpy does."""
    items = b"".join(map(item_text, interactions))
    return HEAD + items + TAIL if items else b"interactions: []\n" + TAIL


class Writer:
    """Appends to one cassette; safe with other threads and other processes doing the same."""

    def __init__(self, path: Path, fsync: Fsync = Fsync.OFF) -> None:
        self.path = path
        self._fsync = fsync
        self._lock = Lock()
        self._synced = -math.inf
        self._later: Timer | None = None

    def append(self, item: bytes) -> Place:
        """Add *item* and return where it stands. Raises OSError when it cannot be kept; the file is as it was then.

        Raises CassetteError for a file that nothing can be appended to.
        """
        with self._lock, self._opened() as descriptor:
            size = os.fstat(descriptor).st_size
            if size == 0:
                self._write(descriptor, 0, HEAD + item + TAIL, b"")
                return Place(len(HEAD), len(item))
            end, tail = self._end(descriptor, size)
            self._write(descriptor, end, item + tail, tail)
            return Place(end, len(item))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the file under the lock that all writers take; again when it was replaced while waiting."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, self.path):
                break
            os.close(descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _end(self, descriptor: int, size: int) -> tuple[int, bytes]:
        """Return where the next item goes, and what stands behind the last one."""
        head = os.pread(descriptor, len(_VERSION_FIRST + _ITEM), 0)
        tail = TAIL if head.startswith(HEAD + _ITEM) else b""
        end = size - len(tail)
        ends_well = os.pread(descriptor, size, max(end - 1, 0)) == b"\n" + tail
        if ends_well and (tail or head == _VERSION_FIRST + _ITEM) and _ends_with_item(descriptor, end):
            return end, tail
        raise CassetteError(str(self.path), "it does not end as vcrpy writes it, so nothing can be appended")

    def _write(self, descriptor: int, offset: int, data: bytes, before: bytes) -> None:
        """Write at *offset* all or nothing; *before* is what stood there."""
        try:
            _write_all(descriptor, data, offset)
            self._tell_disk(descriptor)
        except OSError:
            os.pwrite(descriptor, before, offset)
            os.ftruncate(descriptor, offset + len(before))
            raise

    def _tell_disk(self, descriptor: int) -> None:
        """Sync now, or see to it that it will be done."""
        now = time.monotonic()
        if self._fsync is Fsync.ALWAYS or (self._fsync is Fsync.INTERVAL and now - self._synced >= _INTERVAL):
            os.fdatasync(descriptor)
            self._synced = now
        elif self._fsync is Fsync.INTERVAL and self._later is None:
            self._later = Timer(_INTERVAL, self.sync)
            self._later.daemon = True
            self._later.start()

    def sync(self) -> None:
        """Tell the disk what was left for later. Should that fail, the next append tries again, and says so."""
        with self._lock:
            later, self._later = self._later, None
            if later is None:
                return
            later.cancel()
            self._synced = -math.inf
            with suppress(OSError):
                descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
                self._synced = time.monotonic()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write in one call; at a limit the system writes a part and says nothing."""
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def _ends_with_item(descriptor: int, end: int) -> bool:
    """Tell whether what stands before *end* is an item of the list, and not another key behind it."""
    start, seen = end, b""
    while start > 0:
        size = min(_BLOCK, start)
        start -= size
        seen = os.pread(descriptor, size, start) + seen[: len(_ITEM)]
        found = [match.end() for match in _IN_COLUMN_0.finditer(seen)]
        if found:
            return seen.startswith(_ITEM, found[-1])
    return False


def repair(path: Path) -> str | None:
    """Mend a cassette whose end was torn by a crash; return what was done, None when nothing had to be.

    The part that is cut off is kept beside the file. Nothing is done to a file of another layout. Raises OSError.
    """
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # what another process is just writing is not torn
        if _looks_whole(file.fileno()):
            return None
        text = file.read()
    if not (text.startswith((HEAD, _VERSION_FIRST)) or HEAD.startswith(text)):
        return None
    return _cut(path)


def _looks_whole(descriptor: int) -> bool:
    """Tell whether nothing has to be looked at more closely, in a time that does not grow with the file."""
    size = os.fstat(descriptor).st_size
    return size == 0 or (size > len(TAIL) and os.pread(descriptor, size, size - len(TAIL) - 1) == b"\n" + TAIL)


def _cut(path: Path) -> str | None:
    """Cut off what is behind the last whole item."""
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        head, tail = (_VERSION_FIRST, b"") if text.startswith(_VERSION_FIRST) else (HEAD, TAIL)
        end = _last_whole_item(text, len(head))
        if text[end:] == tail:
            return None
        torn = path.with_name(f"{path.name}.torn")
        with torn.open("ab") as kept:
            kept.write(text[end:])
        # Behind the last item comes the tail; without any item, nothing: a head alone is no cassette.
        end, rest = (end, tail) if end else (0, b"")
        os.pwrite(file.fileno(), rest, end)
        file.truncate(end + len(rest))
    return f"{path}: its end was torn; {len(text) - end} bytes were cut off and kept in {torn.name}"


def _last_whole_item(text: bytes, first: int) -> int:
    """Return where the last item ends that can be read; the items begin at *first*. 0: there is none."""
    end = len(text) - len(TAIL) if text.endswith(b"\n" + TAIL) else text.rfind(b"\n") + 1
    while end > first:
        start = text.rfind(b"\n- ", 0, end) + 1
        if start < first:
            return 0
        if _is_whole(text[start:end]):
            return end
        end = start
    return 0


def _is_whole(item: bytes) -> bool:
    if not _COMPLETE.search(item):
        return False  # cut at the end of a line, an item may still be read
    try:
        read_item(item)
    except ValueError:
        return False
    return True
