"""From cassettes into the files of other tools, one interaction in memory at a time, without secrets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stubserver.cassettes.library import Library
from stubserver.cassettes.recordings import Recording
from stubserver.errors import CassetteError, UsageError
from stubserver.interchange import Lost, har, jsonl, wiremock
from stubserver.interchange.wiremock import Turn
from stubserver.keeping import decoded
from stubserver.messages import Interaction, header, without_headers
from stubserver.scrubbing import Scrubber
from stubserver.wire import HOP_BY_HOP

__all__ = ["ENDINGS", "Exported", "take_out"]

ENDINGS: Final = {".har": "har", ".jsonl": "jsonl", ".json": "wiremock"}
"""The format that a target's name asks for."""

_OF_THE_CONNECTION: Final = HOP_BY_HOP | {"content-encoding", "content-length"}


@dataclass(slots=True, eq=False)
class Exported:
    """What became of it: how many were written; what was lost, and what of the written ones was left out."""

    written: int = 0
    lost: list[Lost] = field(default_factory=list)
    notes: list[Lost] = field(default_factory=list)


def take_out(library: Library, target: Path, scrubber: Scrubber, name: str | None = None) -> Exported:
    """Write everything in *library* to the file *target*, in the format *name* or that of its ending, in one step.

    Raises UsageError when neither says the format, OSError when it cannot be written.
    """
    chosen = name or ENDINGS.get(target.suffix)
    if chosen is None:
        raise UsageError(f"{target}: give a name that ends in .har, .jsonl or .json (WireMock), or say --format")
    work = _Export(library, scrubber, chosen)
    fresh = target.with_name(f".{target.name}.new")
    try:
        with fresh.open("wb") as out:
            for piece in work.pieces():
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return work.done


class _Export:
    """One export: reads the recordings in their order, and counts what becomes of them."""

    def __init__(self, library: Library, scrubber: Scrubber, name: str) -> None:
        self._format = name
        self._recordings = library.playlist.recordings
        self._scrubber = scrubber
        self.done = Exported(lost=[Lost(error.path, error.cause) for error in library.report.errors])

    def pieces(self) -> Iterator[bytes]:
        """Yield the file."""
        if self._format == "har":
            return har.document(map(har.entry, self._interactions()))
        if self._format == "jsonl":
            return jsonl.document(self._interactions())
        return wiremock.document(self._turns())

    def _interactions(self) -> Iterator[Interaction]:
        for recording in self._recordings:
            found = self._read(recording)
            if isinstance(found, Interaction):
                self.done.written += 1
                self.done.notes += [Lost(recording.label, note) for note in _NOTES[self._format](found)]
                yield found
            else:
                self.done.lost.append(Lost(recording.label, found))

    def _read(self, recording: Recording) -> Interaction | str:
        try:
            found = self._scrubber.interaction(_plain(recording.interaction()))
        except CassetteError as error:
            return error.cause
        return "a hook refused it" if found is None else found

    def _turns(self) -> Iterator[tuple[Interaction, Turn]]:
        """Tell for each interaction which of several equal requests it is."""
        several = self._repeated()
        seen: Counter[bytes] = Counter()
        for found in self._interactions():
            key = wiremock.same(found.request)
            seen[key] += 1
            yield found, Turn(f"request {key.hex()}", seen[key], several.get(key, 1))

    def _repeated(self) -> Counter[bytes]:
        """Count the requests that come more than once; those that match no other are not read for it."""
        matches = Counter(recording.key for recording in self._recordings)
        again = (self._read(recording) for recording in self._recordings if matches[recording.key] > 1)
        return Counter(wiremock.same(found.request) for found in again if isinstance(found, Interaction))


def _notes_of_har(found: Interaction) -> Iterator[str]:
    try:
        found.request.body.decode()
    except UnicodeDecodeError:
        yield "HAR has no place for a request's body that is no text: it is in base64, which not every tool reads"


def _notes_of_wiremock(found: Interaction) -> Iterator[str]:
    if found.response.events:
        yield "WireMock sends a stream in one piece"
    if (header(found.request.headers, "content-type") or "").lower().startswith("multipart/"):
        yield "WireMock compares the boundary of a form too, which a client makes anew each time"


_NOTES: Final[dict[str, Callable[[Interaction], Iterator[str]]]] = {
    "har": _notes_of_har,
    "wiremock": _notes_of_wiremock,
    "jsonl": lambda _: iter(()),
}


def _plain(found: Interaction) -> Interaction:
    """Return *found* with its body unpacked, and without what was of the connection alone."""
    response = found.response
    body = decoded(response.headers, response.body)
    headers = without_headers(response.headers, _OF_THE_CONNECTION)
    return found._replace(response=response._replace(headers=headers, body=response.body if body is None else body))
