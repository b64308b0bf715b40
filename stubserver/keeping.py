"""Which answers of the upstream are kept: complete ones, of a status that would come again."""

from __future__ import annotations

import zlib
from typing import Final

from stubserver import sse
from stubserver.jsonvalue import NOT_JSON, json_value
from stubserver.messages import Headers, header

__all__ = ["KEPT_STATUSES", "decoded", "why_not"]

KEPT_STATUSES: Final = frozenset({400, 404, 413, 415, 422})
"""Beside every 2xx: errors that the same request would get again."""

_MOST_DECODED: Final = 64 * 1024 * 1024
_ENDS: Final = frozenset(
    {
        "response.completed",
        "response.incomplete",
        "message_stop",
        "transcript.text.done",
        "speech.audio.done",
        "image_generation.completed",
        "image_edit.completed",
    }
)
# Streams of these kinds have a last event; of any other, the end of its framing has to do.
_ENDING: Final = (
    "response.",
    "message_",
    "content_block_",
    "transcript.",
    "speech.",
    "image_generation.",
    "image_edit.",
)
_CHUNKS: Final = frozenset({"chat.completion.chunk", "text_completion"})
_ERRORS: Final = frozenset({"error", "response.failed"})


def why_not(status: int, headers: Headers, body: bytes, statuses: frozenset[int] = KEPT_STATUSES) -> str | None:
    """Say why an answer, received whole by its framing, is not kept; None: it is."""
    if not 200 <= status < 300 and status not in statuses:  # noqa: PLR2004  # HTTP's
        return f"status {status} is not kept (see --record-status)"
    content_type = header(headers, "content-type") or ""
    if sse.is_event_stream(content_type):
        return _why_not_stream(body)
    kind = content_type.partition(";")[0].strip().lower()
    if body and (kind == "application/json" or kind.endswith("+json")) and not _parses(body):
        return "the answer is no whole JSON"
    return None


def _parses(body: bytes) -> bool:
    if json_value(body) is not NOT_JSON:
        return True
    alone = json_value(b"[" + body + b"]")  # a bare text or number
    return isinstance(alone, list) and len(alone) == 1


def _why_not_stream(body: bytes) -> str | None:
    events = sse.split(body)
    if not events or not events[-1].endswith((b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")):
        return "the stream ends within an event"
    ends, ended = False, False
    for event in events:
        data = sse.data_of(event)
        if data is None:
            continue
        value = json_value(data)
        ended = ended or data.strip() == b"[DONE]"
        if not isinstance(value, dict):
            continue
        kind = str(value.get("type"))
        if value.get("error") or kind in _ERRORS:
            return "the stream holds an error"
        ended = ended or kind in _ENDS
        ends = ends or str(value.get("object")) in _CHUNKS or kind.startswith(_ENDING)
    return "the stream ends without its last event" if ends and not ended else None


def decoded(headers: Headers, body: bytes) -> bytes | None:
    """Return *body* without its Content-Encoding; None when it does not decode, or to more than 64 MB."""
    encoding = (header(headers, "content-encoding") or "identity").strip().lower()
    if encoding == "identity" or not body:
        return body
    bits = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}.get(encoding, ())
    for wbits in bits:
        inflater = zlib.decompressobj(wbits)
        try:
            plain = inflater.decompress(body, _MOST_DECODED)
        except zlib.error:
            continue
        if inflater.eof and not (inflater.unconsumed_tail or inflater.unused_data):
            return plain
    return None
