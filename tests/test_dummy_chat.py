"""The dummy's chat completions: whole, streamed, and refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tapes import ask, request

from stubserver import sse
from stubserver.dummy import DEFAULT_TEXT, DummySettings, respond
from stubserver.dummy.chat import complete
from stubserver.dummy.errors import APIError
from stubserver.messages import Response, header

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    {"temperature": 0, "top_p": 1, "seed": 7, "stop": ["x"], "user": "u", "metadata": {"a": "b"}, "store": False},
    {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.0, "chat_template_kwargs": {"a": 1}, "ignore_eos": True},
    {"stream": False, "stream_options": None, "n": None, "temperature": None},
    {"messages": [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant", "tool")]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
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
)


@relaxed
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
