"""The dummy's chat completions: whole, streamed, and refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tapes import ask, request

from stubserver import sse
from stubserver.dummy import DEFAULT_TEXT, DummySettings, respond
from stubserver.dummy.chat import complete
from stubserver.dummy.errors import APIError
from stubserver.dummy.tokens import split
from stubserver.messages import Response, header

SETTINGS = DummySettings()


def answered(body: Any, made: DummySettings = SETTINGS) -> dict[str, Any]:
    response = complete(request(body), made)
    assert response.status == 200
    assert header(response.headers, "content-type") == "application/json"
    return json.loads(response.body)


def streamed(body: Any, made: DummySettings = SETTINGS) -> list[dict[str, Any]]:
    """Return the chunks of a stream; that it ends with [DONE] is checked."""
    response = complete(request(body | {"stream": True}), made)
    assert response.events
    assert header(response.headers, "content-type") == "text/event-stream; charset=utf-8"
    *datas, last = [sse.data_of(event) for event in sse.split(response.body)]
    assert last == b"[DONE]"
    assert response.body == b"".join(b"data: %b\n\n" % data for data in (*datas, last) if data)
    return [json.loads(data or b"") for data in datas]


def refused(body: Any) -> tuple[str, str | None, str | None]:
    with pytest.raises(APIError) as caught:
        complete(request(body), SETTINGS)
    assert caught.value.status == 400
    return str(caught.value), caught.value.param, caught.value.code


# --- whole --------------------------------------------------------------------------------------------------------


def test_the_answer_has_the_full_shape() -> None:
    answer = answered(ask())
    read = ChatCompletion.model_validate(answer, strict=True)
    assert read.choices[0].message.content == DEFAULT_TEXT
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "gpt-4o-mini"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": DEFAULT_TEXT, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert {"id", "created", "usage", "service_tier", "system_fingerprint"} <= answer.keys()


def test_usage_is_estimated_as_the_original_does() -> None:
    body = ask("How many?")
    usage = answered(body)["usage"]
    assert usage["prompt_tokens"] == len(str(body)) // 4
    assert usage["completion_tokens"] == 100
    assert usage["total_tokens"] == usage["prompt_tokens"] + 100


@pytest.mark.parametrize(
    ("limits", "tokens", "reason"),
    [
        ({"max_tokens": 5}, 5, "length"),
        ({"max_completion_tokens": 5}, 5, "length"),
        ({"max_tokens": 50, "max_completion_tokens": 7}, 7, "length"),
        ({"max_tokens": 7, "max_completion_tokens": 50}, 50, "length"),
        ({"max_tokens": 99}, 99, "length"),
        ({"max_tokens": 100}, 100, "stop"),
        ({"max_tokens": 4000}, 100, "stop"),
        ({"max_tokens": None}, 100, "stop"),
    ],
)
def test_a_token_limit_below_100_cuts_the_usage(limits: dict[str, Any], tokens: int, reason: str) -> None:
    answer = answered(ask(**limits))
    assert answer["usage"]["completion_tokens"] == tokens
    assert answer["choices"][0]["finish_reason"] == reason
    chunks = streamed(ask(**limits, stream_options={"include_usage": True}))
    assert chunks[-1]["usage"]["completion_tokens"] == tokens
    assert chunks[-2]["choices"][0]["finish_reason"] == reason


def test_n_choices_are_numbered_and_counted() -> None:
    answer = answered(ask(n=3))
    ChatCompletion.model_validate(answer, strict=True)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 300


def test_text_and_tokens_can_be_set() -> None:
    answer = answered(ask(), DummySettings(text="Short.", tokens=2))
    assert answer["choices"][0]["message"]["content"] == "Short."
    assert answer["usage"]["completion_tokens"] == 2


def test_the_same_bytes_get_the_same_bytes_and_others_another_id() -> None:
    assert complete(request(ask()), SETTINGS) == complete(request(ask()), SETTINGS)
    assert answered(ask("a"))["id"] != answered(ask("b"))["id"]


ACCEPTED = [
    {"temperature": 0, "top_p": 1, "seed": 7, "stop": ["?"], "user": "u", "metadata": {"a": "b"}, "store": False},
    {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.0, "chat_template_kwargs": {"a": 1}, "ignore_eos": True},
    {"stream": False, "stream_options": None, "n": None, "temperature": None},
    {"messages": [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant", "tool")]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}},
                ],
            }
        ]
    },
]


@pytest.mark.parametrize("more", ACCEPTED)
def test_what_clients_send_is_accepted(more: dict[str, Any]) -> None:
    assert answered(ask() | more)["choices"][0]["message"]["content"] == DEFAULT_TEXT


# --- streamed -----------------------------------------------------------------------------------------------------


def test_a_stream_begins_with_the_role_and_ends_with_the_finish() -> None:
    chunks = streamed(ask())
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all(choice["delta"].keys() == {"content"} for choice in choices[1:-1])
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1


def test_the_pieces_of_a_stream_join_to_the_text() -> None:
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in streamed(ask())]
    assert "".join(pieces) == DEFAULT_TEXT
    assert len(pieces) > 10


def test_usage_comes_last_and_only_when_it_is_asked_for() -> None:
    *before, last = streamed(ask(stream_options={"include_usage": True}))
    assert last["choices"] == []
    whole = ask(stream_options={"include_usage": True}, stream=True)
    assert last["usage"]["prompt_tokens"] == len(str(whole)) // 4
    assert all(chunk["usage"] is None for chunk in before)
    ChatCompletionChunk.model_validate(last, strict=True)
    for options in ({}, {"include_usage": False}, None):
        assert not any("usage" in chunk for chunk in streamed(ask(stream_options=options)))


def test_each_of_n_choices_has_its_role_its_text_and_its_finish() -> None:
    choices = [chunk["choices"][0] for chunk in streamed(ask(n=2))]
    for index in range(2):
        own = [choice for choice in choices if choice["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(choice["delta"].get("content") or "" for choice in own) == DEFAULT_TEXT
        assert own[-1]["finish_reason"] == "stop"
    assert [choice["index"] for choice in choices[:4]] == [0, 1, 0, 1]


# --- limits, stops, and numbers of tokens -------------------------------------------------------------------------

OWN = len(split(DEFAULT_TEXT))


def said(body: dict[str, Any], made: DummySettings = SETTINGS) -> tuple[str | None, str, int]:
    """Return text, finish reason and completion tokens; that the stream says the same, in its tokens, is checked."""
    answer = answered(body, made)
    ChatCompletion.model_validate(answer, strict=True)
    chunks = streamed(body | {"stream_options": {"include_usage": True}}, made)
    (choice,) = answer["choices"]
    pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]]
    assert [piece for piece in pieces if piece] == split(choice["message"]["content"])
    assert chunks[-2]["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert chunks[-1]["usage"]["completion_tokens"] == answer["usage"]["completion_tokens"]
    return choice["message"]["content"], choice["finish_reason"], answer["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (DEFAULT_TEXT, "stop", 100)),
        ({"max_tokens": 3}, ("This is dummy", "length", 3)),
        ({"max_tokens": OWN}, (DEFAULT_TEXT, "length", OWN)),
        ({"stop": " text"}, ("This is dummy", "stop", 3)),
        ({"stop": ["is dummy", "my"]}, ("This ", "stop", 2)),
        ({"stop": "dummy", "max_tokens": 2}, ("This is", "length", 2)),
        ({"ignore_eos": True, "max_tokens": OWN + 2}, (f"{DEFAULT_TEXT} This is", "length", OWN + 2)),
        ({"min_tokens": OWN + 1, "max_tokens": OWN + 1}, (f"{DEFAULT_TEXT} This", "length", OWN + 1)),
    ],
)
def test_the_text_is_shaped_by_limits_and_stops(more: dict[str, Any], expected: tuple[str, str, int]) -> None:
    assert said(ask(**more)) == expected


def test_log_probabilities_are_those_of_the_texts_tokens_whole_and_streamed() -> None:
    body = ask(logprobs=True, top_logprobs=2, max_tokens=4)
    answer = answered(body)
    (choice,) = ChatCompletion.model_validate(answer, strict=True).choices
    assert choice.logprobs is not None
    assert [entry.token for entry in choice.logprobs.content or ()] == split("This is dummy text")
    assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content or ())
    parts = [chunk["choices"][0] for chunk in streamed(body)]
    assert (parts[0]["logprobs"], parts[-1]["logprobs"]) == (None, None)
    whole = answer["choices"][0]["logprobs"]["content"]
    assert [part["logprobs"]["content"] for part in parts[1:-1]] == [[entry] for entry in whole]


def test_where_nothing_is_said_the_log_probabilities_are_empty() -> None:
    body, nothing = ask(logprobs=True, top_logprobs=2), DummySettings(text="")
    empty = {"content": [], "refusal": None}
    assert answered(body, nothing)["choices"][0]["logprobs"] == empty
    assert [chunk["choices"][0]["logprobs"] for chunk in streamed(body, nothing)] == [empty, None]


@pytest.mark.parametrize(
    ("asked", "given"), [(None, "default"), ("auto", "default"), ("default", "default"), ("flex", "flex")]
)
def test_the_service_tier_is_echoed(asked: str | None, given: str) -> None:
    assert answered(ask(service_tier=asked))["service_tier"] == given
    assert {chunk["service_tier"] for chunk in streamed(ask(service_tier=asked))} == {given}


SHAPING = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(1, 4),
        "max_tokens": st.integers(1, 200),
        "max_completion_tokens": st.none() | st.integers(1, 200),
        "stop": st.none() | st.sampled_from(["text", "zzz", " ", "This"]) | st.lists(st.text(max_size=3), max_size=4),
        "ignore_eos": st.booleans(),
        "logprobs": st.just(value=True),
        "seed": st.integers(-5, 5),
        "temperature": st.floats(0, 2),
        "presence_penalty": st.floats(-2, 2),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority", "scale"]),
        "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
        "tool_choice": st.sampled_from(["auto", "none"]),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
        "unknown": st.integers(),
    },
)


@given(SHAPING)
def test_whole_and_streamed_agree_whatever_is_asked(more: dict[str, Any]) -> None:
    if "tools" not in more:
        more.pop("tool_choice", None)
    body = ask("json?", **more)
    answer = ChatCompletion.model_validate(answered(body), strict=True)
    chunks = [
        ChatCompletionChunk.model_validate(c) for c in streamed(body | {"stream_options": {"include_usage": True}})
    ]
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
    count = more.get("n", 1)
    assert [choice.index for choice in answer.choices] == list(range(count))
    limit = more.get("max_completion_tokens") or more.get("max_tokens")
    assert limit is None or answer.usage.completion_tokens <= limit * count
    for choice in answer.choices:
        parts = [part for chunk in chunks for part in chunk.choices if part.index == choice.index]
        text = choice.message.content or ""
        assert "".join(part.delta.content or "" for part in parts) == text
        assert [part.finish_reason for part in parts] == [None] * (len(parts) - 1) + [choice.finish_reason]
        entries = (choice.logprobs and choice.logprobs.content) or []
        assert "".join(entry.token for entry in entries) == (text if more.get("logprobs") else "")
        shaped = more.get("response_format", {}).get("type") == "json_object"
        stops = more.get("stop") or []
        assert (
            text == "{}" if shaped else not any(s in text for s in ([stops] if isinstance(stops, str) else stops) if s)
        )
        assert choice.finish_reason == "stop" or answer.usage.completion_tokens == (limit or 0) * count


# --- tools --------------------------------------------------------------------------------------------------------

PLACE = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
FUNCTIONS = [{"name": "find", "parameters": PLACE}, {"name": "answer", "parameters": {"type": "object"}}]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
ALWAYS = DummySettings(tools="auto")


def turns(*names: str) -> list[dict[str, Any]]:
    calls = [{"id": f"c{name}", "type": "function", "function": {"name": name, "arguments": "{}"}} for name in names]
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": calls}]


def called(body: dict[str, Any], made: DummySettings = SETTINGS) -> tuple[str, dict[str, Any]]:
    """Return name and arguments of the one call of an answer; its shape, and that the stream has it, is checked."""
    answer = answered(body, made)
    (choice,) = ChatCompletion.model_validate(answer, strict=True).choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls or ()
    assert call.type == "function"
    assert re.fullmatch("call_[0-9a-f]{24}", call.id)
    first, *between, last = [chunk["choices"][0] for chunk in streamed(body, made)]
    assert first["delta"]["content"] is None
    (opening,) = first["delta"]["tool_calls"]
    assert {"index": 0, "type": "function"}.items() <= opening.items()
    assert re.fullmatch("call_[0-9a-f]{24}", opening["id"])
    assert opening["function"] == {"name": call.function.name, "arguments": ""}
    assert all([part.keys() for part in b["delta"]["tool_calls"]] == [{"index", "function"}] for b in between)
    pieces = [b["delta"]["tool_calls"][0]["function"]["arguments"] for b in between]
    assert "".join(pieces) == call.function.arguments
    assert (last["delta"], last["finish_reason"]) == ({}, "tool_calls")
    return call.function.name, json.loads(call.function.arguments)


@pytest.mark.parametrize(
    ("choice", "before", "expected"),
    [
        ("required", (), ("find", {"city": "Oslo"})),
        ("required", ("find",), ("answer", {})),
        ("required", ("find", "answer"), ("answer", {})),
        ({"type": "function", "function": {"name": "answer"}}, (), ("answer", {})),
        ({"type": "function", "function": {"name": "find"}}, ("find",), ("find", {"city": "Oslo"})),
    ],
)
def test_a_call_that_is_asked_for_is_made(choice: Any, before: tuple[str, ...], expected: Any) -> None:
    assert called(ask(tools=TOOLS, tool_choice=choice) | {"messages": turns(*before)}) == expected


def test_only_allowed_tools_are_called() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "answer"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert called(ask(tools=TOOLS, tool_choice=choice)) == ("answer", {})
    choice["allowed_tools"] = allowed | {"mode": "auto"}
    assert answered(ask(tools=TOOLS, tool_choice=choice))["choices"][0]["message"]["content"] == DEFAULT_TEXT


@pytest.mark.parametrize(
    ("choice", "made"), [(None, SETTINGS), ("auto", SETTINGS), ("none", SETTINGS), ("none", ALWAYS)]
)
def test_without_need_the_answer_is_text(choice: str | None, made: DummySettings) -> None:
    (shown,) = answered(ask(tools=TOOLS, tool_choice=choice), made)["choices"]
    assert (shown["message"]["content"], shown["finish_reason"]) == (DEFAULT_TEXT, "stop")
    assert "tool_calls" not in shown["message"]


def test_under_auto_each_tool_is_called_once_when_the_settings_say_so() -> None:
    assert called(ask(tools=TOOLS), ALWAYS) == ("find", {"city": "Oslo"})
    assert called(ask(tools=TOOLS) | {"messages": turns("find")}, ALWAYS) == ("answer", {})
    done = ask(tools=TOOLS) | {"messages": turns("find", "answer")}
    assert answered(done, ALWAYS)["choices"][0]["message"]["content"] == DEFAULT_TEXT


def test_the_calls_of_choices_have_ids_of_their_own_and_the_same_for_the_same_request() -> None:
    body = ask(tools=TOOLS, tool_choice="required", n=3)
    ids = [choice["message"]["tool_calls"][0]["id"] for choice in answered(body)["choices"]]
    assert len(set(ids)) == 3
    assert answered(body) == answered(body)


def test_an_older_function_call_is_made_in_its_own_member() -> None:
    body = ask(functions=FUNCTIONS, function_call={"name": "find"})
    (choice,) = ChatCompletion.model_validate(answered(body), strict=True).choices
    assert choice.finish_reason == "function_call"
    assert choice.message.content is None
    assert choice.message.function_call is not None
    assert (choice.message.function_call.name, choice.message.function_call.arguments) == ("find", '{"city":"Oslo"}')
    first, *between, last = [chunk["choices"][0] for chunk in streamed(body)]
    assert first["delta"]["function_call"] == {"name": "find", "arguments": ""}
    assert "".join(part["delta"]["function_call"]["arguments"] for part in between) == '{"city":"Oslo"}'
    assert last["finish_reason"] == "function_call"
    assert answered(ask(functions=FUNCTIONS))["choices"][0]["finish_reason"] == "stop"


def test_arguments_are_not_cut_and_count_no_more_than_the_limit() -> None:
    body = ask(tools=TOOLS, tool_choice="required", max_tokens=2, stop=["city"])
    assert called(body) == ("find", {"city": "Oslo"})
    assert answered(body)["usage"]["completion_tokens"] == 2


# --- structured output --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}}},
        {"guided_json": PLACE},
        {"structured_outputs": {"json": PLACE}},
    ],
)
@pytest.mark.parametrize(("limit", "tokens"), [(None, 9), (2, 2)])
def test_json_is_the_content_and_is_never_cut(more: dict[str, Any], limit: int | None, tokens: int) -> None:
    assert said(ask(max_tokens=limit, **more)) == ('{"city":"Oslo"}', "stop", tokens)


def test_an_empty_text_streams_too() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(ask(), DummySettings(text=""))]
    assert deltas == [{"role": "assistant", "content": "", "refusal": None}, {}]


# --- refused ------------------------------------------------------------------------------------------------------

MISSING = ("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
ROLES = "'system', 'assistant', 'user', 'function', 'tool', and 'developer'"


def wrong_type(name: str, expected: str, got: str) -> tuple[str, str, str]:
    return f"Invalid type for '{name}': expected {expected}, but got {got} instead.", name, "invalid_type"


def out_of_range(name: str, text: str, code: str) -> tuple[str, str, str]:
    return f"Invalid '{name}': {text} instead.", name, code


REFUSALS: list[tuple[dict[str, Any], tuple[str, str | None, str | None]]] = [
    ({"model": None}, ("you must provide a model parameter", None, None)),
    ({"messages": None}, MISSING),
    (
        {"messages": []},
        (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        ),
    ),
    ({"messages": "x"}, wrong_type("messages", "an array of objects", "a string")),
    ({"messages": {}}, wrong_type("messages", "an array of objects", "an object")),
    ({"messages": ["x"]}, wrong_type("messages[0]", "an object", "a string")),
    (
        {"messages": [{"role": "user", "content": "a"}, 7]},
        wrong_type("messages[1]", "an object", "an integer"),
    ),
    (
        {"messages": [{"role": "user", "content": 7}]},
        wrong_type("messages[0].content", "one of a string or array of objects", "an integer"),
    ),
    (
        {"messages": [{"content": "x"}]},
        ("Missing required parameter: 'messages[0].role'.", "messages[0].role", "missing_required_parameter"),
    ),
    (
        {"messages": [{"role": "bogus", "content": "x"}]},
        (f"Invalid value: 'bogus'. Supported values are: {ROLES}.", "messages[0].role", "invalid_value"),
    ),
    ({"n": "2"}, wrong_type("n", "an integer", "a string")),
    (
        {"n": 0},
        out_of_range("n", "integer below minimum value. Expected a value >= 1, but got 0", "integer_below_min_value"),
    ),
    (
        {"n": 129},
        out_of_range(
            "n", "integer above maximum value. Expected a value <= 128, but got 129", "integer_above_max_value"
        ),
    ),
    (
        {"max_tokens": 0},
        out_of_range(
            "max_tokens", "integer below minimum value. Expected a value >= 1, but got 0", "integer_below_min_value"
        ),
    ),
    ({"max_completion_tokens": "5"}, wrong_type("max_completion_tokens", "an integer", "a string")),
    ({"temperature": "hot"}, wrong_type("temperature", "a decimal", "a string")),
    (
        {"temperature": 99},
        out_of_range(
            "temperature", "decimal above maximum value. Expected a value <= 2, but got 99.0", "decimal_above_max_value"
        ),
    ),
    (
        {"top_p": -1},
        out_of_range(
            "top_p", "decimal below minimum value. Expected a value >= 0, but got -1.0", "decimal_below_min_value"
        ),
    ),
    ({"stop": 5}, wrong_type("stop", "one of a string or array of strings", "an integer")),
    ({"seed": "x"}, wrong_type("seed", "an integer", "a string")),
    (
        {"top_logprobs": 21, "logprobs": True},
        out_of_range(
            "top_logprobs",
            "integer above maximum value. Expected a value <= 20, but got 21",
            "integer_above_max_value",
        ),
    ),
    (
        {"top_logprobs": 2},
        ("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs", None),
    ),
    (
        {"messages": [{"role": "user", "content": ["x"]}]},
        wrong_type("messages[0].content[0]", "an object", "a string"),
    ),
    (
        {"service_tier": "x"},
        (
            "Invalid value: 'x'. Supported values are: 'auto', 'default', 'flex', and 'priority'.",
            "service_tier",
            "invalid_value",
        ),
    ),
    ({"stream": "yes"}, wrong_type("stream", "a boolean", "a string")),
    ({"stream": True, "stream_options": 5}, wrong_type("stream_options", "an object", "an integer")),
]


@pytest.mark.parametrize(("more", "expected"), REFUSALS)
def test_a_bad_request_gets_the_apis_own_words(
    more: dict[str, Any], expected: tuple[str, str | None, str | None]
) -> None:
    assert refused(ask() | more) == expected


def test_the_first_of_several_faults_is_named() -> None:
    everything = {"messages": None, "n": 0, "temperature": "hot"}
    assert refused({**everything})[0] == "you must provide a model parameter"
    assert refused({"model": "m", **everything}) == MISSING
    assert refused({"model": "m", **everything, "messages": [{"role": "user"}]})[1] == "n"
    assert refused({"model": "m", "n": 1, "temperature": "hot", "messages": [{"role": "user"}]})[1] == "temperature"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "include_usage", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = (
    "model",
    "messages",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stream",
    "stream_options",
    *("stop", "logprobs", "top_logprobs", "tools", "tool_choice", "functions", "function_call", "response_format"),
    *("guided_json", "structured_outputs", "min_tokens", "ignore_eos", "service_tier"),
)


@given(st.dictionaries(st.sampled_from(FIELDS), ODD))
def test_odd_requests_are_answered_or_refused_and_always_alike(odd: dict[str, Any]) -> None:
    made = request(ask(**odd))
    response = respond(made, SETTINGS)
    assert response.status in {200, 400}
    assert response == respond(made, SETTINGS)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"[" * 100_000, b'{"model":"m","messages":' + b"[" * 5000 + b"]" * 5000 + b"}", b"\x00" * 100, b"\xff" * 100),
        *(b'{"model": "m", "messages": [{"role": ' + b"[" * 150 + b"]" * 150 + b"}]}",),
        *(b'{"model": "m", "messages": "%b"}' % (b"x" * 1_000_000), b'{"model": "m", "n": %b}' % (b"9" * 5000)),
        *(b'{"model": "\\ud800", "messages": [{"role": "\\ud800"}]}', b'{"model": "m", "top_p": %b}' % (b"9" * 400)),
    ],
    ids=lambda raw: repr(raw)[:40],
)
def test_deep_and_huge_requests_are_refused(raw: bytes) -> None:
    response: Response = respond(request(raw), SETTINGS)
    assert response.status == 400
    assert json.loads(response.body)["error"]["type"] == "invalid_request_error"
