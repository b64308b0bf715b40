"""What an answer says: cut, stopped, padded, or whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.dummy import wording
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import DEFAULT_TEXT, DummySettings
from stubserver.dummy.tokens import split
from stubserver.dummy.wording import Wording

SETTINGS = DummySettings()
OWN = len(split(DEFAULT_TEXT))
SHORT = DummySettings(text="One two three.", tokens=2)


def plain(most: int | None = None, made: DummySettings = SETTINGS, **body: Any) -> Wording:
    return wording.plain(wording.limits(body, "max_tokens", most, 1), made)


def refused(most: int | None, choices: int = 1, **body: Any) -> tuple[str, str | None, str | None]:
    with pytest.raises(APIError) as caught:
        wording.limits(body, "max_tokens", most, choices)
    return str(caught.value), caught.value.param, caught.value.code


@pytest.mark.parametrize(
    ("most", "tokens", "reason"),
    [
        *((None, 100, "stop"), (4000, 100, "stop"), (100, 100, "stop"), (99, 99, "length")),
        *((OWN, OWN, "length"), (10**30, 100, "stop")),
    ],
)
def test_a_limit_that_the_text_meets_cuts_the_usage_alone(most: int | None, tokens: int, reason: str) -> None:
    assert plain(most) == (DEFAULT_TEXT, tokens, reason)


@pytest.mark.parametrize("most", [0, 1, 5, OWN - 1])
def test_a_limit_below_the_texts_own_tokens_cuts_the_text(most: int) -> None:
    assert plain(most) == ("".join(split(DEFAULT_TEXT)[:most]), most, "length")


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (None, ("One two three.", 2, "stop")),
        (4, ("One two three.", 2, "stop")),
        (3, ("One two three", 3, "length")),
        (1, ("One", 1, "length")),
    ],
)
def test_the_texts_own_tokens_count_where_they_are_more_than_those_set(
    most: int | None, expected: tuple[str, int, str]
) -> None:
    assert plain(most, SHORT) == expected


@pytest.mark.parametrize(
    ("stop", "most", "expected"),
    [
        (" two", None, ("One", 1, "stop")),
        (["three", "two"], None, ("One ", 2, "stop")),
        ("w", None, ("One t", 2, "stop")),
        ("One", None, ("", 0, "stop")),
        ("nowhere", None, ("One two three.", 2, "stop")),
        ("", None, ("One two three.", 2, "stop")),
        ("three", 1, ("One", 1, "length")),
        ("two", 3, ("One ", 2, "stop")),
    ],
)
def test_the_text_ends_before_a_stop(stop: Any, most: int | None, expected: tuple[str, int, str]) -> None:
    assert plain(most, SHORT, stop=stop) == expected


@pytest.mark.parametrize("body", [{"ignore_eos": True}, {"min_tokens": 1}, {"ignore_eos": True, "min_tokens": 3}])
@pytest.mark.parametrize("most", [3, OWN, OWN + 1, 100, 1000])
@pytest.mark.parametrize("text", [DEFAULT_TEXT, "a", "12 ", " x", "", "  "])
def test_padding_fills_the_limit_with_just_as_many_tokens(body: dict[str, Any], most: int, text: str) -> None:
    made = plain(most, DummySettings(text=text), **body)
    assert len(split(made.text)) == made.tokens == most
    assert made.reason == "length"


def test_padding_repeats_the_text() -> None:
    assert plain(7, SHORT, ignore_eos=True).text == "One two three. One two three"


@pytest.mark.parametrize(
    ("least", "tokens"), [(0, 100), (100, 100), (101, 101), (500, 500)], ids=["none", "met", "above", "far above"]
)
def test_without_a_limit_there_are_as_many_tokens_as_there_must_be(least: int, tokens: int) -> None:
    made = plain(min_tokens=least, ignore_eos=True)
    assert (made.tokens, made.reason) == (tokens, "stop")
    assert made.text == DEFAULT_TEXT if tokens == 100 else len(split(made.text)) == tokens


@pytest.mark.parametrize(("least", "text"), [(0, "One "), (1, "One "), (2, "One two three. One ")])
def test_a_stop_counts_after_the_tokens_that_must_be_there(least: int, text: str) -> None:
    assert plain(9, SHORT, min_tokens=least, ignore_eos=True, stop="two").text == text


def test_more_tokens_than_there_may_be_cannot_be_asked_for() -> None:
    text = "min_tokens must be less than or equal to max_tokens=5, got 6."
    assert refused(5, min_tokens=6) == (text, "min_tokens", None)


@pytest.mark.parametrize(("most", "body"), [(131_072, {"ignore_eos": True}), (None, {"min_tokens": 70_000})])
def test_padding_has_a_bound_for_all_choices_together(most: int | None, body: dict[str, Any]) -> None:
    assert wording.limits(body, "max_tokens", most, 1).padded
    length = most or body["min_tokens"]
    text = (
        f"max_tokens is too large: {length}. This model supports at most 65536 completion tokens, "
        f"whereas you provided {length}."
    )
    assert refused(most, 2, **body) == (text, "max_tokens", None)


def test_a_limit_without_padding_has_no_bound() -> None:
    assert wording.limits({}, "max_tokens", 10**30, 128).most == 10**30


@pytest.mark.parametrize(("most", "count"), [(None, 5), (9, 5), (3, 3)])
def test_json_is_never_cut(most: int | None, count: int) -> None:
    assert wording.whole('{"a"}', most) == ('{"a"}', count, "stop")


@given(
    text=st.text(max_size=40),
    counted=st.integers(0, 30),
    most=st.none() | st.integers(0, 60),
    stops=st.lists(st.text(min_size=1, max_size=2), max_size=4),
    ignore=st.booleans(),
)
def test_what_is_said_keeps_to_what_was_asked(
    text: str, counted: int, most: int | None, stops: list[str], *, ignore: bool
) -> None:
    made = plain(most, DummySettings(text=text, tokens=counted), stop=stops, ignore_eos=ignore)
    assert made.reason in {"stop", "length"}
    assert most is None or len(split(made.text)) <= max(most, made.tokens) <= most
    assert not any(stop in made.text for stop in stops)
    assert made.reason == "stop" or made.tokens == most
