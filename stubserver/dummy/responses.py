"""``POST /v1/responses`` and ``/v1/responses/input_tokens``: the fixed text, JSON for a schema, or a function call.

The answer follows from the request alone. What was created can be asked for again: see ``response_store``.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final, NamedTuple

from stubserver.dummy import logprobs, prompted, response_events, tokens, wording
from stubserver.dummy.errors import json_response
from stubserver.dummy.response_request import checked, function_tools
from stubserver.dummy.settings import CREATED, DummySettings
from stubserver.dummy.structured import instance
from stubserver.dummy.tools import Choice, arguments, picked
from stubserver.dummy.usage import made_id, prompt_tokens
from stubserver.messages import Request, Response

__all__ = ["answered", "count_input", "create", "is_background", "is_stored"]

_TAG_SIZE: Final = 6
_LOGPROBS: Final = "message.output_text.logprobs"
_TOOL_USAGE: Final = {
    "image_gen": {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "total_tokens": 0,
    },
    "web_search": {"num_requests": 0},
}


_ECHOED: Final[dict[str, Any]] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Members of the request that come back in the response -> what stands there when they were not given."""


class _Output(NamedTuple):
    """The one output item, how many tokens it counts as, and whether ``max_output_tokens`` cut it."""

    item: dict[str, Any]
    tokens: int
    cut: bool = False


def create(request: Request, settings: DummySettings) -> Response:
    """Answer a request for a response, whole or as events; the same request always gives the same bytes."""
    body = checked(request)
    answer = answered(body, request.body, settings)
    waits = is_background(body)
    if body.get("stream"):
        return response_events.stream(answer, queued=waits)
    return json_response(response_events.unfinished(answer, "queued") if waits else answer)


def count_input(request: Request, _settings: DummySettings) -> Response:
    """Answer ``POST /v1/responses/input_tokens`` with what ``usage.input_tokens`` is for the same body."""
    return json_response({"object": "response.input_tokens", "input_tokens": prompt_tokens(checked(request))})


def is_stored(body: dict[str, Any]) -> bool:
    """Tell whether a checked body asks for its response to be kept, as the API does unless told otherwise."""
    return body.get("store") is not False


def is_background(body: dict[str, Any]) -> bool:
    """Tell whether a checked body is answered later, to be asked for by id; that needs what is kept."""
    return bool(body.get("background")) and is_stored(body)


def answered(body: dict[str, Any], raw: bytes, settings: DummySettings) -> dict[str, Any]:
    """Return the finished response object for a checked body; *raw* is what the ids are made of."""
    output = _output(body, raw, settings)
    tier = body.get("service_tier") or "auto"
    return {
        "id": made_id("resp_", raw),
        "object": "response",
        "created_at": CREATED,
        "status": "incomplete" if output.cut else "completed",
        "completed_at": None if output.cut else CREATED,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if output.cut else None,
        "model": body.get("model") or next(iter(settings.models), "dummy-model"),
        "output": [output.item],
        "moderation": None,
        **{name: _given(body, name, default) for name, default in _ECHOED.items()},
        "reasoning": {"context": None, "effort": None, "summary": None} | (body.get("reasoning") or {}),
        "service_tier": "default" if tier == "auto" else tier,
        "text": _text_settings(body.get("text") or {}),
        "tools": [_shown_tool(tool) for tool in body.get("tools") or ()],
        "tool_usage": _TOOL_USAGE,
        "usage": _usage(prompt_tokens(body), output.tokens),
        **_surroundings(body),
    }


def _usage(spent: int, made: int) -> dict[str, Any]:
    return {
        "input_tokens": spent,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": spent + made,
    }


def _given(body: dict[str, Any], name: str, default: Any) -> Any:  # noqa: ANN401  # any JSON value
    value = body.get(name)
    return default if value is None else value


def _surroundings(body: dict[str, Any]) -> dict[str, Any]:
    """Return the two members that only a response to a request with them has."""
    shown: dict[str, Any] = {}
    conversation, prompt = body.get("conversation"), body.get("prompt")
    if conversation is not None:
        shown["conversation"] = {"id": conversation if isinstance(conversation, str) else conversation["id"]}
    if prompt is not None:
        shown["prompt"] = {"variables": None, "version": None} | prompt
    return shown


def _text_settings(text: dict[str, Any]) -> dict[str, Any]:
    form = text.get("format") or {"type": "text"}
    if form["type"] == "json_schema":
        form = {"type": "json_schema", "description": None, "strict": False} | form
    return {"verbosity": "medium"} | text | {"format": form}


def _shown_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool as the API echoes it: functions with all their members."""
    if tool["type"] != "function":
        return tool
    given = {name: value for name, value in tool.items() if value is not None}
    return {"type": "function", "description": None, "name": None, "parameters": None, "strict": True} | given


def _output(body: dict[str, Any], raw: bytes, settings: DummySettings) -> _Output:
    """Choose what the answer is. JSON and calls are never cut: half of them would be of no use to anybody."""
    limit = body.get("max_output_tokens")
    tool = _called_tool(body, settings)
    if tool is not None:
        given = _arguments(body, tool)
        return _Output(_call(raw, tool["name"], given), wording.whole(given, limit).tokens)
    structured = _structured(body)
    if structured is not None:
        return _Output(_message(body, raw, structured, "completed"), wording.whole(structured, limit).tokens)
    made = wording.plain(wording.Limits(limit, 0, padded=False, stops=()), settings)
    cut = made.reason == "length"
    return _Output(_message(body, raw, made.text, "incomplete" if cut else "completed"), made.tokens, cut)


def _message(body: dict[str, Any], raw: bytes, text: str, status: str) -> dict[str, Any]:
    shown = logprobs.responses(tokens.split(text), body.get("top_logprobs") or 0) if _wants_logprobs(body) else []
    content = {"type": "output_text", "annotations": [], "logprobs": shown, "text": text}
    return {
        "id": made_id("msg_", raw),
        "type": "message",
        "status": status,
        "content": [content],
        "role": "assistant",
    }


def _wants_logprobs(body: dict[str, Any]) -> bool:
    """Tell whether they are asked for; ``top_logprobs`` alone only says how many alternatives there would be."""
    return _LOGPROBS in (body.get("include") or ())


def _call(raw: bytes, name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": made_id("fc_", raw),
        "type": "function_call",
        "status": "completed",
        "arguments": arguments,
        "call_id": made_id("call_", raw)[:-_TAG_SIZE] + _tag(name),
        "name": name,
    }


def _tag(name: str) -> str:
    """Return the end of every call id of the function *name*: see ``_called``."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_TAG_SIZE // 2).hexdigest()


def _called_tool(body: dict[str, Any], settings: DummySettings) -> dict[str, Any] | None:
    """Return the function to call, or None for an answer in text."""
    choice = _choice(body)
    return picked(choice, _called(body, [tool["name"] for tool in choice.functions]), settings)


def _choice(body: dict[str, Any]) -> Choice:
    choice, tools = body.get("tool_choice") or "auto", function_tools(body)
    if isinstance(choice, str):
        return Choice(choice, tools)
    if choice["type"] == "function":
        return Choice("required", [tool for tool in tools if tool["name"] == choice["name"]])
    if choice["type"] != "allowed_tools":
        return Choice("none", tools)
    allowed = [tool["name"] for tool in choice.get("tools") or () if tool["type"] == "function"]
    return Choice(choice["mode"], [tool for tool in tools if tool["name"] in allowed])


def _called(body: dict[str, Any], names: list[str]) -> set[str]:
    """Return which of the functions *names* were called in the turns before this one.

    A client that goes on from ``previous_response_id`` sends the outputs of its last calls alone. The ends of our call
    ids tell their names, and as functions are called in order, those before them were called earlier.
    """
    value = body.get("input")
    items = value if isinstance(value, list) else []
    called = {item["name"] for item in items if item.get("type") == "function_call"}
    ended = {item["call_id"][-_TAG_SIZE:] for item in items if item.get("type") == "function_call_output"}
    for index, name in enumerate(names):
        if _tag(name) in ended:
            called |= set(names[: index + 1]) if body.get("previous_response_id") else {name}
    return called


def _arguments(body: dict[str, Any], tool: dict[str, Any]) -> str:
    index = next(i for i, known in enumerate(body["tools"]) if known is tool)
    return arguments(tool, f"tools[{index}].parameters")


def _structured(body: dict[str, Any]) -> str | None:
    """Return the JSON that ``text.format`` asks for, or None when it asks for text."""
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_object":
        return prompted.wanted([body.get("instructions"), body.get("input")]) or "{}"
    if form.get("type") != "json_schema":
        return None
    return instance(form["schema"], f"response_format '{form['name'][:100]}'", "text.format.schema")
