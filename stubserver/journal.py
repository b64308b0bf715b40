"""What was asked and what was done: the last entries, bounded by count and by bytes.

An entry is written before its answer leaves, so whoever has an answer finds it here. Writing one costs next to
nothing: secrets are taken out, and bodies cut, when an entry is read.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from threading import Lock
from typing import Final

from stubserver.messages import Answer, Request, Response

__all__ = ["Entry", "Journal"]

_BODY_SHOWN: Final = 65_536
_BODY_CLEANED: Final = _BODY_SHOWN + 8192  # a secret that is cut in two would not be known as one
_ENTRY_COST: Final = 1024


class Entry:
    """One request with its answer.

    ``number`` counts from 1, ``time`` is in seconds since the epoch, ``source`` and ``cassette`` say where the answer
    came from, ``drift`` in which JSON paths the recording differs, ``note`` why no answer was found.
    """

    __slots__ = ("_answer", "_request", "number", "time")

    def __init__(self, number: int, when: float, request: Request, answer: Answer) -> None:
        self.number = number
        self.time = when
        self._request = request
        self._answer = answer

    @property
    def request(self) -> Request:
        """The request without secrets; of a long body, the first 64 KB."""
        from stubserver.redaction import clean_request  # noqa: PLC0415  # start-up: only a reader needs it

        kept = self._request
        cleaned = clean_request(kept._replace(body=kept.body[:_BODY_CLEANED]))
        return cleaned._replace(body=_cut(cleaned.body, len(kept.body)))

    @property
    def response(self) -> Response:
        """The response without secrets; of a long body, the first 64 KB."""
        from stubserver.redaction import clean_headers, clean_text  # noqa: PLC0415  # start-up: only a reader needs it

        kept = self._answer.response
        text = kept.body[:_BODY_CLEANED].decode("utf-8", "surrogateescape")
        cleaned = clean_text(text).encode("utf-8", "surrogateescape")
        return kept._replace(headers=clean_headers(kept.headers), body=_cut(cleaned, len(kept.body)))

    @property
    def source(self) -> str:
        """Where the answer came from: replayed, recorded, forwarded, dummy or unmatched."""
        return self._answer.source

    @property
    def cassette(self) -> str:
        """The recording that was played, as ``<file>#<n>``; empty for none."""
        return self._answer.cassette

    @property
    def drift(self) -> tuple[str, ...]:
        """The JSON paths in which the played recording differs from the request."""
        return self._answer.drift

    @property
    def note(self) -> str:
        """Why no answer was found, as the error says it, or why one was not recorded; else empty."""
        from stubserver.canonical import json_value  # noqa: PLC0415  # start-up: only a reader needs it

        if self._answer.note:
            return self._answer.note
        value = json_value(self._answer.response.body) if self.source == "unmatched" else None
        return str(value["error"]["message"]) if isinstance(value, dict) else ""

    @property
    def size(self) -> int:
        """About how many bytes of memory the entry holds on to."""
        return len(self._request.body) + len(self._answer.response.body) + _ENTRY_COST

    def __repr__(self) -> str:
        """Show number, request line, source and status."""
        from stubserver.redaction import clean_text  # noqa: PLC0415  # start-up: only a reader needs it

        what = f"{self._request.method} {clean_text(self._request.target)}"
        return f"<Entry {self.number} {what} {self.source} {self._answer.response.status}>"


class Journal:
    """The last entries, oldest first; iterating gives those that are there at that moment."""

    def __init__(self, most: int = 1000, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._entries: deque[Entry] = deque()
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._number = 0
        self._lock = Lock()

    def add(self, request: Request, answer: Answer) -> None:
        """Write an entry; the oldest ones leave when there are too many or too large ones."""
        with self._lock:
            self._number += 1
            entry = Entry(self._number, time.time(), request, answer)
            self._entries.append(entry)
            self._bytes += entry.size
            while len(self._entries) > self._most or (self._bytes > self._most_bytes and len(self._entries) > 1):
                self._bytes -= self._entries.popleft().size

    def clear(self) -> None:
        """Forget the entries; the numbers go on."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    @property
    def total(self) -> int:
        """How many requests were answered since the start."""
        return self._number

    def __len__(self) -> int:
        """Count the entries that are kept."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries that are kept, oldest first."""
        with self._lock:
            return iter(tuple(self._entries))

    def __getitem__(self, index: int) -> Entry:
        """Return one entry: 0 is the oldest that is kept, -1 the newest."""
        with self._lock:
            return self._entries[index]


def _cut(body: bytes, size: int) -> bytes:
    """Return what is shown of the cleaned beginning of a body that was *size* bytes long."""
    if size <= _BODY_CLEANED and len(body) <= _BODY_SHOWN:
        return body
    return body[:_BODY_SHOWN] + b" [cut here: %d bytes in all]" % size
