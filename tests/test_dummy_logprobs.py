"""Log probabilities of tokens, in both of the API's shapes."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.chat_completion import ChoiceLogprobs
from openai.types.completion_choice import Logprobs

from stubserver.dummy import logprobs

pieces_of_any_text = st.lists(st.text(min_size=1, max_size=4), max_size=6)


@given(pieces_of_any_text, st.integers(0, 20))
def test_each_token_of_a_chat_has_its_bytes_its_number_and_its_alternatives(pieces: list[str], top: int) -> None:
    read = ChoiceLogprobs.model_validate(logprobs.chat(pieces, top), strict=True)
    assert read.content is not None
    assert [entry.token for entry in read.content] == pieces
    for entry in read.content:
        assert bytes(entry.bytes or ()) == entry.token.encode()
        assert entry.logprob < 0
        assert len({other.token for other in entry.top_logprobs}) == top
        numbers = [other.logprob for other in entry.top_logprobs]
        assert numbers == sorted(numbers, reverse=True)
        assert sum(map(math.exp, numbers)) <= 1.0001
        assert not top or (entry.top_logprobs[0].token, numbers[0]) == (entry.token, entry.logprob)


@given(pieces_of_any_text, st.integers(0, 5), st.integers(0, 9))
def test_the_older_shape_has_four_lists_of_the_same_length(pieces: list[str], top: int, start: int) -> None:
    made = logprobs.legacy(pieces, top, start=start)
    Logprobs.model_validate(made, strict=True)
    assert made["tokens"] == pieces
    assert made["text_offset"] == list(accumulate(map(len, pieces[:-1]), initial=start))[: len(pieces)]
    assert [len(likeliest) for likeliest in made["top_logprobs"]] == [max(top, 1)] * len(pieces)
    assert made["token_logprobs"] == [max(likeliest.values()) for likeliest in made["top_logprobs"]]


def test_the_first_token_of_an_echoed_prompt_has_no_number() -> None:
    made = logprobs.legacy(["a", "b"], 1, echoed=True)
    assert (made["token_logprobs"][0], made["top_logprobs"][0]) == (None, None)
    assert made["token_logprobs"][1] == made["top_logprobs"][1]["b"]


@pytest.mark.parametrize("piece", [" the", "\ud800", "\N{SNOWMAN}"])
def test_a_token_that_is_an_alternative_or_no_utf8_stands_once(piece: str) -> None:
    (entry,) = logprobs.chat([piece], 20)["content"]
    assert len({other["token"] for other in entry["top_logprobs"]}) == 20
    assert entry == logprobs.chat(["x", piece], 20)["content"][1]


@given(pieces_of_any_text, st.integers(0, 20))
def test_a_response_has_them_as_a_chat_has_and_its_events_without_bytes(pieces: list[str], top: int) -> None:
    found = logprobs.responses(pieces, top)

    assert found == logprobs.chat(pieces, top)["content"]
    for whole, short in zip(found, logprobs.shortened(found), strict=True):
        assert short == {"token": whole["token"], "logprob": whole["logprob"], "top_logprobs": short["top_logprobs"]}
        assert all(other.keys() == {"token", "logprob"} for other in short["top_logprobs"])
        assert len(short["top_logprobs"]) == top
