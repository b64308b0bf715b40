"""Answers as the index keeps them: written once, sent as they are.

An answer is stored without what differs from one use to another: where its cassette is, and the framing of a stream.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from stubserver import replay
from stubserver.answers import head_lines, is_bodiless, printable, source_headers
from stubserver.messages import Answer, Response, header

__all__ = ["StoredAnswer", "seal"]

# status, lengths of head and times, the stated length of a body that is not there; whether a stream, whether plain
_HEAD: Final = Struct("<HIIq??")
_OURS: Final = b"x-stubserver-source: replayed\r\nx-stubserver-cassette: %b\r\nContent-Length: %d\r\n\r\n"


def seal(recorded: Response) -> bytes | None:
    """Return the answer made of a recorded response; None where that depends on what the client accepts."""
    encoding = (header(recorded.headers, "content-encoding") or "identity").strip().lower()
    if encoding not in {"", "identity"}:
        return None
    response = replay.replayed(recorded, "")
    try:
        head = "\r\n".join([*head_lines(response), ""]).encode("latin-1")
    except ValueError:
        return None  # whoever plays it is told
    times = ",".join(map(str, response.times)).encode()
    length = -1 if response.length is None else response.length
    plain = not (response.events or is_bodiless(response))
    packed = _HEAD.pack(response.status, len(head), len(times), length, response.events, plain)
    return packed + head + times + response.body


class StoredAnswer(Answer):
    """The answer of the recording *cassette*, from what was stored; taken apart only when somebody looks at it."""

    __slots__ = ("_events", "_made", "_status", "_stored")

    def __init__(self, stored: bytes, cassette: str) -> None:
        # Field by field: the way through Answer's own is twice as long.
        self._stored = stored
        self._made: Response | None = None
        self.source, self.cassette, self.drift = "replayed", cassette, ()
        self.note = self.fault = ""
        self.live = self.script = None
        self.rendered = {}
        self._status, head, times, _, self._events, plain = _HEAD.unpack_from(stored)
        if plain:
            end = _HEAD.size + head
            body = stored[end + times :]
            framing = _OURS % (printable(cassette).encode("ascii"), len(body))
            self.rendered[0] = (b"".join((stored[_HEAD.size : end], framing, body)),)

    @property
    def response(self) -> Response:
        """The response, as it is of an answer that was made of the cassette."""
        if self._made is None:
            self._made = self._opened()
        return self._made

    @response.setter
    def response(self, value: Response) -> None:
        self._made = value

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self._stored)

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(self._status)

    @property
    def events(self) -> bool:
        """Whether the response is an event stream."""
        return bool(self._events)

    def _opened(self) -> Response:
        status, head, times, length, events, _ = _HEAD.unpack_from(self._stored)
        end = _HEAD.size + head
        first, *lines = self._stored[_HEAD.size : end].decode("latin-1").split("\r\n")[:-1]
        headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
        came = self._stored[end : end + times]
        return Response(
            status,
            (*headers, *source_headers("replayed", self.cassette)),
            self._stored[end + times :],
            first.split(" ", 2)[2],
            events,
            None if length < 0 else length,
            tuple(map(int, came.split(b","))) if came else (),
        )
