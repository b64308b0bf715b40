"""All that is known of a library's recordings, ready made in a mapped file: opening it takes no loop over them.

It belongs to one index and is derived from it: the rows of its files, and the tables in which they are found. Such a
file is replaced and never changed. What it says of a cassette holds for one size, mtime and inode; another cassette is
taken from the index, and its entries are added to the tables, in memory of our own.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import sys
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any, Final

from stubserver.cassettes.catalogue import Catalogue
from stubserver.cassettes.index import Index
from stubserver.cassettes.keytable import KeyTable, Words
from stubserver.cassettes.recordings import ROW_SIZE, CassetteFile, Reel, stamp_of
from stubserver.cassettes.tables import Sizes, Tables
from stubserver.errors import CassetteError

__all__ = ["TableFile", "of_index"]

_MAGIC: Final = f"stubserver tables 2 {sys.byteorder}\n".encode().ljust(32)
_HEAD: Final = Struct("<QI")  # length and checksum of the description that follows
_PAGE: Final = mmap.ALLOCATIONGRANULARITY
_BLOCK: Final = 256 * _PAGE
_FEWEST: Final = 20_000
"""So many recordings are found in a twentieth of a second without such a file."""
_WORN: Final = 8
"""The file is made anew when more than this part of what it holds, or should hold, is not in it."""
_DAMAGES: Final = (OSError, ValueError, KeyError, TypeError, IndexError)
_MOST_KEPT: Final = 8
_MOST_LATE: Final = 50_000


def of_index(path: Path) -> list[Path]:
    """Return the files of tables that belong to the index at *path*, the newest first."""
    found = []
    for file in path.parent.iterdir():
        if file.name.startswith(f"{path.name}.") and file.name.endswith(".tables"):
            with suppress(OSError):  # another process may just have deleted it
                found.append((stamp_of(file)[1], file))
    return [file for _, file in sorted(found, reverse=True)]


class TableFile:
    """The tables of the library of the files below *paths* that begin with *only*; *say* is told what is wrong.

    *places* are those files. Where the library has no tables yet, it begins with those of another one that holds hardly
    anything else: who records is told of one more file than who served the same before.
    """

    def __init__(
        self, index: Index, paths: Iterable[Path], only: str, places: Iterable[str], say: Callable[[str], None]
    ) -> None:
        library = "\0".join([index.rules, only, *(str(path.absolute()) for path in paths)])
        digest = blake2b(library.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        self.path = Path(f"{index.path}.{digest}.tables")
        self._index = index
        self._say = say
        self._known: dict[str, tuple[int, list[Any], memoryview]] = {}
        self._late_seen = 0
        self._late: dict[int, dict[tuple[int, int], int]] = {}
        self._new = 0
        self.tables: Tables | None = None
        """What a catalogue is to begin with, once all files were taken; None where there is no such file."""
        try:
            self._open(self.path)
        except FileNotFoundError:
            self._borrow({str(Path(place).absolute()) for place in places})
        except _DAMAGES as error:
            self._known, self.tables = {}, None
            self._say(f"{self.path}: the tables are made anew: {error}")
        self._find_late()

    # -- reading

    def _find_late(self) -> None:
        """Look for answers that were stored since the tables were; when there are many, the tables are outdated."""
        seen = self._late_seen
        self._late_seen, new = self._index.last_late(seen)
        if new > _MOST_LATE:
            self._known, self.tables = {}, None
        elif self.tables is not None:
            self._late = self._index.late(seen, self._late_seen)

    def _borrow(self, places: set[str]) -> None:
        for file in of_index(self._index.path) if places else ():
            with suppress(*_DAMAGES):  # that is told to those whose file it is
                self._open(file, places)
            if self.tables is not None:
                return
            self._known = {}

    def _open(self, path: Path, places: set[str] | None = None) -> None:
        """Open a file, or another library's where it suits these *places*."""
        with path.open("rb") as file:
            head = file.read(len(_MAGIC) + _HEAD.size)
            if not head.startswith(_MAGIC):
                return  # of another version, or of another machine
            length, check = _HEAD.unpack_from(head.ljust(len(_MAGIC) + _HEAD.size), len(_MAGIC))
            text = file.read(min(length, os.fstat(file.fileno()).st_size))
            if zlib.crc32(text) != check:
                raise ValueError("their description is damaged")
            told = json.loads(text)
            if told["index"] != self._index.name.hex():
                return  # the index was made anew since then
            if places is not None and not (told["rules"] == self._index.rules and _suits(told["files"], places)):
                return
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        start = -(-(len(head) + length) // _PAGE) * _PAGE
        if len(memory) != start + told["size"] or _checksum(memory, start) != told["check"]:
            raise ValueError("they are damaged")
        self._take_apart(told, _Cut(memoryview(memory)[start:]))

    def _take_apart(self, told: dict[str, Any], cut: _Cut) -> None:
        keys, loose = (cut.table(table) for table in told["tables"])
        routes = {bytes.fromhex(normal): frozenset(map(bytes.fromhex, found)) for normal, found in told["routes"]}
        rows: dict[bytes, dict[int, Words]] = {
            bytes.fromhex(route): {slot: cut.words(n) for slot, n in known} for route, known in told["rows"]
        }
        sizes: dict[bytes, Sizes] = {
            bytes.fromhex(route): ([size for size, _ in known], {size: cut.words(count) for size, count in known})
            for route, known in told["sizes"]
        }
        for slot, (place, *known, length) in enumerate(told["files"], 1):
            self._known[place] = slot, known, cut.bytes(length)
        self._late_seen = told["late"]
        reels: list[Reel | None] = [None] * (len(self._known) + 1)
        dead = sum(len(rows) for _, _, rows in self._known.values()) // ROW_SIZE
        self.tables = Tables(reels, keys, loose, rows, routes, sizes, dead)

    def take(self, path: Path, label: str, name: str) -> CassetteFile | None:
        """Return a file as it was read, if it is here and still the same; for the others, see the index."""
        slot, known, rows = self._known.get(str(path.absolute()), (0, [], memoryview(b"")))
        if self.tables is None or not slot:
            return None
        try:
            stamp = stamp_of(path)
        except OSError:
            return None
        if stamp != tuple(known[:3]):
            return None
        file = CassetteFile(path, label, name, stamp)
        file.index, (file.index_id, file.kind, file.skipped, problems) = self._index, known[3:]
        file.problems = [CassetteError(label, cause, number) for number, cause in problems]
        file.recordings = self.tables.reels[slot] = Reel(file, rows)
        self.tables.dead -= len(file.recordings)
        late = self._late.get(file.index_id)
        if late:
            file.recordings.set_places(late)
            self._new += len(late)
        return file

    # -- writing

    def keep(self, reels: list[Reel], tables: Tables) -> None:
        """Write the file anew for these *reels*, where it is worth it; what keeps us from it is told.

        *tables* are those in which they are found now.
        """
        known = set(map(id, self.tables.reels)) if self.tables is not None else set[int]()
        kept = [reel for reel in reels if reel.file.index is self._index]
        new = sum(len(reel) for reel in kept if id(reel) not in known)
        gone = self.tables.dead if self.tables is not None else 0
        size = sum(map(len, kept))
        if not self._index.writable or size < _FEWEST or (new + gone + self._new) * _WORN <= size:
            return
        try:
            self._write(kept, tables if tables.reels[1:] == kept else Catalogue(kept).tables)
            for old in of_index(self._index.path)[_MOST_KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            self._say(f"{self.path}: not written, so opening these cassettes takes longer: {error}")

    def _write(self, reels: list[Reel], tables: Tables) -> None:
        """Write beside it, one process at a time, and put that in its place: who has the old one goes on with it."""
        new = self.path.with_name(f"{self.path.name}.new")
        with new.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_ino != new.stat().st_ino:
                    return  # another one was quicker: what we have open is in use
            except (BlockingIOError, FileNotFoundError):
                return
            try:
                file.truncate(0)
                file.writelines(self._parts(reels, tables))
                file.flush()
                new.replace(self.path)
            except OSError:
                with suppress(OSError):
                    new.unlink()
                raise

    def _parts(self, reels: list[Reel], tables: Tables) -> list[bytes | bytearray | memoryview]:
        """Return what the file consists of: head, description, tables, rows."""
        body: list[bytes | bytearray | memoryview] = []
        described = [_described(table, body) for table in (tables.keys, tables.loose)]
        rows = [(route.hex(), _counted(found, body)) for route, found in tables.rows.items()]
        sizes = [
            (route.hex(), _counted({size: entries[size] for size in known}, body))
            for route, (known, entries) in tables.sizes.items()
        ]
        body += [reel.data for reel in reels]
        check = 0
        for part in body:
            check = zlib.crc32(part, check)
        told = {
            "index": self._index.name.hex(),
            "rules": self._index.rules,
            "late": self._late_seen,
            "tables": described,
            "rows": rows,
            "sizes": sizes,
            "routes": [(normal.hex(), [r.hex() for r in found]) for normal, found in tables.routes.items()],
            "files": [_file(reel) for reel in reels],
            "size": sum(map(len, body)),
            "check": check,
        }
        text = json.dumps(told, separators=(",", ":")).encode("ascii")
        head = _MAGIC + _HEAD.pack(len(text), zlib.crc32(text)) + text
        return [head, bytes(-len(head) % _PAGE), *body]


def _suits(files: list[list[Any]], places: set[str]) -> bool:
    """Tell whether hardly any of the rows of these files lead elsewhere than to *places*."""
    sizes = [(file[0] in places, int(file[-1])) for file in files]
    return sum(size for wanted, size in sizes if not wanted) * _WORN <= sum(size for _, size in sizes)


def _file(reel: Reel) -> list[Any]:
    file = reel.file
    problems = [(problem.item, problem.cause) for problem in file.problems]
    return [str(file.path.absolute()), *file.stamp, file.index_id, file.kind, file.skipped, problems, len(reel.data)]


def _counted(words: dict[int, Words], body: list[bytes | bytearray | memoryview]) -> list[tuple[int, int]]:
    """Add some words to *body*; return how many there are of each."""
    body += [memoryview(part).cast("B") for part in words.values()]
    return [(key, len(part)) for key, part in words.items()]


def _described(table: KeyTable, body: list[bytes | bytearray | memoryview]) -> list[Any]:
    """Add the parts of a table to *body*; return what has to be known of them to take them apart."""
    used, numbers, last, links = table.parts()
    body += [memoryview(part).cast("B") for part in (numbers, last, *links.values())]
    return [used, len(numbers), [(group, len(rows)) for group, rows in links.items()]]


def _checksum(memory: mmap.mmap, start: int) -> int:
    """Return the checksum from *start* on; what was only looked at for that does not stay with this process."""
    found = 0
    with memoryview(memory) as view:
        for at in range(start, len(memory), _BLOCK):
            end = min(at + _BLOCK, len(memory))
            found = zlib.crc32(view[at:end], found)
            if hasattr(mmap, "MADV_DONTNEED"):
                memory.madvise(mmap.MADV_DONTNEED, at, end - at)
    return found


class _Cut:
    """Takes one part after the other from *memory*."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._at = 0

    def bytes(self, length: int) -> memoryview:
        self._at += length
        return self._memory[self._at - length : self._at]

    def words(self, count: int) -> memoryview[int]:
        return self.bytes(8 * count).cast("Q")

    def table(self, told: list[Any]) -> KeyTable:
        used, slots, links = told
        numbers, last = self.words(slots), self.words(slots)
        return KeyTable.of_parts(used, numbers, last, {group: self.words(count) for group, count in links})
