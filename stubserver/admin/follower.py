"""Follow the journal: each entry once, when its answer has left, without anybody waiting for the reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stubserver.journal import Entry, Journal

__all__ = ["Follower"]

_MOST_AT_ONCE: Final = 200


class Follower:
    """Looks into *journal* when it is asked to; begins behind the entry *since*.

    ``missed`` counts the entries that left the journal between two looks, or were more than one look tells.
    """

    def __init__(self, journal: Journal, since: int) -> None:
        self._journal = journal
        self._since = since  # all entries up to here were told
        self._told: set[int] = set()  # and these
        self.missed = 0

    def news(self) -> Iterator[tuple[int, Entry]]:
        """Yield the entries that were done since the last look, in order, each with a number to begin behind again.

        All entries up to that number were told by then: a reader that stops there misses none, and hears some twice.
        """
        entries = [entry for entry in self._journal.since(self._since) if entry.number not in self._told]
        done = [entry for entry in entries if entry.done]
        self.missed += max(0, len(done) - _MOST_AT_ONCE)
        self._told.update(entry.number for entry in done)
        self._advance(next((entry.number for entry in entries if not entry.done), None))
        for entry in done[-_MOST_AT_ONCE:]:
            yield min(entry.number, self._since), entry

    def _advance(self, waiting: int | None) -> None:
        """Move on to before the first entry that is still under way."""
        before = self._since
        first = max(self._told, default=before) + 1 if waiting is None else waiting
        self._since = max(before, first - 1)
        passed = {number for number in self._told if number <= self._since}
        self._told -= passed
        if len(self._journal):  # else it was cleared: nothing was missed
            self.missed += self._since - before - len(passed)
