"""JSON that is asked for in words: the schema that was last written into the messages is met."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stubserver.dummy import DEFAULT_TEXT, prompted, respond
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request

USER = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
PAIR = {"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"], "$defs": {"n": {"const": 3}}}
NEVER = {"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]}


def says(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([says(f"Match this: {json.dumps(USER, indent=2)}\nand nothing else.")], '{"name":""}'),
        ([says(json.dumps(PAIR), "system"), says("Go on, {please}.")], '{"a":3}'),
        ([says(json.dumps(USER)), says(json.dumps(PAIR))], '{"a":3}'),
        ([says(f"{json.dumps(USER)} or {{x}} or {json.dumps(PAIR)}")], '{"a":3}'),
        ([says(f"{json.dumps(USER)} {json.dumps(NEVER)}")], '{"name":""}'),
        ([{"role": "user", "content": [{"type": "text", "text": json.dumps(PAIR)}]}], '{"a":3}'),
        ([says(json.dumps({"$ref": "#/$defs/u", "$defs": {"u": USER}}))], '{"name":""}'),
        (["Be brief.", json.dumps(USER)], '{"name":""}'),
        ([says(json.dumps(NEVER))], None),
        ([says('{"properties": {"name": ')], None),
        ([says('{"properties": 1}')], None),
        ([says(json.dumps({"name": "no schema"}))], None),
        ([says("[1, 2]"), {"role": "assistant"}], None),
        (None, None),
    ],
)
def test_the_last_schema_is_met(messages: Any, found: str | None) -> None:
    assert prompted.wanted(messages) == found


@pytest.mark.parametrize(
    "text",
    [
        '"properties" ' + "{" * 1_000_000,
        '"properties" ' + '{"a":' * 100_000,
        '"properties" ' + '{"a":[' + "1," * 100_000,
        ('"properties" ' + '{"a":[' + "1," * 1_000) * 50,
    ],
)
def test_a_text_full_of_braces_is_given_up(text: str) -> None:
    assert prompted.wanted([says(text)] * 5) is None


def answered(path: str, **body: Any) -> Any:
    request = Request("POST", path, (), json.dumps({"model": "m", **body}).encode())
    response = respond(request, DummySettings())
    assert response.status == 200
    return json.loads(response.body)


def text_of(*messages: dict[str, Any], **more: Any) -> str:
    return answered("/v1/chat/completions", messages=list(messages), **more)["choices"][0]["message"]["content"]


def test_a_json_object_has_the_members_that_the_prompt_asks_for() -> None:
    mode = {"type": "json_object"}
    assert text_of(says("JSON like " + json.dumps(USER)), response_format=mode) == '{"name":""}'
    assert text_of(says("some JSON"), response_format=mode) == "{}"
    assert text_of(says(json.dumps(USER)), structured_outputs={"json_object": True}) == '{"name":""}'
    body = {"instructions": f"JSON like {json.dumps(USER)}", "input": "json", "text": {"format": mode}}
    assert answered("/v1/responses", **body)["output"][0]["content"][0]["text"] == '{"name":""}'


def test_a_block_is_given_where_the_last_message_wants_one() -> None:
    schema, wish = says(json.dumps(USER), "system"), says("Answer in a ```json codeblock.")
    assert text_of(schema, wish) == '```json\n{"name":""}\n```'
    assert text_of(schema, says("What does this schema say?")) == DEFAULT_TEXT
    assert text_of(wish) == DEFAULT_TEXT
    assert text_of(schema, wish, says("Never mind.")) == DEFAULT_TEXT
