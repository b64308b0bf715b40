"""A socket and the conversation over it: led by the loop, and interrupted wherever it waits.

A conversation is a generator. It yields what it waits for: something of the client's, named as in ``poller``, or a job
that may wait for something else, which is done in a thread of its own. It gets :data:`READY` when that is there,
:data:`LATE` when the deadline is over, or what came of the job.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, Final, TypeVar, cast

from stubserver.errors import ProtocolError
from stubserver.loop import Loop
from stubserver.poller import GONE, LEAVES, READ, WRITE, wait_for
from stubserver.threads import Threads

__all__ = ["AT_ONCE", "LATE", "READY", "UPLOAD_SPEED", "Apart", "Line", "Talk", "busy"]

_now = time.perf_counter
AT_ONCE: Final = socket.MSG_DONTWAIT
READY: Final = True
LATE: Final = False
_ENDS: Final = LEAVES | GONE
UPLOAD_SPEED: Final = 1_000_000
"""Bytes a second that a body may take at least, in either direction."""
_RECEIVE: Final = 65_536
_buffers: Final[list[memoryview]] = []
"""Used again by whoever receives next: of memory for each request, of which a little is kept, the rest is in pieces."""
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 64 * 1024 * 1024

_T = TypeVar("_T")
Apart = Callable[[], Any]
Talk = Generator[int | Apart, Any, _T]


class Line:
    """One client's socket, with what is said over it. *timeout* is how long a client may take to read, in seconds."""

    def __init__(self, sock: socket.socket, loop: Loop, threads: Threads, timeout: float) -> None:
        self.descriptor = sock.fileno()
        self.watched = 0
        self.turn = threading.Lock()
        self.deadline = inf
        self.busy = False
        self._sock = sock
        self._loop = loop
        self._threads = threads
        self._timeout = timeout
        self._talk = self.converse()

    def converse(self) -> Talk[None]:
        """Say what is to be said, until one side ends it."""
        raise NotImplementedError

    # -- being led

    def begin(self) -> None:
        """Begin the conversation, and let the loop lead it."""
        with suppress(StopIteration):
            self._go_on(next(self._talk))

    def ready(self) -> None:
        """Go on: what was waited for is there."""
        if self.watched & _ENDS and not wait_for(self.descriptor, self.watched, 0.0):
            return  # two leaders were told of the same request, and the other one has answered it meanwhile
        try:
            wanted = self._talk.send(READY)
        except StopIteration:
            return
        if wanted != self.watched:
            self._go_on(wanted)

    def late(self) -> None:
        """Go on: the deadline is over."""
        with suppress(StopIteration):
            self._go_on(self._talk.send(LATE))

    def _go_on(self, wanted: int | Apart) -> None:
        if callable(wanted):
            self._loop.detach(self)
            try:
                self._threads.run(partial(self._run, wanted))
            except OSError:  # the system has none left
                self._run(partial(_raise, busy()))
        elif not self.watched:
            self._return(wanted)
        elif wanted != self.watched:
            self._loop.want(self, wanted)

    def _run(self, job: Apart) -> None:
        """Do what may wait, in a thread, and go on there until what is waited for is the client."""
        wanted: int | Apart = job
        with suppress(StopIteration):
            while callable(wanted):
                try:
                    done = wanted()
                except Exception as error:  # noqa: BLE001  # the conversation deals with it
                    wanted = self._talk.throw(error)
                else:
                    wanted = self._talk.send(done)
            self._return(wanted)

    def _return(self, wanted: int) -> None:
        """Let the loop lead, from now on."""
        try:
            self._loop.attach(self, wanted)
        except (OSError, ValueError):  # the system watches no more of them, or the server has ended
            self._talk.close()

    # -- receiving, sending and waiting

    def receive_now(self) -> bytes:
        """Return what has come: nothing, once the client is at its end. Raises BlockingIOError, OSError."""
        try:
            buffer = _buffers.pop()
        except IndexError:
            buffer = memoryview(bytearray(_RECEIVE))
        try:
            return bytes(buffer[: self._sock.recv_into(buffer, 0, AT_ONCE)])
        finally:
            _buffers.append(buffer)

    def send_now(self, piece: bytes | memoryview) -> int:
        """Send as much of *piece* as the system takes at once, and return how much that is."""
        try:
            return self._sock.send(piece, AT_ONCE)
        except BlockingIOError:
            return 0

    def send(self, piece: bytes | memoryview) -> Talk[float]:
        """Send all of *piece*; a client that does not read is given the time a body of that size may take.

        Return when that was: not later than anything that the client does because of it.
        """
        now = _now()
        rest = memoryview(piece)[self.send_now(piece) :]
        if rest:
            self.wait_at_most(self._timeout + len(rest) / UPLOAD_SPEED)
            while rest:
                if not (yield WRITE):
                    raise TimeoutError
                now = _now()
                rest = rest[self.send_now(rest) :]
        return now

    def follow(self, talk: Talk[_T]) -> _T:
        """Have a part of the conversation in a thread, which waits for what is waited for; return what came of it."""
        told: Any = None
        while True:
            try:
                wanted = talk.send(told)
            except StopIteration as end:
                return cast("_T", end.value)
            told = wanted() if callable(wanted) else wait_for(self.descriptor, wanted, self.deadline - _now())

    def wait_at_most(self, seconds: float) -> None:
        """Set the deadline of what is waited for next."""
        self.deadline = _now() + seconds
        if self.watched:
            self._loop.expect(self)

    def linger(self) -> Talk[None]:
        """Read and drop what is still coming: closing with unread bytes would reset the connection."""
        self.busy = False
        self._sock.shutdown(socket.SHUT_WR)
        until, left = _now() + max(self._timeout, _LINGER_SECONDS), _LINGER_BYTES
        while left > 0:
            self.wait_at_most(min(_LINGER_SECONDS, until - _now()))
            if not (yield READ):
                return
            with suppress(BlockingIOError):
                data = self.receive_now()
                if not data:
                    return
                left -= len(data)

    def reset(self) -> None:
        """Let the close that follows be a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def let_go(self) -> None:
        """Let go of the socket; in a forked child, where the connection is the parent's, this alone."""
        with suppress(OSError):
            self._sock.close()

    def interrupt(self, *, busy_too: bool) -> None:
        """End the connection from another thread: at once, or, while it answers a request, only with *busy_too*.

        One that waits hears the end of the input: a request that came in the same moment is still answered.
        """
        with suppress(OSError):
            if busy_too:
                self._sock.shutdown(socket.SHUT_RDWR)
                self.wait_at_most(0.0)  # not every poller tells of an end within a pause
            elif not self.busy:
                self._sock.shutdown(socket.SHUT_RD)


def _raise(error: Exception) -> None:
    raise error


def busy() -> ProtocolError:
    """Return what a client is told for which there is no connection, or no thread."""
    return ProtocolError(503, "The server has too many open connections, please try again later.", "overloaded")
