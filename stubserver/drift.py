"""Ask the upstream everything that was recorded once more, and say what is no longer as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stubserver.cassettes.library import Library
from stubserver.cassettes.recordings import Recording
from stubserver.comparison import Change, compare
from stubserver.errors import CassetteError, UpstreamError
from stubserver.keeping import decoded
from stubserver.messages import Response, header
from stubserver.redaction import clean_text
from stubserver.sse import is_event_stream
from stubserver.upstream import Upstream

__all__ = ["rows"]

_MOST_BYTES = 64 * 1024 * 1024


def rows(library: Library, upstream: Upstream) -> Iterator[dict[str, Any]]:
    """Yield a row for each interaction, as it is answered: where it is, what changed, or why it could not be asked.

    ``changed`` is shape, text, or empty; nothing is written anywhere.
    """
    for recording in library.playlist.recordings:
        yield _row(recording, upstream)


def _row(recording: Recording, upstream: Upstream) -> dict[str, Any]:
    row: dict[str, Any] = {"file": recording.file.label, "number": recording.number, "error": "", "changes": []}
    changes: list[Change] = []
    try:
        interaction = recording.interaction()
        request = interaction.request
        row |= {"method": request.method, "path": clean_text(request.target)}
        changes = compare(interaction.response, _fresh(upstream, request._replace(scheme="", authority="")))
    except (CassetteError, UpstreamError) as error:
        row["error"] = str(error)
    row["changes"] = [change._asdict() for change in changes]
    row["changed"] = "shape" if any(change.of_shape for change in changes) else "text" if changes else ""
    return row


def _fresh(upstream: Upstream, request: Any) -> Response:  # noqa: ANN401  # Request
    reply = upstream.send(request)
    try:
        body = b"".join(_bounded(reply.pieces()))
    finally:
        reply.close()
    plain = decoded(reply.headers, body)
    if plain is None:
        raise UpstreamError(502, "the answer's compression does not unpack")
    events = is_event_stream(header(reply.headers, "content-type"))
    return Response(reply.status, reply.headers, plain, reply.reason, events)


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > _MOST_BYTES:
            raise UpstreamError(502, "the answer is too large to compare")
        yield piece
