"""A finished response -> the events that a stream of it has, in the API's order.

Every event names its type twice, as ``event:`` and in its data, and is numbered; after the last one there is no
``[DONE]``. The padding that the API adds to deltas (``obfuscation``) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stubserver.dummy import logprobs, tokens
from stubserver.dummy.errors import json_bytes
from stubserver.messages import Response

__all__ = ["sequence", "stream", "unfinished"]

_EVENT_STREAM: Final = ("content-type", "text/event-stream; charset=utf-8")

_Event = tuple[str, dict[str, Any]]


def stream(answer: dict[str, Any], *, queued: bool = False, after: int = -1) -> Response:
    """Write the events of *answer*, those numbered above *after*."""
    events = [_framed(event) for event in sequence(answer, queued=queued) if event["sequence_number"] > after]
    return Response(200, (_EVENT_STREAM,), b"".join(events), events=True)


def sequence(answer: dict[str, Any], *, queued: bool = False) -> list[dict[str, Any]]:
    """List the events of the finished response *answer*; *queued*: it was asked for in the background."""
    events = [*_beginning(answer, queued=queued)]
    for index, item in enumerate(answer["output"]):
        events += _item_events(index, item)
    if answer["status"] in {"completed", "incomplete"}:
        events.append((f"response.{answer['status']}", {"response": answer}))
    return [{"type": kind, "sequence_number": number, **data} for number, (kind, data) in enumerate(events)]


def unfinished(answer: dict[str, Any], status: str) -> dict[str, Any]:
    """Return *answer* as it was before its output: ``queued``, ``in_progress`` or, for good, ``cancelled``."""
    tier = "auto" if answer["service_tier"] == "default" else answer["service_tier"]
    nothing: dict[str, Any] = {"completed_at": None, "incomplete_details": None, "output": [], "usage": None}
    return answer | nothing | {"status": status, "service_tier": tier}


def _framed(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode("ascii"), json_bytes(event))


def _beginning(answer: dict[str, Any], *, queued: bool) -> Iterator[_Event]:
    if queued:
        waiting = {"response": unfinished(answer, "queued")}
        yield "response.created", waiting
        yield "response.queued", waiting
    begun = {"response": unfinished(answer, "in_progress")}
    if not queued:
        yield "response.created", begun
    yield "response.in_progress", begun


def _item_events(index: int, item: dict[str, Any]) -> Iterator[_Event]:
    is_call = item["type"] == "function_call"
    nothing: dict[str, Any] = {"arguments": ""} if is_call else {"content": []}
    yield "response.output_item.added", {"output_index": index, "item": item | {"status": "in_progress"} | nothing}
    yield from (_call_events if is_call else _message_events)(index, item)
    yield "response.output_item.done", {"output_index": index, "item": item}


def _message_events(index: int, item: dict[str, Any]) -> Iterator[_Event]:
    for number, part in enumerate(item["content"]):
        where = {"item_id": item["id"], "output_index": index, "content_index": number}
        yield "response.content_part.added", {**where, "part": part | {"text": "", "logprobs": []}}
        shown = logprobs.shortened(part["logprobs"])  # one for each piece, or none at all
        for place, piece in enumerate(tokens.split(part["text"])):
            yield "response.output_text.delta", {**where, "delta": piece, "logprobs": shown[place : place + 1]}
        yield "response.output_text.done", {**where, "text": part["text"], "logprobs": shown}
        yield "response.content_part.done", {**where, "part": part}


def _call_events(index: int, item: dict[str, Any]) -> Iterator[_Event]:
    where = {"item_id": item["id"], "output_index": index}
    for piece in tokens.split(item["arguments"]):
        yield "response.function_call_arguments.delta", {**where, "delta": piece}
    done = {"arguments": item["arguments"], "name": item["name"]}
    yield "response.function_call_arguments.done", {**where, **done}
