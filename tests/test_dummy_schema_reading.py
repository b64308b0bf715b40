"""Schemas are read safely: shapes, references, steps."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stubserver.dummy.schema_reading import (
    Budget,
    Schemas,
    UnsatisfiableError,
    children,
    item_schemas,
    member_schemas,
    quoted,
)


def spends_nothing(_steps: int) -> None:
    """Let it go on."""


def schemas(root: Any) -> Schemas:
    return Schemas(root, spends_nothing)


def test_a_budget_ends() -> None:
    budget = Budget(3)
    budget.spend()
    budget.spend(2)

    with pytest.raises(UnsatisfiableError, match="nothing found in 3 steps"):
        budget.spend()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("type", "date"),
        ("type", ["string", 1]),
        ("type", {}),
        ("type", [[]]),
        ("enum", "a"),
        ("required", "a"),
        ("required", [1]),
        ("required", True),
        ("properties", []),
        ("properties", {"a": 1}),
        ("items", "a"),
        ("items", [1]),
        ("anyOf", {}),
        ("anyOf", ["a"]),
        ("not", None),
        ("minLength", "1"),
        ("minLength", -1),
        ("minLength", 1.5),
        ("minItems", True),
        ("minimum", "0"),
        ("minimum", float("nan")),
        ("maximum", float("inf")),
        pytest.param("maximum", 10**400, id="maximum-too large"),
        ("exclusiveMinimum", []),
        ("multipleOf", 0),
        ("multipleOf", -1),
        ("pattern", 1),
        ("$ref", None),
        ("uniqueItems", "yes"),
        ("dependentRequired", {"a": "b"}),
        ("dependencies", {"a": "b"}),
    ],
)
def test_a_keyword_of_the_wrong_shape(keyword: str, value: Any) -> None:
    with pytest.raises(UnsatisfiableError, match=re.escape(f"'{keyword}' cannot be")):
        schemas({keyword: value}).keywords({keyword: value})


@pytest.mark.parametrize("schema", [None, 5, "object", [], ["type"]])
def test_what_is_no_schema(schema: Any) -> None:
    with pytest.raises(UnsatisfiableError, match="must be an object or a boolean"):
        schemas(schema).keywords(schema)


def test_keywords_of_the_right_shape_come_back_as_they_are() -> None:
    schema = {
        "type": ["string", "null"],
        "minLength": 2.0,
        "exclusiveMinimum": False,
        "items": [True, {}],
        "dependencies": {"a": ["b"], "c": False},
        "title": 5,
        "x-own": {"type": 5},
    }

    assert schemas(schema).keywords(schema) is schema


ROOT = {
    "$id": "https://example.com/root.json",
    "$defs": {
        "plain": {"title": "plain"},
        "a/b ~%": {"title": "odd name"},
        "anchored": {"$anchor": "spot", "title": "anchored"},
        "draft7": {"$id": "#old", "title": "old anchor"},
        "inner": {
            "$id": "inner/",
            "title": "inner",
            "$defs": {"deep": {"title": "deep", "$anchor": "spot"}, "leaf": {"$id": "leaf.json", "title": "leaf"}},
        },
    },
    "components": {"schemas": {"X": {"title": "component"}}},
    "allOf": [{"title": "in a list"}],
}


@pytest.mark.parametrize(
    ("reference", "title"),
    [
        ("#/$defs/plain", "plain"),
        ("#/$defs/a~1b%20~0%25", "odd name"),
        ("#/components/schemas/X", "component"),
        ("#/allOf/0", "in a list"),
        ("#spot", "anchored"),
        ("#old", "old anchor"),
        ("root.json#spot", "anchored"),
        ("https://example.com/root.json#/$defs/plain", "plain"),
        ("inner/", "inner"),
        ("inner/#spot", "deep"),
        ("inner/#/$defs/deep", "deep"),
        ("inner/leaf.json", "leaf"),
    ],
)
def test_references_inside_the_document(reference: str, title: str) -> None:
    referring = {"$ref": reference}
    document = {**ROOT, "not": referring}

    assert [schema["title"] for schema in schemas(document).targets(referring)] == [title]


def test_a_reference_is_relative_to_the_schema_that_it_stands_in() -> None:
    referring = {"$ref": "#/$defs/deep"}
    document = {"$defs": {"inner": {"$id": "x:inner", "items": referring, "$defs": {"deep": {"title": "deep"}}}}}

    assert schemas(document).targets(referring) == [{"title": "deep"}]


def test_the_document_itself() -> None:
    document: dict[str, Any] = {"items": {"$ref": "#"}}

    assert schemas(document).targets(document["items"]) == [document]


@pytest.mark.parametrize(
    "reference",
    ["#/$defs/nothing", "#/allOf/1", "#/allOf/x", "#nowhere", "other.json", "http://json-schema.org/schema#"],
)
def test_references_to_nothing(reference: str) -> None:
    with pytest.raises(UnsatisfiableError, match="points to nothing"):
        schemas(ROOT).targets({"$ref": reference})


def test_a_dynamic_reference_with_several_targets() -> None:
    document = {"$dynamicRef": "#it", "$defs": {name: {"$id": name, "$dynamicAnchor": "it"} for name in "ab"}}
    document["$dynamicAnchor"] = "it"

    with pytest.raises(UnsatisfiableError, match="not supported"):
        schemas(document).targets(document)


def test_the_schemas_inside_a_schema() -> None:
    schema = {
        "properties": {"a": 1, "b": 2},
        "items": [3, 4],
        "anyOf": [5],
        "not": 6,
        "enum": [{"not": "a schema"}],
        "$defs": {"c": 7},
        "patternProperties": "of the wrong shape",
    }

    assert sorted(child for child in children(schema) if isinstance(child, int)) == [1, 2, 3, 4, 5, 6, 7]
    assert len(list(children(schema))) == 7


@pytest.mark.parametrize(("name", "found"), [("a", [1]), ("x1", [2]), ("ax", [1, 2]), ("other", [3])])
def test_what_is_said_of_a_member(name: str, found: list[int]) -> None:
    keywords = {"properties": {"a": 1, "ax": 1}, "patternProperties": {"x": 2}, "additionalProperties": 3}

    assert member_schemas(keywords, name, spends_nothing) == found


@pytest.mark.parametrize(
    ("keywords", "found"),
    [
        ({"prefixItems": [1], "items": 2}, [[1], [2]]),
        ({"items": [1], "additionalItems": 2}, [[1], [2]]),
        ({"items": 1, "additionalItems": 2}, [[1], [1]]),
        ({"prefixItems": [1]}, [[1], []]),
        ({}, [[], []]),
    ],
)
def test_what_is_said_of_an_item(keywords: dict[str, Any], found: list[list[int]]) -> None:
    assert [item_schemas(keywords, index) for index in (0, 1)] == found


def test_values_in_messages_are_short() -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]

    assert quoted("a" * 1000) == repr("a" * 1000)[:80]
    assert quoted(deep) == "a list too large to show"
    assert quoted(10**5000) == "a int too large to show"
