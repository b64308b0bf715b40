"""One client's connection: bytes in, answers out, and how long either may take.

All decisions about HTTP are ``wire``'s, all decisions about the answer the app's.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from contextlib import closing, suppress
from enum import Enum
from functools import partial
from typing import Final, NamedTuple, Protocol

from stubserver import wire
from stubserver.answers import LiveFraming
from stubserver.app import App, Prepared
from stubserver.errors import ProtocolError, UpstreamError
from stubserver.known import Known
from stubserver.leaving import Leavers
from stubserver.line import Line
from stubserver.messages import Answer, Delivery, Live, Step
from stubserver.sender import SLOWEST, End, Sender
from stubserver.wire import Limits, RequestParser, State

__all__ = ["Connection", "Next", "Owner", "ServerSettings"]

_now = time.perf_counter
_RECEIVE: Final = 65_536
_SOON: Final = 0.25  # seconds in which a thread waits for the next request; then the connection rests
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 64 * 1024 * 1024


class ServerSettings(NamedTuple):
    """Limits of one server; times in seconds.

    ``timeout`` is what a request's head may take in all, and its body beside its size at 1 MB/s; ``idle`` how long a
    connection may wait for its next request; ``connections`` how many may be open, more are answered with 503.
    """

    timeout: float = 10.0
    idle: float = 75.0
    connections: int = 16_384
    limits: Limits = Limits()


class Next(Enum):
    """What becomes of a connection that a thread has served."""

    END = "it is closed"
    REST = "it waits for its next request, and may do so without a thread"
    LENT = "the sender has it, and gives it back"


class Owner(Protocol):
    """What a connection knows of its server."""

    app: App
    settings: ServerSettings
    known: Known
    leavers: Leavers
    sender: Sender
    stopping: bool

    def take_back(self, connection: Connection, *, rests: bool) -> None:
        """Take a connection that was lent: it *rests*, or is to be served, to be ended. From any thread."""


class Connection:
    """One client's connection, served by one thread at a time, and by none while it waits for its next request."""

    __slots__ = (
        *("_app", "_begun", "_deadline", "_delivery", "_parser", "_received", "_server", "_settings"),
        *("_came_back", "_line", "busy"),
    )

    def __init__(self, server: Owner, sock: socket.socket) -> None:
        self._server = server
        self._app = server.app
        self._line = Line(sock, server.settings.timeout)
        self._settings = server.settings
        self._parser = RequestParser(server.settings.limits)
        self._deadline = 0.0
        self._received = 0.0
        self._delivery = Delivery()
        self._begun = False
        self._came_back: tuple[Answer, int, End, BaseException | None] | None = None
        self.busy = False

    def serve(self) -> Next:
        """Answer requests until one side ends the connection, or until it needs no thread for a while.

        Then it is to be served again, when there is something to read. Nothing of it may be touched once it is lent.
        """
        becomes = Next.END
        try:
            if (self._begun or self._begin()) and self._settled():
                becomes = self._converse()
        except ProtocolError as error:
            self._refuse(error)
        except OSError:
            pass  # the client left, or the server is stopping
        except Exception:
            # A mistake of ours: the client hears of it, and whoever runs the server sees it.
            self._refuse(ProtocolError(500, "The server made a mistake with this request.", "internal_error"))
            raise
        finally:
            if becomes is Next.END:
                self._note_cut()
                self.close()
        return becomes

    def _begin(self) -> bool:
        """Prepare the socket; False when the connection is closed on purpose."""
        self._line.begin()
        if self._app.hangs_up():
            self._linger()
            return False
        return True

    def _converse(self) -> Next:
        server, known, receive = self._server, self._server.known, self._line.sock.recv
        self._arm(idle=True)
        idle = True
        goes_on, self._begun = self._begun, True  # one that has rested has something to read, whatever happens
        while goes_on or not server.stopping:
            goes_on = self.busy = False
            try:
                data = receive(_RECEIVE)
            except BlockingIOError:
                if self._may_rest(idle=idle):
                    return Next.REST
                continue
            if not data:
                break
            self.busy = True
            self._received = _now()
            entry = known.get(data) if idle else None
            goes = self._answer(*entry) if entry is not None else self._take(data, whole=idle)
            if not goes:
                return Next.LENT if goes is None else Next.END
            if entry is not None:
                continue
            was_idle, idle = idle, self._parser.state is State.IDLE
            if not (was_idle and idle):
                self._arm(idle=idle)
        return Next.END

    def _take(self, data: bytes, *, whole: bool) -> bool | None:
        """Feed the parser and answer what is complete; False when the connection is to end, None when it is lent."""
        parser = self._parser
        parsed = parser.whole(data) if whole else None
        if parsed is not None:
            prepared = self._app.prepare(parsed.request)
            self._server.known.add(data, prepared, parsed.flags)
            return self._answer(prepared, parsed.flags)
        parser.receive(data)
        first = True
        while True:
            parsed = parser.next_request()
            if parsed is None:
                break
            prepared = self._app.prepare(parsed.request)
            if first and whole and parser.state is State.IDLE:
                self._server.known.add(data, prepared, parsed.flags)
            first = False
            self._deadline = 0.0
            goes = self._answer(prepared, parsed.flags)
            if not goes:
                return goes
        if parser.wants_continue:
            self._line.send(wire.CONTINUE)
            parser.continued()
        return True

    def _answer(self, prepared: Prepared, flags: int) -> bool | None:
        """Send the answer; False when the connection ends with it, None when it is lent for it."""
        delivery = self._delivery = Delivery()
        delivery.received = self._received
        forwarder = self._app.forwarder
        if forwarder is None:
            return self._send_answer(self._app.answer(prepared, delivery), flags)
        leaves = partial(forwarder.interrupt, threading.get_ident())
        with self._server.leavers.watching(self._line.sock, leaves):
            return self._send_answer(self._app.answer(prepared, delivery), flags)

    def _send_answer(self, answer: Answer, flags: int) -> bool | None:
        delivery = self._delivery
        if self._server.stopping:
            flags |= wire.CLOSE
        if answer.script is not None:
            return self._perform(answer.script(answer.response, flags), answer, flags)
        if answer.live is not None:
            return self._relay(answer.live, flags)
        pieces = answer.rendered.get(flags)
        if pieces is None:
            pieces = answer.rendered[flags] = wire.render(answer.response, flags)
        if len(pieces) == 1:
            delivery.first = delivery.last = self._line.send(pieces[0])
        else:
            for piece in pieces:
                when = self._line.send(piece)
                delivery.sent(when)
            delivery.last = when
        return self._goes_on(answer, flags)

    def _goes_on(self, answer: Answer, flags: int) -> bool:
        """End our side of the connection if this answer is its last one; False when it is."""
        if flags and wire.ends_connection(answer.response, flags):
            self._line.end()
            return False
        return True

    def _perform(self, steps: Generator[Step], answer: Answer, flags: int) -> bool | None:
        """Send an answer step by step; False when the connection ends with it, None: it is lent for that."""
        sender, patience = self._server.sender, self._settings.timeout
        # What waits for an upstream, or has another request behind it, keeps its thread.
        if answer.live is not None or self._app.forwarder is not None or self._parser.state is not State.IDLE:
            end = sender.perform(self._line.sock, steps, self._delivery, patience)
            return self._ended_well(answer, flags, end)
        if not sender.begin(self._line.sock, steps, self._delivery, patience, partial(self._come_back, answer, flags)):
            raise ConnectionAbortedError
        return None

    def _come_back(self, answer: Answer, flags: int, end: End, error: BaseException | None) -> None:
        """Rest, as nearly always; what has to be ended, or has failed, is left to a thread. Called by the sender."""
        rests = error is None and not end and not wire.ends_connection(answer.response, flags)
        if rests:
            self.busy = False
        else:
            self._came_back = answer, flags, end, error
        self._server.take_back(self, rests=rests)

    def _settled(self) -> bool:
        """Do what is left to do after the connection was lent; False when it ends with that."""
        came_back, self._came_back = self._came_back, None
        if came_back is None:
            return True
        answer, flags, end, error = came_back
        if error is not None:
            raise error
        return self._ended_well(answer, flags, end)

    def _ended_well(self, answer: Answer, flags: int, end: End) -> bool:
        """Tell whether the connection goes on after a script."""
        if end == "reset":
            self._line.reset()
        return not end and self._goes_on(answer, flags)

    def _relay(self, live: Live, flags: int) -> bool:
        """Pass on what is still coming, piece by piece; False when the connection ends with it."""
        framing = LiveFraming(live.head, live.length, flags)
        with closing(live.pieces()) as pieces:
            try:
                next(pieces, b"")  # nothing yet; but from here on it hears of a client that left
                self._delivery.sent(when := self._line.send(framing.head))
                for data in pieces:
                    piece = framing.piece(data)
                    if piece:
                        self._delivery.sent(when := self._line.send(piece))
            except UpstreamError:
                # The rest will not come. A reset says so even where the end of the connection is the end of the body.
                self._line.reset()
                return False
        if framing.end:
            when = self._line.send(framing.end)
        self._delivery.last = when
        if framing.closes:
            self._line.end()
        return not framing.closes

    def _arm(self, *, idle: bool) -> None:
        """Set how long the next bytes may take: idle time between requests, a deadline in all within one."""
        if idle:
            self._deadline = 0.0
            self._line.wait_at_most(min(_SOON, self._settings.idle))
            return
        now = time.monotonic()
        if not self._deadline:
            self._deadline = now + self._settings.timeout
        until = self._deadline + self._parser.body_size / SLOWEST
        if now >= until:
            self._check_deadline()
        self._line.wait_at_most(until - now)

    def _may_rest(self, *, idle: bool) -> bool:
        """Nothing came for a while: between two requests, no thread has to wait for more."""
        if idle and self._settings.idle > _SOON:
            return True
        self._check_deadline()
        return False

    def _check_deadline(self) -> None:
        """Nothing came in time: within a request that is a 408, between two it is the quiet end."""
        if self._parser.state is State.IDLE:
            raise ConnectionResetError
        part = "head" if self._parser.state is State.HEAD else "body"
        message = f"The request's {part} did not arrive in time (see --timeout)."
        raise ProtocolError(408, message, "request_timeout")

    def _note_cut(self) -> None:
        """Write down that the last answer did not leave as a whole, if it did not."""
        delivery = self._delivery
        if delivery.received and not delivery.last:
            delivery.cut = True
            delivery.last = _now()

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request that cannot be served, and let the client read that answer before the close."""
        with suppress(OSError):
            response = self._app.refused(error)
            for piece in wire.render(response, wire.CLOSE):
                self._line.send(piece)
            self._linger()

    def _linger(self) -> None:
        """Read and drop what is still coming: closing with unread bytes would reset the connection."""
        self.busy = False
        self._line.end()
        self._line.wait_at_most(_LINGER_SECONDS)
        until, left = time.monotonic() + max(self._settings.timeout, _LINGER_SECONDS), _LINGER_BYTES
        while left > 0 and time.monotonic() < until and not self._server.stopping:
            data = self._line.sock.recv(_RECEIVE)
            if not data:
                return
            left -= len(data)

    def interrupt(self, *, busy_too: bool) -> None:
        """End the connection from another thread: at once, or, while it answers a request, only with *busy_too*.

        One that waits hears the end of the input: a request that came in the same moment is still answered.
        """
        if busy_too or not self.busy:
            self._line.interrupt(both=busy_too)

    def close(self) -> None:
        """Let go of the socket."""
        self._line.close()

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 when it was closed."""
        return self._line.sock.fileno()

    def has_more(self) -> bool | None:
        """Tell whether there is something to read; False when the client left, None as long as neither is so."""
        return self._line.has_more()
