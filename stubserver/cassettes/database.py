"""The SQLite file of an index: opened, made anew when it is damaged or outdated, lent for reading and for writing.

Whatever is wrong with it is told once, and it is done without from then on. Nothing here raises for the file.
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final

from stubserver.cassettes.answerfile import AnswerFile

__all__ = ["Database"]

_VERSION: Final = 2
"""Of the tables, of how keys are made and of how answers are stored: another one makes the index begin anew."""
_MAGIC: Final = 0x57_55_42_53
_WAIT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.01

_TABLES: Final = (
    "CREATE TABLE files(id INTEGER PRIMARY KEY, path TEXT UNIQUE, size INTEGER, mtime INTEGER, inode INTEGER)",
    (
        'CREATE TABLE pieces(file INTEGER, rules TEXT, start INTEGER, "end" INTEGER, "check" INTEGER, kind TEXT,'
        " items INTEGER, base INTEGER, skipped INTEGER, last INTEGER, problems TEXT, rows BLOB, sum INTEGER,"
        " PRIMARY KEY(file, rules, start))"
    ),
    'CREATE TABLE late(file INTEGER, offset INTEGER, "check" INTEGER, place INTEGER, PRIMARY KEY(file, offset))',
    "CREATE TABLE name(name BLOB)",
    "INSERT INTO name SELECT randomblob(32)",
)


class Database:
    """The database at *path*, and the file of answers beside it; *say* is told what is wrong. Thread-safe."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._broken = False
        self._readers: deque[sqlite3.Connection] = deque()
        self._writer: sqlite3.Connection | None = None
        self._writing = Lock()
        self.answers: AnswerFile | None = None
        self._retired: list[AnswerFile] = []
        self.name = b""
        self.readonly = False
        # Who lets go of a library need not know that it has an index: what is still open then is closed.
        self._held: list[sqlite3.Connection | AnswerFile] = []
        self._unless_closed = weakref.finalize(self, _close_all, self._held)
        self._begin()

    def _begin(self) -> None:
        """Open for writing, or else for reading; a file of another kind or version is put anew."""
        for _ in range(2):
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if not self._made_anew(error):
                    return
            except OSError as error:
                self._fail(error)
                return
            else:
                return

    def _made_anew(self, error: sqlite3.DatabaseError) -> bool:
        """Delete what is damaged, or of another version; False for what just cannot be used."""
        if isinstance(error, sqlite3.OperationalError) or self.readonly:
            self._fail(error)
            return False
        try:
            self._delete()
        except OSError as refused:
            self._fail(refused)
            return False
        self._say(f"{self.path}: the index is made anew: {error}")
        return True

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = self.path if self.path.exists() else self.path.parent
        self.readonly = not (os.access(folder, os.W_OK) and os.access(self.path.parent, os.W_OK))
        if self.readonly:
            with self.reader() as reader:
                self._check_version(reader)
                self._open_answers(reader)
            return
        self._writer = writer = sqlite3.connect(
            self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._held.append(writer)
        _set_wal(writer)
        writer.execute("PRAGMA synchronous=OFF")  # what a power cut damages is made anew
        writer.execute("BEGIN IMMEDIATE")
        try:
            if not writer.execute("SELECT 1 FROM sqlite_master").fetchall():
                for line in (*_TABLES, f"PRAGMA application_id={_MAGIC}", f"PRAGMA user_version={_VERSION}"):
                    writer.execute(line)
            self._check_version(writer)
            self._open_answers(writer)  # one at a time: two that begin it would each delete what the other one made
        except BaseException:
            with suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise
        writer.execute("COMMIT")

    def _open_answers(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT name FROM name").fetchone()
        if row is None:
            msg = "it has no name"
            raise sqlite3.DatabaseError(msg)
        self.name = bytes(row[0])
        if self.answers is not None:
            self._retired.append(self.answers)  # a thread may just be reading in it
        self.answers = AnswerFile(self.answers_path, self.name, writable=not self.readonly)
        self._held.append(self.answers)

    @property
    def answers_path(self) -> Path:
        """Where the answers are."""
        return Path(f"{self.path}.answers")

    @staticmethod
    def _check_version(connection: sqlite3.Connection) -> None:
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if found != [_MAGIC, _VERSION]:
            msg = "it is of another version, or no index of stubserver's"
            raise sqlite3.DatabaseError(msg)

    def _delete(self) -> None:
        """Delete a damaged or outdated index; never what is none."""
        self.close()
        with self.path.open("rb") as file:
            head = file.read(72)
        if head and not (head.startswith(b"SQLite format 3\0") and head.endswith(_MAGIC.to_bytes(4, "big"))):
            msg = "it is no index of stubserver's; give another path, or delete it"
            raise OSError(msg)
        for suffix in ("", "-wal", "-shm", ".answers", ".answers.new"):
            with suppress(OSError):
                Path(f"{self.path}{suffix}").unlink()

    def _connect(self) -> sqlite3.Connection:
        immutable = "&immutable=1" if self.readonly else ""
        uri = f"{self.path.absolute().as_uri()}?mode=ro{immutable}"
        connection = sqlite3.connect(uri, uri=True, timeout=0.0, isolation_level=None, check_same_thread=False)
        self._held.append(connection)
        connection.execute("PRAGMA cache_size=-256")
        return connection

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for reading; there are as many as are used at the same time."""
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._readers.append(connection)

    def forked(self) -> None:
        """In a forked child: leave the parent's connections alone, and use own ones for reading."""
        self._unless_closed.detach()
        # Closing the connections here would take the parent's locks away.
        self._lost = [each for each in self._held if isinstance(each, sqlite3.Connection)]
        self._held = [each for each in self._held if isinstance(each, AnswerFile)]
        self._unless_closed = weakref.finalize(self, _close_all, self._held)
        self._readers = deque()
        self._writer = None
        self._writing = Lock()

    def close(self) -> None:
        """Close every connection; reading opens new ones."""
        with self._writing:
            while self._readers:
                self._readers.pop().close()
            if self._writer is not None:
                with suppress(sqlite3.Error):
                    self._writer.close()
                self._writer = None
            if self.answers is not None:
                self._retired.append(self.answers)
                self.answers = None
            while self._retired:
                self._retired.pop().close()
            self._held.clear()

    def _fail(self, error: Exception) -> None:
        """Do without the index from now on."""
        if not self._broken:
            self._broken = True
            self._say(f"{self.path}: the index is not used, which is slower: {error}; it can be deleted at any time")

    @property
    def usable(self) -> bool:
        """Whether it can be read."""
        return not self._broken

    @property
    def writable(self) -> bool:
        """Whether it can be written to."""
        return self._writer is not None and not self._broken

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Do without the index if what is done within fails because of it."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):  # else: not this time
                self._fail(error)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._fail(error)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection | None]:
        """Lend the writer within a transaction; None when there is none."""
        with self._writing:
            writer = self._writer
            if writer is None:
                yield None
                return
            try:
                writer.execute("BEGIN IMMEDIATE")
                if writer.execute("SELECT name FROM name").fetchone() != (self.name,):
                    self._open_answers(writer)  # another process moved the answers
                yield writer
                writer.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._stop_writing(writer, error)
            except BaseException:
                writer.execute("ROLLBACK")
                raise

    def _stop_writing(self, writer: sqlite3.Connection, error: Exception) -> None:
        """Go on with what is in the index; nothing is added any more."""
        with suppress(sqlite3.Error):
            writer.execute("ROLLBACK")
        with suppress(sqlite3.Error):
            writer.close()
        self._writer = None
        if not self._broken:
            self._say(f"{self.path}: nothing is added to the index any more, which makes it slower: {error}")


def _close_all(held: Iterable[sqlite3.Connection | AnswerFile]) -> None:
    for each in held:
        with suppress(sqlite3.Error, OSError):
            each.close()


def _set_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer go on side by side. Waits for others: for this alone, SQLite itself does not."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return
