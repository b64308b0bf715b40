"""Strings for patterns."""

from __future__ import annotations

import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubserver.dummy.pattern_match import PatternError
from stubserver.dummy.patterns import read


def spends_nothing(_steps: int) -> None:
    """Let it go on."""


def first_match(pattern: str, least: int = 0) -> str | None:
    parsed = read(pattern)
    found = islice(parsed.strings(least, spends_nothing), 200)
    return next((text for text in found if len(text) >= least and parsed.matches(text, spends_nothing)), None)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("", ""),
        ("abc", "abc"),
        ("^a*$", ""),
        (r"^[a-z]{3,5}-\d+$", "aaa-0"),
        (r"^\+?[1-9]\d{1,14}$", "10"),
        ("^(long|mid|x)$", "x"),
        ("^(?:foo|ba[rz])$", "foo"),
        ("^[^a-z]$", "0"),
        (r"^\S+@\S+\.\S+$", "a@a.a"),
        (r"^\d{5}(-\d{4})?$", "00000"),
        (r"^\x41\u0042\t$", "AB\t"),
        ("^[é-ü]$", "é"),
        ("^(?i)abc$".replace("^(?i)", "(?i)^"), "abc"),
        ("^.$", "a"),
        ("^a+?b{2}?$", "abb"),
        (r"^\W$", " "),
        ("^[+--]$", "-"),
        ("^[[&|~]$", "&"),
    ],
)
def test_the_plainest_string(pattern: str, text: str) -> None:
    assert first_match(pattern) == text
    assert re.search(pattern.replace("[[&|~]", r"[\[&|~]").replace("[+--]", r"[+-\-]"), text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(?<year>\\d{4})$", "0000"),
        (r"^\p{Lu}\p{Ll}\p{N}$", "Aa0"),
        (r"^[\p{L}-]{2}$", "aa"),
        (r"^\P{L}$", "0"),
        (r"^\u{41}$", "A"),
        (r"^\/$", "/"),
        (r"^\p{Extended_Pictographic}$", "\U0001f600"),
    ],
)
def test_what_only_javascript_writes(pattern: str, text: str) -> None:
    assert first_match(pattern) == text


@pytest.mark.parametrize(
    ("pattern", "least", "text"),
    [
        ("^[a-z]+$", 4, "aaaa"),
        ("^[a-z]{1,10}[0-9]{0,5}$", 12, "aaaaaaa00000"),
        ("^(ab)*$", 5, "ababab"),
        ("^(a-b)+c{0,9}$", 7, "a-bcccc"),
        ("b", 3, "baa"),
        ("b$", 3, "aab"),
        ("^b", 3, "baa"),
    ],
)
def test_strings_as_long_as_they_must_be(pattern: str, least: int, text: str) -> None:
    assert first_match(pattern, least) == text


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(?=.*[A-Z])(?=.*\d)(?=.*[a-z]).{8,}$",
        r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$",
        r"^(?!0+$)\d{3}$",
        r"^\w+(?<!a)$",
    ],
)
def test_look_arounds_are_met_by_trying(pattern: str) -> None:
    text = first_match(pattern)

    assert text is not None
    assert re.search(pattern, text)


@settings(max_examples=200)
@given(
    st.lists(
        st.builds(
            str.__add__,
            st.sampled_from(["a", r"\d", "[a-f]", "(x|yz)", "((?:q[0-9]){1,2})", ".", r"\.", "[^k]"]),
            st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}"]),
        ),
        max_size=6,
    ),
    st.integers(0, 12),
)
def test_the_first_string_matches_and_one_that_is_long_enough(parts: list[str], least: int) -> None:
    pattern = f"^{''.join(parts)}$"

    texts = list(islice(read(pattern).strings(0, spends_nothing), 1))
    longer = list(islice(read("".join(parts)).strings(least, spends_nothing), 3))

    assert re.search(pattern, texts[0])
    assert any(re.search("".join(parts), text) and len(text) >= least for text in longer)


def test_different_strings_for_items_that_must_differ() -> None:
    texts = {text for text in read("^[a-c][0-9]$").strings(0, spends_nothing) if re.search("^[a-c][0-9]$", text)}

    assert len(texts) >= 12


@pytest.mark.parametrize("pattern", ["([", "(?P<a", "*a", "(?m)a", r"\p{Script=Greek}", "(" * 5000 + ")" * 5000])
def test_what_cannot_be_read(pattern: str) -> None:
    with pytest.raises(PatternError, match="pattern"):
        read(pattern)


@pytest.mark.parametrize("pattern", ["a{20000}", "((a{100}){100}){100}", r"[^\s\S]"])
def test_what_cannot_be_written(pattern: str) -> None:
    assert list(read(pattern).strings(0, spends_nothing)) == []


def test_empty_repetitions_are_counted() -> None:
    left = [1000]

    def spend(steps: int) -> None:
        left[0] -= steps
        if left[0] < 0:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        list(read("((){60000}){60000}").strings(0, spend))
