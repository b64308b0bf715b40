"""``POST /v1/completions``: the older endpoint, the same fixed text."""

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

__all__ = ["complete"]

# The API sends this endpoint's streams without a charset.
_EVENT_STREAM: Final = ("content-type", "text/event-stream")
_MOST_CHOICES: Final = 128
_MOST_PROMPTS: Final = 2048
_MOST_IN_ALL: Final = 8192
_EXPECTED: Final = "one of a string, array of strings, array of integers, or array of arrays"


def complete(request: Request, settings: DummySettings) -> Response:
    """Answer a completion request: one choice for each prompt and each of ``n``, prompt by prompt."""
    body = read.parse(request)
    model = read.require_model(body)
    count = _choices(body)
    limit = read.integer(body, "max_tokens", 0)
    read.number(body, "temperature", 0, 2)
    read.number(body, "top_p", 0, 1)
    reason = finish_reason(limit, settings)
    used = usage(body, limit, settings, count)
    head = {
        "id": made_id("cmpl-", request.body),
        "object": "text_completion",
        "created": CREATED,
        "model": model,
        "system_fingerprint": "fp_stubserver",
    }
    if read.flag(body, "stream"):
        chunks = _chunks(settings.text, count, reason, used if read.includes_usage(body) else None)
        events = [json_bytes(head | chunk) for chunk in chunks]
        return Response(200, (_EVENT_STREAM,), b"".join(sse.frame([*events, b"[DONE]"])), events=True)
    choices = [_choice(i, settings.text, reason) for i in range(count)]
    return json_response({**head, "choices": choices, "usage": used})


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


def _chunks(text: str, count: int, reason: str, used: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the choices of each chunk; the finish reason sits on the last piece of text, as the API has it."""
    pieces = tokens.split(text) or [""]
    pending = {"usage": None} if used is not None else {}
    for i, piece in enumerate(pieces):
        finish = reason if i == len(pieces) - 1 else None
        for index in range(count):
            yield {"choices": [_choice(index, piece, finish)], **pending}
    if used is not None:
        yield {"choices": [], "usage": used}


def _choices(body: dict[str, Any]) -> int:
    """Count the choices that are asked for, and refuse to make an answer of gigabytes."""
    prompts = _prompts(body)
    each = read.integer(body, "n", 1, _MOST_CHOICES) or 1
    if prompts * each > _MOST_IN_ALL:
        text = f"Invalid 'n': {prompts} prompts with {each} choices each are more than {_MOST_IN_ALL} choices."
        raise APIError(text, "n", "invalid_value")
    return prompts * each


def _prompts(body: dict[str, Any]) -> int:
    """Count the prompts: a string or a list of token numbers is one, a list of either is many."""
    prompt = body.get("prompt")
    if prompt is None or isinstance(prompt, str):
        return 1
    if not isinstance(prompt, list):
        raise read.invalid_type("prompt", _EXPECTED, prompt)
    if not prompt:
        text = "Invalid 'prompt': empty array. Expected an array with minimum length 1, but got an empty array instead."
        raise APIError(text, "prompt", "empty_array")
    if all(isinstance(item, int) for item in prompt):
        return 1
    return _several_prompts(prompt)


def _several_prompts(prompts: list[Any]) -> int:
    if len(prompts) > _MOST_PROMPTS:
        text = (
            f"Invalid 'prompt': array too long. Expected an array with maximum length {_MOST_PROMPTS}, "
            f"but got an array with length {len(prompts)} instead."
        )
        raise APIError(text, "prompt", "array_above_max_length")
    for i, item in enumerate(prompts):
        if not isinstance(item, (str, list)):
            raise read.invalid_type(f"prompt[{i}]", "one of a string or array of integers", item)
    return len(prompts)
