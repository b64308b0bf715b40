"""Many cassettes into one, and one into many: item by item, in an amount of memory that does not grow with the files.

Items keep their text. In a merged file each remembers the rank that recorded it, where vcrpy looks past it.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from stubserver.canonical import Rules
from stubserver.cassettes.items import read_item_request
from stubserver.cassettes.library import rank_name
from stubserver.cassettes.pieces import first_item, raw_items
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.writer import HEAD, TAIL, item_text, with_rank
from stubserver.errors import CassetteError, PackedError, UsageError

__all__ = ["Done", "by_new_rank", "by_rank", "by_size", "merge", "split"]

_WHOLE_BELOW: Final = 8 * 1024**2
_BUFFERED: Final = 64 * 1024**2
_RANK_FILE: Final = re.compile(r"rank-([0-9]{1,9})(?:[-.]|$)")
_RANK: Final = re.compile(rb"\n {6}rank: ([0-9]{1,9})\n\Z")

Progress = Callable[[int], None]
"""Hears how many more bytes were read."""


class Done(NamedTuple):
    """What was written: so many items into so many files; and what could not be."""

    items: int
    files: int
    problems: list[CassetteError]


def merge(files: Iterable[Path], out: Path, progress: Progress) -> Done:
    """Write all items of *files*, in their order, into the new cassette *out*; nothing is there until all are.

    Raises UsageError when *out* is there already, CassetteError for a file that is damaged as a whole, OSError.
    """
    if not out.name.removesuffix(".gz").endswith((".yaml", ".yml")):
        msg = f"{out}: cassettes are written as YAML; give a name that ends in .yaml, or .yaml.gz"
        raise UsageError(msg)
    problems: list[CassetteError] = []
    count = 0
    with _new_file(out) as file:
        file.write(HEAD)
        for path in files:
            found = _RANK_FILE.match(path.name)
            for item in _items(path, problems, progress):
                file.write(with_rank(item, int(found[1])) if found else item)
                count += 1
        if not count:
            msg = "there is nothing to merge: name cassettes, or folders that hold some"
            raise UsageError(msg)
        file.write(TAIL)
    return Done(count, 1, problems)


def split(path: Path, folder: Path, name_of: Callable[[bytes], str], progress: Progress) -> Done:
    """Write each item of the cassette at *path* into the file of *folder* that *name_of* names, in the same order.

    Raises UsageError when the folder holds something already, CassetteError, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        msg = f"{folder}: there is something in it; give a new folder, or an empty one"
        raise UsageError(msg)
    problems: list[CassetteError] = []
    buffers = _Buffers(folder)
    count = 0
    for item in _items(path, problems, progress):
        buffers.add(name_of(item), item)
        count += 1
    return Done(count, buffers.end(), problems)


def by_rank(item: bytes) -> str:
    """Name the file of the rank that recorded *item*."""
    found = _RANK.search(item)
    return f"{rank_name(int(found[1]))}.yaml" if found else "no-rank.yaml"


def by_new_rank(ranks: int) -> Callable[[bytes], str]:
    """Name the file of one of so many *ranks*; equal requests stay together, in their order."""
    rules = Rules()

    def name(item: bytes) -> str:
        request = read_item_request(item)
        key = rules.key(request) if request is not None else bytes(8)
        return f"{rank_name(int.from_bytes(key[-8:], 'big') % ranks)}.yaml"

    return name


def by_size(most: int) -> Callable[[bytes], str]:
    """Name files of *most* bytes, or of one item that is larger."""
    size, part = 0, 1

    def name(item: bytes) -> str:
        nonlocal size, part
        if size and size + len(item) > most:
            size, part = 0, part + 1
        size += len(item)
        return f"part-{part:05d}.yaml"

    return name


def _items(path: Path, problems: list[CassetteError], progress: Progress) -> Iterator[bytes]:
    """Yield the text of each item that can be read; what cannot goes to *problems*."""
    size, packed = path.stat().st_size, False
    if size < _WHOLE_BELOW or first_item(path) is None:
        try:
            yield from _items_of_whole(path, problems)
        except PackedError:
            packed = True  # what is in it is too large for that
        else:
            progress(size)
            return
    before = 0
    for number, (offset, raw) in enumerate(raw_items(path), 1):
        if not packed:
            progress(offset + len(raw) - before)
            before = offset + len(raw)
        try:
            read_item_request(raw)
        except ValueError as error:
            problems.append(CassetteError(str(path), str(error), number))
        else:
            yield raw
    progress(size - before)


def _items_of_whole(path: Path, problems: list[CassetteError]) -> Iterator[bytes]:
    """Yield the items of a file that is read at once: of any layout, which may refer to one another."""
    file = read_file(path, str(path), "", Rules(), keep_below=1 << 62)
    problems += file.problems
    if file.skipped:
        problems.append(CassetteError(str(path), f"{file.skipped} items are no HTTP interactions: left out"))
    for recording in file.recordings:
        yield item_text(recording.interaction()) if recording.kept else file.part(recording.offset, recording.length)


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open *path* for writing; it appears when all is written, and not at all otherwise."""
    if path.exists():
        msg = f"{path}: it is there already; give another name, or remove it"
        raise UsageError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                    yield cast("IO[bytes]", packed)
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


class _Buffers:
    """Files that grow side by side, more of them than may be open at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[str, list[bytes]] = {}
        self._names: dict[str, None] = {}
        self._bytes = 0

    def add(self, name: str, item: bytes) -> None:
        self._waiting.setdefault(name, []).append(item)
        self._bytes += len(item)
        if self._bytes > _BUFFERED:
            self._flush()

    def end(self) -> int:
        self._flush()
        for name in self._names:
            with self._folder.joinpath(name).open("ab") as file:
                file.write(TAIL)
        return len(self._names)

    def _flush(self) -> None:
        for name, items in self._waiting.items():
            with self._folder.joinpath(name).open("ab") as file:
                file.writelines(items if name in self._names else [HEAD, *items])
            self._names[name] = None
        self._waiting, self._bytes = {}, 0
