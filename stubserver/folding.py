"""A recorded event stream -> the one JSON answer it amounts to, and back: chat, completions, responses.

Used when only the other stream mode was recorded. What is of none of these shapes is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stubserver import sse
from stubserver.dummy.errors import json_bytes
from stubserver.dummy.tokens import split
from stubserver.jsonvalue import json_value
from stubserver.messages import Headers, Response, without_headers

__all__ = ["folded", "unfolded"]

_TYPE: Final = frozenset({"content-type"})
_JSON: Final = ("content-type", "application/json")
_EVENTS: Final = ("content-type", "text/event-stream; charset=utf-8")
_WHOLE: Final = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}
_CHUNK: Final = {whole: chunk for chunk, whole in _WHOLE.items()}
_PER_CHUNK: Final = frozenset({"choices", "object", "usage", "obfuscation"})
_PER_CHOICE: Final = frozenset({"index", "message", "text", "logprobs", "finish_reason"})
_TEXTS: Final = ("reasoning_content", "reasoning", "content", "refusal")
_NOT_JOINED: Final = frozenset({"role", "id", "type", "name"})
_MOST_CALLS: Final = 4096


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
    elif kind in ("chat.completion", "text_completion"):
        body = b"".join(sse.frame([*map(json_bytes, _chunks(answer, usage=usage)), b"[DONE]"]))
    else:
        return response
    return response._replace(headers=_typed(response.headers, _EVENTS), body=body, events=True)


def _typed(headers: Headers, content_type: tuple[str, str]) -> Headers:
    return (content_type, *without_headers(headers, _TYPE))


def _event_value(event: bytes) -> Any:  # noqa: ANN401  # any JSON value
    data = sse.data_of(event)
    return None if data is None else json_value(data)


def _objects(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # any JSON value
    """Return the objects in the list *value*; nothing of what else a recording may hold there."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON value
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:  # noqa: ANN401  # any JSON value
    return value if isinstance(value, str) else ""


def _fold(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    for event in reversed(events):
        whole = event.get("response")
        if _text(event.get("type")).startswith("response.") and isinstance(whole, dict):
            return whole
    # Azure puts a chunk of no kind before the others, with what its filters say of the prompt.
    first = next((event for event in events if _text(event.get("object")) in _WHOLE), None)
    if first is None:
        return None
    answer = {k: v for k, v in first.items() if k not in _PER_CHUNK}
    answer |= {"object": _WHOLE[first["object"]], "choices": _folded_choices(events)}
    usages = [event["usage"] for event in events if event.get("usage")]
    return {**answer, "usage": usages[-1]} if usages else answer


def _folded_choices(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        for choice in _objects(event.get("choices")):
            index = choice.get("index")
            index = index if isinstance(index, int) else 0
            _add_choice(choices.setdefault(index, {"index": index}), choice)
    return [choices[index] for index in sorted(choices)]


def _add_choice(whole: dict[str, Any], chunk: dict[str, Any]) -> None:
    """Add one chunk of a choice to what is there of it."""
    for name, value in chunk.items():
        if name == "text":
            whole[name] = _text(whole.get(name)) + _text(value)
        elif name == "delta":
            if not isinstance(whole.get("message"), dict):
                whole["message"] = {"role": "assistant", "content": None}
            _add_delta(whole["message"], _object(value))
        elif name == "logprobs":
            whole[name] = _add_logprobs(whole.get(name), value)
        elif name != "index" and (value is not None or name not in whole):
            whole[name] = value


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls" and value is not None:
            message[name] = _with_calls(message.get(name) or [], _objects(value))
        elif isinstance(value, dict) and isinstance(message.get(name), dict):
            _add_delta(message[name], value)
        elif isinstance(value, list) and isinstance(message.get(name), list):
            message[name] = message[name] + value
        elif isinstance(value, str) and name not in _NOT_JOINED:
            message[name] = _text(message.get(name)) + value
        elif value is not None or name not in message:
            message[name] = value


def _with_calls(calls: list[dict[str, Any]], deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for delta in deltas:
        index = delta.get("index")
        place = min(index, _MOST_CALLS) if isinstance(index, int) and index >= 0 else len(calls)
        while len(calls) <= place:
            calls.append({})
        _add_delta(calls[place], {k: v for k, v in delta.items() if k != "index"})
        function = _object(calls[place].get("function"))
        if "arguments" in function:
            function["arguments"] = function["arguments"] or ""  # null in some streams, a text in every whole answer
    return calls


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


def _chunks(answer: dict[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    head = {k: v for k, v in answer.items() if k not in _PER_CHUNK} | {"object": _CHUNK[answer["object"]]}
    told = usage and bool(answer.get("usage"))
    pending = {"usage": None} if told else {}
    for choice in _objects(answer.get("choices")):
        if answer["object"] == "text_completion":
            pieces = _spread(choice, "text", split(_text(choice.get("text"))) or [""])
        else:
            pieces = _spread(choice, "delta", list(_deltas(_object(choice.get("message")))))
        for piece in pieces:
            yield {**head, "choices": [piece], **pending}
    if told:
        yield {**head, "choices": [], "usage": answer["usage"]}


def _spread(choice: dict[str, Any], name: str, parts: list[Any]) -> list[dict[str, Any]]:
    """Make one chunk of *choice* for each of *parts*; what belongs to no part goes with the last."""
    common: dict[str, Any] = {"logprobs": None} if "logprobs" in choice else {}
    chunks = [{"index": choice.get("index", 0), name: part, **common, "finish_reason": None} for part in parts]
    chunks[-1] |= {k: v for k, v in choice.items() if k not in _PER_CHOICE}
    chunks[-1]["finish_reason"] = choice.get("finish_reason")
    if choice.get("logprobs"):
        chunks[min(1, len(chunks) - 1)]["logprobs"] = choice["logprobs"]  # the first with text, all of them
    return chunks


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Take a message apart: the role with what comes in one piece, the texts, the calls, nothing at the end."""
    texts = {name: message[name] for name in _TEXTS if message.get(name) and isinstance(message[name], str)}
    calls = _objects(message.get("tool_calls"))
    whole = {k: v for k, v in message.items() if k not in texts and not (k == "tool_calls" and calls)}
    yield {"role": "assistant", "content": "" if "content" in texts else None, **whole}
    for name, text in texts.items():
        for piece in split(text):
            yield {name: piece}
    for number, call in enumerate(calls):
        yield from _call_deltas(number, call)
    yield {}


def _call_deltas(number: int, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    function = _object(call.get("function"))
    arguments = _text(function.get("arguments"))
    begun = {**call, "function": {**function, "arguments": ""}} if arguments else call
    yield {"tool_calls": [{"index": number, **begun}]}
    for piece in split(arguments):
        yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}


def _response_events(answer: dict[str, Any]) -> Iterator[bytes]:
    """Write the ordered events of a ``response`` object."""
    begun = {**answer, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    events: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")
    ]
    for index, item in enumerate(_objects(answer.get("output"))):
        events += _item_events(index, item)
    last = next((s for s in ("incomplete", "failed") if s == answer.get("status")), "completed")
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
        for number, part in enumerate(_objects(item.get("content"))):
            yield from _part_events({**place, "content_index": number}, part)
    elif item.get("type") == "function_call":
        arguments = _text(item.get("arguments"))
        kind = "response.function_call_arguments"
        for piece in split(arguments):
            yield {"type": f"{kind}.delta", **place, "delta": piece}
        yield {"type": f"{kind}.done", **place, "name": item.get("name"), "arguments": arguments}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(place: dict[str, Any], part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind, name = ("refusal", "refusal") if part.get("type") == "refusal" else ("output_text", "text")
    text = _text(part.get(name))
    extra: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    yield {"type": "response.content_part.added", **place, "part": {**part, name: ""}}
    for piece in split(text):
        yield {"type": f"response.{kind}.delta", **place, "delta": piece, **extra}
    extra = {"logprobs": part.get("logprobs") or []} if extra else {}
    yield {"type": f"response.{kind}.done", **place, name: text, **extra}
    yield {"type": "response.content_part.done", **place, "part": part}
