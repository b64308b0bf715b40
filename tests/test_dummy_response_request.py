"""What ``POST /v1/responses`` refuses: the API's words, and the order in which it looks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stubserver.dummy.errors import NOT_PARSED, APIError
from stubserver.dummy.response_request import checked, function_tools
from stubserver.messages import Request

F = {"type": "function", "name": "f"}
USER = {"role": "user", "content": "Hi"}
ABSENT = object()


def asked(body: dict[str, Any]) -> Request:
    full = {"model": "m", "input": "Hi", **body}
    present = {name: value for name, value in full.items() if value is not ABSENT}
    return Request("POST", "/v1/responses", body=json.dumps(present).encode())


def refusal(body: dict[str, Any]) -> tuple[str, str | None, str | None]:
    with pytest.raises(APIError) as caught:
        checked(asked(body))
    assert caught.value.status == 400
    return str(caught.value), caught.value.param, caught.value.code


def wrong(name: str, expected: str, got: str) -> tuple[str, str, str]:
    return f"Invalid type for '{name}': expected {expected}, but got {got} instead.", name, "invalid_type"


def missing(name: str) -> tuple[str, str, str]:
    return f"Missing required parameter: '{name}'.", name, "missing_required_parameter"


def unlisted(name: str, value: str, listed: str) -> tuple[str, str, str]:
    return f"Invalid value: '{value}'. Supported values are: {listed}.", name, "invalid_value"


NO_INPUT = (
    "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
    "input",
    "missing_required_parameter",
)
ROLES = "'assistant', 'system', 'developer', and 'user'"

REFUSALS: list[tuple[dict[str, Any], tuple[str, str | None, str | None]]] = [
    ({"model": ABSENT}, missing("model")),
    ({"model": None}, wrong("model", "a string", "an object")),
    ({"model": 7}, wrong("model", "a string", "an integer")),
    ({"model": ""}, ("The requested model '' does not exist.", "model", "model_not_found")),
    ({"input": ABSENT}, NO_INPUT),
    ({"input": None}, NO_INPUT),
    ({"input": ""}, NO_INPUT),
    ({"input": []}, NO_INPUT),
    ({"input": {"a": 1}}, wrong("input", "one of a string or array of input items", "an object")),
    ({"input": 7}, wrong("input", "one of a string or array of input items", "an integer")),
    ({"input": ["a"]}, wrong("input[0]", "an input item", "a string")),
    ({"input": [USER, {"role": "tool", "content": ""}]}, unlisted("input[1]", "tool", ROLES)),
    ({"input": [{"content": "a"}]}, unlisted("input[0]", "", ROLES)),
    ({"input": [{"role": "user"}]}, missing("input[0].content")),
    (
        {"input": [{"role": "user", "content": None}]},
        wrong("input[0].content", "one of an array of objects or string", "null"),
    ),
    ({"input": [{"role": "user", "content": ["a"]}]}, wrong("input[0].content[0]", "an object", "a string")),
    ({"input": [{"role": "user", "content": [{}]}]}, missing("input[0].content[0].type")),
    (
        {"input": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        unlisted(
            "input[0].content[0]",
            "text",
            "'input_text', 'input_image', 'output_text', 'refusal', 'input_file', 'computer_screenshot', and "
            "'summary_text'",
        ),
    ),
    ({"input": [{"type": 5}]}, wrong("input[0].type", "a string", "an integer")),
    ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, missing("input[0].call_id")),
    (
        {"input": [{"type": "function_call", "call_id": "c", "name": [], "arguments": ""}]},
        wrong("input[0].name", "a string", "an array"),
    ),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, missing("input[0].output")),
    (
        {"input": [{"type": "function_call_output", "call_id": "c", "output": {}}]},
        wrong("input[0].output", "one of a string or array of objects", "an object"),
    ),
    ({"input": [{"type": "item_reference"}]}, missing("input[0].id")),
    ({"previous_response_id": {}}, wrong("previous_response_id", "a string", "an object")),
    ({"prompt": "x"}, wrong("prompt", "an object", "a string")),
    ({"prompt": {}}, missing("prompt.id")),
    ({"conversation": 5}, wrong("conversation", "one of a string or object", "an integer")),
    ({"conversation": {}}, missing("conversation.id")),
    ({"moderation": "x"}, wrong("moderation", "an object", "a string")),
    ({"include": "x"}, wrong("include", "an array of strings", "a string")),
    ({"tools": "x"}, wrong("tools", "an array of tools", "a string")),
    ({"tools": [F, "x"]}, wrong("tools[1]", "an object", "a string")),
    ({"tools": [{"name": "f"}]}, missing("tools[0].type")),
    ({"tools": [{"type": ["function"]}]}, wrong("tools[0].type", "a string", "an array")),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, missing("tools[0].name")),
    ({"tools": [{"type": "custom"}]}, missing("tools[0].name")),
    ({"tools": [{**F, "parameters": "x"}]}, wrong("tools[0].parameters", "an object", "a string")),
    ({"tool_choice": 7}, wrong("tool_choice", "one of an object or 'none', 'auto', or 'required'", "an integer")),
    ({"tools": [F], "tool_choice": "x"}, unlisted("tool_choice", "x", "'none', 'auto', and 'required'")),
    (
        {"tool_choice": "required"},
        ("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice", None),
    ),
    ({"tools": [F], "tool_choice": {}}, missing("tool_choice.type")),
    ({"tools": [F], "tool_choice": {"type": []}}, wrong("tool_choice.type", "a string", "an array")),
    ({"tools": [F], "tool_choice": {"type": "function"}}, missing("tool_choice.name")),
    (
        {"tools": [F], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        missing("tool_choice.name"),
    ),
    (
        {"tools": [F], "tool_choice": {"type": "function", "name": "g"}},
        ("Tool choice 'g' not found in 'tools' parameter.", "tool_choice", None),
    ),
    (
        {"tools": [F], "tool_choice": {"type": "web_search"}},
        ("Tool choice 'web_search' not found in 'tools' parameter.", "tool_choice", None),
    ),
    ({"tools": [F], "tool_choice": {"type": "allowed_tools", "tools": [F]}}, missing("tool_choice.mode")),
    (
        {"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": "x", "tools": [F]}},
        unlisted("tool_choice.mode", "x", "'auto' and 'required'"),
    ),
    (
        {"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": ["f"]}},
        wrong("tool_choice.tools", "an array of objects", "an array"),
    ),
    (
        {
            "tools": [F],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]},
        },
        ("Tool choice 'g' not found in 'tools' parameter.", "tool_choice", None),
    ),
    ({"metadata": "x"}, wrong("metadata", "a metadata object", "a string")),
    ({"metadata": {"a": 1}}, wrong("metadata.a", "a string", "an integer")),
    (
        {"metadata": {str(i): "" for i in range(17)}},
        (
            (
                "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an "
                "object with 17 properties instead."
            ),
            "metadata",
            "object_above_max_properties",
        ),
    ),
    ({"text": "x"}, wrong("text", "an object", "a string")),
    ({"text": {"format": "x"}}, wrong("text.format", "an object", "a string")),
    ({"text": {"format": {}}}, missing("text.format.type")),
    (
        {"text": {"format": {"type": "x"}}},
        unlisted("text.format.type", "x", "'json_object', 'json_schema', and 'text'"),
    ),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, missing("text.format.name")),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, missing("text.format.schema")),
    (
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": []}}},
        wrong("text.format.schema", "an object", "an array"),
    ),
    ({"text": {"verbosity": "x"}}, unlisted("text.verbosity", "x", "'low', 'medium', and 'high'")),
    (
        {"text": {"format": {"type": "json_object"}}, "instructions": "Answer in JSON"},
        (
            (
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'."
            ),
            "input",
            None,
        ),
    ),
    ({"temperature": "hot"}, wrong("temperature", "a decimal", "a string")),
    (
        {"temperature": 3},
        (
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3.0 instead.",
            "temperature",
            "decimal_above_max_value",
        ),
    ),
    ({"top_p": "x"}, wrong("top_p", "a decimal", "a string")),
    ({"presence_penalty": "x"}, wrong("presence_penalty", "a decimal", "a string")),
    ({"frequency_penalty": []}, wrong("frequency_penalty", "a decimal", "an array")),
    ({"parallel_tool_calls": "x"}, wrong("parallel_tool_calls", "a boolean", "a string")),
    ({"stream": "x"}, wrong("stream", "a boolean", "a string")),
    ({"stream_options": "x"}, wrong("stream_options", "an object", "a string")),
    ({"background": "x"}, wrong("background", "a boolean", "a string")),
    ({"max_output_tokens": "x"}, wrong("max_output_tokens", "an integer", "a string")),
    (
        {"max_output_tokens": 15},
        (
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead.",
            "max_output_tokens",
            "integer_below_min_value",
        ),
    ),
    (
        {"max_tool_calls": 0},
        (
            "Invalid 'max_tool_calls': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            "max_tool_calls",
            "integer_below_min_value",
        ),
    ),
    ({"reasoning": "low"}, wrong("reasoning", "an object", "a string")),
    (
        {"reasoning": {"effort": "x"}},
        unlisted("reasoning.effort", "x", "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'"),
    ),
    ({"reasoning": {"summary": "x"}}, unlisted("reasoning.summary", "x", "'concise', 'detailed', and 'auto'")),
    ({"user": {}}, wrong("user", "a string", "an object")),
    ({"safety_identifier": 5}, wrong("safety_identifier", "a string", "an integer")),
    ({"prompt_cache_options": "x"}, wrong("prompt_cache_options", "an object", "a string")),
    ({"prompt_cache_key": 5}, wrong("prompt_cache_key", "a string", "an integer")),
    ({"prompt_cache_retention": "x"}, unlisted("prompt_cache_retention", "x", "'in_memory' and '24h'")),
    ({"prompt_cache_retention": {}}, wrong("prompt_cache_retention", "one of 'in_memory' or '24h'", "an object")),
    ({"truncation": "x"}, unlisted("truncation", "x", "'auto' and 'disabled'")),
    ({"truncation": {}}, wrong("truncation", "one of 'auto' or 'disabled'", "an object")),
    ({"instructions": {}}, wrong("instructions", "a string", "an object")),
    ({"store": "x"}, wrong("store", "a boolean", "a string")),
    (
        {"service_tier": "x"},
        unlisted("service_tier", "x", "'auto', 'default', 'fast', 'flex', and 'priority'"),
    ),
    (
        {"service_tier": {}},
        wrong("service_tier", "one of 'auto', 'default', 'fast', 'flex', or 'priority'", "an object"),
    ),
    ({"top_logprobs": "x"}, wrong("top_logprobs", "an integer", "a string")),
    (
        {"top_logprobs": 21},
        (
            "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 20, but got 21 instead.",
            "top_logprobs",
            "integer_above_max_value",
        ),
    ),
    ({"context_management": "x"}, wrong("context_management", "an array of objects", "a string")),
    (
        {"conversation": "conv_1", "previous_response_id": "resp_1"},
        (
            "Mutually exclusive parameters: ''. Ensure you are only providing one of: 'pre..._id' or 'conversation'.",
            None,
            "mutually_exclusive_parameters",
        ),
    ),
]


@pytest.mark.parametrize(
    ("body", "expected"), REFUSALS, ids=lambda value: None if isinstance(value, dict) else value[0]
)
def test_what_the_api_refuses_is_refused_in_its_words(
    body: dict[str, Any], expected: tuple[str, str | None, str | None]
) -> None:
    assert refusal(body) == expected


def test_messages_are_told_to_be_input() -> None:
    message, param, code = refusal({"input": ABSENT, "messages": [USER]})

    assert message.startswith("Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to")
    assert (param, code) == (None, "unsupported_parameter")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(APIError) as caught:
        checked(Request("POST", "/v1/responses", body=body))

    assert (str(caught.value), caught.value.status) == (NOT_PARSED, 400)


# Two faults at once: which one api.openai.com was seen to report.
ORDER = (
    ("model", ABSENT),
    ("input", 7),
    ("include", "x"),
    ("tools", "x"),
    ("metadata", "x"),
    ("text", "x"),
    ("temperature", "x"),
    ("top_p", "x"),
    ("presence_penalty", "x"),
    ("parallel_tool_calls", "x"),
    ("stream", "x"),
    ("stream_options", "x"),
    ("background", "x"),
    ("max_output_tokens", "x"),
    ("max_tool_calls", "x"),
    ("reasoning", "x"),
    ("user", 7),
    ("safety_identifier", 7),
    ("prompt_cache_options", "x"),
    ("prompt_cache_key", 7),
    ("prompt_cache_retention", "x"),
    ("truncation", "x"),
    ("instructions", 7),
    ("store", "x"),
    ("service_tier", "x"),
    ("top_logprobs", "x"),
    ("context_management", "x"),
)


@pytest.mark.parametrize("first", range(len(ORDER)), ids=[name for name, _ in ORDER])
def test_the_first_of_many_faults_is_reported(first: int) -> None:
    faults = dict(ORDER[first:])

    assert refusal(faults)[1] == ORDER[first][0]


@pytest.mark.parametrize(
    "body",
    [
        {"unknown": 1, "seed": 1, "n": 2},
        {"input": [{"type": "some_new_item", "x": 1}]},
        {"input": [{"role": "user", "content": [{"type": "input_audio", "x": 1}]}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a"}]}]},
        {"input": None, "previous_response_id": "resp_unknown"},
        {"input": None, "conversation": "conv_unknown"},
        {"input": None, "prompt": {"id": "pmpt_unknown"}},
        {"tools": [], "tool_choice": "auto"},
        {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
        {"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [F]}},
        {"text": {"format": {"type": "json_object"}}, "input": "Answer in JSON."},
        {"text": {"format": {"type": "json_object"}}, "input": [{"role": "system", "content": "json"}]},
        {"text": {"format": {"type": "json_object"}}, "input": None, "previous_response_id": "resp_1"},
        {"service_tier": "scale"},
        {"metadata": {str(i): "" for i in range(16)}},
    ],
)
def test_what_the_api_takes_is_taken(body: dict[str, Any]) -> None:
    request = asked(body)

    assert checked(request) == json.loads(request.body)


def test_only_functions_are_function_tools() -> None:
    body = checked(asked({"tools": [{"type": "web_search"}, F, {"type": "custom", "name": "c"}]}))

    assert function_tools(body) == [F]
    assert function_tools(checked(asked({"tools": None}))) == []
