"""A recorded event stream -> the one JSON answer it amounts to, and back: chat, completions, responses.

Used when only the other stream mode was recorded. What is of none of these shapes is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stubserver import sse
from stubserver.canonical import json_value
from stubserver.dummy.errors import json_bytes
from stubserver.dummy.tokens import split
from stubserver.messages import Headers, Response, without_headers

__all__ = ["folded", "unfolded"]

_TYPE: Final = frozenset({"content-type"})
_JSON: Final = ("content-type", "application/json")
_EVENTS: Final = ("content-type", "text/event-stream; charset=utf-8")
_PER_CHUNK: Final = frozenset({"choices", "object", "usage", "obfuscation"})


def folded(response: Response) -> Response:
    """Return the whole answer that the event stream *response* amounts to."""
    events = [value for value in map(_event_value, sse.split(response.body)) if isinstance(value, dict)]
    answer = _fold(events)
    if answer is None:
        return response
    return response._replace(headers=_typed(response.headers, _JSON), body=json_bytes(answer), events=False)


def unfolded(response: Response, *, usage: bool = False) -> Response:
    """Return *response* as the event stream it would have come in; *usage*: with a usage chunk at the end."""
    answer = json_value(response.body)
    if not isinstance(answer, dict):
        return response
    kind = answer.get("object")
    if kind == "response":
        body = b"".join(_response_events(answer))
    elif kind in {"chat.completion", "text_completion"}:
        chunks = _chat_chunks(answer) if kind == "chat.completion" else _text_chunks(answer)
        body = b"".join(sse.frame([*map(json_bytes, _with_usage(answer, chunks, usage=usage)), b"[DONE]"]))
    else:
        return response
    return response._replace(headers=_typed(response.headers, _EVENTS), body=body, events=True)


def _typed(headers: Headers, content_type: tuple[str, str]) -> Headers:
    return (content_type, *without_headers(headers, _TYPE))


def _event_value(event: bytes) -> Any:  # noqa: ANN401  # any JSON value
    data = sse.data_of(event)
    return None if data is None else json_value(data)


def _fold(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not events:
        return None
    for event in reversed(events):
        whole = event.get("response")
        if str(event.get("type", "")).startswith("response.") and isinstance(whole, dict):
            return whole
    first = events[0]
    kinds = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}
    if first.get("object") not in kinds:
        return None
    answer = {k: v for k, v in first.items() if k not in _PER_CHUNK}
    answer["object"] = kinds[first["object"]]
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        for choice in event.get("choices") or ():
            _add_choice(choices.setdefault(choice.get("index", 0), {}), choice)
        if event.get("usage"):
            answer["usage"] = event["usage"]
    answer["choices"] = [choices[index] for index in sorted(choices)]
    return answer


def _add_choice(whole: dict[str, Any], chunk: dict[str, Any]) -> None:
    """Add one chunk of a choice to what is there of it."""
    whole.setdefault("index", chunk.get("index", 0))
    if "text" in chunk:
        whole["text"] = whole.get("text", "") + (chunk["text"] or "")
    if "delta" in chunk:
        message = whole.setdefault("message", {"role": "assistant", "content": None})
        _add_delta(message, chunk["delta"] or {})
    whole["logprobs"] = _add_logprobs(whole.get("logprobs"), chunk.get("logprobs"))
    whole["finish_reason"] = chunk.get("finish_reason") or whole.get("finish_reason")


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            _add_calls(message.setdefault(name, []), value or [])
        elif isinstance(value, dict) and isinstance(message.get(name), dict):
            _add_delta(message[name], value)
        elif isinstance(value, str) and name not in {"role", "id", "type", "name"}:
            message[name] = (message.get(name) or "") + value
        elif value is not None or name not in message:
            message[name] = value


def _add_calls(calls: list[dict[str, Any]], deltas: list[dict[str, Any]]) -> None:
    for delta in deltas:
        index = delta.get("index", len(calls))
        while len(calls) <= min(index, 4096):
            calls.append({})
        _add_delta(calls[min(index, 4096)], {k: v for k, v in delta.items() if k != "index"})


def _add_logprobs(whole: Any, chunk: Any) -> Any:  # noqa: ANN401  # any JSON value
    if not isinstance(whole, dict) or not isinstance(chunk, dict):
        return whole or chunk
    joined = dict(whole)
    for name, value in chunk.items():
        if isinstance(value, list) and isinstance(joined.get(name), list):
            joined[name] = joined[name] + value
        elif value is not None:
            joined[name] = value
    return joined


def _with_usage(answer: dict[str, Any], chunks: Iterator[dict[str, Any]], *, usage: bool) -> Iterator[dict[str, Any]]:
    head = {k: v for k, v in answer.items() if k not in _PER_CHUNK}
    head["object"] = "chat.completion.chunk" if answer["object"] == "chat.completion" else "text_completion"
    pending = {"usage": None} if usage else {}
    for choice in chunks:
        yield {**head, "choices": [choice], **pending}
    if usage:
        yield {**head, "choices": [], "usage": answer.get("usage")}


def _chat_chunks(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in answer.get("choices") or ():
        index, message = choice.get("index", 0), choice.get("message") or {}
        first = {"role": message.get("role", "assistant"), "content": "" if message.get("content") else None}
        yield _chunk(index, first)
        for name in ("reasoning_content", "reasoning", "content", "refusal"):
            for piece in split(message.get(name) or ""):
                yield _chunk(index, {name: piece})
        for number, call in enumerate(message.get("tool_calls") or ()):
            function = call.get("function") or {}
            opened = {**call, "index": number, "function": {**function, "arguments": ""}}
            yield _chunk(index, {"tool_calls": [opened]})
            for piece in split(function.get("arguments") or ""):
                yield _chunk(index, {"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
        if message.get("function_call"):
            yield _chunk(index, {"function_call": message["function_call"]})
        yield _chunk(index, {}, choice.get("finish_reason"))


def _chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _text_chunks(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in answer.get("choices") or ():
        pieces = split(choice.get("text") or "") or [""]
        for number, piece in enumerate(pieces, 1):
            finish = choice.get("finish_reason") if number == len(pieces) else None
            yield {"text": piece, "index": choice.get("index", 0), "logprobs": None, "finish_reason": finish}


def _response_events(answer: dict[str, Any]) -> Iterator[bytes]:
    """Write the ordered events of a ``response`` object."""
    begun = {**answer, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    events: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")
    ]
    for index, item in enumerate(answer.get("output") or ()):
        events += _item_events(index, item)
    status = answer.get("status")
    last = status if status in {"incomplete", "failed"} else "completed"
    events.append({"type": f"response.{last}", "response": answer})
    for number, event in enumerate(events):
        data = json_bytes({**event, "sequence_number": number})
        yield b"event: %b\ndata: %b\n\n" % (event["type"].encode(), data)


def _item_events(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"item_id": item.get("id"), "output_index": index}
    empty: dict[str, Any] = {"content": []} if item.get("type") == "message" else {}
    empty |= {"arguments": ""} if item.get("type") == "function_call" else {}
    yield {
        "type": "response.output_item.added",
        "output_index": index,
        "item": {**item, **empty, "status": "in_progress"},
    }
    if item.get("type") == "message":
        for number, part in enumerate(item.get("content") or ()):
            yield from _part_events({**place, "content_index": number}, part)
    elif item.get("type") == "function_call":
        arguments = item.get("arguments") or ""
        kind = "response.function_call_arguments"
        for piece in split(arguments):
            yield {"type": f"{kind}.delta", **place, "delta": piece}
        yield {"type": f"{kind}.done", **place, "name": item.get("name"), "arguments": arguments}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(place: dict[str, Any], part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind, name = ("refusal", "refusal") if part.get("type") == "refusal" else ("output_text", "text")
    text = part.get(name) or ""
    extra: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    yield {"type": "response.content_part.added", **place, "part": {**part, name: ""}}
    for piece in split(text):
        yield {"type": f"response.{kind}.delta", **place, "delta": piece, **extra}
    yield {"type": f"response.{kind}.done", **place, name: text, **extra}
    yield {"type": "response.content_part.done", **place, "part": part}
