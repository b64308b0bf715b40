"""The database of an index: opened once, lent to many."""

from __future__ import annotations

import gc
import sqlite3
from pathlib import Path

import pytest

from stubserver.cassettes.database import Database


def test_what_is_written_is_read(tmp_path: Path) -> None:
    database = Database(tmp_path / "a" / "b" / "index.sqlite", pytest.fail)
    with database.transaction() as writer:
        assert writer is not None
        writer.execute("INSERT INTO files(path) VALUES('x')")
    with database.reader() as one, database.reader() as two:
        for reader in (one, two):
            assert reader.execute("SELECT path FROM files").fetchall() == [("x",)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            one.execute("DELETE FROM files")
    database.close()
    assert not database.writable


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "index.sqlite", pytest.fail)

    def interrupted() -> None:
        with database.transaction() as writer:
            assert writer is not None
            writer.execute("INSERT INTO files(path) VALUES('x')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with database.reader() as reader:
        assert reader.execute("SELECT path FROM files").fetchall() == []
    assert database.writable
    database.close()


def test_what_goes_wrong_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    database = Database(tmp_path / "index.sqlite", said.append)
    for _ in range(2):
        with database.transaction() as writer:
            if writer is not None:
                writer.execute("INSERT INTO nothing VALUES(1)")
        with database.guarded(), database.reader() as reader:
            reader.execute("SELECT * FROM nothing")
    assert [line.partition(": ")[2][:30] for line in said] == [
        "nothing is added to the index ",
        "the index is not used, which i",
    ]
    assert (database.usable, database.writable) == (False, False)
    database.close()


def test_a_lock_that_another_holds_is_waited_out_elsewhere(tmp_path: Path) -> None:
    database = Database(tmp_path / "index.sqlite", pytest.fail)
    with database.guarded():
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error
    assert database.usable
    database.close()


def test_what_nobody_closed_is_closed_with_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "index.sqlite", pytest.fail)
    with database.reader() as reader:
        held = database._held
        assert [type(each).__name__ for each in held] == ["Connection", "AnswerFile", "Connection"]
    del database
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        reader.execute("SELECT 1")


def test_what_was_closed_is_not_closed_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "index.sqlite", pytest.fail)
    database.close()
    assert database._held == []
