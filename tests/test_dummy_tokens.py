"""The one token splitter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.dummy.tokens import UNKNOWN, number_of, parts, split, text_of


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


@given(st.text(alphabet=st.characters()))
def test_an_id_is_turned_back_into_its_text(text: str) -> None:
    cut = [part for piece in split(text) for part in parts(piece)]
    assert "".join(cut) == text
    assert [text_of(number_of(part)) for part in cut] == cut
    assert all(number_of(part) < 2**49 for part in cut)


@pytest.mark.parametrize("number", [-1, 0, 1, 255, 0x02_41, 0x01_FF, 1 << 60])
def test_a_number_that_is_no_id_has_no_text(number: int) -> None:
    assert text_of(number) == UNKNOWN


@given(st.text(), st.integers(0, 30))
def test_the_first_pieces_are_the_pieces_of_a_text_cut_there(text: str, count: int) -> None:
    first = split(text)[:count]
    assert split("".join(first)) == first
