"""Answers as the index keeps them: written once, sent as they are.

An answer is stored without what differs from one use to another: where its cassette is, and the framing of a stream.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from stubserver import replay
from stubserver.answers import head_lines, is_bodiless, printable, source_headers
from stubserver.messages import Answer, Response, header

__all__ = ["StoredAnswer", "seal"]

# status, lengths of head and times, the stated length of a body that is not there; whether a stream, whether plain
_HEAD: Final = Struct("<HIIq??")
_OURS: Final = b"x-stubserver-source: replayed\r\nx-stubserver-cassette: %b#%d\r\nContent-Length: %d\r\n\r\n"
_SIZE: Final = _HEAD.size
_LABELS: Final = 4096
"""So many files are remembered as a header names them."""


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


@lru_cache(maxsize=_LABELS)
def _named(label: str) -> bytes:
    return printable(label).encode("ascii")


class StoredAnswer(Answer):
    """The answer of recording *number* of the file *label*, as it was stored; taken apart only when it is looked at."""

    __slots__ = ("_body", "_head", "_label", "_made", "_number", "_stored", "events", "size", "status")

    # One is made for each answer that is in no cache: what is the same in all of them is written down once.
    source = "replayed"
    drift = ()
    live = script = None
    note = fault = ""

    def __init__(self, stored: bytes, label: str, number: int) -> None:
        self._stored = stored
        self._label = label
        self._number = number
        self._made: Response | None = None
        self._head = self._body = 0
        # Plain fields in place of Answer's properties, which would be asked for each time.
        self.size = len(stored)  # type: ignore[misc]
        self.status, head, times, length, self.events, plain = _HEAD.unpack_from(stored)  # type: ignore[misc]
        if plain:
            end = _SIZE + head
            body = stored[end + times :]
            framing = _OURS % (_named(label), number, len(body))
            piece = b"".join((stored[_SIZE:end], framing, body))
            self.rendered = {0: (piece,)}
            if not times and length < 0:
                # What is sent has all of it: once is enough, in the caches and in the journal.
                self._stored, self._head, self._body = piece, head, len(piece) - len(body)
        else:
            self.rendered = {}

    @property
    def cassette(self) -> str:  # type: ignore[override]  # made when it is asked for
        """Which recording it is, as ``<file>#<n>``."""
        return f"{self._label}#{self._number}"

    @property
    def response(self) -> Response:
        """The response, as it is of an answer that was made of the cassette."""
        if self._made is None:
            self._made = self._opened()
        return self._made

    @response.setter
    def response(self, value: Response) -> None:
        self._made = value

    def _opened(self) -> Response:
        stored = self._stored
        if self._body:
            return self._response(stored[: self._head], stored[self._body :])
        _, head, times, length, _, _ = _HEAD.unpack_from(stored)
        end = _SIZE + head
        came = stored[end : end + times]
        return self._response(stored[_SIZE:end], stored[end + times :])._replace(
            length=None if length < 0 else length, times=tuple(map(int, came.split(b","))) if came else ()
        )

    def _response(self, head: bytes, body: bytes) -> Response:
        first, *lines = head.decode("latin-1").split("\r\n")[:-1]
        headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
        reason = first.split(" ", 2)[2]
        return Response(self.status, (*headers, *source_headers("replayed", self.cassette)), body, reason, self.events)
