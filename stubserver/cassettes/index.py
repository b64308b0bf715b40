"""The index: what was read of cassettes, and the answers made of them, in files that can be deleted at any time.

It never makes an answer wrong: what it says of a file holds for one size and mtime, each answer is checked against the
item it was made of, and whatever goes wrong here (no room, no permission, another version, damage) is told once, and
the cassettes are read as if there were no index. Several processes may read while one writes.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from stubserver.canonical import Rules
from stubserver.cassettes.answerfile import LONGEST
from stubserver.cassettes.database import Database
from stubserver.cassettes.memory import zeros
from stubserver.cassettes.pieces import Piece
from stubserver.cassettes.recordings import CassetteFile, Recording, Reel, Stamp
from stubserver.errors import CassetteError

__all__ = ["Index", "Known"]

_MOST_WAITING: Final = 4096


class Known(NamedTuple):
    """A piece that the index has, without its rows."""

    start: int
    end: int
    check: int
    kind: str
    items: int
    base: int
    last: bool


class Index:
    """The index at *path*; *say* is told once what is wrong with it. Thread-safe; nothing here raises for the file."""

    def __init__(self, path: Path, rules: Rules, say: Callable[[str], None]) -> None:
        self._database = Database(path, say)
        self._rules = f"{','.join(rules.match_on)};{';'.join(rules.ignore)}"
        self._waiting: dict[tuple[int, int], tuple[Recording, bytes]] = {}

    @property
    def usable(self) -> bool:
        """Whether it can be read."""
        return self._database.usable

    @property
    def writable(self) -> bool:
        """Whether it can be written to."""
        return self._database.writable

    def forked(self) -> None:
        """In a forked child: leave the parent's connections alone."""
        self._waiting = {}
        self._database.forked()

    def close(self) -> None:
        """Let go of the files; what reads from now on finds nothing."""
        self._database.close()

    # -- what is known of a file

    def known(self, place: str) -> tuple[Stamp | None, list[Known]]:
        """Return of which state of a file the index knows something, and what: its pieces, in order."""
        with self._database.guarded(), self._database.reader() as reader:
            row = reader.execute("SELECT id, size, mtime, inode FROM files WHERE path=?", (place,)).fetchone()
            if row is None:
                return None, []
            what = 'start, "end", "check", kind, items, base, last'
            sql = f"SELECT {what} FROM pieces WHERE file=? AND rules=? ORDER BY start"  # noqa: S608  # ours
            pieces = reader.execute(sql, (row[0], self._rules)).fetchall()
            return row[1:], [Known._make(piece) for piece in pieces]
        return None, []

    def load(self, path: Path, place: str, label: str, name: str, stamp: Stamp) -> CassetteFile | None:
        """Return a file as it was read, if all of it was and it is still the same."""
        with self._database.guarded(), self._database.reader() as reader:
            row = reader.execute("SELECT id, size, mtime, inode FROM files WHERE path=?", (place,)).fetchone()
            if row is None or row[1:] != stamp:
                return None
            sql = (
                'SELECT start, "end", items, base, last, kind, skipped, problems, rows, sum FROM pieces'
                " WHERE file=? AND rules=? ORDER BY start"
            )
            file = CassetteFile(path, label, name, stamp)
            size = "SELECT total(length(rows)) FROM pieces WHERE file=? AND rules=?"
            (room,) = reader.execute(size, (row[0], self._rules)).fetchone()
            if _assemble(file, int(room), reader.execute(sql, (row[0], self._rules))):
                file.index, file.index_id = self, row[0]
                sql = 'SELECT offset, "check", place FROM late WHERE file=?'
                late = {(offset, check): at for offset, check, at in reader.execute(sql, row[:1])}
                if late:
                    file.recordings.set_places(late)
                return file
        return None

    @property
    def name(self) -> bytes:
        """What tells it from every other index, also from one that was at its path before."""
        return self._database.name

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._database.path

    @property
    def rules(self) -> str:
        """The rules that its keys are made by."""
        return self._rules

    def last_late(self, after: int = 0) -> tuple[int, int]:
        """Return the number of the last answer that was stored when it was played, and how many there are *after*."""
        with self._database.guarded(), self._database.reader() as reader:
            count, last = reader.execute("SELECT count(*), max(rowid) FROM late WHERE rowid>?", (after,)).fetchone()
            return last or after, count
        return after, 0

    def late(self, after: int, last: int) -> dict[int, dict[tuple[int, int], int]]:
        """Return where the answers are with numbers above *after* up to *last*: by file, by offset and checksum."""
        found: dict[int, dict[tuple[int, int], int]] = {}
        with self._database.guarded(), self._database.reader() as reader:
            sql = 'SELECT file, offset, "check", place FROM late WHERE rowid>? AND rowid<=?'
            for file, offset, check, place in reader.execute(sql, (after, last)):
                found.setdefault(file, {})[offset, check] = place
        return found

    def answer(self, place: int, check: int) -> bytes | None:
        """Return the answer at *place*, of the item with the checksum *check*; None when it is not there."""
        answers = self._database.answers
        return None if answers is None else answers.read(place, check)

    # -- writing

    def keep_only(self, place: str, stamp: Stamp, starts: Iterable[int]) -> None:
        """Note that *stamp* is what a file is now, and that of its pieces those from *starts* are still the same."""
        kept = list(starts)
        with self._database.transaction() as writer:
            if writer is None:
                return
            sql = "INSERT INTO files(path, size, mtime, inode) VALUES(?,?,?,?) ON CONFLICT(path) DO UPDATE SET"
            writer.execute(f"{sql} size=excluded.size, mtime=excluded.mtime, inode=excluded.inode", (place, *stamp))
            file = self._id(writer, place)
            marks = ",".join("?" * len(kept))
            gone = f"DELETE FROM pieces WHERE file=? AND NOT (rules=? AND start IN ({marks}))"  # noqa: S608  # marks
            writer.execute(gone, (file, self._rules, *kept))
            if not kept:
                writer.execute("DELETE FROM late WHERE file=?", (file,))

    def put(self, place: str, pieces: Iterable[Piece]) -> None:
        """Add what was read of a file that is known."""
        with self._database.transaction() as writer:
            if writer is None:
                return
            file = self._id(writer, place)
            for piece in pieces:
                self._put(writer, file, piece)

    def _put(self, writer: sqlite3.Connection, file: int, piece: Piece) -> None:
        reel = Reel(CassetteFile(Path(), "", "", (0, 0, 0)), piece.rows)
        if piece.answers and self._database.answers is not None:
            answers = {offset: answer for offset, answer in piece.answers if len(answer) <= LONGEST}
            stored = [recording for recording in reel if recording.offset in answers]
            places = self._database.answers.append((recording.check, answers[recording.offset]) for recording in stored)
            for recording, place in zip(stored, places, strict=True):
                reel.set_place(recording.row, place)
        row = (
            *(file, self._rules, piece.start, piece.end, piece.check, piece.kind, piece.items, 0),
            *(piece.skipped, piece.last, json.dumps(piece.problems), bytes(reel.data), zlib.crc32(reel.data)),
        )
        writer.execute(f"INSERT OR REPLACE INTO pieces VALUES({','.join('?' * len(row))})", row)

    def compact(self) -> int:
        """Take out what nobody asks for any more; return how many bytes of answers that saved."""
        from stubserver.cassettes.compaction import compact  # noqa: PLC0415  # start-up: serving does not

        with self._database.guarded():
            return compact(self._database)
        return 0

    def finish(self, place: str) -> None:
        """Count the items of a file through, now that all of its pieces are there."""
        with self._database.transaction() as writer:
            if writer is None:
                return
            file, base = self._id(writer, place), 0
            sql = "SELECT start, items, base, rows FROM pieces WHERE file=? AND rules=? ORDER BY start"
            for start, items, old, rows in writer.execute(sql, (file, self._rules)).fetchall():
                if old != base:
                    moved = Reel.renumbered(rows, base - old)
                    update = "UPDATE pieces SET base=?, rows=?, sum=? WHERE file=? AND rules=? AND start=?"
                    writer.execute(update, (base, moved, zlib.crc32(moved), file, self._rules, start))
                base += items

    @staticmethod
    def _id(writer: sqlite3.Connection, place: str) -> int:
        return int(writer.execute("SELECT id FROM files WHERE path=?", (place,)).fetchone()[0])

    def put_later(self, recording: Recording, answer: bytes) -> None:
        """Store an answer that was just made, when :meth:`flush` comes; when there are too many, not."""
        if self.writable and len(self._waiting) < _MOST_WAITING and len(answer) <= LONGEST:
            self._waiting[recording.file.serial, recording.row] = recording, answer

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        waiting, self._waiting = list(self._waiting.values()), {}
        with self._database.transaction() as writer:
            if writer is None or self._database.answers is None:
                return
            places = self._database.answers.append((recording.check, answer) for recording, answer in waiting)
            done = [(recording, place) for (recording, _), place in zip(waiting, places, strict=True)]
            rows = ((r.file.index_id, r.offset, r.check, place) for r, place in done)
            writer.executemany("INSERT OR REPLACE INTO late VALUES(?,?,?,?)", rows)
            for recording, place in done:
                recording.file.recordings.set_place(recording.row, place)


def _assemble(file: CassetteFile, size: int, pieces: Iterable[tuple[Any, ...]]) -> bool:
    """Put a file together from its pieces, whose rows have this *size*; False when one is missing or damaged."""
    data, filled, position, base, last = zeros(size), 0, -1, 0, False
    for start, end, items, known_base, is_last, kind, skipped, problems, rows, check in pieces:
        if position not in (-1, start) or known_base != base or zlib.crc32(rows) != check:
            return False
        for number, cause in json.loads(problems):
            file.problems.append(CassetteError(file.label, cause, base + number))
        file.skipped += skipped
        file.kind = kind
        end_of_rows = filled + len(rows)
        if end_of_rows > size:
            return False  # more were written since they were counted
        data[filled:end_of_rows] = rows
        filled, position, base, last = end_of_rows, end, base + items, bool(is_last)
    file.recordings = Reel(file, data if isinstance(data, bytearray) else memoryview(data))
    return last and filled == size
