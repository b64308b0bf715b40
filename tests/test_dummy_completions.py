"""The dummy's older endpoint: prompts instead of messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion
from tapes import request

from stubserver import sse
from stubserver.dummy import DEFAULT_TEXT, DummySettings
from stubserver.dummy.completions import complete
from stubserver.dummy.errors import APIError
from stubserver.messages import header

SETTINGS = DummySettings()


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": "Say this", **more}


def answered(**more: Any) -> dict[str, Any]:
    response = complete(request(body(**more)), SETTINGS)
    assert response.status == 200
    answer = json.loads(response.body)
    Completion.model_validate(answer, strict=True)
    return answer


def streamed(**more: Any) -> list[dict[str, Any]]:
    response = complete(request(body(stream=True, **more)), SETTINGS)
    assert response.events
    assert header(response.headers, "content-type") == "text/event-stream"
    *datas, last = [sse.data_of(event) for event in sse.split(response.body)]
    assert last == b"[DONE]"
    return [json.loads(data or b"") for data in datas]


def refused(**more: Any) -> tuple[str, str | None, str | None]:
    with pytest.raises(APIError) as caught:
        complete(request(body(**more)), SETTINGS)
    return str(caught.value), caught.value.param, caught.value.code


def test_the_answer_has_the_full_shape() -> None:
    answer = answered()
    assert answer["object"] == "text_completion"
    assert answer["model"] == "m"
    assert answer["id"].startswith("cmpl-")
    assert answer["choices"] == [{"text": DEFAULT_TEXT, "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert answer["usage"]["prompt_tokens"] == len(str(body())) // 4
    assert answer["usage"]["completion_tokens"] == 100


@pytest.mark.parametrize(
    ("limit", "tokens", "reason"), [(5, 5, "length"), (0, 0, "length"), (100, 100, "stop"), (None, 100, "stop")]
)
def test_the_token_limit_cuts_the_usage(limit: int | None, tokens: int, reason: str) -> None:
    answer = answered(max_tokens=limit)
    assert answer["usage"]["completion_tokens"] == tokens
    assert answer["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [("one", 1), (None, 1), ("", 1), (["one"], 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
)
@pytest.mark.parametrize("n", [1, 2])
def test_there_is_a_choice_for_each_prompt_and_each_n(prompt: Any, choices: int, n: int) -> None:
    answer = answered(prompt=prompt, n=n)
    assert [choice["index"] for choice in answer["choices"]] == list(range(choices * n))
    assert answer["usage"]["completion_tokens"] == 100 * choices * n


def test_the_pieces_of_a_stream_join_and_the_last_one_has_the_finish_reason() -> None:
    choices = [chunk["choices"][0] for chunk in streamed()]
    assert "".join(choice["text"] for choice in choices) == DEFAULT_TEXT
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all(choice["text"] for choice in choices)


def test_the_choices_of_a_stream_are_each_whole() -> None:
    choices = [chunk["choices"][0] for chunk in streamed(prompt=["a", "b"], max_tokens=3)]
    for index in range(2):
        own = [choice for choice in choices if choice["index"] == index]
        assert "".join(choice["text"] for choice in own) == DEFAULT_TEXT
        assert own[-1]["finish_reason"] == "length"


def test_usage_comes_last_and_only_when_it_is_asked_for() -> None:
    *before, last = streamed(stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 100
    assert all(chunk["usage"] is None for chunk in before)
    assert not any("usage" in chunk for chunk in streamed())


def test_the_same_bytes_get_the_same_bytes() -> None:
    for stream in (False, True):
        assert complete(request(body(stream=stream)), SETTINGS) == complete(request(body(stream=stream)), SETTINGS)


def test_an_empty_text_is_one_chunk() -> None:
    response = complete(request(body(stream=True)), DummySettings(text=""))
    assert len(sse.split(response.body)) == 2


TOO_LONG = (
    "Invalid 'prompt': array too long. Expected an array with maximum length 2048, "
    "but got an array with length 2049 instead."
)
EXPECTED = "one of a string, array of strings, array of integers, or array of arrays"


@pytest.mark.parametrize(
    ("more", "message", "param", "code"),
    [
        ({"model": None}, "you must provide a model parameter", None, None),
        (
            {"prompt": []},
            "Invalid 'prompt': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "prompt",
            "empty_array",
        ),
        (
            {"prompt": 5},
            f"Invalid type for 'prompt': expected {EXPECTED}, but got an integer instead.",
            "prompt",
            "invalid_type",
        ),
        (
            {"prompt": ["a", {}]},
            "Invalid type for 'prompt[1]': expected one of a string or array of integers, but got an object instead.",
            "prompt[1]",
            "invalid_type",
        ),
        (
            {"prompt": ["a"] * 2049},
            TOO_LONG,
            "prompt",
            "array_above_max_length",
        ),
        (
            {"prompt": ["a"] * 2048, "n": 128},
            "Invalid 'n': 2048 prompts with 128 choices each are more than 8192 choices.",
            "n",
            "invalid_value",
        ),
        (
            {"n": 0},
            "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            "n",
            "integer_below_min_value",
        ),
        (
            {"max_tokens": -1},
            "Invalid 'max_tokens': integer below minimum value. Expected a value >= 0, but got -1 instead.",
            "max_tokens",
            "integer_below_min_value",
        ),
        (
            {"temperature": "hot"},
            "Invalid type for 'temperature': expected a decimal, but got a string instead.",
            "temperature",
            "invalid_type",
        ),
        (
            {"top_p": 2},
            "Invalid 'top_p': decimal above maximum value. Expected a value <= 1, but got 2.0 instead.",
            "top_p",
            "decimal_above_max_value",
        ),
    ],
)
def test_a_bad_request_gets_the_apis_words(
    more: dict[str, Any], message: str, param: str | None, code: str | None
) -> None:
    assert refused(**more) == (message, param, code)


def test_many_token_numbers_are_one_prompt() -> None:
    assert len(answered(prompt=[1] * 100_000)["choices"]) == 1
