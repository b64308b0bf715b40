"""The one token splitter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubserver.dummy.tokens import split


@settings(deadline=None)
@given(st.text())
def test_the_pieces_join_to_the_text(text: str) -> None:
    assert "".join(split(text)) == text
    assert all(split(text))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("Hello there!", ["Hello", " there", "!"]),
        ("a" * 30, ["a" * 12, "a" * 12, "a" * 6]),
        ("12345", ["123", "45"]),
        ("end  \n", ["end", "  \n"]),
        ("漢字", ["漢", "字"]),
        (" \n two", [" \n two"]),
    ],
)
def test_where_a_text_is_cut(text: str, pieces: list[str]) -> None:
    assert split(text) == pieces


def test_a_long_text_of_spaces_comes_to_an_end() -> None:
    assert split(" " * 100_000) == [" " * 100_000]
