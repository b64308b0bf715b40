"""``POST /v1/chat/completions``: the fixed text, whole or as chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stubserver import sse
from stubserver.dummy import body as read
from stubserver.dummy import tokens
from stubserver.dummy.errors import APIError, json_bytes, json_response
from stubserver.dummy.settings import CREATED, DummySettings
from stubserver.dummy.usage import finish_reason, made_id, usage
from stubserver.messages import Request, Response

__all__ = ["EVENT_STREAM", "complete"]

EVENT_STREAM: Final = ("content-type", "text/event-stream; charset=utf-8")

_ROLES: Final = ("system", "assistant", "user", "function", "tool", "developer")
_MOST_CHOICES: Final = 128


def complete(request: Request, settings: DummySettings) -> Response:
    """Answer a chat completion request; the same request always gives the same bytes."""
    body = read.parse(request)
    model = read.require_model(body)
    _check_messages(body)
    count = read.integer(body, "n", 1, _MOST_CHOICES) or 1
    limit = _token_limit(body)
    read.number(body, "temperature", 0, 2)
    read.number(body, "top_p", 0, 1)
    head = {"id": made_id("chatcmpl-", request.body), "created": CREATED, "model": model}
    used = usage(body, limit, settings, count)
    reason = finish_reason(limit, settings)
    if read.flag(body, "stream"):
        chunks = _chunks(settings.text, count, reason, used if read.includes_usage(body) else None)
        return _stream({**head, "object": "chat.completion.chunk"}, chunks)
    answer = {**head, "object": "chat.completion", "choices": [_choice(i, settings.text, reason) for i in range(count)]}
    return json_response(answer | {"usage": used, "service_tier": "default", "system_fingerprint": "fp_stubserver"})


def _choice(index: int, text: str, reason: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


def _chunks(text: str, count: int, reason: str, used: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield what differs from chunk to chunk: role, pieces and finish of every choice, then the usage if asked for."""
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": "", "refusal": None}, None)]
    deltas += [({"content": piece}, None) for piece in tokens.split(text)]
    deltas.append(({}, reason))
    pending = {"usage": None} if used is not None else {}
    for delta, finish in deltas:
        for index in range(count):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            yield {"choices": [choice], **pending}
    if used is not None:
        yield {"choices": [], "usage": used}


def _stream(head: dict[str, Any], chunks: Iterator[dict[str, Any]]) -> Response:
    head |= {"service_tier": "default", "system_fingerprint": "fp_stubserver"}
    events = [json_bytes(head | chunk) for chunk in chunks]
    return Response(200, (EVENT_STREAM,), b"".join(sse.frame([*events, b"[DONE]"])), events=True)


def _token_limit(body: dict[str, Any]) -> int | None:
    """Return max_completion_tokens, or the older max_tokens."""
    newer = read.integer(body, "max_completion_tokens", 1)
    older = read.integer(body, "max_tokens", 1)
    return older if newer is None else newer


def _check_messages(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise APIError("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise read.invalid_type("messages", "an array of objects", messages)
    if not messages:
        text = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise APIError(text, "messages", "empty_array")
    for i, message in enumerate(messages):
        _check_message(f"messages[{i}]", message)


def _check_message(where: str, message: object) -> None:
    if not isinstance(message, dict):
        raise read.invalid_type(where, "an object", message)
    role, content = message.get("role"), message.get("content")
    if role is None:
        raise APIError(f"Missing required parameter: '{where}.role'.", f"{where}.role", "missing_required_parameter")
    if role not in _ROLES:
        names = ", ".join(f"'{name}'" for name in _ROLES[:-1])
        text = f"Invalid value: '{str(role)[:100]}'. Supported values are: {names}, and '{_ROLES[-1]}'."
        raise APIError(text, f"{where}.role", "invalid_value")
    if content is not None and not isinstance(content, (str, list)):
        raise read.invalid_type(f"{where}.content", "one of a string or array of objects", content)
