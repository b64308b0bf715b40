"""One client's connection: bytes in, answers out, and how long either may take.

All decisions about HTTP are ``wire``'s, all decisions about the answer the app's. A connection is a conversation,
written down from its begin to its end and interrupted wherever it waits: meanwhile it takes no thread.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import repeat
from typing import Final, NamedTuple, Protocol

from stubserver import wire
from stubserver.answers import LiveFraming
from stubserver.app import App, Prepared
from stubserver.errors import ProtocolError, UpstreamError
from stubserver.known import Known
from stubserver.leaving import watching
from stubserver.line import UPLOAD_SPEED, Line, Talk
from stubserver.loop import Loop, report_mistake
from stubserver.messages import Answer, Delivery, Live, Step
from stubserver.poller import GONE, LEAVES, READ
from stubserver.threads import Threads
from stubserver.wire import Limits, RequestParser, State

__all__ = ["Connection", "Owner", "ServerSettings"]

_now = time.perf_counter
_LATE_SECONDS: Final = 0.002


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
    loop: Loop
    threads: Threads
    stopping: bool

    def ended(self, connection: Connection) -> None:
        """Hear of a connection that is over."""


class Connection(Line):
    """One client's connection: a conversation, which the loop leads on whenever what it waits for is there."""

    def __init__(self, server: Owner, sock: socket.socket) -> None:
        super().__init__(sock, server.loop, server.threads, server.settings.timeout)
        self._server = server
        self._app = server.app
        self._settings = server.settings
        self._parser = RequestParser(server.settings.limits)
        self._received = _now()
        self.deadline = self._received + self._settings.idle
        self._request_until = 0.0
        self._delivery = Delivery()

    # -- the conversation

    def converse(self) -> Talk[None]:
        """Answer requests until one side ends the connection."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._app.hangs_up():
                yield from self.linger()
            else:
                yield from self._requests()
        except ProtocolError as error:
            yield from self._refuse(error)
        except OSError:
            pass  # the client left, or the server is stopping
        except Exception:  # noqa: BLE001  # it is shown
            # A mistake of ours: the client hears of it, and whoever runs the server sees it.
            report_mistake()
            yield from self._refuse(
                ProtocolError(500, "The server made a mistake with this request.", "internal_error")
            )
        finally:
            self._note_cut()
            self.close()

    def _requests(self) -> Talk[None]:
        known, receive = self._server.known, self.receive_now
        idle_seconds, whole = self._settings.idle, True
        while not self._server.stopping:
            self.busy = False
            if not (yield READ):
                self._check_deadline()
            try:
                data = receive()
            except BlockingIOError:
                continue
            if not data:
                return
            self.busy = True
            self._received = _now()
            found = known.get(data) if whole else None
            rest = self._answer(*found) if found is not None else self._whole(data) if whole else None
            if rest is None:
                if not (yield from self._take(data, whole=whole)):
                    return
                whole = self._parser.state is State.IDLE
                self._arm(idle=whole)
                continue
            if rest is not True and not (rest and (yield from rest)):
                return
            self.deadline = self._received + idle_seconds

    def _whole(self, data: bytes) -> bool | Talk[bool] | None:
        """Answer what is one whole request, as :meth:`_answer` does; None when it has to be looked at closer."""
        parsed = self._parser.whole(data)
        if parsed is None:
            return None
        prepared = self._app.prepare(parsed.request, self._parser.notes)
        rest = self._answer(prepared, parsed.flags)
        self._server.known.add(data, prepared, parsed.flags)
        return rest

    def _take(self, data: bytes, *, whole: bool) -> Talk[bool]:
        """Feed the parser and answer what is complete."""
        parser = self._parser
        parser.receive(data)
        first = True
        while True:
            parsed = parser.next_request()
            if parsed is None:
                break
            prepared = self._app.prepare(parsed.request, parser.notes)
            self._request_until = 0.0
            rest = self._answer(prepared, parsed.flags)
            if first and whole and parser.state is State.IDLE:
                self._server.known.add(data, prepared, parsed.flags)
            first = False
            if rest is not True and not (rest and (yield from rest)):
                return False
        if parser.wants_continue:
            yield from self.send(wire.CONTINUE)
            parser.continued()
        return True

    def _answer(self, prepared: Prepared, flags: int) -> bool | Talk[bool]:
        """Answer at once, and tell whether the connection goes on; or return what is left to do."""
        delivery = self._delivery = Delivery()
        delivery.received = self._received
        if self._app.may_wait(prepared):
            return self._answer_apart(prepared, flags)
        return self._send_answer(self._app.answer(prepared, delivery), flags)

    def _answer_apart(self, prepared: Prepared, flags: int) -> Talk[bool]:
        answer = yield partial(self._ask, prepared, flags)
        if isinstance(answer, bool):
            return answer
        rest = self._send_answer(answer, flags)
        return rest if isinstance(rest, bool) else (yield from rest)

    def _ask(self, prepared: Prepared, flags: int) -> Answer | bool:
        """In a thread: return the answer; or send one that comes in pieces, and tell what :meth:`_answer` does."""
        forwarder = self._app.forwarder
        with ExitStack() as stack:
            if forwarder is not None:
                left = stack.enter_context(forwarder.interruptible())
                stack.enter_context(watching(self._loop, self._sock, left))
            answer = self._app.answer(prepared, self._delivery)
            if answer.script is not None:  # it may wait for the upstream between its steps
                return self.follow(self._perform(answer.script(answer.response, flags), answer, flags))
            return answer if answer.live is None else self._relay(answer.live, flags)

    def _send_answer(self, answer: Answer, flags: int) -> bool | Talk[bool]:
        """Send an answer, as :meth:`_answer` does."""
        if self._server.stopping:
            flags |= wire.CLOSE
        if answer.script is not None:
            return self._perform(answer.script(answer.response, flags), answer, flags)
        pieces = answer.rendered.get(flags)
        if pieces is None:
            pieces = answer.rendered[flags] = wire.render(answer.response, flags)
        if len(pieces) > 1:
            return self._send_pieces(pieces, answer, flags)
        delivery, (piece,) = self._delivery, pieces
        # Before it is sent: not later than anything that the client does because of it, such as asking for the journal.
        delivery.first = delivery.last = _now()
        sent = 0
        try:
            sent = self.send_now(piece)
        finally:
            if sent < len(piece):
                delivery.last = 0.0
        if sent < len(piece):
            return self._send_pieces((memoryview(piece)[sent:],), answer, flags)
        return self._goes_on(answer, flags) if flags else True

    def _send_pieces(self, pieces: Sequence[bytes | memoryview], answer: Answer, flags: int) -> Talk[bool]:
        """Send an answer in several pieces, or what is left of one."""
        delivery = self._delivery
        for piece in pieces:
            when = yield from self.send(piece)
            if len(pieces) > 1:
                delivery.sent(when)
        delivery.last = when
        self._arm(idle=True)
        return self._goes_on(answer, flags)

    def _goes_on(self, answer: Answer, flags: int) -> bool:
        """End our side of the connection if this answer is its last one; False when it is."""
        if flags and wire.ends_connection(answer.response, flags):
            self._sock.shutdown(socket.SHUT_WR)
            return False
        return True

    def _perform(self, steps: Generator[Step], answer: Answer, flags: int) -> Talk[bool]:
        """Send an answer step by step."""
        when = 0.0
        with closing(steps):
            # One that is still coming from an upstream is never held up for what comes behind.
            for step, count in _late_together(steps) if answer.live is None else zip(steps, repeat(1)):
                if self._pauses(step) and (yield LEAVES if step.leaves else GONE):
                    return False  # the client has left
                if step.data:
                    when, sent = _now(), self.send_now(step.data)
                    if sent < len(step.data):
                        when = yield from self.send(memoryview(step.data)[sent:])
                    for _ in range(count):
                        self._delivery.sent(when)
                if step.end == "reset":
                    self.reset()
                if step.end:
                    return False
        self._delivery.last = when or _now()
        self._arm(idle=True)
        return self._goes_on(answer, flags)

    def _pauses(self, step: Step) -> bool:
        """Tell whether there is a wait before *step*, and set its end."""
        if step.delay > 0:
            self.wait_at_most(step.delay)
        return step.delay > 0

    def _relay(self, live: Live, flags: int) -> bool:
        """In a thread: pass on what is still coming, piece by piece; False when the connection ends with it."""
        if self._server.stopping:
            flags |= wire.CLOSE
        framing = LiveFraming(live.head, live.length, flags)
        with closing(live.pieces()) as pieces:
            try:
                next(pieces, b"")  # nothing yet; but from here on it hears of a client that left
                self._delivery.sent(when := self.follow(self.send(framing.head)))
                for data in pieces:
                    piece = framing.piece(data)
                    if piece:
                        self._delivery.sent(when := self.follow(self.send(piece)))
            except UpstreamError:
                # The rest will not come. A reset says so even where the end of the connection is the end of the body.
                self.reset()
                return False
        if framing.end:
            when = self.follow(self.send(framing.end))
        self._delivery.last = when
        if framing.closes:
            self._sock.shutdown(socket.SHUT_WR)
        return not framing.closes

    def _arm(self, *, idle: bool) -> None:
        """Set how long the next bytes may take: idle time between requests, a deadline in all within one."""
        now = _now()
        if idle:
            self._request_until = 0.0
            self.wait_at_most(self._settings.idle)
            return
        if not self._request_until:
            self._request_until = now + self._settings.timeout
        until = self._request_until + self._parser.body_size / UPLOAD_SPEED
        if now >= until:
            self._check_deadline()
        self.wait_at_most(until - now)

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

    def _refuse(self, error: ProtocolError) -> Talk[None]:
        """Answer a request that cannot be served, and let the client read that answer before the close."""
        with suppress(OSError):
            response = self._app.refused(error)
            for piece in wire.render(response, wire.CLOSE):
                yield from self.send(piece)
            yield from self.linger()

    def close(self) -> None:
        """End it; the other side hears of it unless another process holds the socket too."""
        self._loop.detach(self)
        self.let_go()
        self._server.ended(self)


def _late_together(steps: Generator[Step]) -> Iterator[tuple[Step, int]]:
    """Yield each step with how many it stands for: those that are late already go out together."""
    step = next(steps, None)
    while step is not None:
        following = None
        if step.delay < -_LATE_SECONDS and not step.end:
            parts = [step.data]
            for following in steps:
                if following.delay >= -_LATE_SECONDS or following.end:
                    break
                parts.append(following.data)
            else:
                following = None
            yield (Step(step.delay, b"".join(parts)) if len(parts) > 1 else step), len(parts)
            step = following
        else:
            yield step, 1
            step = next(steps, None)
