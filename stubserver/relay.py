"""An answer of the upstream on its way to a client: passed on at once, and kept when it was whole.

Event streams go on event by event, other bodies piece by piece. The last byte goes out after the recording was written,
so that whoever has an answer finds it in the cassette.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from threading import Timer
from typing import Final, NamedTuple

from stubserver import sse
from stubserver.errors import UpstreamError
from stubserver.messages import Headers, Response, header, without_headers
from stubserver.upstream import Reply
from stubserver.wire import HOP_BY_HOP

__all__ = ["Relay", "Relayed"]

_MOST_KEPT: Final = 64 * 1024 * 1024
_LONGEST_EVENT: Final = 4 * 1024 * 1024
_ENDS: Final = (
    *(b"data: [DONE]", b"data:[DONE]", b"event: message_stop"),
    *(b"event: response.completed", b"event: response.incomplete", b"event: response.failed"),
)
_DRAIN_SECONDS: Final = 5.0


class Relayed(NamedTuple):
    """What went through.

    ``body`` is None when it was too large to keep; ``cut`` says why it is not whole, empty when it is. ``times``: when
    each event came, or the end of what is no event stream, in milliseconds after the request was sent.
    """

    body: bytes | None
    cut: str
    times: tuple[int, ...]


class Relay:
    """One reply of the upstream; :meth:`pieces` gives it to the client, *done* hears once what went through."""

    def __init__(self, reply: Reply, headers: Headers, started: float, done: Callable[[Relayed], None]) -> None:
        self._reply = reply
        self._started = started
        self._done = done
        self._parts: list[bytes] = []
        self._size = 0
        self._times: list[int] = []
        self._ended = False
        self.events = sse.is_event_stream(header(reply.headers, "content-type"))
        dropped = HOP_BY_HOP | {"content-length"} | _named(reply.headers)
        names = {name.lower() for name, _ in reply.headers}
        dropped |= {name for name in names if name.startswith("x-stubserver-")}  # another one of us may be upstream
        kept = without_headers(reply.headers, frozenset(dropped))
        self.length = None if self.events else reply.length
        stated = None if reply.has_body else reply.length
        self.head = Response(reply.status, (*kept, *headers), b"", reply.reason, events=self.events, length=stated)

    def pieces(self) -> Generator[bytes]:
        """Yield what is to be sent, as it comes: at first nothing, when it is the head's turn.

        From then on, a close means that the client left. Raises UpstreamError when the rest will not come.
        """
        cut = "the client left before the end"
        try:
            if self._reply.has_body:  # else the head is the last to be sent
                yield b""
            yield from self._events() if self.events else self._blocks()
            cut = ""
        except UpstreamError as error:
            cut = str(error)
            raise
        except GeneratorExit:
            if self._ended:
                cut = self._drained()
            raise
        finally:
            self._finish(cut)

    def _blocks(self) -> Iterator[bytes]:
        """Hold the last byte back until the end was seen and the answer kept."""
        held = b""
        for piece in self._received():
            if held or len(piece) > 1:
                yield held + piece[:-1]
            held = piece[-1:]
        self._came()
        self._finish("")
        if held:
            yield held

    def _events(self) -> Iterator[bytes]:
        buffer = b""
        for piece in self._received():
            buffer += piece
            *whole, rest = (
                [*sse.split(buffer), b""] if buffer.endswith((b"\n\n", b"\r\n\r\n")) else (sse.split(buffer) or [b""])
            )
            for event in whole:
                self._came()
                if event.startswith(_ENDS):
                    self._ended = True
                    self._reply.stay()
                yield event
            buffer = rest
            if len(buffer) > _LONGEST_EVENT:
                yield buffer
                buffer = b""
        if buffer:
            self._came()
            yield buffer
        self._finish("")

    def _came(self) -> None:
        self._times.append(int((time.monotonic() - self._started) * 1000))

    def _received(self) -> Iterator[bytes]:
        for piece in self._reply.pieces():
            self._size += len(piece)
            self._parts.append(piece)
            if self._size > _MOST_KEPT:
                self._parts.clear()
            yield piece

    def _drained(self) -> str:
        """Read what is left after the last event, at which openai's client leaves; return why it is not whole."""
        late = Timer(_DRAIN_SECONDS, self._reply.interrupt)
        late.daemon = True
        late.start()
        try:
            for _ in self._received():
                pass
        except UpstreamError:
            return "the upstream did not end after the last event"
        finally:
            late.cancel()
        return ""

    def _finish(self, cut: str) -> None:
        done, self._done = self._done, _nothing
        if done is not _nothing:
            self._reply.close()
            body = b"".join(self._parts) if self._size <= _MOST_KEPT else None
            self._parts.clear()
            done(Relayed(body, cut, tuple(self._times)))


def _nothing(relayed: Relayed) -> None:
    del relayed


def _named(headers: Headers) -> set[str]:
    return {name.strip().lower() for name in (header(headers, "connection") or "").split(",")}
