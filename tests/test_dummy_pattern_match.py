"""The matcher: the same answers as Python's own, and always an end."""

from __future__ import annotations

import re
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubserver.dummy.pattern_match import PatternError
from stubserver.dummy.patterns import read

ATOMS = st.sampled_from(["a", "b", ".", r"\d", r"\W", r"\s", "[ab]", "[^a]", "[a-c1-3]", r"[\dx]"])
AFTER = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "*?", "{0,3}?"])
EMPTY = st.sampled_from([r"\b", r"\B", "^", "$", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", "(?<=ab)"])


def joined(parts: list[str]) -> str:
    return "".join(parts)


def grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    alternatives = st.lists(inner, min_size=1, max_size=3).map("|".join)
    groups = st.builds("({}{}){}".format, st.sampled_from(["", "?:", "?i:", "?s:"]), alternatives, AFTER)
    return st.lists(groups | inner, min_size=1, max_size=3).map(joined)


PATTERNS = st.recursive(st.builds(str.__add__, ATOMS, AFTER) | EMPTY, grouped, max_leaves=6)


def spends_nothing(_steps: int) -> None:
    """Let it go on."""


@settings(max_examples=300)
@given(PATTERNS, st.lists(st.text("abAB1x \n", min_size=1, max_size=6), min_size=3, max_size=6))
def test_it_agrees_with_pythons_matcher(pattern: str, texts: list[str]) -> None:
    # Of empty texts they differ about \\B, which Python before 3.14 does not find there.
    python = re.compile(pattern.replace("$", r"\Z"))  # JavaScript's $: the very end

    assert [read(pattern).matches(text, spends_nothing) for text in texts] == [bool(python.search(t)) for t in texts]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        ("c$", "abc", True),
        ("c$", "abc\n", False),
        ("(?i)ABC", "xabc", True),
        ("(?i)[a-c]{3}", "xABC", True),
        ("a.c", "a\nc", False),
        ("(?s)a.c", "a\nc", True),
        ("^(ab|a)(c|bcd)$", "abcd", True),
        ("^(a{2}){3}$", "aaaaaa", True),
        ("^(a{2}){3}$", "aaaaa", False),
        ("^.{0}$", "", True),
        ("(?<!a)b", "ab", False),
        ("(?<!a)b", "b", True),
        (r"^\w+$", "é_1", True),
    ],
)
def test_what_is_matched(pattern: str, text: str, *, expected: bool) -> None:
    assert read(pattern).matches(text, spends_nothing) is expected


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("(a+)+$", "a" * 3000 + "b"), ("(a*)*b$", "a" * 3000), ("(a|aa)+$", "a" * 300 + "b"), ("(x+x+)+y", "x" * 300)],
)
def test_what_takes_python_years_is_answered_in_countable_steps(pattern: str, text: str) -> None:
    steps = count(step=1)

    assert not read(pattern).matches(text, lambda number: [next(steps) for _ in range(number)] and None)
    assert next(steps) < 2_000_000


def test_every_step_is_counted() -> None:
    def spend(_steps: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        read("a").matches("a", spend)


@pytest.mark.parametrize("pattern", [r"(a)\1", "(a)(?(1)b|c)", "(?>a)b", "a++b"])
def test_what_needs_backtracking_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match="not supported"):
        read(pattern).matches("aa", spends_nothing)
