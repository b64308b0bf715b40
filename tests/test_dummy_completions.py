"""The dummy's older endpoint: prompts instead of messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from tapes import request

from stubserver import sse
from stubserver.dummy import DEFAULT_TEXT, DummySettings
from stubserver.dummy.completions import complete
from stubserver.dummy.errors import APIError
from stubserver.dummy.tokens import number_of, split
from stubserver.messages import header

SETTINGS = DummySettings()
CUT = "".join(split(DEFAULT_TEXT)[:16])


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
    assert answer["choices"] == [{"text": CUT, "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert answer["usage"]["prompt_tokens"] == len(str(body())) // 4
    assert answer["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize(
    ("limit", "text", "tokens", "reason"),
    [
        (5, "This is dummy text content", 5, "length"),
        (0, "", 0, "length"),
        (99, DEFAULT_TEXT, 99, "length"),
        (100, DEFAULT_TEXT, 100, "stop"),
        (None, CUT, 16, "length"),
    ],
)
def test_the_token_limit_cuts_text_and_usage(limit: int | None, text: str, tokens: int, reason: str) -> None:
    answer = answered(max_tokens=limit)
    assert answer["choices"][0]["text"] == text
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
    assert answer["usage"]["completion_tokens"] == 16 * choices * n


def test_the_pieces_of_a_stream_join_and_the_last_one_has_the_finish_reason() -> None:
    choices = [chunk["choices"][0] for chunk in streamed()]
    assert "".join(choice["text"] for choice in choices) == CUT
    assert [choice["finish_reason"] for choice in choices] == [None] * 15 + ["length"]
    assert all(choice["text"] for choice in choices)


def test_the_choices_of_a_stream_are_each_whole() -> None:
    choices = [chunk["choices"][0] for chunk in streamed(prompt=["a", "b"], max_tokens=3)]
    for index in range(2):
        own = [choice for choice in choices if choice["index"] == index]
        assert "".join(choice["text"] for choice in own) == "This is dummy"
        assert own[-1]["finish_reason"] == "length"


def test_usage_comes_last_and_only_when_it_is_asked_for() -> None:
    *before, last = streamed(stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 16
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


# --- echo, log probabilities, stops -------------------------------------------------------------------------------


def raw(**more: Any) -> dict[str, Any]:
    """Return an answer that the client's models have no room for: null is what the API gives a first token."""
    return json.loads(complete(request(body(**more)), SETTINGS).body)


def test_the_prompt_is_echoed_before_each_text() -> None:
    texts = [choice["text"] for choice in answered(prompt=["Say", "Go"], echo=True, max_tokens=2, n=2)["choices"]]
    assert texts == ["SayThis is", "SayThis is", "GoThis is", "GoThis is"]
    assert answered(prompt="Say", echo=True, max_tokens=0)["choices"][0]["text"] == "Say"


def test_log_probabilities_have_the_texts_tokens_and_places() -> None:
    (choice,) = answered(logprobs=3, max_tokens=3)["choices"]
    shown = choice["logprobs"]
    assert shown["tokens"] == ["This", " is", " dummy"]
    assert shown["text_offset"] == [0, 4, 7]
    assert all(number < 0 for number in shown["token_logprobs"])
    assert [len(likeliest) for likeliest in shown["top_logprobs"]] == [3, 3, 3]


@pytest.mark.parametrize("ids", [[1, 2, 3], [number_of("Hi"), 50_256, 0, -1, 10**30], [7]])
def test_what_lm_eval_asks_has_an_entry_for_each_number_and_one_more(ids: list[int]) -> None:
    answer = raw(prompt=[ids], max_tokens=1, logprobs=1, echo=True, temperature=0, seed=1234)
    (choice,) = answer["choices"]
    shown = choice["logprobs"]
    assert [len(shown[name]) for name in shown] == [len(ids) + 1] * 4
    assert (shown["token_logprobs"][0], shown["top_logprobs"][0]) == (None, None)
    assert all(isinstance(number, float) for number in shown["token_logprobs"][1:])
    assert [max(likeliest.values()) for likeliest in shown["top_logprobs"][1:]] == shown["token_logprobs"][1:]
    assert "".join(shown["tokens"]) == choice["text"]
    assert answer["usage"]["prompt_tokens"] == len(ids)


def test_numbers_that_are_ours_are_echoed_as_their_text() -> None:
    assert raw(prompt=[number_of("Hi"), 5], echo=True, max_tokens=0)["choices"][0]["text"] == "Hi<5>"


def test_a_text_ends_before_a_stop_and_json_does_not() -> None:
    (choice,) = answered(stop=[" text"])["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("This is dummy", "stop")
    (choice,) = answered(guided_json={"const": "text"}, stop="text", max_tokens=1)["choices"]
    assert (choice["text"], choice["finish_reason"]) == ('"text"', "stop")


def test_padding_gives_as_many_tokens_as_are_allowed() -> None:
    answer = answered(ignore_eos=True, max_tokens=40, prompt=["a", "b"])
    assert [len(split(choice["text"])) for choice in answer["choices"]] == [40, 40]
    assert answer["usage"]["completion_tokens"] == 80


@given(
    st.one_of(st.text(max_size=9), st.lists(st.text(max_size=9), min_size=1, max_size=3), st.just([[1, 2], [3]])),
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.integers(1, 3),
            "max_tokens": st.none() | st.integers(0, 120),
            "echo": st.booleans(),
            "logprobs": st.none() | st.integers(0, 5),
            "stop": st.none() | st.sampled_from(["This", "sample", "?"]),
            "suffix": st.text(max_size=3),
            "best_of": st.integers(1, 3),
            "unknown": st.booleans(),
        },
    ),
)
def test_whole_and_streamed_agree_whatever_is_asked(prompt: Any, more: dict[str, Any]) -> None:
    answer, chunks = raw(prompt=prompt, **more), streamed(prompt=prompt, **more)
    prompts = prompt if isinstance(prompt, list) else [prompt]
    count = len(prompts) * more.get("n", 1)
    assert [choice["index"] for choice in answer["choices"]] == list(range(count))
    assert answer["usage"]["completion_tokens"] % count == 0
    for choice in answer["choices"]:
        own = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]
        assert [part["finish_reason"] for part in own] == [None] * (len(own) - 1) + [choice["finish_reason"]]
        shown = choice["logprobs"]
        assert (shown is None) == (more.get("logprobs") is None)
        if shown:
            assert "".join(shown["tokens"]) == choice["text"]
            for name, values in shown.items():
                assert [value for part in own for value in part["logprobs"][name]] == values


def test_many_prompts_are_refused_by_their_numbers() -> None:
    expected = "Invalid type for 'prompt[1][0]': expected an integer, but got a string instead."
    assert refused(prompt=[[1], ["x"]]) == (expected, "prompt[1][0]", "invalid_type")
