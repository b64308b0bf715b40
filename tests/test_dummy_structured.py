"""Answers that are JSON, by whichever member they are asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stubserver.dummy import structured
from stubserver.dummy.errors import APIError

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]}
SPOKEN = [{"role": "user", "content": "As JSON, please"}]


def formatted(schema: Any = SCHEMA, name: Any = "thing") -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}


def refused(body: dict[str, Any]) -> tuple[str, str | None, str | None]:
    with pytest.raises(APIError) as caught:
        structured.requested(body)
    assert caught.value.status == 400
    return str(caught.value), caught.value.param, caught.value.code


@pytest.mark.parametrize(
    "body",
    [
        formatted(),
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": json.dumps(SCHEMA)}},
        {"response_format": {"type": "json_object", "schema": SCHEMA}, "messages": SPOKEN},
        {"response_format": {"type": "text"}, "guided_json": SCHEMA},
    ],
)
def test_a_schema_gets_its_smallest_instance(body: dict[str, Any]) -> None:
    assert structured.requested(body) == '{"a":3}'


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": {"type": "json_object"}, "messages": SPOKEN},
        {"response_format": {"type": "json_object"}, "prompt": "anything"},
        {"structured_outputs": {"json_object": True}},
        {"guided_json": {"type": "object"}},
    ],
)
def test_any_object_is_an_empty_one(body: dict[str, Any]) -> None:
    assert structured.requested(body) == "{}"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response_format": None, "guided_json": None, "structured_outputs": None},
        {"response_format": {"type": "text"}},
        {"structured_outputs": {}},
        {"response_format": {"type": "structural_tag"}},
    ],
)
def test_what_asks_for_no_json_gets_any_text(body: dict[str, Any]) -> None:
    assert structured.requested(body) is None


MISSING = "missing_required_parameter"
WHERE = "response_format.json_schema"


@pytest.mark.parametrize(
    ("body", "message", "param", "code"),
    [
        (
            {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "hi"}]},
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
            None,
        ),
        (
            {"response_format": {}},
            "Missing required parameter: 'response_format.type'.",
            "response_format.type",
            MISSING,
        ),
        (
            {"response_format": {"type": "xml"}},
            "Invalid value: 'xml'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            "response_format.type",
            "invalid_value",
        ),
        (
            {"response_format": "json"},
            "Invalid type for 'response_format': expected an object, but got a string instead.",
            "response_format",
            "invalid_type",
        ),
        ({"response_format": {"type": "json_schema"}}, f"Missing required parameter: '{WHERE}'.", WHERE, MISSING),
        (formatted(name=None), f"Missing required parameter: '{WHERE}.name'.", f"{WHERE}.name", MISSING),
        (formatted(None), f"Missing required parameter: '{WHERE}.schema'.", f"{WHERE}.schema", MISSING),
        (
            {"guided_json": "{"},
            "Invalid type for 'guided_json': expected an object, but got a string instead.",
            "guided_json",
            "invalid_type",
        ),
        (
            {"structured_outputs": []},
            "Invalid type for 'structured_outputs': expected an object, but got an array instead.",
            "structured_outputs",
            "invalid_type",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(body: dict[str, Any], message: str, param: str, code: str | None) -> None:
    assert refused(body) == (message, param, code)


@pytest.mark.parametrize(
    ("body", "start", "param"),
    [
        (formatted({"not": {}}), "Invalid schema for response_format 'thing': ", "response_format"),
        ({"guided_json": {"not": {}}}, "Invalid schema for guided_json: ", "guided_json"),
    ],
)
def test_a_schema_that_cannot_be_met_is_refused(body: dict[str, Any], start: str, param: str) -> None:
    message, where, code = refused(body)
    assert message.startswith(start)
    assert len(message) > len(start)
    assert (where, code) == (param, "invalid_json_schema")
