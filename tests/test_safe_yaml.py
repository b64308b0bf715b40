"""YAML becomes plain data as PyYAML's safe loader would have it, and whatever is dangerous is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stubserver.cassettes.safe_yaml import YamlError, load

KEYS = st.one_of(st.text(max_size=20), st.integers(), st.booleans(), st.none(), st.binary(max_size=5))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(max_size=100),
    st.sampled_from(["1e5", "2020-10-01", "~", "0o7", "- a", "<<", "=", "12:30", "no"]),
)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(
    data=DATA,
    allow_unicode=st.booleans(),
    default_flow_style=st.booleans() | st.none(),
    default_style=st.sampled_from([None, '"', "'", "|", ">"]),
    width=st.sampled_from([20, 80, 1000]),
)
def test_what_pyyaml_dumped_is_read_as_it_reads_it(data: Any, **options: Any) -> None:
    text = yaml.dump(data, Dumper=yaml.CSafeDumper, encoding="utf-8", **options)
    assert repr(load(text)) == repr(yaml.safe_load(text))


@given(DATA)
def test_shared_collections_are_read_through_their_aliases(data: Any) -> None:
    shared = [[data], {"a": data}]
    text = yaml.dump([shared, shared, shared[0]], Dumper=yaml.CSafeDumper).encode()
    assert b"*id00" in text
    assert repr(load(text)) == repr(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("--- a\n...\n", "a"),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: |\r\n  x\r\n  y\r\n", {"a": 1, "b": "x\ny\n"}),
        ("a: 1\na: 2", {"a": 2}),
        ("? a\n? b\n: 1", {"a": None, "b": 1}),
        ("openai-version: 2020-10-01", {"openai-version": "2020-10-01"}),
        ("! 12", 12),
        ('!!str 12: !!int "12"', {"12": 12}),
        ("!!timestamp 2020-10-01", "2020-10-01"),
        ("[!!float 1.5, !!bool yes, !!null '', !!python/none '', !!python/long '7']", [1.5, True, None, None, 7]),
        ("!!map {a: !!seq [1]}", {"a": [1]}),
    ],
)
def test_yaml_in_its_less_usual_forms(text: str, value: Any) -> None:
    assert load(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!!python/str text", "text"),
        ("!!python/unicode 'text'", "text"),
        ("!!python/tuple [Server, [nginx]]", ["Server", ["nginx"]]),
        ("!!binary |\n  aGk=\n", b"hi"),
        ("!!python/bytes |\n  aGk=\n", b"hi"),
        ("!!python/object/new:_io.BytesIO\nstate: !!python/tuple\n- !!binary |\n  aGk=\n- 0\n- null\n", b"hi"),
        ("!!python/object/new:_io.BytesIO\nstate: !!python/tuple [text, 0, null]", "text"),
        ("!!python/object/new:_io.BytesIO []", b""),
        ("!!python/object/new:_io.BytesIO {}", b""),
        ("!!python/object/apply:builtins.iter\nargs:\n- - !!binary |\n    aGk=\n  - ' you'\n", b"hi you"),
        ("!!python/object/apply:builtins.iter\nargs: !!python/tuple\n- - a\n  - b\nstate: 1\n", b"ab"),
        ("!!python/object/apply:builtins.iter\n- text\n", "text"),
        ("? !!python/object/new:multidict._multidict.istr [Accept]\n: ['*/*']", {"Accept": ["*/*"]}),
        ("? !!python/object/apply:multidict._multidict.istr\n- Accept\n: - '*/*'\n", {"Accept": ["*/*"]}),
        ("? !!python/object/new:multidict._istr.istr\n  args: [Accept]\n: 1", {"Accept": 1}),
    ],
)
def test_what_vcrpy_and_its_clients_left_in_cassettes_is_rebuilt_as_data(text: str, value: Any) -> None:
    assert load(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("a: !!python/object/apply:os.system [id]", "python/object/apply:os.system"),
        ("!!python/object/new:subprocess.Popen [[id]]", "python/object/new:subprocess.Popen"),
        ("- !!python/object:vcr.request.Request {method: GET}", "python/object:vcr.request.Request"),
        ("!!python/name:os.system", "python/name:os.system"),
        ("!!python/name:os.system ''", "python/name:os.system"),
        ("!!python/module:os ''", "python/module:os"),
        ("!!python/object/apply:multidict.os.system [[id]]", "python/object/apply:multidict.os.system"),
        ("!!python/object/apply:builtins.iter []", "python/object/apply:builtins.iter"),
        ("!!python/object/apply:builtins.eval ['1']", "python/object/apply:builtins.eval"),
        ("!!python/object/new:_io.BytesIO text", "python/object/new:_io.BytesIO"),
        ("!!set {a, b}", "set"),
        ("!mine 1", "!mine"),
        ("!<tag:example.org,2026:x> [1]", "tag:example.org,2026:x"),
        ("!%1b 1", "!\\x1b"),
    ],
)
def test_any_other_tag_is_refused_by_its_name_and_line(text: str, tag: str) -> None:
    with pytest.raises(YamlError) as refused:
        load(f"\n\n{text}".encode(), first_line=40)
    assert tag in str(refused.value)
    assert "line 43" in str(refused.value)


def levels(opening: str, depth: int) -> str:
    """Nest in block style."""
    return "".join(f"{' ' * i}{opening}\n" for i in range(depth))


A_COPY_OF_NINE = "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9))
# Newer releases of libyaml have a limit of their own, in words of their own.
TOO_DEEP = "nested deeper than 200|exceeded maximum nesting depth"
BOMBS = {
    "merge keys": ("a: &a {x: 1}\n" + "b: &b {<<: [" + "*a," * 40 + "]}\nc: {<<: [" + "*b," * 40 + "]}", "merge key"),
    "aliases of aliases": ("a: &a [x,x,x,x,x,x,x,x,x]\n" + A_COPY_OF_NINE, "expand to too many"),
    "aliases of a long text": (f"a: &a {'x' * 100_000}\nb: [{'*a,' * 2000}]", "expand to too many"),
    "an alias of itself": ("a: &a [1, *a]", "inside its own anchor"),
    "an alias of nothing": ("a: *b", "has none"),
    "brackets": ("[" * 100_000, TOO_DEEP),
    "braces": ("{" * 100_000, TOO_DEEP),
    "braces with keys": ("{a: " * 100_000, TOO_DEEP),
    "dashes": ("- " * 100_000, TOO_DEEP),
    "question marks": ("? " * 2000, TOO_DEEP),
    "blocks": (levels("a:", 2000), TOO_DEEP),
    "a long key": (f"? {'k' * 20_000}\n: 1", "key longer than 16384"),
    "a collection for a key": ("? [a]\n: 1", "collection for a key"),
    "two documents": ("a\n---\nb\n", "more than one YAML document"),
    "many documents": ("--- a\n" * 100_000, "more than one YAML document"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_grows(name: str) -> None:
    text, cause = BOMBS[name]
    with pytest.raises(YamlError, match=cause):
        load(text.encode())


def test_many_anchors_are_no_bomb() -> None:
    assert len(load(b"".join(b"- &a%d x\n" % n for n in range(200_000)))) == 200_000


def test_a_large_text_is_no_bomb() -> None:
    assert load(b"a: '" + b"x" * 50_000_000 + b"'") == {"a": "x" * 50_000_000}


def test_nodes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stubserver.cassettes.safe_yaml._MOST_NODES", 3)
    assert load(b"[1, 2]") == [1, 2]
    with pytest.raises(YamlError, match="too many nodes"):
        load(b"[1, 2, 3]")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"a: 'open", "line 11: found unexpected end of stream"),
        (b"a: b: c", "line 11: mapping values are not allowed"),
        (b"\n\ta: b", "line 12: found character that cannot start any token"),
        (b"a: caf\xe9", "not YAML"),
        (b"a: \x00", "not YAML"),
        (b"a: !!binary '\xc3\xa9'", "line 11: !!binary does not decode"),
        (b"a: !!binary abc", "line 11: !!binary does not decode"),
        (b"a: }", "line 11: "),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: bytes, cause: str) -> None:
    with pytest.raises(YamlError, match=cause):
        load(text, first_line=10)


def test_pyyaml_without_libyaml_is_as_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stubserver.cassettes.safe_yaml._Loader", yaml.SafeLoader)
    assert load(b"a: [1, 'b', !!binary aGk=]") == {"a": [1, "b", b"hi"]}
    for name in ("merge keys", "aliases of aliases", "an alias of itself", "brackets", "braces with keys", "dashes"):
        with pytest.raises(YamlError, match=BOMBS[name][1]):
            load(BOMBS[name][0].encode())
