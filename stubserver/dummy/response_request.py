"""The body of ``POST /v1/responses``: what the API checks in it, in the API's order and words.

Order and texts are those that api.openai.com was seen to give in August 2026. What it refuses for some models only
(unknown members, sampling with reasoning models) is accepted.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from stubserver.dummy import body as read
from stubserver.dummy.body import Check
from stubserver.dummy.errors import APIError
from stubserver.messages import Request

__all__ = ["checked", "function_tools"]

_ROLES: Final = ("assistant", "system", "developer", "user")
_PARTS: Final = (
    "input_text",
    "input_image",
    "output_text",
    "refusal",
    "input_file",
    "computer_screenshot",
    "summary_text",
)
_LATER_PARTS: Final = ("input_audio", "reasoning_text")
_ELSEWHERE: Final = ("previous_response_id", "prompt", "conversation")
"""What may stand for input, and brings earlier turns that are not looked at here."""

_MOST_METADATA: Final = 16
_LEAST_OUTPUT: Final = 16
_MOVED: Final = (
    "Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to 'input'. Try again with the "
    "new parameter. See the API documentation for more information: "
    "https://platform.openai.com/docs/api-reference/responses/create."
)


def checked(request: Request) -> dict[str, Any]:
    """Return the request's JSON object; what the API would refuse is its 400."""
    body = read.parse(request)
    for name, check in _CHECKS:
        check(body, name)
    if body.get("conversation") is not None and body.get("previous_response_id") is not None:
        text = "Mutually exclusive parameters: ''. Ensure you are only providing one of: 'pre..._id' or 'conversation'."
        raise APIError(text, code="mutually_exclusive_parameters")
    _check_word_json(body)
    return body


def function_tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the function tools of a checked body."""
    return [tool for tool in body.get("tools") or () if tool["type"] == "function"]


def _string_or_list(body: dict[str, Any], name: str) -> None:
    if not isinstance(body[name], (str, list)):
        raise read.invalid_type(name, "one of a string or array of objects", body[name])


_NAMED: Final = ("function", "custom")
"""The kinds of tools that are told apart by their names; of the others there is one of a kind."""

_NEEDED: Final = {
    "function_call": (("call_id", read.string), ("name", read.string), ("arguments", read.string)),
    "function_call_output": (("call_id", read.string), ("output", _string_or_list)),
    "item_reference": (("id", read.string),),
}


def _model(body: dict[str, Any], name: str) -> None:
    model = body.get(name)
    if name not in body:
        if body.get("prompt") is not None:
            return  # the prompt template names its own
        raise read.missing(name)
    if not isinstance(model, str):
        raise read.invalid_type(name, "a string", {} if model is None else model)  # null is called an object here
    if not model:
        raise APIError("The requested model '' does not exist.", name, "model_not_found")


def _input(body: dict[str, Any], name: str) -> None:
    value = body.get(name)
    if value is not None and not isinstance(value, (str, list)):
        raise read.invalid_type(name, "one of a string or array of input items", value)
    if not value and not any(map(body.get, _ELSEWHERE)):
        if "messages" in body:
            raise APIError(_MOVED, code="unsupported_parameter")
        text = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."
        raise APIError(text, name, "missing_required_parameter")
    for index, item in enumerate(value if isinstance(value, list) else ()):
        _check_item(f"{name}[{index}]", item)


def _check_item(where: str, item: object) -> None:
    if not isinstance(item, dict):
        raise read.invalid_type(where, "an input item", item)
    kind = item.get("type")
    if kind is not None and not isinstance(kind, str):
        raise read.invalid_type(f"{where}.type", "a string", kind)
    if kind in (None, "message"):
        _check_message(where, item)
        return
    for needed, check in _NEEDED.get(kind, ()):
        read.needs(where, item, needed, check)


def _check_message(where: str, item: dict[str, Any]) -> None:
    role = item.get("role")
    if role not in _ROLES:
        raise read.invalid_value(where, "" if role is None else role, _ROLES)
    if "content" not in item:
        raise read.missing(f"{where}.content")
    content = item["content"]
    if not isinstance(content, (str, list)):
        raise read.invalid_type(f"{where}.content", "one of an array of objects or string", content)
    for index, part in enumerate(content if isinstance(content, list) else ()):
        _check_part(f"{where}.content[{index}]", part)


def _check_part(where: str, part: object) -> None:
    if not isinstance(part, dict):
        raise read.invalid_type(where, "an object", part)
    if part.get("type") is None:
        raise read.missing(f"{where}.type")
    if part["type"] not in _PARTS and part["type"] not in _LATER_PARTS:
        raise read.invalid_value(where, part["type"], _PARTS)


def _tools(body: dict[str, Any], name: str) -> None:
    read.of_kind(body, name, list, "an array of tools")
    for index, tool in enumerate(body.get(name) or ()):
        where = f"{name}[{index}]"
        if not isinstance(tool, dict):
            raise read.invalid_type(where, "an object", tool)
        read.needs(where, tool, "type", read.string)
        if tool["type"] in _NAMED:
            read.needs(where, tool, "name", read.string)
        read.within(f"{where}.parameters", tool.get("parameters"), read.an_object)


def _tool_choice(body: dict[str, Any], name: str) -> None:
    choice = body.get(name)
    if choice is not None and not isinstance(choice, (str, dict)):
        raise read.invalid_type(name, "one of an object or 'none', 'auto', or 'required'", choice)
    if isinstance(choice, str):
        read.one_of(body, name, ("none", "auto", "required"))
        if choice == "required" and not body.get("tools"):
            raise APIError("Tool choice 'required' must be specified with 'tools' parameter.", name)
    elif choice is not None:
        _check_choice(body.get("tools") or [], choice)


def _check_choice(tools: list[dict[str, Any]], choice: dict[str, Any]) -> None:
    """Check a choice that is an object: a tool, or some that are allowed; each must be among the tools."""
    where, wanted = "tool_choice", [choice]
    if choice.get("type") == "allowed_tools":
        read.needs(where, choice, "mode", partial(read.one_of, names=("auto", "required")))
        wanted, where = choice.get("tools") or [], f"{where}.tools"
    if not isinstance(wanted, list) or not all(isinstance(tool, dict) for tool in wanted):
        raise read.invalid_type(where, "an array of objects", wanted)
    for tool in wanted:
        read.needs(where, tool, "type", read.string)
        key = "name" if tool["type"] in _NAMED else "type"
        read.needs(where, tool, key, read.string)
        if not any(known["type"] == tool["type"] and known.get(key) == tool[key] for known in tools):
            raise APIError(f"Tool choice '{tool[key][:100]}' not found in 'tools' parameter.", "tool_choice")


def _metadata(body: dict[str, Any], name: str) -> None:
    read.of_kind(body, name, dict, "a metadata object")
    data = body.get(name) or {}
    if len(data) > _MOST_METADATA:
        text = (
            f"Invalid '{name}': too many properties. Expected an object with at most {_MOST_METADATA} properties, but "
            f"got an object with {len(data)} properties instead."
        )
        raise APIError(text, name, "object_above_max_properties")
    for key, value in data.items():
        if not isinstance(value, str):
            raise read.invalid_type(f"{name}.{key}", "a string", value)


def _text(body: dict[str, Any], name: str) -> None:
    read.of_kind(body, name, dict, "an object")
    text = body.get(name) or {}
    where, form = f"{name}.format", text.get("format")
    read.within(where, form, read.an_object)
    if form is not None:
        read.needs(where, form, "type", partial(read.one_of, names=("json_object", "json_schema", "text")))
        if form["type"] == "json_schema":
            read.needs(where, form, "name", read.string)
            read.needs(where, form, "schema", read.an_object)
    read.within(f"{name}.verbosity", text.get("verbosity"), partial(read.one_of, names=("low", "medium", "high")))


def _reasoning(body: dict[str, Any], name: str) -> None:
    read.of_kind(body, name, dict, "an object")
    given = body.get(name) or {}
    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    read.within(f"{name}.effort", given.get("effort"), partial(read.one_of, names=efforts))
    read.within(f"{name}.summary", given.get("summary"), partial(read.one_of, names=("concise", "detailed", "auto")))


def _prompt(body: dict[str, Any], name: str) -> None:
    read.of_kind(body, name, dict, "an object")
    if body.get(name) is not None:
        read.needs(name, body[name], "id", read.string)


def _conversation(body: dict[str, Any], name: str) -> None:
    value = body.get(name)
    if value is not None and not isinstance(value, (str, dict)):
        raise read.invalid_type(name, "one of a string or object", value)
    if isinstance(value, dict):
        read.needs(name, value, "id", read.string)


def _check_word_json(body: dict[str, Any]) -> None:
    """Refuse JSON mode when nothing in the input speaks of JSON; instructions do not count, other turns are unknown."""
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") != "json_object" or any(map(body.get, _ELSEWHERE)):
        return
    if "json" not in str(body.get("input")).lower():
        text = (
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'."
        )
        raise APIError(text, "input")


_CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("model", _model),
    ("input", _input),
    ("previous_response_id", read.string),
    ("prompt", _prompt),
    ("conversation", _conversation),
    ("moderation", read.an_object),
    ("include", partial(read.of_kind, kind=list, words="an array of strings")),
    ("tools", _tools),
    ("tool_choice", _tool_choice),
    ("metadata", _metadata),
    ("text", _text),
    ("temperature", partial(read.number, least=0, most=2)),
    ("top_p", partial(read.number, least=0, most=1)),
    ("presence_penalty", partial(read.number, least=-2, most=2)),
    ("frequency_penalty", partial(read.number, least=-2, most=2)),
    ("parallel_tool_calls", read.flag),
    ("stream", read.flag),
    ("stream_options", read.an_object),
    ("background", read.flag),
    ("max_output_tokens", partial(read.integer, least=_LEAST_OUTPUT)),
    ("max_tool_calls", partial(read.integer, least=1)),
    ("reasoning", _reasoning),
    ("user", read.string),
    ("safety_identifier", read.string),
    ("prompt_cache_options", read.an_object),
    ("prompt_cache_key", read.string),
    ("prompt_cache_retention", partial(read.one_of, names=("in_memory", "24h"))),
    ("truncation", partial(read.one_of, names=("auto", "disabled"))),
    ("instructions", read.string),
    ("store", read.flag),
    (
        "service_tier",
        partial(read.one_of, names=("auto", "default", "fast", "flex", "priority"), more=("scale", "ultrafast")),
    ),
    ("top_logprobs", partial(read.integer, least=0, most=20)),
    ("context_management", partial(read.of_kind, kind=list, words="an array of objects")),
)
