"""The ways in which schemas can be met."""

from __future__ import annotations

from typing import Any

import pytest

from stubserver.dummy.schema_branches import Branch, Branches, literals
from stubserver.dummy.schema_reading import Budget, Schemas, UnsatisfiableError


def unfold(*schemas: Any, wide: bool = False, steps: int = 100_000) -> tuple[list[Branch], list[str]]:
    """List the branches, and what was said of those that cannot be."""
    spend = Budget(steps).spend
    why: list[str] = []
    found = list(Branches(Schemas(schemas[0], spend), spend).of(schemas, why.append, wide=wide))
    return found, why


def kinds(*schemas: Any, wide: bool = False) -> list[str]:
    return [branch.kind for branch in unfold(*schemas, wide=wide)[0]]


def ways(*schemas: Any, wide: bool = False) -> list[list[str]]:
    """Show the titles that hold together, branch by branch."""
    return [[part["title"] for part in b.parts if "title" in part] for b in unfold(*schemas, wide=wide)[0]]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, ["string"]),
        (True, ["string"]),
        ({"type": "integer"}, ["integer"]),
        ({"type": ["null", "array"]}, ["null", "array"]),
        ({"type": ["number", "string"], "allOf": [{"type": ["string", "integer"]}]}, ["integer", "string"]),
        ({"type": "integer", "allOf": [{"type": "number"}]}, ["integer"]),
        ({"required": ["a"]}, ["object"]),
        ({"items": {}}, ["array"]),
        ({"minimum": 1}, ["number"]),
        ({"pattern": "a"}, ["string"]),
        ({"properties": {}, "items": {}}, ["object", "array"]),
        ({"enum": [1, 2]}, ["literal"]),
        ({"type": "string", "const": 1}, ["literal"]),
    ],
)
def test_the_kinds_to_try(schema: Any, expected: list[str]) -> None:
    assert kinds(schema) == expected


def test_what_has_no_type_may_be_anything_in_the_end() -> None:
    assert kinds({"minimum": 1}, wide=True) == ["string", "boolean", "null", "array", "object"]
    assert kinds({"type": "string"}, wide=True) == []


def test_everything_that_holds_together_is_listed() -> None:
    schema = {
        "title": "root",
        "$ref": "#/$defs/a",
        "allOf": [{"title": "b", "allOf": [{"title": "c"}]}],
        "$defs": {"a": {"title": "a"}},
    }

    assert ways(schema) == [["root", "a", "b", "c"]]
    assert ways({"title": "x"}, {"title": "y"}) == [["x", "y"]]


def test_every_choice_is_listed_in_order() -> None:
    schema = {
        "anyOf": [{"title": "a"}, {"title": "b"}],
        "allOf": [{"anyOf": [{"title": "c"}, {"title": "d"}]}],
    }

    assert [set(way) for way in ways(schema)] == [{"a", "c"}, {"b", "c"}, {"a", "d"}, {"b", "d"}]


def test_contradicting_types_end_a_branch() -> None:
    branches, why = unfold({"type": "object", "anyOf": [{"type": "string"}, {"type": "object"}, {"type": ["null"]}]})

    assert len(branches) == 1
    assert why == [
        "no type is allowed by all of its schemas: 'string' excludes the others",
        "no type is allowed by all of its schemas: ['null'] excludes the others",
    ]


def test_one_of_takes_one_and_then_excludes_the_others() -> None:
    schema = {"oneOf": [{"title": "a", "minLength": 2}, {"title": "b", "maxLength": 4}]}

    assert ways(schema) == [["a"], ["b"]]
    assert any({"type": "string", "minLength": 5} in branch.parts for branch in unfold(schema, wide=True)[0])


def test_many_one_of_are_not_multiplied() -> None:
    schema = {"type": "string", "oneOf": [{"title": str(i)} for i in range(100)]}

    assert ways(schema, wide=True) == []


def test_conditions() -> None:
    schema = {"if": {"title": "if", "minimum": 5}, "then": {"title": "then"}, "else": {"title": "else"}}

    assert ways(schema) == [["else"], ["if", "then"]]
    assert ways({"title": "a", "if": {"title": "if"}}) == [["a"]]


def test_schemas_that_depend_on_a_member() -> None:
    depends = {"type": "object", "dependentSchemas": {"a": {"title": "of a"}}}

    assert ways(depends) == [[]]
    assert ways(depends, wide=True) == [["of a"]]
    assert ways({**depends, "required": ["a"]}) == [["of a"]]
    assert ways({"type": "object", "dependencies": {"a": ["b"]}}) == [[]]


def test_null_for_what_is_nullable_is_the_last_thing_to_try() -> None:
    schema = {"type": "object", "nullable": True}

    assert kinds(schema) == ["object"]
    assert [branch.parts for branch in unfold(schema, wide=True)[0]] == [({"const": None},)]


@pytest.mark.parametrize(
    ("schema", "size"),
    [
        ({"type": "string", "minLength": 9}, 1),
        ({"type": "object", "required": ["a", "b"]}, 3),
        ({"type": "object", "required": ["a"], "minProperties": 4}, 5),
        ({"type": "array", "minItems": 2, "allOf": [{"minItems": 3}]}, 4),
        ({"type": "array"}, 1),
    ],
)
def test_the_least_number_of_values(schema: Any, size: int) -> None:
    assert [branch.size for branch in unfold(schema)[0]] == [size]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (False, "nothing is allowed here"),
        ({"not": {}}, None),
        ({"not": True}, "nothing is allowed here"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"allOf": [{"anyOf": [{"$ref": "#"}]}]}, "refers to itself without end"),
    ],
)
def test_what_cannot_be(schema: Any, why: str | None) -> None:
    branches, said = unfold(schema)

    assert branches == []
    assert (why in said[0]) if why else said == []


@pytest.mark.parametrize("word", ["allOf", "anyOf", "oneOf"])
def test_schemas_nested_in_place_without_measure(word: str) -> None:
    schema: Any = {}
    for _ in range(10_000):
        schema = {word: [schema]}

    branches, said = unfold(schema)

    assert branches == []
    assert "more than 100 times" in said[0]


def test_choices_are_listed_one_by_one() -> None:
    schema = {"allOf": [{"anyOf": [{"title": "a"}, {"title": "b"}]} for _ in range(40)]}
    spend = Budget(10_000).spend

    first = next(Branches(Schemas(schema, spend), spend).of([schema], lambda _why: None, wide=False))

    assert len(first.parts) == 81


def test_every_step_is_counted() -> None:
    schema = {"allOf": [{"anyOf": [{"title": "a"}, {"title": "b"}]} for _ in range(40)]}

    with pytest.raises(UnsatisfiableError, match="nothing found in 5000 steps"):
        unfold(schema, steps=5000)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([{"enum": [1, 2, "a"]}], [1, 2, "a"]),
        ([{"enum": [1, 2]}, {"enum": [2.0, 3]}], [2]),
        ([{"enum": [1, None]}, {"const": None}], [None]),
        ([{"const": 1}, {"const": True}], []),
        ([{"type": "string"}], None),
    ],
)
def test_literals(parts: list[dict[str, Any]], expected: list[Any] | None) -> None:
    assert literals(parts) == expected
