"""The opposite of a schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schema_strategies import SCHEMAS, VALUES, is_valid

from stubserver.dummy.schema_negation import opposites


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), st.lists(VALUES, min_size=4, max_size=8))
def test_what_does_not_meet_a_schema_meets_one_of_its_opposites(schema: dict[str, Any], values: list[Any]) -> None:
    found = opposites(schema, [])

    excluded = [value for value in values if not is_valid(schema, value)]

    assert all(any(is_valid(opposite, value) for opposite in found) for value in excluded)


@pytest.mark.parametrize(
    ("schema", "met", "unmet"),
    [
        ({"type": "string"}, [1, None, {}], ["a"]),
        ({"type": ["number", "null"]}, ["a", True], [1, 1.5, None]),
        ({"minimum": 3}, [2, -1.5], [3, "a"]),
        ({"exclusiveMaximum": 3}, [3, 4], [2, None]),
        ({"maximum": 3, "exclusiveMaximum": False}, [4], [3, "a"]),
        ({"minLength": 2}, ["", "a"], ["ab", 1]),
        ({"maxItems": 1}, [[1, 2]], [[1], "ab"]),
        ({"required": ["a", "b"]}, [{}, {"a": 1}], [{"a": 1, "b": 2}, []]),
        ({"properties": {"a": {"type": "string"}}}, [{"a": 1}], [{}, {"a": "b"}, []]),
        ({"items": {"type": "string"}}, [[1], ["a", 1]], [[], ["a"]]),
        ({"prefixItems": [True, {"type": "string"}]}, [[1, 1]], [[1], [1, "a"]]),
        ({"items": [{"type": "string"}]}, [[1]], [["a"], []]),
        ({"contains": {"const": 1}}, [[], [2]], [[1]]),
        ({"contains": {"const": 1}, "maxContains": 1}, [[1, 1], [2]], ["a"]),
        ({"contains": {"const": 1}, "minContains": 2}, [[1], [1, 2], []], [[1, 1], "a"]),
        ({"contains": {"const": 1}, "minContains": 0}, [], [[1], []]),
        ({"minimum": 3, "exclusiveMinimum": True}, [3, 2], ["a"]),
        ({"not": {"type": "string"}}, ["a"], [1]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, [1], ["a", None]),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, [1, ""], ["a"]),
        ({"oneOf": [{"type": "string"}, {"minLength": 1}]}, ["a"], [""]),
        ({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "null"}}, ["", 1], ["a", None]),
        ({"dependentRequired": {"a": ["b"]}}, [{"a": 1}], [{}, {"a": 1, "b": 1}]),
        ({"dependencies": {"a": {"required": ["b"]}}}, [{"a": 1}], [{}, {"a": 1, "b": 1}]),
        ({"propertyNames": {"minLength": 2}}, [{"a": 1}, {"a": 1, "bb": 1}], [{}, []]),
        ({"patternProperties": {"^a": {"type": "string"}}}, [{"a": 1}, {"a": 1, "ab": "c"}], [{}, []]),
        ({"minLength": 0}, [], ["", "a", 1]),
        ({"uniqueItems": False}, [], [[1, 1]]),
    ],
)
def test_opposites(schema: dict[str, Any], met: list[Any], unmet: list[Any]) -> None:
    def meets(value: Any) -> bool:
        return any(is_valid(opposite, value) for opposite in opposites(schema, []))

    assert [meets(value) for value in met + unmet] == [True] * len(met) + [False] * len(unmet)


def test_annotations_are_always_met() -> None:
    assert opposites({"title": "a", "format": "email", "default": 1, "$defs": {}, "x-own": 1}, []) == []


def test_references_are_negated() -> None:
    assert opposites({"$ref": "#/a"}, [{"type": "string"}]) == [{"not": {"type": "string"}}]


def test_long_keywords_give_a_bounded_number_of_opposites() -> None:
    assert len(opposites({"required": [f"a{i}" for i in range(1000)]}, [])) == 20
