"""One worker of several: a server that accepts at the socket of its parent, and does what it is told.

python -m stubserver.worker DESCRIPTOR
"""

from __future__ import annotations

import mmap
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from stubserver import early
from stubserver.cassettes.positions import Positions, SharedLock
from stubserver.crew import News, Remote, Share
from stubserver.process import settle_down
from stubserver.stub import StubServer

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Serve until the parent ends, or ends the pipe at *descriptor*."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent says when it is time
    pipe = Connection(descriptor)
    share: Share = pipe.recv()
    stub = StubServer(*share.paths, **share.options, port=share.port)
    file, size, lane, lanes = share.positions
    stub.library.share(Positions(mmap.mmap(file, size), SharedLock(file), lane, lanes))
    if share.admin is not None:
        stub.app.admin = Remote(*share.admin)
    for host, listener in share.listeners:
        early.give(host, share.port, listener)
    settle_down()
    with stub:
        pipe.send("ready")
        _obey(pipe, _Orders(stub))


def _obey(pipe: Connection, orders: _Orders) -> None:
    while True:
        try:
            what, arguments = pipe.recv()
            pipe.send(getattr(orders, what)(*arguments))
        except (EOFError, OSError):
            return


class _Orders:
    """What a worker can be told to do."""

    def __init__(self, stub: StubServer) -> None:
        self._stub = stub

    def news(self, seen: int, unfinished: list[int]) -> News:
        """Tell what was written down behind the entry *seen*, and which of the *unfinished* answers have left."""
        journal = self._stub.journal
        total = journal.total
        entries, done = [], {}
        for entry in journal.since(min(seen, *unfinished, seen) - 1 if unfinished else seen):
            if entry.number > total:
                break
            if entry.number > seen:
                request, answer = entry.raw()
                about = (answer.source, answer.cassette, answer.drift, answer.note)
                entries.append((entry.number, entry.time, request, answer.response, about, entry.delivery))
            elif entry.number in unfinished and entry.done:
                done[entry.number] = entry.delivery
        cells = self._stub.tally.taken()
        faults = self._stub.app.faults
        asked_for = faults.taken() if faults is not None else {}
        return News(entries, total, done, cells, self._stub.open_connections(), asked_for)

    def clear(self) -> None:
        """Forget the journal."""
        self._stub.journal.clear()

    def settings(self, fallback: Any, pace: Any) -> None:  # noqa: ANN401  # as the app has them
        """Take over what was set while the server runs."""
        from stubserver.pacing import pacer_of  # noqa: PLC0415  # start-up: most answers are sent at once

        self._stub.app.fallback = fallback
        self._stub.app.pacer = None if pace is None else pacer_of(pace)


if __name__ == "__main__":
    main(int(sys.argv[1]))
