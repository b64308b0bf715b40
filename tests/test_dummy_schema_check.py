"""The validator: what the jsonschema library says, for any schema and any value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schema_strategies import SCHEMAS, VALUES, about, is_valid

from stubserver.dummy.schema_check import Checker, exact, identity
from stubserver.dummy.schema_reading import Budget, Schemas, UnsatisfiableError

SLOW_TO_MAKE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def checks(schema: Any, value: Any) -> bool:
    spend = Budget(1_000_000).spend
    return Checker(Schemas(schema, spend), spend).valid(schema, value)


@settings(max_examples=80, suppress_health_check=SLOW_TO_MAKE)
@given(SCHEMAS, st.lists(VALUES, min_size=5, max_size=10))
def test_it_agrees_with_jsonschema(schema: Any, values: list[Any]) -> None:
    assert [checks(schema, value) for value in values] == [is_valid(schema, value) for value in values]


@settings(max_examples=40, suppress_health_check=SLOW_TO_MAKE)
@given(VALUES.flatmap(lambda value: st.tuples(st.just(value), about(value))), VALUES)
def test_it_agrees_about_schemas_that_are_met(pair: tuple[Any, Any], other: Any) -> None:
    value, schema = pair

    assert checks(schema, value)
    assert checks(schema, other) == is_valid(schema, other)


NESTED = {"$id": "https://example.com/a/", "$ref": "b", "$defs": {"x": {"$id": "b", "$ref": "#/$defs/y", "$defs": {}}}}
NESTED["$defs"]["x"]["$defs"]["y"] = {"type": "integer"}  # type: ignore[index]

TREE = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}, "required": ["kids"]}

TABLE: list[tuple[Any, Any, bool]] = [
    (True, 1, True),
    (False, 1, False),
    ({"type": "integer"}, 1.0, True),
    ({"type": "integer"}, True, False),
    ({"type": "number"}, True, False),
    ({"const": 1}, 1.0, True),
    ({"const": 1}, True, False),
    ({"const": {"a": [0]}}, {"a": [False]}, False),
    ({"enum": [[1], {"a": 1}]}, {"a": 1.0}, True),
    ({"multipleOf": 0.01}, 19.99, False),
    ({"multipleOf": 0.1}, 0.5, True),
    ({"multipleOf": 3}, 7.5, False),
    ({"multipleOf": 1e-300}, 1e300, False),
    ({"multipleOf": 0.5}, 10**400, False),
    ({"multipleOf": 2}, float("inf"), False),
    ({"allOf": [{"items": False}], "unevaluatedItems": False}, [], True),
    (
        {"anyOf": [{"properties": {"b": True}}, {"properties": {"a": False}}], "unevaluatedProperties": False},
        {"a": 1},
        False,
    ),
    ({"uniqueItems": True}, [1, True, "1"], True),
    ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], False),
    ({"minLength": 2}, "😀", False),
    ({"items": [{"type": "integer"}], "additionalItems": False}, [1, 2], False),
    ({"items": [{"type": "integer"}], "additionalItems": False}, [1], True),
    ({"prefixItems": [True], "items": False}, [1, 2], False),
    ({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, {"a": 1}, False),
    ({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, {"c": 1, "d": 1}, True),
    ({"minimum": 5, "exclusiveMinimum": True}, 5, False),
    ({"minimum": 5, "exclusiveMinimum": True}, 6, True),
    ({"maximum": 5, "exclusiveMaximum": True}, 5, False),
    ({"maximum": 5, "exclusiveMaximum": False}, 5, True),
    ({"maximum": 5, "exclusiveMaximum": True}, "5", True),
    ({"type": "string", "nullable": True}, None, True),
    ({"type": "string", "nullable": False}, None, False),
    ({"format": "email"}, "no address", True),
    ({"properties": {"a": True}, "unevaluatedProperties": False}, {"a": 1, "b": 2}, False),
    ({"allOf": [{"properties": {"a": True}}], "unevaluatedProperties": False}, {"a": 1}, True),
    ({"anyOf": [{"properties": {"a": {"type": "integer"}}}], "unevaluatedProperties": False}, {"a": 1}, True),
    (
        {"if": {"required": ["a"]}, "then": {"patternProperties": {"^a": True}}, "unevaluatedProperties": False},
        {},
        True,
    ),
    ({"prefixItems": [True], "contains": {"const": 7}, "unevaluatedItems": False}, [1, 7], True),
    ({"prefixItems": [True], "contains": {"const": 7}, "unevaluatedItems": False}, [1, 2, 7], False),
    ({"dependentSchemas": {"a": {"properties": {"b": True}}}, "unevaluatedProperties": False}, {"b": 1}, False),
    (TREE, {"kids": [{"kids": []}, {"kids": [{"kids": []}]}]}, True),
    (TREE, {"kids": [{"kids": [{}]}]}, False),
    (NESTED, 1, True),
    (NESTED, "x", False),
    ({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}}, None, True),
    ({"$dynamicRef": "#here", "$defs": {"a": {"$dynamicAnchor": "here", "type": "null"}}}, 1, False),
    ({"type": "array", "items": {"$recursiveRef": "#"}}, [[1]], False),
    ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "null"}}}, 1, False),
    ({"$ref": "#/allOf/0/items", "allOf": [{"items": {"type": "integer"}}]}, 1, True),
]


@pytest.mark.parametrize(("schema", "value", "expected"), TABLE)
def test_what_is_valid(schema: Any, value: Any, *, expected: bool) -> None:
    assert checks(schema, value) is expected


def test_a_schema_applied_to_the_same_value_without_end() -> None:
    with pytest.raises(UnsatisfiableError, match="refers to itself"):
        checks({"allOf": [{"$ref": "#"}]}, 1)


def test_every_step_is_counted() -> None:
    spend = Budget(10).spend
    schema = {"items": {"type": "integer"}}

    with pytest.raises(UnsatisfiableError, match="10 steps"):
        Checker(Schemas(schema, spend), spend).valid(schema, list(range(20)))


def test_two_values_have_one_identity_when_json_takes_them_for_equal() -> None:
    assert identity([1, {"a": None, "b": 2.0}]) == identity([1.0, {"b": 2, "a": None}])
    assert len({identity(value) for value in (0, False, "0", None, "", [], {}, [0], [False], {"a": 0})}) == 10


def test_numbers_are_what_was_written() -> None:
    assert exact(0.1) * 3 == exact(0.3)
    assert exact(10**30) == 10**30
