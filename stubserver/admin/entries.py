"""An entry of the journal as plain data: one line of a list, or all of it. Nothing here holds a secret."""

from __future__ import annotations

from typing import Any, Final

from stubserver import sse
from stubserver.admin.bodies import message, shown_json
from stubserver.journal import Entry
from stubserver.jsonvalue import json_value
from stubserver.messages import Response
from stubserver.redaction import clean_text

__all__ = ["detail", "summary"]

_LONGEST_TEXT: Final = 200
_LONGEST_TARGET: Final = 2000
_CLEANED: Final = 8192  # a secret that is cut in two would not be known as one
_USAGE_EVENTS: Final = 4
_TOKEN_NAMES: Final = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))


def summary(entry: Entry) -> dict[str, Any]:
    """Return what a list shows of *entry*; times in milliseconds, sizes in bytes of the bodies."""
    shown = entry.delivery.shown
    if shown is None:
        shown = _summary(entry)
        if entry.done:
            entry.delivery.shown = shown
    return shown


def _summary(entry: Entry) -> dict[str, Any]:
    request, answer = entry.raw()
    asked = json_value(request.body)
    asked = asked if isinstance(asked, dict) else {}
    model = asked.get("model")
    sent, got = entry.sizes
    return {
        "id": entry.number,
        "time": entry.time,
        "method": request.method,
        "path": clean_text(request.target)[:_LONGEST_TARGET],
        "model": clean_text(model[:_CLEANED])[:_LONGEST_TEXT] if isinstance(model, str) else None,
        "stream": asked.get("stream") is True,
        "source": entry.source,
        "cassette": entry.cassette,
        "status": answer.response.status,
        "ttfb_ms": _ms(entry.first_byte),
        "duration_ms": _ms(entry.duration),
        "request_bytes": sent,
        "response_bytes": got,
        "tokens": tokens(answer.response),
        "drift": list(entry.drift),
        "fault": entry.fault,
        "note": "; ".join(filter(None, (clean_text(entry.note), "the client left" if entry.delivery.cut else ""))),
        "done": entry.done,
    }


def detail(entry: Entry) -> dict[str, Any]:
    """Return all of *entry*: what a list shows, and the request and the response themselves."""
    raw_request, raw_answer = entry.raw()
    request, response = entry.request, entry.response
    return {
        **summary(entry),
        "request": message(request.headers, request.body, shown_json(raw_request.body)),
        "response": {
            "status": response.status,
            **message(response.headers, response.body, shown_json(raw_answer.response.body)),
            "events": _events(entry, response, raw_answer.response) if response.events else None,
        },
    }


def _events(entry: Entry, shown: Response, raw: Response) -> list[dict[str, Any]]:
    """List the events with the time each was sent; of a long body those that are shown of it."""
    pieces = sse.split(raw.body)
    times = entry.event_times(len(pieces))
    shown_pieces = sse.split(shown.body)
    if len(shown.body) < len(raw.body):
        del shown_pieces[-1:]  # cut in the middle
    listed = []
    for when, piece in zip(times, shown_pieces, strict=False):
        data = sse.data_of(piece)
        text = (piece if data is None else data).decode("utf-8", "replace")
        listed.append({"at_ms": _ms(when), "data": text})
    return listed


def tokens(response: Response) -> dict[str, int] | None:
    """Return the tokens that the answer says it took; None when it says nothing of them."""
    if not response.events:
        return _tokens(json_value(response.body))
    for event in reversed(sse.split(response.body[-65_536:])[-_USAGE_EVENTS:]):
        found = _tokens(json_value(sse.data_of(event) or b""))
        if found is not None:
            return found
    return None


def _tokens(value: Any) -> dict[str, int] | None:  # noqa: ANN401  # any JSON value
    if isinstance(value, dict) and isinstance(value.get("response"), dict):
        value = value["response"]  # the last event of /responses holds all of it
    usage = value.get("usage") if isinstance(value, dict) else None
    if not isinstance(usage, dict):
        return None
    for prompt, completion in _TOKEN_NAMES:
        if isinstance(usage.get(prompt), int):
            done = usage.get(completion)
            return {"prompt": usage[prompt], "completion": done if isinstance(done, int) else 0}
    return None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
