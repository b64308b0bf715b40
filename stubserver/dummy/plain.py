"""The dummy as datatrove's DummyServer has it: the fixed text and the fixed tokens, whatever the request asks for.

Nothing in a request is checked, and nothing shortens the text. The answer has what the API's has beside; its usage is
the three numbers alone, because datatrove puts it into the documents as it comes.
"""

from __future__ import annotations

import json
from typing import Any, Final

from stubserver.dummy.errors import json_response
from stubserver.dummy.settings import CREATED, DummySettings
from stubserver.dummy.usage import made_id, prompt_tokens
from stubserver.messages import Request, Response

__all__ = ["chat", "completion"]

_UNREADABLE_TOKENS: Final = 50


def chat(request: Request, settings: DummySettings) -> Response:
    """Answer ``POST /v1/chat/completions``."""
    message = {"role": "assistant", "content": settings.text}
    return _answer(request, settings, "chatcmpl-", "chat.completion", {"message": message})


def completion(request: Request, settings: DummySettings) -> Response:
    """Answer ``POST /v1/completions``, which the original does not know, in the same way."""
    return _answer(request, settings, "cmpl-", "text_completion", {"text": settings.text})


def _answer(request: Request, settings: DummySettings, prefix: str, kind: str, said: dict[str, Any]) -> Response:
    body, prompt = _read(request.body)
    model = body.get("model") if isinstance(body, dict) else None
    usage = {"prompt_tokens": prompt, "completion_tokens": settings.tokens, "total_tokens": prompt + settings.tokens}
    head = {"id": made_id(prefix, request.body), "object": kind, "created": CREATED}
    named = {"model": model if isinstance(model, str) else next(iter(settings.models), "dummy-model")}
    return json_response({**head, **named, "choices": [{"index": 0, **said, "finish_reason": "stop"}], "usage": usage})


def _read(raw: bytes) -> tuple[object, int]:
    """Return the JSON and its tokens, by the original's own parser: the estimate depends on how numbers are read."""
    try:
        value = json.loads(raw.decode("utf-8"))
        return value, prompt_tokens(value)
    except (ValueError, RecursionError):
        return None, _UNREADABLE_TOKENS
