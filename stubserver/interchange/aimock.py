"""Fixtures of aimock (the former llmock): what to look for in a request, and what to answer.

A fixture holds no whole request: it looks for a text in the last user message, and perhaps for the model. So the
request is made of these two, and every fixture carries a note that says what it had more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.dummy.tokens import split
from stubserver.dummy.usage import made_id, prompt_tokens
from stubserver.interchange import Carried, Lost
from stubserver.interchange.elements import ElementsError, elements, value_of
from stubserver.messages import Interaction

__all__ = ["read"]

_JSON: Final = (("content-type", "application/json"),)
_ANY_MODEL: Final = "any"
_CONVERSATION: Final = {
    "toolCallId": "answers the result of a tool",
    "toolResultContains": "answers the result of a tool",
    "toolName": "looks for a tool",
    "responseFormat": "looks for a response format",
    "context": "looks for a context of aimock's own",
}
_TIMES: Final = ("latency", "streamingProfile", "recordedTimings", "replaySpeed", "chunkSize")
_FAULTS: Final = ("truncateAfterChunks", "disconnectAfterMs", "chaos")


def read(path: Path, base: str) -> Iterator[Carried | Lost]:
    """Yield an interaction for each fixture at *path*, a file or a folder; *base* is where the API is."""
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        found = list(_fixtures(file))
        # Answers that come one after the other to the same request say so; else the order is the file's.
        found.sort(key=lambda pair: _sequence(pair[1]))
        for where, data in found:
            yield _read_fixture(data, where, base)


def _fixtures(file: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    number = 0
    with file.open("rb") as stream:
        try:
            for number, raw in enumerate(elements(stream, "fixtures"), 1):
                yield f"{file}, fixture {number}", value_of(raw)
        except ElementsError:
            yield f"{file}, after fixture {number}", None


def _match(data: dict[str, Any]) -> dict[str, Any]:
    match = data.get("match")
    return match if isinstance(match, dict) else {}


def _sequence(data: dict[str, Any] | None) -> int:
    index = _match(data).get("sequenceIndex") if data else None
    return index if isinstance(index, int) else 0


def _read_fixture(data: dict[str, Any] | None, where: str, base: str) -> Carried | Lost:
    if data is None:
        return Lost(where, "it is no sound JSON object, or was cut off")
    match, answer = _match(data), data.get("response")
    if not isinstance(answer, dict):
        return Lost(where, "it has no response")
    try:
        return Carried(where, _interaction(match, answer, base), tuple(_notes(data, match, answer)))
    except FormatError as error:
        return Lost(where, str(error))


def _interaction(match: dict[str, Any], answer: dict[str, Any], base: str) -> Interaction:
    for name, what in _CONVERSATION.items():
        if name in match:
            raise FormatError(f"it {what}: the conversation before is not in the file")
    if match.get("hasToolResult") or (isinstance(match.get("turnIndex"), int) and match["turnIndex"] > 0):
        raise FormatError("it is a later turn: the conversation before is not in the file")
    if "inputText" in match or "embedding" in answer:
        path, asked = "/v1/embeddings", _asked(match, "input", _text(match, "inputText"))
    else:
        path, asked = "/v1/chat/completions", _asked(match, "messages", _messages(match))
    status, body = _answer(answer, asked)
    request = request_of("POST", base + path, _JSON, json.dumps(asked, ensure_ascii=False))
    return Interaction(request, response_of(status, "", _JSON, json.dumps(body, ensure_ascii=False)))


def _asked(match: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    model = match.get("model")
    return {"model": model if isinstance(model, str) else _ANY_MODEL, name: value}


def _text(match: dict[str, Any], name: str) -> str:
    text = match.get(name)
    if not isinstance(text, str) or not text:
        raise FormatError("it looks for no text, so there is no request that could be kept")
    return text


def _messages(match: dict[str, Any]) -> list[dict[str, str]]:
    system = match.get("systemMessage")
    texts = system if isinstance(system, list) else [system]
    told = "\n".join(text for text in texts if isinstance(text, str))
    first = [{"role": "system", "content": told}] if told else []
    return [*first, {"role": "user", "content": _text(match, "userMessage")}]


def _answer(answer: dict[str, Any], asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    if isinstance(answer.get("error"), dict):
        error = {"message": "", "type": "invalid_request_error", "param": None, "code": None, **answer["error"]}
        status = answer.get("status", 500)
        return status if isinstance(status, int) else 500, {"error": error}
    if isinstance(answer.get("embedding"), list):
        usage = {"prompt_tokens": prompt_tokens(asked), "total_tokens": prompt_tokens(asked)}
        data = [{"object": "embedding", "index": 0, "embedding": answer["embedding"]}]
        return 200, {"object": "list", "data": data, "model": asked["model"], "usage": usage}
    if isinstance(answer.get("content"), str) or isinstance(answer.get("toolCalls"), list):
        return 200, _completion(answer, asked)
    raise FormatError(
        "its answer is of a kind that is not carried over: not text, tool calls, an embedding or an error"
    )


def _completion(answer: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    calls = [_call(call, asked, n) for n, call in enumerate(answer.get("toolCalls") or ()) if isinstance(call, dict)]
    message = {"role": answer.get("role", "assistant"), "content": answer.get("content"), "refusal": None}
    if isinstance(answer.get("reasoning"), str):
        message["reasoning_content"] = answer["reasoning"]
    if calls:
        message["tool_calls"] = calls
    reason = answer.get("finishReason", "tool_calls" if calls else "stop")
    return {
        "id": answer.get("id") or made_id("chatcmpl-", json.dumps([asked, answer]).encode()),
        "object": "chat.completion",
        "created": answer.get("created", 0),
        "model": answer.get("model", asked["model"]),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": _usage(answer, asked),
        "system_fingerprint": answer.get("systemFingerprint"),
    }


def _call(call: dict[str, Any], asked: dict[str, Any], number: int) -> dict[str, Any]:
    arguments = call.get("arguments", "{}")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    made = call.get("id") or made_id("call_", json.dumps([asked, call, number]).encode())
    return {"id": made, "type": "function", "function": {"name": call.get("name"), "arguments": text}}


def _usage(answer: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return the usage that the fixture has, under the names of the chat API; what is missing is estimated."""
    found = answer.get("usage")
    given: dict[str, Any] = found if isinstance(found, dict) else {}
    said = str(answer.get("content") or "") + json.dumps(answer.get("toolCalls") or "")
    prompt = given.get("prompt_tokens", given.get("input_tokens", prompt_tokens(asked)))
    completion = given.get("completion_tokens", given.get("output_tokens", len(split(said))))
    counts = [count if isinstance(count, int) else 0 for count in (prompt, completion)]
    kept = {name: value for name, value in given.items() if name.endswith("_details")}
    total = given.get("total_tokens", sum(counts))
    return {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": total, **kept}


def _notes(data: dict[str, Any], match: dict[str, Any], answer: dict[str, Any]) -> Iterator[str]:
    yield "it looks for a part of a request; the recording is a request of that part alone (see serve --drift allow)"
    if "model" not in match:
        yield f"it names no model; the recording's is {_ANY_MODEL!r} (see serve --ignore model)"
    hashes = data.get("metadata")
    if isinstance(hashes, dict) and hashes:
        yield "the request that it was recorded from had a system message or tools, which are not in the file"
    if any(name in data for name in _TIMES):
        yield "its timing is left out"
    if any(name in data for name in _FAULTS):
        yield "its faults are left out"
    if any(name in answer for name in ("reasoningSignature", "redactedThinking", "webSearches", "blocks")):
        yield "of its answer, what the chat API has no member for is left out"
