"""One client's connection: bytes in, answers out, and how long either may take.

All decisions about HTTP are ``wire``'s, all decisions about the answer the app's.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Generator
from contextlib import closing, suppress
from functools import partial
from typing import Final, NamedTuple, Protocol

from stubserver import wire
from stubserver.answers import LiveFraming
from stubserver.app import App, Prepared
from stubserver.errors import ProtocolError, UpstreamError
from stubserver.known import Known
from stubserver.leaving import Leavers
from stubserver.messages import Answer, Delivery, Live, Step
from stubserver.sender import SLOWEST, Sender
from stubserver.wire import Limits, RequestParser, State

__all__ = ["Connection", "Owner", "ServerSettings"]

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


class Owner(Protocol):
    """What a connection knows of its server."""

    app: App
    settings: ServerSettings
    known: Known
    leavers: Leavers
    sender: Sender
    stopping: bool


class Connection:
    """One client's connection, served by one thread at a time, and by none while it waits for its next request."""

    __slots__ = (
        *("_app", "_begun", "_deadline", "_delivery", "_parser", "_received", "_server", "_settings", "_sock"),
        *("_waiting", "busy"),
    )

    def __init__(self, server: Owner, sock: socket.socket) -> None:
        self._server = server
        self._app = server.app
        self._sock = sock
        self._settings = server.settings
        self._parser = RequestParser(server.settings.limits)
        self._waiting = 0.0
        self._deadline = 0.0
        self._received = 0.0
        self._delivery = Delivery()
        self._begun = False
        self.busy = False

    def serve(self) -> bool:
        """Answer requests until one side ends the connection, or until it may rest: True, it is to be served again.

        That is when it has waited for its next request for a while; what comes then is what it goes on with.
        """
        rests = False
        try:
            rests = (self._begun or self._begin()) and self._converse()
        except ProtocolError as error:
            self._refuse(error)
        except OSError:
            pass  # the client left, or the server is stopping
        except Exception:
            # A mistake of ours: the client hears of it, and whoever runs the server sees it.
            self._refuse(ProtocolError(500, "The server made a mistake with this request.", "internal_error"))
            raise
        finally:
            if not rests:
                self._note_cut()
                self.close()
        return rests

    def _begin(self) -> bool:
        """Prepare the socket; False when the connection is closed on purpose."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._arm(idle=True)
        self._set_timeout(socket.SO_SNDTIMEO, max(self._settings.timeout, 1.0))
        if self._app.hangs_up():
            self._linger()
            return False
        return True

    def _converse(self) -> bool:
        server, known, receive = self._server, self._server.known, self._sock.recv
        idle = True
        goes_on, self._begun = self._begun, True  # one that has rested has something to read, whatever happens
        while goes_on or not server.stopping:
            goes_on = self.busy = False
            try:
                data = receive(_RECEIVE)
            except BlockingIOError:
                if self._may_rest(idle=idle):
                    return True
                continue
            if not data:
                return False
            self.busy = True
            self._received = _now()
            entry = known.get(data) if idle else None
            if not (self._answer(*entry) if entry is not None else self._take(data, whole=idle)):
                return False
            if entry is not None:
                continue
            was_idle, idle = idle, self._parser.state is State.IDLE
            if not (was_idle and idle):
                self._arm(idle=idle)
        return False

    def _take(self, data: bytes, *, whole: bool) -> bool:
        """Feed the parser and answer what is complete; False when the connection is to end."""
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
            if not self._answer(prepared, parsed.flags):
                return False
        if parser.wants_continue:
            self._send(wire.CONTINUE)
            parser.continued()
        return True

    def _answer(self, prepared: Prepared, flags: int) -> bool:
        """Send the answer; False when the connection ends with it."""
        delivery = self._delivery = Delivery()
        delivery.received = self._received
        forwarder = self._app.forwarder
        if forwarder is None:
            return self._send_answer(self._app.answer(prepared, delivery), flags)
        leaves = partial(forwarder.interrupt, threading.get_ident())
        with self._server.leavers.watching(self._sock, leaves):
            return self._send_answer(self._app.answer(prepared, delivery), flags)

    def _send_answer(self, answer: Answer, flags: int) -> bool:
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
            delivery.first = delivery.last = self._send(pieces[0])
        else:
            for piece in pieces:
                when = self._send(piece)
                delivery.sent(when)
            delivery.last = when
        return self._goes_on(answer, flags)

    def _goes_on(self, answer: Answer, flags: int) -> bool:
        """End our side of the connection if this answer is its last one; False when it is."""
        if flags and wire.ends_connection(answer.response, flags):
            self._sock.shutdown(socket.SHUT_WR)
            return False
        return True

    def _perform(self, steps: Generator[Step], answer: Answer, flags: int) -> bool:
        """Send an answer step by step; False when the connection ends with it."""
        perform, waits = self._server.sender.perform, answer.live is not None
        end = perform(self._sock, steps, self._delivery, self._settings.timeout, blocks=waits)
        if end == "reset":
            self._reset()
        return not end and self._goes_on(answer, flags)

    def _reset(self) -> None:
        """Let the close that follows be a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _relay(self, live: Live, flags: int) -> bool:
        """Pass on what is still coming, piece by piece; False when the connection ends with it."""
        framing = LiveFraming(live.head, live.length, flags)
        with closing(live.pieces()) as pieces:
            try:
                next(pieces, b"")  # nothing yet; but from here on it hears of a client that left
                self._delivery.sent(when := self._send(framing.head))
                for data in pieces:
                    piece = framing.piece(data)
                    if piece:
                        self._delivery.sent(when := self._send(piece))
            except UpstreamError:
                # The rest will not come. A reset says so even where the end of the connection is the end of the body.
                self._reset()
                return False
        if framing.end:
            when = self._send(framing.end)
        self._delivery.last = when
        if framing.closes:
            self._sock.shutdown(socket.SHUT_WR)
        return not framing.closes

    def _send(self, piece: bytes) -> float:
        """Send all of *piece*; a client that does not read is given the time a body of that size may take.

        Return when that was: not later than anything that the client does because of it.
        """
        now = _now()
        sent = self._sock.send(piece)
        if sent == len(piece):
            return now
        until = time.monotonic() + self._settings.timeout + len(piece) / SLOWEST
        rest = memoryview(piece)[sent:]
        while rest:
            if time.monotonic() > until:
                raise TimeoutError
            now = _now()
            rest = rest[self._sock.send(rest) :]
        return now

    def _arm(self, *, idle: bool) -> None:
        """Set how long the next bytes may take: idle time between requests, a deadline in all within one."""
        if idle:
            self._deadline = 0.0
            self._wait_at_most(min(_SOON, self._settings.idle))
            return
        now = time.monotonic()
        if not self._deadline:
            self._deadline = now + self._settings.timeout
        until = self._deadline + self._parser.body_size / SLOWEST
        if now >= until:
            self._check_deadline()
        self._wait_at_most(until - now)

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

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._waiting:
            self._waiting = seconds
            self._set_timeout(socket.SO_RCVTIMEO, seconds)

    def _set_timeout(self, option: int, seconds: float) -> None:
        # A timeout of the kernel's costs nothing for each call; Python's own would poll before every receive.
        whole = int(seconds)
        self._sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6) or 1))

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
                self._send(piece)
            self._linger()

    def _linger(self) -> None:
        """Read and drop what is still coming: closing with unread bytes would reset the connection."""
        self.busy = False
        self._sock.shutdown(socket.SHUT_WR)
        self._wait_at_most(_LINGER_SECONDS)
        until, left = time.monotonic() + max(self._settings.timeout, _LINGER_SECONDS), _LINGER_BYTES
        while left > 0 and time.monotonic() < until and not self._server.stopping:
            data = self._sock.recv(_RECEIVE)
            if not data:
                return
            left -= len(data)

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 when it was closed."""
        return self._sock.fileno()

    def has_more(self) -> bool | None:
        """Tell whether there is something to read; False when the client left, None as long as neither is so."""
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return None
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the socket; the other side hears of it unless another process holds it too."""
        with suppress(OSError):
            self._sock.close()

    def interrupt(self, *, busy_too: bool) -> None:
        """End the connection from another thread: at once, or, while it answers a request, only with *busy_too*.

        One that waits hears the end of the input: a request that came in the same moment is still answered.
        """
        with suppress(OSError):
            if busy_too:
                self._sock.shutdown(socket.SHUT_RDWR)
            elif not self.busy:
                self._sock.shutdown(socket.SHUT_RD)
