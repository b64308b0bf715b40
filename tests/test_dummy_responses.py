"""The responses endpoint: the object, its usage and limits, structured output, function calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.responses import Response as ClientResponse
from openai.types.responses import input_token_count_response

from stubserver import StubServer
from stubserver.dummy import responses, tokens
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import CREATED, DEFAULT_TEXT, DummySettings
from stubserver.dummy.tokens import split
from stubserver.dummy.usage import prompt_tokens
from stubserver.messages import Request

SETTINGS = DummySettings()
LOGPROBS = "message.output_text.logprobs"
CITY = {"type": "object", "properties": {"city": {"enum": ["é a", "b"]}}, "required": ["city"]}


def function(name: str, **more: Any) -> dict[str, Any]:
    of = {"type": "object", "properties": {"of": {"const": name}}, "required": ["of"]}
    return {"type": "function", "name": name, "parameters": of, **more}


def asked(**body: Any) -> Request:
    return Request("POST", "/v1/responses", body=json.dumps({"model": "gpt-4.1", "input": "Hi", **body}).encode())


def answer(settings: DummySettings = SETTINGS, **body: Any) -> Any:
    response = responses.create(asked(**body), settings)
    assert response.status == 200
    value = json.loads(response.body)
    ClientResponse.model_validate(value)
    return value


def called(**body: Any) -> str | None:
    """Return the name of the function that is called, None for text."""
    (item,) = answer(**body)["output"]
    name: str | None = item.get("name")
    return name


def refused(**body: Any) -> dict[str, Any]:
    with pytest.raises(APIError) as caught:
        responses.create(asked(**body), SETTINGS)
    error: dict[str, Any] = json.loads(caught.value.response().body)["error"]
    return {"status": caught.value.status, **error}


def test_the_plain_answer_is_the_fixed_text() -> None:
    value = answer()

    assert (value["object"], value["status"], value["model"]) == ("response", "completed", "gpt-4.1")
    assert (value["created_at"], value["completed_at"]) == (CREATED, CREATED)
    (item,) = value["output"]
    assert (item["type"], item["status"], item["role"]) == ("message", "completed", "assistant")
    assert item["content"] == [{"type": "output_text", "annotations": [], "logprobs": [], "text": DEFAULT_TEXT}]
    assert ClientResponse.model_validate(value).output_text == DEFAULT_TEXT


def test_the_plain_answer_has_every_member_of_the_apis() -> None:
    members = """id object created_at status background completed_at error frequency_penalty incomplete_details
        instructions max_output_tokens max_tool_calls model moderation output parallel_tool_calls presence_penalty
        previous_response_id prompt_cache_key prompt_cache_retention reasoning safety_identifier service_tier store
        temperature text tool_choice tool_usage tools top_logprobs top_p truncation usage user metadata"""

    assert set(answer()) == set(members.split())


def test_members_that_were_not_given_have_the_apis_defaults() -> None:
    value = answer(temperature=None, tools=None, text=None, metadata=None)

    expected = {
        "background": False,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"context": None, "effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }
    assert {name: value[name] for name in expected} == expected


ECHOED = {
    "instructions": st.text(),
    "metadata": st.dictionaries(st.text(), st.text(), max_size=3),
    "parallel_tool_calls": st.booleans(),
    "previous_response_id": st.just("resp_unknown"),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "presence_penalty": st.floats(-2, 2),
    "max_output_tokens": st.integers(16, 300),
    "max_tool_calls": st.integers(1, 9),
    "store": st.booleans(),
    "user": st.text(),
    "safety_identifier": st.text(),
    "prompt_cache_key": st.text(),
    "prompt_cache_retention": st.sampled_from(["in_memory", "24h"]),
    "truncation": st.sampled_from(["auto", "disabled"]),
    "service_tier": st.sampled_from(["default", "flex", "priority"]),
    "top_logprobs": st.integers(0, 20),
    "tool_choice": st.sampled_from(["auto", "none"]),
}
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "system", "developer", "assistant"]),
        "content": st.one_of(st.text(), st.just([{"type": "input_text", "text": "Hi"}])),
    },
    optional={"type": st.just("message")},
)
BODIES = st.fixed_dictionaries(
    {"input": st.one_of(st.text(min_size=1), st.lists(MESSAGE, min_size=1, max_size=3))},
    optional={**ECHOED, "unknown": st.none()},
)


@given(body=BODIES)
def test_what_was_given_is_echoed(body: dict[str, Any]) -> None:
    value = answer(**body)

    given = {name: body[name] for name in ECHOED if name in body}
    assert {name: value[name] for name in given} == given


@given(body=BODIES, limit=st.integers(0, 200), text=st.text())
def test_usage_status_and_text_agree(body: dict[str, Any], limit: int, text: str) -> None:
    value = answer(DummySettings(text=text, tokens=limit), **body)

    most, pieces = body.get("max_output_tokens", 1000), split(text)
    cut = most < max(limit, len(pieces))
    assert value["status"] == value["output"][0]["status"] == ("incomplete" if cut else "completed")
    assert value["incomplete_details"] == ({"reason": "max_output_tokens"} if cut else None)
    assert value["completed_at"] == (None if cut else CREATED)
    assert value["output"][0]["content"][0]["text"] == "".join(pieces[:most])
    used = value["usage"]
    assert used["output_tokens"] == (body["max_output_tokens"] if cut else limit)
    assert used["input_tokens"] == prompt_tokens({"model": "gpt-4.1", "input": "Hi", **body})
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]
    assert used["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert used["output_tokens_details"] == {"reasoning_tokens": 0}


@given(body=BODIES)
def test_the_same_request_gives_the_same_bytes(body: dict[str, Any]) -> None:
    assert responses.create(asked(**body), SETTINGS) == responses.create(asked(**body), SETTINGS)


WORDS = st.sampled_from(
    ["user", "message", "function", "function_call", "function_call_output", "f", "required", "allowed_tools", "json"]
)
NAMES = st.sampled_from(
    ["type", "name", "role", "content", "call_id", "output", "id", "format", "schema", "mode", "tools", "parameters"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
MEMBERS = st.sampled_from([*ECHOED, "model", "input", "tools", "text", "reasoning", "prompt", "conversation", "stream"])
ITEM = st.fixed_dictionaries({"type": WORDS}, optional={"name": ANYTHING, "call_id": ANYTHING, "output": ANYTHING})
TOOL = st.fixed_dictionaries({"type": st.just("function"), "name": WORDS}, optional={"parameters": ANYTHING})


@given(
    body=st.dictionaries(MEMBERS, ANYTHING, max_size=3),
    items=st.lists(ITEM, max_size=3),
    tools=st.lists(TOOL, max_size=3),
    choice=st.just("required") | ANYTHING,
)
def test_anything_is_answered_or_refused(body: dict[str, Any], items: Any, tools: Any, choice: Any) -> None:
    try:
        response = responses.create(asked(**{"input": items, "tools": tools, "tool_choice": choice, **body}), SETTINGS)
    except APIError as error:
        response = error.response()
        assert set(json.loads(response.body)["error"]) == {"message", "type", "param", "code"}

    assert response.status in {200, 400}


def test_another_request_gives_other_ids() -> None:
    first, second = answer(), answer(user="a")

    assert first["id"].startswith("resp_")
    assert first["output"][0]["id"].startswith("msg_")
    assert first["id"] != second["id"]
    assert first["output"][0]["id"] != second["output"][0]["id"]


@pytest.mark.parametrize(
    ("asked_for", "given"), [(None, "default"), ("auto", "default"), ("flex", "flex"), ("scale", "scale")]
)
def test_the_service_tier_is_echoed_but_auto_is_resolved(asked_for: str | None, given: str) -> None:
    assert answer(service_tier=asked_for)["service_tier"] == given


def test_tools_are_shown_with_all_the_members_of_functions() -> None:
    bare = {"type": "function", "name": "f", "parameters": None, "strict": None}
    hosted = {"type": "web_search_preview"}

    shown = answer(tools=[bare, function("g", description="d", strict=False), hosted])["tools"]

    assert shown == [
        {"type": "function", "description": None, "name": "f", "parameters": None, "strict": True},
        function("g", description="d", strict=False),
        hosted,
    ]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"context": None, "effort": "low", "summary": None}}),
        ({"text": {"verbosity": "low"}}, {"text": {"format": {"type": "text"}, "verbosity": "low"}}),
        ({"conversation": "conv_1"}, {"conversation": {"id": "conv_1"}}),
        ({"conversation": {"id": "conv_1"}}, {"conversation": {"id": "conv_1"}}),
        (
            {"prompt": {"id": "pmpt_1", "version": "2"}},
            {"prompt": {"id": "pmpt_1", "variables": None, "version": "2"}},
        ),
    ],
)
def test_objects_are_shown_in_full(given: dict[str, Any], shown: dict[str, Any]) -> None:
    value = answer(**given)

    assert {name: value[name] for name in shown} == shown


def test_a_prompt_template_needs_neither_model_nor_input() -> None:
    body = json.dumps({"prompt": {"id": "pmpt_1"}}).encode()

    response = responses.create(Request("POST", "/v1/responses", body=body), DummySettings(models=("first",)))

    assert json.loads(response.body)["model"] == "first"


def schema_format(**more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "name": "city", "schema": CITY, **more}


@pytest.mark.parametrize("limit", [None, 16, 500])
def test_a_schema_gets_its_instance_whatever_the_limit(limit: int | None) -> None:
    value = answer(text={"format": schema_format()}, max_output_tokens=limit)

    text = value["output"][0]["content"][0]["text"]
    assert text == '{"city":"é a"}'
    assert value["status"] == "completed"
    assert value["usage"]["output_tokens"] == len(tokens.split(text))


def test_a_schemas_tokens_are_never_more_than_the_limit() -> None:
    long = schema_format(schema={"const": ["a"] * 50})

    assert answer(text={"format": long}, max_output_tokens=16)["usage"]["output_tokens"] == 16


def test_a_schema_format_is_shown_with_all_its_members() -> None:
    shown = answer(text={"format": schema_format()})["text"]["format"]

    assert shown == schema_format(description=None, strict=False)


def test_json_mode_gets_an_object() -> None:
    value = answer(input="Give me JSON", text={"format": {"type": "json_object"}})

    assert value["output"][0]["content"][0]["text"] == "{}"
    assert value["status"] == "completed"


def test_a_format_of_text_gets_text() -> None:
    assert answer(text={"format": {"type": "text"}})["output"][0]["content"][0]["text"] == DEFAULT_TEXT


def test_a_schema_that_nothing_is_valid_for_is_refused() -> None:
    form = {"type": "json_schema", "name": "none", "schema": {"not": {}}}

    assert refused(text={"format": form}) == {
        "status": 400,
        "message": "Invalid schema for response_format 'none': $: no value is allowed",
        "type": "invalid_request_error",
        "param": "text.format.schema",
        "code": "invalid_json_schema",
    }


def test_a_function_whose_schema_nothing_is_valid_for_is_refused() -> None:
    tools = [{"type": "web_search_preview"}, function("f", parameters={"not": {}})]

    assert refused(tools=tools, tool_choice="required") == {
        "status": 400,
        "message": "Invalid schema for function 'f': $: no value is allowed",
        "type": "invalid_request_error",
        "param": "tools[1].parameters",
        "code": "invalid_function_parameters",
    }


TOOLS = [{"type": "web_search_preview"}, function("a"), function("b"), function("final")]


def test_a_call_is_one_item_with_the_arguments_of_its_schema() -> None:
    value = answer(tools=TOOLS, tool_choice="required", max_output_tokens=16)

    (item,) = value["output"]
    assert item == {
        "id": item["id"],
        "type": "function_call",
        "status": "completed",
        "arguments": '{"of":"a"}',
        "call_id": item["call_id"],
        "name": "a",
    }
    assert item["id"].startswith("fc_")
    assert item["call_id"].startswith("call_")
    assert value["status"] == "completed"
    assert value["usage"]["output_tokens"] == len(tokens.split(item["arguments"]))


@pytest.mark.parametrize("parameters", [None, {}, {"properties": {}}])
def test_a_function_without_parameters_is_called_with_an_empty_object(parameters: dict[str, Any] | None) -> None:
    value = answer(tools=[{"type": "function", "name": "f", "parameters": parameters}], tool_choice="required")

    assert value["output"][0]["arguments"] == "{}"


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": name} for name in names]}


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        (None, None),
        ("auto", None),
        ("none", None),
        ("required", "a"),
        ({"type": "function", "name": "b"}, "b"),
        ({"type": "web_search_preview"}, None),
        (allowed("auto", "b"), None),
        (allowed("required", "b"), "b"),
        (allowed("required", "final", "b"), "b"),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search_preview"}]}, None),
    ],
)
def test_the_tool_choice_decides_what_is_called(choice: Any, name: str | None) -> None:
    assert called(tools=TOOLS, tool_choice=choice) == name


def test_required_without_functions_is_answered_in_text() -> None:
    assert called(tools=[{"type": "web_search_preview"}], tool_choice="required") is None


def call(name: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": f"call_{name}", "name": name, "arguments": "{}"}


@pytest.mark.parametrize(
    ("before", "name"),
    [([], "a"), (["a"], "b"), (["a", "b"], "final"), (["b"], "a"), (["a", "b", "final"], "final"), (["x"], "a")],
)
def test_required_calls_the_first_not_yet_called_and_then_the_last(before: list[str], name: str) -> None:
    history = [{"role": "user", "content": "Hi"}, *[call(earlier) for earlier in before]]

    assert called(tools=TOOLS, tool_choice="required", input=history) == name


def test_a_named_function_is_called_again_and_again() -> None:
    choice = {"type": "function", "name": "a"}

    assert called(tools=TOOLS, tool_choice=choice, input=[call("a")]) == "a"


def test_an_agent_that_sends_only_outputs_and_the_previous_id_comes_to_its_end() -> None:
    value = answer(tools=TOOLS, tool_choice="required")
    names = []
    for _ in range(5):
        (item,) = value["output"]
        names.append(item["name"])
        output = {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
        value = answer(tools=TOOLS, tool_choice="required", input=[output], previous_response_id=value["id"])

    assert names == ["a", "b", "final", "final", "final"]


def test_an_agent_that_sends_everything_comes_to_its_end() -> None:
    history: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
    names = []
    for _ in range(4):
        (item,) = answer(tools=TOOLS, tool_choice="required", input=history)["output"]
        names.append(item["name"])
        output = {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
        history = [*history, item, output]

    assert names == ["a", "b", "final", "final"]
    assert len({item["call_id"] for item in history if "call_id" in item}) == len(names)


def test_outputs_without_the_previous_id_count_for_their_own_function_alone() -> None:
    (item,) = answer(tools=TOOLS, tool_choice={"type": "function", "name": "b"})["output"]
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}

    assert called(tools=TOOLS, tool_choice="required", input=[output]) == "a"


def test_a_response_in_the_background_is_queued_at_first() -> None:
    value = answer(background=True)

    assert (value["status"], value["output"], value["usage"], value["completed_at"]) == ("queued", [], None, None)
    assert value["background"] is True


def test_a_response_in_the_background_that_is_not_stored_is_completed_at_once() -> None:
    assert answer(background=True, store=False)["status"] == "completed"


def test_counting_the_input_agrees_with_usage() -> None:
    request = asked(input="How many?")

    counted = json.loads(responses.count_input(request, SETTINGS).body)

    input_token_count_response.InputTokenCountResponse.model_validate(counted)
    used = json.loads(responses.create(request, SETTINGS).body)["usage"]
    assert counted == {"object": "response.input_tokens", "input_tokens": used["input_tokens"]}


def test_counting_the_input_refuses_what_creating_does() -> None:
    with pytest.raises(APIError, match="Missing required parameter: 'model'"):
        responses.count_input(Request("POST", "/", body=b'{"input":"a"}'), SETTINGS)


@pytest.mark.parametrize("top", [None, 0, 3])
@pytest.mark.parametrize("more", [{}, {"max_output_tokens": 16}, {"text": {"format": {"type": "json_object"}}}])
def test_log_probabilities_come_to_who_asks_for_them(top: int | None, more: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"model": "m", "input": "Some json", "include": [LOGPROBS], **more}
    asked |= {} if top is None else {"top_logprobs": top}
    with (
        StubServer() as stub,
        OpenAI(base_url=f"{stub.url}/v1", api_key="x", _strict_response_validation=True) as client,
    ):
        whole = client.responses.create(**asked)
        events = list(client.responses.create(**asked, stream=True))

    (part,) = (part for item in whole.output if item.type == "message" for part in item.content)
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert "".join(each.token for each in part.logprobs) == part.text != ""
    assert all(bytes(each.bytes).decode() == each.token and each.logprob < 0 for each in part.logprobs)
    assert {len(each.top_logprobs) for each in part.logprobs} == {top or 0}
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    (done,) = (event for event in events if event.type == "response.output_text.done")
    assert [[each.token for each in delta.logprobs] for delta in deltas] == [[delta.delta] for delta in deltas]
    assert [(e.token, e.logprob) for e in done.logprobs] == [(e.token, e.logprob) for e in part.logprobs]
    assert [len(each.top_logprobs or ()) for each in done.logprobs] == [top or 0] * len(part.logprobs)
    assert (events[-1].type in {"response.completed", "response.incomplete"}, whole.top_logprobs) == (True, top or 0)


@pytest.mark.parametrize("more", [{}, {"top_logprobs": 5}, {"include": ["reasoning.encrypted_content"]}])
def test_nobody_else_gets_log_probabilities(more: dict[str, Any]) -> None:
    with StubServer() as stub, OpenAI(base_url=f"{stub.url}/v1", api_key="x") as client:
        answer = client.responses.create(model="m", input="Hi", **more)

    assert [part.logprobs for item in answer.output for part in item.content] == [[]]  # type: ignore[union-attr]
