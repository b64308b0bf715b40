"""What was asked and what was done: the last entries, bounded by count and by bytes.

An entry is written before its answer leaves, so whoever has an answer finds it here. Writing one costs next to
nothing: secrets are taken out, and bodies cut, when an entry is read.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterator
from threading import Lock
from typing import Final

from stubserver.messages import MOST_TIMES, Answer, Delivery, Request, Response

__all__ = ["Entry", "Journal", "cut_body"]

_BODY_SHOWN: Final = 65_536
_BODY_CLEANED: Final = _BODY_SHOWN + 8192  # a secret that is cut in two would not be known as one
_ENTRY_COST: Final = 1024
_SETTLED_EVERY: Final = 64
_STREAM_COST: Final = _ENTRY_COST + 8 * MOST_TIMES


class Entry:
    """One request with its answer; made when it is read.

    ``number`` counts from 1, ``time`` is in seconds since the epoch, ``source`` and ``cassette`` say where the answer
    came from, ``drift`` in which JSON paths the recording differs, ``note`` why no answer was found. ``delivery`` is
    when it was sent.
    """

    __slots__ = ("_answer", "_request", "delivery", "number", "time")

    def __init__(self, number: int, when: float, request: Request, answer: Answer, delivery: Delivery) -> None:
        self.number = number
        self.time = when
        self.delivery = delivery
        self._request = request
        self._answer = answer

    @property
    def request(self) -> Request:
        """The request without secrets; of a long body, the first 64 KB."""
        from stubserver.redaction import clean_request  # noqa: PLC0415  # start-up: only a reader needs it

        kept = self._request
        return clean_request(kept._replace(body=b""))._replace(body=cut_body(kept.body))

    @property
    def response(self) -> Response:
        """The response without secrets; of a long body, the first 64 KB."""
        from stubserver.redaction import clean_headers  # noqa: PLC0415  # start-up: only a reader needs it

        kept = self._answer.response
        return kept._replace(headers=clean_headers(kept.headers), body=cut_body(kept.body))

    @property
    def source(self) -> str:
        """Where the answer came from: replayed, recorded, forwarded, dummy, unmatched or fault."""
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
        from stubserver.jsonvalue import json_value  # noqa: PLC0415  # start-up: only a reader needs it

        if self._answer.note:
            return self._answer.note
        value = json_value(self._answer.response.body) if self.source == "unmatched" else None
        return str(value["error"]["message"]) if isinstance(value, dict) else ""

    @property
    def fault(self) -> str:
        """What was done to the answer on purpose, or in its place, as ``name=value,option=value``; else empty."""
        return self._answer.fault

    @property
    def sizes(self) -> tuple[int, int]:
        """How many bytes the bodies of the request and of the response have."""
        return len(self._request.body), len(self._answer.response.body)

    @property
    def done(self) -> bool:
        """Whether the answer has left, or its client has."""
        return self.delivery.last > 0.0

    @property
    def first_byte(self) -> float | None:
        """Seconds from the whole request to the first byte of the answer; None: it has not left, or not by a socket."""
        return self._seconds(self.delivery.first)

    @property
    def duration(self) -> float | None:
        """Seconds from the whole request to the last byte of the answer; None: it has not left, or not by a socket."""
        return self._seconds(self.delivery.last)

    def event_times(self, events: int) -> list[float | None]:
        """Return when each of *events* events was sent, in seconds after the request; None where that is not known."""
        times = self.delivery.times or array("d")
        if len(times) - events in (1, 2) or len(times) == MOST_TIMES <= events:
            times = times[1:]  # the head went by itself
        elif len(times) != events:
            return [None] * events  # sent in other pieces than events
        known = [self._seconds(when) for when in times[:events]]
        return known + [None] * (events - len(known))

    def _seconds(self, when: float) -> float | None:
        received = self.delivery.received
        return when - received if when and received else None

    def raw(self) -> tuple[Request, Answer]:
        """Return request and answer as they are, with what secrets they hold: to work with, never to show."""
        return self._request, self._answer

    def __repr__(self) -> str:
        """Show number, request line, source and status."""
        from stubserver.redaction import clean_text  # noqa: PLC0415  # start-up: only a reader needs it

        what = f"{self._request.method} {clean_text(self._request.target)}"
        return f"<Entry {self.number} {what} {self.source} {self._answer.response.status}>"


_Kept = tuple[int, float, Request, Answer, Delivery]
"""What an entry is made of: a tuple takes a quarter of the time that an object does."""


class Journal:
    """The last entries, oldest first; iterating gives those that are there at that moment.

    With *most* 0 it is off: nothing is kept of any request.
    """

    def __init__(self, most: int = 1000, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._kept: deque[_Kept] = deque(maxlen=most)
        self._most_bytes = most_bytes
        self._fair = most_bytes // max(most, 1) - _STREAM_COST
        """As long as no entry has larger bodies than this, the number of entries bounds their bytes as well."""
        self._unfair = False
        self._slack = most_bytes // 16
        self._unsettled = 0
        """How many bytes came with large entries since all were counted, which takes a while: not more than slack."""
        self._number = 0
        self._cleared = 0
        self._lock = Lock()

    def skip(self, entries: int) -> None:
        """Count entries that were written elsewhere and are kept nowhere any more."""
        with self._lock:
            self._number += max(0, entries)

    def add(
        self, request: Request, answer: Answer, delivery: Delivery | None = None, when: float | None = None
    ) -> None:
        """Write an entry, of *when* if not of now; the oldest leave when there are too many or too large ones."""
        kept = self._kept
        if not kept.maxlen:
            return
        size, now = len(request.body) + answer.size, when or time.time()
        with self._lock:
            self._number += 1
            kept.append((self._number, now, request, answer, delivery or Delivery()))
            if size > self._fair or self._unfair:
                self._count(size)

    def _count(self, size: int) -> None:
        """Count an entry in, where some are large."""
        self._unsettled += size if size > self._fair else 0
        if self._unsettled > self._slack or not self._number % _SETTLED_EVERY:
            self._settle()

    def _settle(self) -> None:
        """Let the oldest entries go until what is left is small enough."""
        kept = self._kept
        sizes = [_size(one) for one in kept]
        total, gone = sum(sizes), 0
        while total > self._most_bytes - self._slack and gone < len(sizes) - 1:
            total -= sizes[gone]
            gone += 1
            kept.popleft()
        self._unfair = any(size > self._fair for size in sizes[gone:])
        self._unsettled = max(0, total - self._most_bytes + self._slack)  # what could not go yet counts on

    def clear(self) -> None:
        """Forget the entries; the numbers go on."""
        with self._lock:
            self._kept.clear()
            self._cleared = self._number

    def get(self, number: int) -> Entry | None:
        """Return the entry with this number, None when it is not kept, or not any more."""
        return next((Entry(*kept) for kept in self._now() if kept[0] == number), None)

    def remove(self, number: int) -> bool:
        """Forget one entry; False when there is none of this number."""
        with self._lock:
            found = next((kept for kept in self._kept if kept[0] == number), None)
            if found is None:
                return False
            self._kept.remove(found)
        return True

    def since(self, number: int) -> Iterator[Entry]:
        """Iterate over the entries behind the one with this number, oldest first."""
        return (Entry(*kept) for kept in self._now() if kept[0] > number)

    def _now(self) -> tuple[_Kept, ...]:
        with self._lock:
            return tuple(self._kept)

    @property
    def bytes(self) -> int:
        """About how many bytes of memory the entries hold on to."""
        return sum(map(_size, self._now()))

    @property
    def is_on(self) -> bool:
        """Whether entries are written at all."""
        return bool(self._kept.maxlen)

    @property
    def total(self) -> int:
        """How many entries were written since the start."""
        return self._number

    @property
    def forgotten(self) -> int:
        """How many entries had to go since the journal was last emptied, because there were too many."""
        with self._lock:
            oldest = self._kept[0][0] if self._kept else self._number + 1
            return max(oldest - 1 - self._cleared, 0) if self._kept.maxlen else 0

    def __len__(self) -> int:
        """Count the entries that are kept."""
        return len(self._kept)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries that are kept, oldest first."""
        return self.since(0)

    def __getitem__(self, index: int) -> Entry:
        """Return one entry: 0 is the oldest that is kept, -1 the newest."""
        with self._lock:
            return Entry(*self._kept[index])


def _size(kept: _Kept) -> int:
    """Return about how many bytes of memory an entry holds on to."""
    _, _, request, answer, _ = kept
    return len(request.body) + answer.size + (_STREAM_COST if answer.events else _ENTRY_COST)


def cut_body(body: bytes) -> bytes:
    """Return *body* as it is shown: without secrets; of a long one the first 64 KB, with a mark that says so."""
    from stubserver.redaction import clean_body  # noqa: PLC0415  # start-up: only a reader needs it

    cleaned = clean_body(body[:_BODY_CLEANED])
    if len(body) <= _BODY_CLEANED and len(cleaned) <= _BODY_SHOWN:
        return cleaned
    return cleaned[:_BODY_SHOWN] + b" [cut here: %d bytes in all]" % len(body)
