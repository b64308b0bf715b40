"""Which function an answer calls, and with what arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from stubserver.dummy import body as read
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import DummySettings
from stubserver.dummy.structured import instance

__all__ = ["Choice", "arguments", "called_in_chat", "legacy_choice", "picked", "tool_choice"]

_MODES: Final = ("none", "auto", "required")
_KINDS: Final = ("function", "custom")
_ALONE: Final = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."


class Choice(NamedTuple):
    """``mode`` is none, auto or required; ``functions`` are those that may be called: ``name``, ``parameters``."""

    mode: str
    functions: list[dict[str, Any]]


def picked(choice: Choice, called: Collection[str], settings: DummySettings) -> dict[str, Any] | None:
    """Return the function to call, or None for an answer in text; *called* are the names called before.

    ``required`` calls the first one that was not called yet, then the last: agents that ask for a call in every turn
    have their output tool last, and so come to an end. Where the settings want a call under ``auto`` too, each is
    called once, and then comes text, as agents of that kind end with it.
    """
    functions = choice.functions
    if not functions or choice.mode == "none" or (choice.mode == "auto" and settings.tools != "auto"):
        return None
    last = functions[-1] if choice.mode == "required" else None
    return next((function for function in functions if function["name"] not in called), last)


def arguments(function: dict[str, Any], param: str) -> str:
    """Write the smallest arguments that *function* takes; *param* is where its schema stands in the request."""
    schema = {"type": "object"} | (function.get("parameters") or {})
    return instance(schema, f"function '{function['name'][:100]}'", param, "invalid_function_parameters")


def tool_choice(body: dict[str, Any]) -> Choice:
    """Read ``tools`` and ``tool_choice`` of a chat request."""
    functions, choice = _functions(body), body.get("tool_choice")
    if choice is not None and not isinstance(choice, (str, dict)):
        raise read.invalid_type("tool_choice", "one of an object or 'none', 'auto', or 'required'", choice)
    if isinstance(choice, dict):
        return _chosen(body.get("tools") or [], choice, functions)
    read.one_of(body, "tool_choice", _MODES)
    if choice == "required" and not body.get("tools"):
        raise APIError(_ALONE, "tool_choice")
    return Choice(choice or "auto", functions)


def legacy_choice(body: dict[str, Any]) -> Choice:
    """Read ``functions`` and ``function_call``, which were before there were tools."""
    read.of_kind(body, "functions", list, "an array of objects")
    functions, choice = body.get("functions") or [], body.get("function_call")
    for index, function in enumerate(functions):
        _check_function(f"functions[{index}]", function)
    if not isinstance(choice, dict):
        read.one_of(body, "function_call", ("none", "auto"))
        return Choice(choice or "auto", functions)
    read.needs("function_call", choice, "name", read.string)
    wanted = [function for function in functions if function["name"] == choice["name"]]
    if not wanted:
        text = f"Invalid value for 'function_call': no function named '{choice['name'][:100]}' was specified."
        raise APIError(text, "function_call")
    return Choice("required", wanted)


def called_in_chat(messages: list[dict[str, Any]]) -> set[str]:
    """Return the names of the functions that were called in a conversation, by tools or as functions."""
    calls = (call for message in messages if message["role"] == "assistant" for call in _calls(message))
    names = (call.get("name") for call in calls if isinstance(call, dict))
    return {name for name in names if isinstance(name, str)}


def _calls(message: dict[str, Any]) -> Iterator[object]:
    tools = message.get("tool_calls")
    for call in tools if isinstance(tools, list) else ():
        yield call.get("function") if isinstance(call, dict) else None
    yield message.get("function_call")


def _functions(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Check ``tools``, and return the functions among them."""
    read.of_kind(body, "tools", list, "an array of objects")
    tools = body.get("tools")
    if tools == []:
        raise read.empty("tools")
    for index, tool in enumerate(tools or ()):
        _check_tool(f"tools[{index}]", tool)
    return [tool["function"] for tool in tools or () if tool["type"] == "function"]


def _check_tool(where: str, tool: object) -> None:
    if not isinstance(tool, dict):
        raise read.invalid_type(where, "an object", tool)
    read.needs(where, tool, "type", partial(read.one_of, names=_KINDS))
    if tool.get(tool["type"]) is None:
        raise read.missing(f"{where}.{tool['type']}")
    _check_function(f"{where}.{tool['type']}", tool[tool["type"]])


def _check_function(where: str, function: object) -> None:
    if not isinstance(function, dict):
        raise read.invalid_type(where, "an object", function)
    read.needs(where, function, "name", read.string)
    read.within(f"{where}.parameters", function.get("parameters"), read.an_object)


def _chosen(tools: list[dict[str, Any]], choice: dict[str, Any], functions: list[dict[str, Any]]) -> Choice:
    """Read a choice that is an object: a tool, or some that are allowed; each must be among the tools."""
    if not tools:
        raise APIError(_ALONE, "tool_choice")
    where, mode, wanted = "tool_choice", "required", [choice]
    if choice.get("type") == "allowed_tools":
        read.needs(where, choice, "allowed_tools", read.an_object)
        where, allowed = f"{where}.allowed_tools", choice["allowed_tools"]
        read.needs(where, allowed, "mode", partial(read.one_of, names=("auto", "required")))
        read.needs(where, allowed, "tools", partial(read.of_kind, kind=list, words="an array of objects"))
        mode, wanted = allowed["mode"], allowed["tools"]
    names = {_named(where, tool, tools) for tool in wanted}
    return Choice(mode, [function for function in functions if ("function", function["name"]) in names])


def _named(where: str, wanted: object, tools: list[dict[str, Any]]) -> tuple[str, str]:
    """Return kind and name of a wanted tool, which must be among the *tools*."""
    if not isinstance(wanted, dict):
        raise read.invalid_type(where, "an object", wanted)
    read.needs(where, wanted, "type", partial(read.one_of, names=_KINDS, more=("allowed_tools",)))
    kind = wanted["type"]
    read.needs(where, wanted, kind, read.an_object)
    read.needs(f"{where}.{kind}", wanted[kind], "name", read.string)
    name = wanted[kind]["name"]
    if not any(tool["type"] == kind and tool[kind]["name"] == name for tool in tools):
        raise APIError(f"Tool choice '{name[:100]}' not found in 'tools' parameter.", "tool_choice")
    return kind, name
