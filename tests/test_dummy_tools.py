"""Which function is called: the choices, in their order, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stubserver.dummy import tools
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import DummySettings
from stubserver.dummy.tools import Choice

NEVER, ALWAYS = DummySettings(), DummySettings(tools="auto")
FUNCTIONS = [{"name": name} for name in ("a", "b", "c")]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
CUSTOM = {"type": "custom", "custom": {"name": "a"}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


def refused(read: Any, body: dict[str, Any]) -> tuple[str, str | None, str | None]:
    with pytest.raises(APIError) as caught:
        read(body)
    assert caught.value.status == 400
    return str(caught.value), caught.value.param, caught.value.code


@pytest.mark.parametrize(
    ("mode", "made", "called", "name"),
    [
        ("none", NEVER, "", None),
        ("none", ALWAYS, "", None),
        ("auto", NEVER, "", None),
        ("auto", ALWAYS, "", "a"),
        ("auto", ALWAYS, "ab", "c"),
        ("auto", ALWAYS, "abc", None),
        ("required", NEVER, "", "a"),
        ("required", NEVER, "a", "b"),
        ("required", NEVER, "b", "a"),
        ("required", NEVER, "cab", "c"),
    ],
)
def test_the_first_that_was_not_called_is_called(mode: str, made: DummySettings, called: str, name: str | None) -> None:
    picked = tools.picked(Choice(mode, FUNCTIONS), set(called), made)
    assert (picked and picked["name"]) == name


def test_without_functions_nothing_is_called() -> None:
    assert tools.picked(Choice("required", []), (), ALWAYS) is None


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        (None, "auto", "abc"),
        ("auto", "auto", "abc"),
        ("none", "none", "abc"),
        ("required", "required", "abc"),
        (named("b"), "required", "b"),
        (allowed("auto", "c", "a"), "auto", "ac"),
        (allowed("required", "b", "c"), "required", "bc"),
    ],
)
def test_the_choice_is_read(choice: Any, mode: str, names: str) -> None:
    read = tools.tool_choice({"tools": [*TOOLS, {"type": "custom", "custom": {"name": "d"}}], "tool_choice": choice})
    assert (read.mode, "".join(function["name"] for function in read.functions)) == (mode, names)


def test_a_choice_of_another_kind_of_tool_calls_no_function_of_its_name() -> None:
    assert tools.tool_choice({"tools": [*TOOLS, CUSTOM], "tool_choice": CUSTOM}) == ("required", [])


@pytest.mark.parametrize(
    ("choice", "mode", "names"), [(None, "auto", "abc"), ("none", "none", "abc"), ({"name": "b"}, "required", "b")]
)
def test_the_older_choice_is_read(choice: Any, mode: str, names: str) -> None:
    read = tools.legacy_choice({"functions": FUNCTIONS, "function_call": choice})
    assert (read.mode, "".join(function["name"] for function in read.functions)) == (mode, names)


NOT_ALONE = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"tools": [], "tool_choice": "auto"}, "Invalid 'tools': empty array.", "tools"),
        ({"tools": "x"}, "Invalid type for 'tools': expected an array of objects, but got a string", "tools"),
        ({"tools": ["x"]}, "Invalid type for 'tools[0]': expected an object, but got a string", "tools[0]"),
        ({"tools": [{}]}, "Missing required parameter: 'tools[0].type'.", "tools[0].type"),
        (
            {"tools": [{"type": "web"}]},
            "Invalid value: 'web'. Supported values are: 'function' and 'custom'.",
            "tools[0].type",
        ),
        ({"tools": [{"type": "function"}]}, "Missing required parameter: 'tools[0].function'.", "tools[0].function"),
        (
            {"tools": [{"type": "function", "function": []}]},
            "Invalid type for 'tools[0].function': expected an object, but got an array",
            "tools[0].function",
        ),
        (
            {"tools": [{"type": "function", "function": {}}]},
            "Missing required parameter: 'tools[0].function.name'.",
            "tools[0].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "Invalid type for 'tools[0].function.parameters': expected an object, but got an array",
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, NOT_ALONE, "tool_choice"),
        ({"tool_choice": named("a")}, NOT_ALONE, "tool_choice"),
        (
            {"tools": TOOLS, "tool_choice": 5},
            "Invalid type for 'tool_choice': expected one of an object",
            "tool_choice",
        ),
        ({"tools": TOOLS, "tool_choice": "any"}, "Invalid value: 'any'. Supported values are: 'none',", "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {}}, "Missing required parameter: 'tool_choice.type'.", "tool_choice.type"),
        (
            {"tools": TOOLS, "tool_choice": named("x")},
            "Tool choice 'x' not found in 'tools' parameter.",
            "tool_choice",
        ),
        (
            {"tools": [CUSTOM], "tool_choice": named("a")},
            "Tool choice 'a' not found in 'tools' parameter.",
            "tool_choice",
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [5]}}},
            "Invalid type for 'tool_choice.allowed_tools': expected an object, but got an integer",
            "tool_choice.allowed_tools",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(body: dict[str, Any], message: str, param: str) -> None:
    text, where, _ = refused(tools.tool_choice, body)
    assert text.startswith(message)
    assert where == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"functions": 5}, "functions"),
        ({"functions": [{}]}, "functions[0].name"),
        ({"functions": FUNCTIONS, "function_call": "required"}, "function_call"),
        ({"functions": FUNCTIONS, "function_call": {}}, "function_call.name"),
        ({"functions": FUNCTIONS, "function_call": {"name": "x"}}, "function_call"),
    ],
)
def test_older_ones_are_refused_too(body: dict[str, Any], param: str) -> None:
    assert refused(tools.legacy_choice, body)[1] == param


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({"role": "assistant", "tool_calls": [{"function": {"name": "a"}}, {"function": {"name": "b"}}]}, {"a", "b"}),
        ({"role": "assistant", "function_call": {"name": "a"}}, {"a"}),
        ({"role": "user", "function_call": {"name": "a"}}, set()),
        ({"role": "assistant", "tool_calls": [5, {}, {"function": 5}, {"function": {"name": []}}]}, set()),
        ({"role": "assistant", "tool_calls": {"a": 1}, "function_call": "x"}, set()),
    ],
)
def test_what_was_called_is_read_from_the_turns(message: dict[str, Any], names: set[str]) -> None:
    assert tools.called_in_chat([message]) == names


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"properties": {"x": {"type": "integer"}}, "required": ["x"]}, {"x": 0}),
        ({"type": "object", "properties": {"x": {"enum": ["m", "n"]}}, "required": ["x"]}, {"x": "m"}),
    ],
)
def test_arguments_are_the_smallest_object(parameters: Any, expected: dict[str, Any]) -> None:
    assert json.loads(tools.arguments({"name": "f", "parameters": parameters}, "tools[0]")) == expected


def test_parameters_that_cannot_be_met_are_refused() -> None:
    function = {"name": "f", "parameters": {"not": {}}}
    text, param, code = refused(lambda body: tools.arguments(body, "tools[2].function.parameters"), function)
    assert text.startswith("Invalid schema for function 'f': ")
    assert (param, code) == ("tools[2].function.parameters", "invalid_function_parameters")
