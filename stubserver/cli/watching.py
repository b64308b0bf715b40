"""Tell whoever runs the server what it does: a thread that looks, so that no request waits for a terminal."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from stubserver.admin.entries import summary
from stubserver.admin.follower import Follower
from stubserver.cli.log import Log

if TYPE_CHECKING:
    from stubserver.stub import StubServer

__all__ = ["Watching", "status_of"]

_LOOK_SECONDS: Final = 0.1
_JOIN_SECONDS: Final = 1.0
_ERROR: Final = 400


class Watching:
    """Follows *stub* from its start to its end: one line for each request if *verbose*, and the live line."""

    def __init__(self, stub: StubServer, log: Log, *, verbose: bool) -> None:
        self._stub = stub
        self._log = log
        self._follower = Follower(stub.journal, 0) if verbose else None
        self._ended = threading.Event()
        self._told = 0
        self._thread = threading.Thread(target=self._watch, name="stubserver-log", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look a last time, and end; not waiting for ever for a terminal that takes nothing."""
        self._ended.set()
        self._thread.join(_JOIN_SECONDS)
        if not self._thread.is_alive():
            self._log.end()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()
        self._look()

    def _look(self) -> None:
        if self._follower is not None:
            self._tell(self._follower)
        if self._log.live:
            self._log.status(status_of(self._stub))

    def _tell(self, follower: Follower) -> None:
        for _, entry in follower.news():
            self._log.request(summary(entry))
        if follower.missed > self._told:
            more = follower.missed - self._told
            self._log.say("missed", f"... and {more} more, too many to be told one by one", count=more)
            self._told = follower.missed


def status_of(stub: StubServer) -> str:
    """Count the answers in one short line."""
    cells = stub.tally.cells()
    sources = {source: count for source, count in stub.tally.sources().items() if count}
    failed = sum(
        cell.count for (_, source, status), cell in cells.items() if status >= _ERROR and source != "unmatched"
    )
    total = sum(sources.values())
    parts = [f"{total} request" if total == 1 else f"{total} requests", *(f"{n} {s}" for s, n in sources.items())]
    return ", ".join([*parts, f"{failed} error" if failed == 1 else f"{failed} errors"])
