"""What nobody asks for any more is taken out of an index: files that are gone, and answers of items that are.

The answers that are left are copied to a new file, with a new name, and the index is told in one transaction; until
then the old ones hold. Who has the old file open goes on reading it. A copy that was told and not yet put in its place
is put there by whoever opens the index next.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from pathlib import Path
from typing import Final

from stubserver.cassettes.answerfile import AnswerFile, moved
from stubserver.cassettes.database import Database
from stubserver.cassettes.packed import forget_copies
from stubserver.cassettes.recordings import CassetteFile, Reel

__all__ = ["compact"]

_NAME: Final = 32
_STEP: Final = 1024


def compact(database: Database) -> int:
    """Take out what is gone, and write the answers anew when more than half of them is; return the bytes that saved."""
    path = database.answers_path
    with database.transaction() as writer:
        answers = database.answers
        if writer is None or answers is None:
            return 0
        _forget_gone(writer, database.path)
        size = answers.size
        live = _live(writer)
        if 2 * live >= size:
            return 0
        name = os.urandom(_NAME)
        moved(path).unlink(missing_ok=True)
        new = AnswerFile(moved(path), name, writable=True)
        try:
            _move(writer, answers, new)
            writer.execute("UPDATE name SET name=?", (name,))
        except BaseException:
            moved(path).unlink(missing_ok=True)
            raise
        finally:
            new.close()
    with database.transaction() as writer:  # it sees the new name, and opens what belongs to it
        done = writer is not None
    return size - live if done else 0


def _forget_gone(writer: sqlite3.Connection, index: Path) -> None:
    """Forget files that are no more, and delete the copies of packed ones that are another by now."""
    for file, place in writer.execute("SELECT id, path FROM files").fetchall():
        if not os.path.lexists(place):
            for table, column in (("pieces", "file"), ("late", "file"), ("files", "id")):
                writer.execute(f"DELETE FROM {table} WHERE {column}=?", (file,))  # noqa: S608  # ours
    kept = writer.execute("SELECT path, size, mtime, inode FROM files")
    forget_copies(index, ((place, (size, mtime, inode)) for place, size, mtime, inode in kept))


def _live(writer: sqlite3.Connection) -> int:
    """Return how many bytes of answers somebody may ask for."""
    live = sum(AnswerFile.length(place) for (place,) in writer.execute("SELECT place FROM late"))
    for (rows,) in writer.execute("SELECT rows FROM pieces"):
        live += sum(map(AnswerFile.length, _reel(rows).places()))
    return live


def _move(writer: sqlite3.Connection, old: AnswerFile, new: AnswerFile) -> None:
    for (number,) in writer.execute("SELECT rowid FROM pieces ORDER BY file, start").fetchall():
        (rows,) = writer.execute("SELECT rows FROM pieces WHERE rowid=?", (number,)).fetchone()
        reel = _reel(rows)
        for row, place in enumerate(old.copy(reel.places(), new)):
            reel.set_place(row, place)
        writer.execute(
            "UPDATE pieces SET rows=?, sum=? WHERE rowid=?", (bytes(reel.data), zlib.crc32(reel.data), number)
        )
    late = writer.execute("SELECT rowid, place FROM late ORDER BY file, offset").fetchall()
    for start in range(0, len(late), _STEP):
        some = late[start : start + _STEP]
        places = old.copy([place for _, place in some], new)
        writer.executemany("UPDATE late SET place=? WHERE rowid=?", zip(places, [row for row, _ in some], strict=True))


def _reel(rows: bytes) -> Reel:
    return Reel(CassetteFile(Path(), "", "", (0, 0, 0)), rows)
