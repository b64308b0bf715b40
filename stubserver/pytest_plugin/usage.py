"""Which recordings the tests played, over the whole session and all of its processes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stubserver.cassettes.library import ENDINGS, Library
from stubserver.journal import Journal
from stubserver.pytest_plugin import LEFT_OUT, USAGE

if TYPE_CHECKING:
    import pytest

__all__ = ["Usage", "usage_of"]


class Usage:
    """Cassettes that were opened, each with how many recordings it holds and the numbers of those that were played.

    ``left_out`` counts tests that were deselected: what they would have played is not unused. ``claimed`` are the
    cassettes that would be a collected test's own, ``users`` the tests that use a stub. Of ``strict``, nothing may
    be left at the end; ``of_session`` are those of the stub that all tests share, and ``processes`` how many processes
    had one each. ``lost`` processes ended without telling what was played. ``recorded`` counts answers, ``notes`` say
    why others were not.
    """

    def __init__(self, left_out: int = 0) -> None:
        self.totals: dict[str, int] = {}
        self.played: dict[str, set[int]] = {}
        self.left_out = left_out
        self.recorded = 0
        self.claimed: set[str] = set()
        self.users: set[str] = set()
        self.strict: set[str] = set()
        self.of_session: set[str] = set()
        self.processes: Counter[str] = Counter()
        self.lost = 0
        self.notes: list[str] = []

    def add(self, library: Library, journal: Journal) -> None:
        """Take in what was played of *library*, and what the *journal* says of recording."""
        for file in library.files:
            numbers = [r.number for r in file.recordings if library.played(r)]
            self._add(str(file.path.resolve()), len(file.recordings), numbers)
        for entry in journal:
            if entry.source == "recorded":
                self.recorded += bool(entry.cassette)
                if not entry.cassette:
                    request = entry.request
                    self.notes.append(f"{request.method} {request.target}: {entry.note or 'not recorded'}")

    def _add(self, path: str, total: int, numbers: Iterable[int]) -> None:
        self.totals[path] = max(total, self.totals.get(path, 0))
        self.played.setdefault(path, set()).update(numbers)

    def as_json(self) -> str:
        """Write it for another process."""
        rows = [[path, self.totals[path], sorted(self.played[path])] for path in self.totals]
        sets = [sorted(one) for one in (self.claimed, self.users, self.strict, self.of_session)]
        return json.dumps([self.left_out, self.recorded, self.notes, sets, rows])

    def take(self, text: str | None) -> None:
        """Take in what another process wrote; None: it ended before it could."""
        if text is None:
            self.lost += 1
            return
        left_out, recorded, notes, (claimed, users, strict, of_session), rows = json.loads(text)
        self.left_out = max(self.left_out, left_out)  # each process deselects the same ones
        self.recorded += recorded
        self.notes += notes
        self.claimed.update(claimed)
        self.users.update(users)
        self.strict.update(strict)
        self.of_session.update(of_session)
        self.processes.update(of_session)
        for path, total, numbers in rows:
            self._add(path, total, numbers)

    def never_opened(self) -> list[Path]:
        """List the cassettes beside those that were opened which no test asked for, and which would be no test's own.

        Below a folder named ``cassettes`` alone: elsewhere, a file may be anything.
        """
        folders = {Path(path).parent for path in self.totals if Path(path).parent.parent.name == "cassettes"}
        beside = {path for folder in folders for path in folder.iterdir() if path.name.endswith(ENDINGS)}
        return sorted(path for path in beside if str(path) not in self.totals.keys() | self.claimed)

    def unplayed(self) -> dict[Path, set[int]]:
        """Return the numbers of the recordings that no test played, for each cassette that has some."""
        left = {Path(path): set(range(1, total + 1)) - self.played[path] for path, total in self.totals.items()}
        return {path: numbers for path, numbers in sorted(left.items()) if numbers}

    def left_of_strict(self) -> dict[Path, set[int]]:
        """Return what is left of those cassettes of which nothing may be."""
        return {path: numbers for path, numbers in self.unplayed().items() if str(path) in self.strict}


def usage_of(config: pytest.Config) -> Usage:
    """Return the usage of this session."""
    if USAGE not in config.stash:
        config.stash[USAGE] = Usage(config.stash.get(LEFT_OUT, 0))
    return config.stash[USAGE]
