"""Small cassettes for tests, written as vcrpy writes them, and the values that stand in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from stubserver.messages import Request

CHAT = "/v1/chat/completions"


def ask(question: str = "hi", **more: Any) -> dict[str, Any]:
    """Make the body of a chat request."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}], **more}


def request(body: Any = None, target: str = CHAT, method: str = "POST", **headers: str) -> Request:
    """Make a request as the server takes one in."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request(method, target, (("Content-Type", "application/json"), *fields), raw, "http", "127.0.0.1:8080")


def completion(text: str | None = "Hello there!", **message: Any) -> dict[str, Any]:
    """Make a chat completion as the API answers it."""
    usage = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None, "annotations": [], **message},
        "logprobs": None,
        "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
    }
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4o-mini-2024"}
    tail = {"service_tier": "default", "system_fingerprint": "fp_1"}
    return {**head, "choices": [choice], "usage": usage, **tail}


def chunks(*deltas: dict[str, Any], finish: str = "stop", **more: Any) -> list[dict[str, Any]]:
    """Make the chunks of a streamed chat completion."""
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024",
    }
    parts = [(delta, None) for delta in deltas] + [({}, finish)]
    return [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}], **more}
        for delta, end in parts
    ]


def events(*datas: dict[str, Any], end: str = "data: [DONE]\n\n") -> str:
    """Write chunks as an event stream."""
    return "".join(f"data: {json.dumps(data)}\n\n" for data in datas) + end


def recorded(  # what an interaction is made of
    body: Any = None,
    answer: Any = None,
    *,
    method: str = "POST",
    path: str = CHAT,
    status: int = 200,
    base: str = "https://api.openai.com",
    headers: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """Make one item of a cassette; *answer* is data for JSON, text for an event stream, or bytes."""
    kind = "text/event-stream; charset=utf-8" if isinstance(answer, str) else "application/json"
    string = answer if isinstance(answer, (str, bytes)) else json.dumps(completion() if answer is None else answer)
    return {
        "request": {
            "method": method,
            "uri": f"{base}{path}",
            "headers": {"content-type": ["application/json"], "authorization": ["REDACTED"]},
            "body": body if body is None or isinstance(body, (str, bytes)) else json.dumps(body),
        },
        "response": {
            "status": {"code": status, "message": "OK" if status < 400 else "Error"},
            "headers": {"content-type": [kind], "x-request-id": ["req_1"], **(headers or {})},
            "body": {"string": string},
        },
    }


def tape(path: Path, *items: dict[str, Any]) -> Path:
    """Write a cassette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"interactions": list(items), "version": 1}), "utf-8")
    return path
