"""Add an interaction to a cassette: vcrpy's own text, in one write under a lock, at a cost that does not grow.

A file in vcrpy's layout ends with ``version: 1``; that line is overwritten by the new item with itself behind it. Until
that one write is done the file is as it was; if a kill tears it, :func:`repair` cuts the torn part off and keeps it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stubserver.cassettes.items import read_item
from stubserver.errors import CassetteError
from stubserver.messages import Headers, Interaction

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fsync", "Place", "Writer", "item_text", "repair"]

_HEAD: Final = b"interactions:\n"
_TAIL: Final = b"version: 1\n"
_VERSION_FIRST: Final = re.compile(rb"version: 1\r?\ninteractions:\n")


class Fsync(StrEnum):
    """When the disk is told to keep what was written."""

    ALWAYS = "always"
    OFF = "off"


class Place(NamedTuple):
    """Where an item was written, in bytes."""

    offset: int
    length: int


def item_text(interaction: Interaction, extra: dict[str, Any] | None = None) -> bytes:
    """Write one item as vcrpy does. *extra* goes under ``response.x_stubserver``, where vcrpy ignores it.

    Raises ValueError for text that YAML cannot hold.
    """
    from vcr.serializers import yamlserializer  # noqa: PLC0415  # importing vcrpy takes half a second

    request, response = interaction.request, interaction.response
    answer: dict[str, Any] = {
        "body": {"string": _text_or_bytes(response.body)},
        "headers": _lists(response.headers),
        "status": {"code": response.status, "message": response.reason or "OK"},
    }
    if extra:
        answer["x_stubserver"] = extra
    asked = {
        "body": _text_or_bytes(request.body) if request.body else None,
        "headers": _lists(request.headers),
        "method": request.method,
        "uri": request.uri,
    }
    item = {"request": asked, "response": answer}
    text: str = yamlserializer.serialize({"interactions": [item], "version": 1})
    return text.encode("utf-8")[len(_HEAD) : -len(_TAIL)]


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


class Writer:
    """Appends to one cassette; safe with other threads and other processes doing the same."""

    def __init__(self, path: Path, fsync: Fsync = Fsync.OFF) -> None:
        self.path = path
        self._fsync = fsync
        self._lock = Lock()

    def append(self, item: bytes) -> Place:
        """Add *item* and return where it stands. Raises OSError when it cannot be kept; the file is as it was then.

        Raises CassetteError for a file that nothing can be appended to.
        """
        with self._lock, self._opened() as descriptor:
            size = os.fstat(descriptor).st_size
            if size == 0:
                self._write(descriptor, 0, _HEAD + item + _TAIL, b"")
                return Place(len(_HEAD), len(item))
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
        if os.pread(descriptor, len(_TAIL), size - len(_TAIL)) == _TAIL:
            return size - len(_TAIL), _TAIL
        head = os.pread(descriptor, 64, 0)
        if _VERSION_FIRST.match(head) and os.pread(descriptor, 1, size - 1) == b"\n":
            return size, b""
        raise CassetteError(str(self.path), "it does not end as vcrpy writes it, so nothing can be appended")

    def _write(self, descriptor: int, offset: int, data: bytes, before: bytes) -> None:
        """Write at *offset* all or nothing; *before* is what stood there."""
        try:
            _write_all(descriptor, data, offset)
            if self._fsync is Fsync.ALWAYS:
                os.fdatasync(descriptor)
        except OSError:
            os.pwrite(descriptor, before, offset)
            os.ftruncate(descriptor, offset + len(before))
            raise


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


def repair(path: Path) -> str | None:
    """Mend a cassette whose end was torn by a crash; return what was done, None when nothing had to be.

    The part that is cut off is kept beside the file. Raises OSError, and CassetteError for a file that is none of ours.
    """
    text = path.read_bytes()
    if not text or text.endswith(_TAIL) or not text.startswith(_HEAD):
        return None
    end = _last_whole_item(text)
    torn = path.with_name(f"{path.name}.torn")
    torn.write_bytes(text[end:])
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(end)
        file.write(_TAIL if end > len(_HEAD) else b"")
        file.truncate()
        if end <= len(_HEAD):
            file.truncate(0)
    return f"{path}: its end was torn; {len(text) - end} bytes were cut off and kept in {torn.name}"


def _last_whole_item(text: bytes) -> int:
    """Return where the last item ends that can be read."""
    end = len(text)
    while end > len(_HEAD):
        start = text.rfind(b"\n- ", 0, end) + 1
        if start < len(_HEAD):
            return len(_HEAD)
        item = text[start:end]
        if item.endswith(b"\n") and _reads(item):
            return end
        end = start
    return len(_HEAD)


def _reads(item: bytes) -> bool:
    try:
        read_item(item)
    except ValueError:
        return False
    return True
