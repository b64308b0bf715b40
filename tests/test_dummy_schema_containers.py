"""Objects and arrays, made of values that are found elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pytest

from stubserver.dummy.schema_containers import Place, arrays, objects
from stubserver.dummy.schema_reading import Budget, UnsatisfiableError

Parts = Sequence[dict[str, Any]]


def listed(schemas: Sequence[Any], _place: Place) -> Iterator[Any]:
    """Find the values that a made-up keyword lists; 0, 1, 2 without one."""
    if False not in schemas:
        yield from next((schema["values"] for schema in schemas if "values" in schema), [0, 1, 2])


def spends_nothing(_steps: int) -> None:
    """Let it go on."""


def some_objects(number: int, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    return list(islice(objects(parts, Place(), listed, spends_nothing), number))


def some_arrays(number: int, *parts: dict[str, Any]) -> list[list[Any]]:
    return list(islice(arrays(parts, Place(), listed, spends_nothing), number))


ABC = {"properties": {"a": {"values": ["A", "AA"]}, "b": {"values": ["B"]}, "c": {"values": ["C"]}}}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([{}], {}),
        ([ABC], {}),
        ([ABC, {"required": ["b", "a"]}], {"a": "A", "b": "B"}),
        ([ABC, {"required": ["b", "other"]}], {"b": "B", "other": 0}),
        ([ABC, {"minProperties": 2}], {"a": "A", "b": "B"}),
        ([ABC, {"minProperties": 4}], {"a": "A", "b": "B", "c": "C", "d": 0}),
        ([ABC, {"required": ["a"], "dependentRequired": {"a": ["c"], "c": ["b"]}}], {"a": "A", "c": "C", "b": "B"}),
        ([ABC, {"required": ["a"], "dependencies": {"a": ["c"], "b": {}}}], {"a": "A", "c": "C"}),
        ([{"minProperties": 1, "patternProperties": {"^x": {"values": [7]}}}], {"x": 7}),
        ([{"minProperties": 1, "additionalProperties": {"values": [8]}}], {"a": 8}),
        ([{"minProperties": 2, "propertyNames": {"values": ["n", "m"]}}], {"n": 0, "m": 0}),
        ([{"required": ["a"], "unevaluatedProperties": {"values": [9]}}], {"a": 9}),
        ([{"required": ["a"], "properties": {"a": {}}, "additionalProperties": False}], {"a": 0}),
    ],
)
def test_the_plainest_object(parts: Parts, expected: dict[str, Any]) -> None:
    (found,) = some_objects(1, *parts)

    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize(
    "parts",
    [
        [{"required": ["a"], "properties": {"a": False}}],
        [{"required": ["a"], "additionalProperties": False}],
        [{"minProperties": 2}, {"maxProperties": 1}],
        [{"required": ["a"], "properties": {"a": {"values": []}}}],
        [{"required": ["a"], "dependentRequired": {"a": ["b"]}, "properties": {"b": False}}],
    ],
)
def test_objects_that_cannot_be(parts: Parts) -> None:
    assert some_objects(1, *parts) == []


def test_members_without_values_are_passed_over_where_any_will_do() -> None:
    described = {"a": {"values": []}, "b": {"values": [1]}}

    assert some_objects(1, {"properties": described, "minProperties": 1}) == [{"b": 1}]


def test_other_objects_have_other_values_then_more_members() -> None:
    found = some_objects(20, {**ABC, "required": ["a"]})

    assert found[:3] == [{"a": "A"}, {"a": "AA"}, {"a": "A", "b": "B"}]
    assert {"a": "A", "b": "B", "c": "C"} in found


def test_members_of_which_the_same_is_said_are_looked_for_once() -> None:
    asked: list[Place] = []

    def values(_schemas: Sequence[Any], place: Place) -> Iterator[Any]:
        asked.append(place)
        yield 0

    names = [f"m{i}" for i in range(100)]
    found = next(objects([{"required": names, "additionalProperties": {}}], Place(), values, spends_nothing))

    assert list(found) == names
    assert [place.path for place in asked] == [("m0",)]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([{}], []),
        ([{"minItems": 2}], [0, 0]),
        ([{"minItems": 2.0}, {"minItems": 1, "items": {"values": ["x"]}}], ["x", "x"]),
        ([{"minItems": 3, "uniqueItems": True}], [0, 1, 2]),
        ([{"minItems": 3, "prefixItems": [{"values": ["p"]}], "items": {"values": ["i"]}}], ["p", "i", "i"]),
        ([{"minItems": 2, "items": [{"values": ["p"]}], "additionalItems": {"values": ["i"]}}], ["p", "i"]),
        ([{"contains": {"values": [5]}}], [5]),
        ([{"contains": {"values": [5]}, "minContains": 2, "minItems": 3}], [5, 5, 0]),
        ([{"contains": {"values": [5]}, "minContains": 0}], []),
        ([{"minItems": 1, "unevaluatedItems": {"values": ["u"]}}], ["u"]),
        ([{"minItems": 2, "uniqueItems": True, "prefixItems": [{"values": [1, 2]}, {"values": [1]}]}], [2, 1]),
        ([{"minItems": 3, "uniqueItems": True, "items": {"values": [1, 1.0, True, [1], "1"]}}], [1, True, [1]]),
    ],
)
def test_the_plainest_array(parts: Parts, expected: list[Any]) -> None:
    assert some_arrays(1, *parts) == [expected]


@pytest.mark.parametrize(
    "parts",
    [
        [{"minItems": 2}, {"maxItems": 1}],
        [{"minItems": 1, "items": False}],
        [{"minItems": 10**9}],
        [{"contains": {}, "minContains": 10**9, "items": False}],
        [{"minItems": 4, "uniqueItems": True}],
    ],
)
def test_arrays_that_cannot_be(parts: Parts) -> None:
    assert some_arrays(1, *parts) == []


def test_other_arrays_have_other_items_then_more() -> None:
    found = some_arrays(50, {"minItems": 1, "prefixItems": [{}, {"values": ["p"]}], "items": {"values": ["i"]}})

    assert found[:3] == [[0], [1], [2]]
    assert [0, "p", "i"] in found


def test_contained_items_are_shared_then_apart_then_after_the_prefix() -> None:
    parts = [{"contains": {"name": "x"}}, {"contains": {"name": "y"}}, {"prefixItems": [{"name": "p"}]}]

    def names(schemas: Sequence[Any], _place: Place) -> Iterator[Any]:
        yield "".join(schema["name"] for schema in schemas)

    found = list(islice(arrays(parts, Place(), names, spends_nothing), 4))

    assert found == [["pxy"], ["p", "xy"], ["px", "y"], ["p", "x", "y"]]


def test_every_step_is_counted() -> None:
    with pytest.raises(UnsatisfiableError, match="steps"):
        list(objects([{"required": [f"m{i}" for i in range(100)]}], Place(), listed, Budget(90).spend))
    with pytest.raises(UnsatisfiableError, match="steps"):
        list(arrays([{"minItems": 100}], Place(), listed, Budget(90).spend))


def test_places_know_their_way() -> None:
    assert Place().inside("a").inside(0).path == ("a", 0)
