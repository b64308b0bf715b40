"""Ask the upstream everything that was recorded once more, and say what is no longer as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stubserver.cassettes.library import Library
from stubserver.cassettes.recordings import Recording
from stubserver.comparison import Change, compare
from stubserver.errors import CassetteError, UpstreamError
from stubserver.keeper import storable
from stubserver.keeping import KEPT_STATUSES, decoded
from stubserver.messages import Interaction, Request, Response
from stubserver.redaction import clean_text
from stubserver.relay import Relay, Relayed
from stubserver.scrubbing import Scrubber
from stubserver.upstream import Upstream

__all__ = ["Asked", "ask_again", "fresh_of"]


class Asked(NamedTuple):
    """A recording that was asked again: a row for people and programs, and what it would be recorded as now.

    The row's ``changed`` is shape, text, or empty; ``error`` says why it could not be asked, ``not_kept`` why the new
    answer is none that is recorded. ``fresh`` is there when something changed and may be kept.
    """

    path: Path
    number: int
    row: dict[str, Any]
    fresh: Interaction | None


def ask_again(library: Library, upstream: Upstream, scrubber: Scrubber) -> Iterator[Asked]:
    """Ask for each interaction, one after the other; nothing is written anywhere."""
    for recording in library.playlist:
        yield _asked(recording, upstream, scrubber)


def fresh_of(asked: list[Asked]) -> dict[Path, dict[int, Interaction]]:
    """Return what may be put in the place of what changed: by file, and by the number in it."""
    found: dict[Path, dict[int, Interaction]] = {}
    for each in asked:
        if each.fresh is not None:
            found.setdefault(each.path, {})[each.number] = each.fresh
    return found


def _asked(recording: Recording, upstream: Upstream, scrubber: Scrubber) -> Asked:
    row: dict[str, Any] = {"file": recording.file.label, "number": recording.number, "error": "", "not_kept": ""}
    changes: list[Change] = []
    fresh: Interaction | str = ""
    try:
        request, recorded = recording.interaction()
        row |= {"method": request.method, "path": clean_text(request.target)}
        received = _received(upstream, request)
        shown = scrubber.cleaned(Interaction(request, _decoded(received))).response
        changes = compare(recorded, shown)
        if changes:
            fresh = storable(Interaction(request, received), scrubber, KEPT_STATUSES | {recorded.status})
    except (CassetteError, UpstreamError) as error:
        row["error"] = str(error)
    row["changes"] = [change._asdict() for change in changes]
    row["changed"] = "shape" if any(change.of_shape for change in changes) else "text" if changes else ""
    if isinstance(fresh, str):
        row["not_kept"] = fresh
    path = recording.file.path
    return Asked(path, recording.number, row, None if isinstance(fresh, str) else fresh)


def _received(upstream: Upstream, request: Request) -> Response:
    """Send a request and return the whole answer, with its timing."""
    heard: list[Relayed] = []
    started = time.monotonic()
    reply = upstream.send(request._replace(scheme="", authority=""))
    relay = Relay(reply, (), started, heard.append)
    for _ in relay.pieces():
        pass
    body, _, times = heard[0]
    if body is None:
        raise UpstreamError(502, "the answer is too large to compare")
    return relay.head._replace(body=body, times=times)


def _decoded(response: Response) -> Response:
    plain = decoded(response.headers, response.body)
    if plain is None:
        raise UpstreamError(502, "the answer's compression does not unpack")
    return response._replace(body=plain)
