"""``POST /v1/chat/completions``: the fixed text, JSON for a schema, or a function call; whole or as chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from stubserver import sse
from stubserver.dummy import body as read
from stubserver.dummy import logprobs, structured, tokens, tools, wording
from stubserver.dummy.errors import APIError, json_bytes, json_response
from stubserver.dummy.settings import CREATED, DummySettings
from stubserver.dummy.usage import made_id, prompt_tokens, usage
from stubserver.messages import Request, Response

__all__ = ["EVENT_STREAM", "complete"]

EVENT_STREAM: Final = ("content-type", "text/event-stream; charset=utf-8")

_ROLES: Final = ("system", "assistant", "user", "function", "tool", "developer")
_TIERS: Final = ("auto", "default", "flex", "priority")
_MORE_TIERS: Final = ("fast", "scale")
_MOST_CHOICES: Final = 128
_MOST_ALTERNATIVES: Final = 20
_CALL_ID: Final = 29  # call_ and 24 more


class _Said(NamedTuple):
    """What each choice says: text, or the arguments of the function *name*; ``top`` is None without logprobs."""

    wording: wording.Wording
    raw: bytes
    top: int | None = None
    name: str | None = None
    legacy: bool = False


def complete(request: Request, settings: DummySettings) -> Response:
    """Answer a chat completion request; the same request always gives the same bytes."""
    body = read.parse(request)
    model = read.require_model(body, request)
    _check_messages(body)
    count = read.integer(body, "n", 1, _MOST_CHOICES) or 1
    said = _said(body, count, request.body, settings)
    used = usage(prompt_tokens(body), count * said.wording.tokens)
    head = {"id": made_id("chatcmpl-", request.body), "created": CREATED, "model": model}
    tail = {"service_tier": _tier(body), "system_fingerprint": "fp_stubserver"}
    if read.flag(body, "stream"):
        chunks = _chunks(said, count, used if read.includes_usage(body) else None)
        return _stream({**head, "object": "chat.completion.chunk", **tail}, chunks)
    choices = [_choice(index, said) for index in range(count)]
    return json_response({**head, "object": "chat.completion", "choices": choices, "usage": used, **tail})


def _said(body: dict[str, Any], count: int, raw: bytes, settings: DummySettings) -> _Said:
    """Choose what the answer is, and check what is in the way, in the API's order as far as it is known."""
    name, most = _token_limit(body)
    asked = wording.limits(body, name, most, count)
    _check_numbers(body)
    top = _alternatives(body)
    call = _call(body, settings)
    text = structured.requested(body)
    if call is not None:
        function, legacy, written = call
        return _Said(wording.whole(written, most), raw, None, function, legacy)
    return _Said(wording.plain(asked, settings) if text is None else wording.whole(text, most), raw, top)


def _call(body: dict[str, Any], settings: DummySettings) -> tuple[str, bool, str] | None:
    """Return the name of the function to call, whether it is one of the old ``functions``, and its arguments."""
    if body.get("tools") is None and body.get("functions") is None and not body.get("tool_choice"):
        return None
    called = tools.called_in_chat(body["messages"])
    function = tools.picked(tools.tool_choice(body), called, settings)
    if function is not None:
        index = next(i for i, tool in enumerate(body["tools"]) if tool.get("function") is function)
        return function["name"], False, tools.arguments(function, f"tools[{index}].function.parameters")
    function = tools.picked(tools.legacy_choice(body), called, settings)
    if function is None:
        return None
    index = next(i for i, known in enumerate(body["functions"]) if known is function)
    return function["name"], True, tools.arguments(function, f"functions[{index}].parameters")


def _alternatives(body: dict[str, Any]) -> int | None:
    """Return how many alternatives to each token are shown, or None when no log probabilities are."""
    shown, top = read.flag(body, "logprobs"), read.integer(body, "top_logprobs", 0, _MOST_ALTERNATIVES)
    if shown:
        return top or 0
    if top:
        raise APIError("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
    return None


def _check_numbers(body: dict[str, Any]) -> None:
    read.number(body, "temperature", 0, 2)
    read.number(body, "top_p", 0, 1)
    read.number(body, "presence_penalty", -2, 2)
    read.number(body, "frequency_penalty", -2, 2)
    read.integer(body, "seed", -(2**63), 2**63 - 1)


def _tier(body: dict[str, Any]) -> str:
    read.one_of(body, "service_tier", _TIERS, _MORE_TIERS)
    tier: str | None = body.get("service_tier")
    return "default" if tier is None or tier == "auto" else tier


def _choice(index: int, said: _Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    if said.name is None:
        message["content"] = said.wording.text
    else:
        message |= _called(index, said, said.wording.text)
    shown = None if said.top is None else logprobs.chat(tokens.split(said.wording.text), said.top)
    return {"index": index, "message": message, "logprobs": shown, "finish_reason": _reason(said)}


def _reason(said: _Said) -> str:
    if said.name is None:
        return said.wording.reason
    return "function_call" if said.legacy else "tool_calls"


def _called(index: int, said: _Said, arguments: str) -> dict[str, Any]:
    """Return the member of the choice *index* that has the call, with these *arguments*."""
    function = {"name": said.name, "arguments": arguments}
    if said.legacy:
        return {"function_call": function}
    raw = b"%b#%d" % (said.raw, index) if index else said.raw
    return {"tool_calls": [{"id": made_id("call_", raw)[:_CALL_ID], "type": "function", "function": function}]}


def _chunks(said: _Said, count: int, used: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield what differs from chunk to chunk: role, pieces and finish of every choice, then the usage if asked for."""
    pending = {"usage": None} if used is not None else {}
    pieces = tokens.split(said.wording.text)
    # They come with the tokens; where there is none, that there are none comes first.
    none = None if said.top is None or pieces else logprobs.chat((), said.top)
    for index in range(count):
        yield {"choices": [_part(index, _opening(index, said), none)], **pending}
    for piece in pieces:
        delta = _delta(said, piece)
        shown = None if said.top is None else logprobs.chat([piece], said.top)
        for index in range(count):
            yield {"choices": [_part(index, delta, shown)], **pending}
    for index in range(count):
        yield {"choices": [_part(index, {}, finish=_reason(said))], **pending}
    if used is not None:
        yield {"choices": [], "usage": used}


def _part(
    index: int, delta: dict[str, Any], shown: dict[str, Any] | None = None, finish: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": shown, "finish_reason": finish}


def _opening(index: int, said: _Said) -> dict[str, Any]:
    """Return the first delta: the role, and the function that is called, its arguments still empty."""
    if said.name is None:
        return {"role": "assistant", "content": "", "refusal": None}
    called = _called(index, said, "")
    for place, call in enumerate(called.get("tool_calls", ())):
        called["tool_calls"][place] = {"index": place, **call}
    return {"role": "assistant", "content": None, **called, "refusal": None}


def _delta(said: _Said, piece: str) -> dict[str, Any]:
    if said.name is None:
        return {"content": piece}
    if said.legacy:
        return {"function_call": {"arguments": piece}}
    return {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _stream(head: dict[str, Any], chunks: Iterator[dict[str, Any]]) -> Response:
    events = [json_bytes(head | chunk) for chunk in chunks]
    return Response(200, (EVENT_STREAM,), b"".join(sse.frame([*events, b"[DONE]"])), events=True)


def _token_limit(body: dict[str, Any]) -> tuple[str, int | None]:
    """Return max_completion_tokens, or the older max_tokens, by its name."""
    newer = read.integer(body, "max_completion_tokens", 1)
    older = read.integer(body, "max_tokens", 1)
    return ("max_tokens", older) if newer is None else ("max_completion_tokens", newer)


def _check_messages(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise read.missing("messages")
    if not isinstance(messages, list):
        raise read.invalid_type("messages", "an array of objects", messages)
    if not messages:
        raise read.empty("messages")
    for i, message in enumerate(messages):
        _check_message(f"messages[{i}]", message)


def _check_message(where: str, message: object) -> None:
    if not isinstance(message, dict):
        raise read.invalid_type(where, "an object", message)
    role, content = message.get("role"), message.get("content")
    if role is None:
        raise read.missing(f"{where}.role")
    if role not in _ROLES:
        raise read.invalid_value(f"{where}.role", role, _ROLES)
    if content is not None and not isinstance(content, (str, list)):
        raise read.invalid_type(f"{where}.content", "one of a string or array of objects", content)
    for i, part in enumerate(content if isinstance(content, list) else ()):
        _check_part(f"{where}.content[{i}]", part)


def _check_part(where: str, part: object) -> None:
    """Check a part of a message's content; of any type: other servers know more types than the API."""
    if not isinstance(part, dict):
        raise read.invalid_type(where, "an object", part)
    read.needs(where, part, "type", read.string)
