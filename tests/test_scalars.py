"""Scalars are read as PyYAML reads them; it is the judge of most tests here."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stubserver.cassettes.scalars import UnreadableError, binary, double_quoted, single_quoted, typed

NUMBER_LIKE = st.text("0123456789_:.+-eExbaf", max_size=12)
WORD_LIKE = st.sampled_from(["yes", "no", "true", "false", "on", "off", "null", "y", "n", ".inf", ".nan", "~"]).flatmap(
    lambda word: st.sampled_from([word, word.upper(), word.title(), f"-{word}", f"+{word}", f"{word} ", f"{word}x"])
)


def resolved(text: str) -> Any:
    """Return what PyYAML makes of a plain scalar; what stays text here, and what it fails at, is the text itself."""
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    if tag.rpartition(":")[2] in {"timestamp", "merge", "value", "yaml"}:
        return text
    try:
        return loader.construct_object(yaml.ScalarNode(tag, text))
    except ValueError:
        return text


@given(st.one_of(NUMBER_LIKE, WORD_LIKE, st.text(max_size=8)))
@example("")
@example("-.5")
@example("1.e+3")
@example("190:20:30")
@example("-190:20:30.15")
@example("999999999999999999:59:59")
@example("0b_")
@example("0x_")
@example("0o17")
@example("1e5")
@example("2020-10-01")
@example("=")
def test_plain_text_has_the_type_that_pyyaml_gives_it(text: str) -> None:
    assert repr(typed(text)) == repr(resolved(text))


@pytest.mark.parametrize("text", ["9" * 5000, "1" + ":00" * 3000, "0." + "1" * 5000])
def test_a_number_of_thousands_of_digits_stays_text(text: str) -> None:
    assert typed(text) == text


FRAGMENTS = (*"a \n\té':#", "\\\\", '\\"', "\\\n", *(f"\\{code}" for code in "n t/eN\tq"))
CODES = ("\\x41", "\\xE9", "\\x4", "\\u00e9", "\\u2028", "\\ud83d", "\\ude42", "\\u12", "\\U0001F600", "\\U00110000")
QUOTED = st.lists(st.sampled_from((*FRAGMENTS, *CODES)), max_size=10).map("".join)


def from_yaml(text: str) -> Any:
    """Return what libyaml makes of *text*, or UnreadableError for what it refuses."""
    try:
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return UnreadableError


@given(QUOTED)
@example("one \\\n  \\ two")
@example("kept \\ \n  next")
@example("kept\\\\ \n  next")
@example("break\\\n\n  \n  lines")
@example(" a \n\n\t b \n c ")
def test_double_quotes_hold_what_libyaml_finds_in_them(text: str) -> None:
    found: Any
    try:
        found = double_quoted(text)
    except UnreadableError:
        found = UnreadableError
    assert found == from_yaml(f'"{text}"')


@given(st.text('ab \n\t\\é":#', max_size=12).map(lambda text: text.replace("b", "''")))
@example("a \n\n \t\n b")
@example("a\\\nb\\ \n")
def test_single_quotes_hold_what_libyaml_finds_in_them(text: str) -> None:
    assert single_quoted(text) == from_yaml(f"'{text}'")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_pyyaml_escapes_comes_back(text: str) -> None:
    written = yaml.dump(text, Dumper=yaml.CDumper, default_style='"', width=20)
    assert double_quoted(written.strip()[1:-1]) == text


@given(st.binary(max_size=300))
def test_binary_blocks_come_back(content: bytes) -> None:
    block = yaml.dump(content, Dumper=yaml.CDumper).partition("\n")[2]
    assert binary(block.encode()) == content


def test_an_unknown_escape_is_left_to_the_full_parser() -> None:
    with pytest.raises(UnreadableError, match=re.escape("\\q")):
        double_quoted("\\q")
