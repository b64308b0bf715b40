"""Answers as the index keeps them: written once, sent as they are.

An answer is stored without what differs from one use to another: where its cassette is, and the framing of a stream.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from stubserver import replay
from stubserver.answers import head_lines, is_bodiless
from stubserver.messages import Answer, Headers, Response, header

__all__ = ["StoredAnswer", "seal"]

# status, lengths of head and times, the stated length of a body that is not there; whether a stream, whether plain
_HEAD: Final = Struct("<HIIq??")


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
    """The answer of a recording, from what was stored; the response is taken apart only when somebody looks at it.

    *more* are the headers that say where it is from.
    """

    __slots__ = ("_made", "_more", "_stored")

    def __init__(self, stored: bytes, cassette: str, more: Headers) -> None:
        self._stored = stored
        self._more = more
        self._made: Response | None = None
        Answer.__init__(self, None, "replayed", cassette)  # type: ignore[arg-type]  # made when it is asked for
        _, head, times, _, _, plain = _HEAD.unpack_from(stored)
        if plain:
            ours = "".join([f"{name}: {value}\r\n" for name, value in more]).encode("latin-1")
            end = _HEAD.size + head
            body = stored[end + times :]
            framing = b"Content-Length: %d\r\n\r\n" % len(body)
            self.rendered[0] = (b"".join((stored[_HEAD.size : end], ours, framing, body)),)

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
        return int(_HEAD.unpack_from(self._stored)[0])

    @property
    def events(self) -> bool:
        """Whether the response is an event stream."""
        return bool(_HEAD.unpack_from(self._stored)[4])

    def _opened(self) -> Response:
        status, head, times, length, events, _ = _HEAD.unpack_from(self._stored)
        end = _HEAD.size + head
        first, *lines = self._stored[_HEAD.size : end].decode("latin-1").split("\r\n")[:-1]
        headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
        came = self._stored[end : end + times]
        return Response(
            status,
            (*headers, *self._more),
            self._stored[end + times :],
            first.split(" ", 2)[2],
            events,
            None if length < 0 else length,
            tuple(map(int, came.split(b","))) if came else (),
        )
