"""The journal as an HTTP Archive, written while it is sent."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from stubserver.interchange import har
from stubserver.journal import Entry
from stubserver.messages import Interaction, Response

__all__ = ["Archive"]


class Archive:
    """*entries* on their way to a client, one by one: all of them together may be large."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.length: int | None = None
        fields = (("content-type", "application/json"), ("content-disposition", 'attachment; filename="requests.har"'))
        self.head = Response(200, fields)

    def pieces(self) -> Generator[bytes]:
        """Yield the archive; at first nothing, when it is the head's turn."""
        yield b""
        yield from har.document(self._written())

    def _written(self) -> Iterator[dict[str, Any]]:
        for entry in self._entries:
            took, first = (entry.duration or 0.0) * 1000, (entry.first_byte or 0.0) * 1000
            written = har.entry(Interaction(entry.request, entry.response), entry.time, took)
            written["timings"] = {"send": 0, "wait": first, "receive": max(0.0, took - first)}
            origin = f"{entry.source} {entry.cassette}".strip()
            yield {**written, "comment": f"{origin}: {entry.note}" if entry.note else origin}
