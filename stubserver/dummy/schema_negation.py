"""The opposite of a schema: schemas of which at least one is met by whatever does not meet it."""

# ruff: noqa: ANN401  # JSON values are Any

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from stubserver.dummy.schema_reading import KINDS, Keywords

__all__ = ["opposites"]

_MOST: Final = 20  # options that one keyword gives: the rest only matters to schemas that nobody writes


def opposites(keywords: Keywords, targets: list[Any]) -> list[Any]:
    """List the ways not to meet *keywords*, which refer to *targets*; annotations give none: they are always met."""
    found: list[Any] = [{"not": target} for target in targets]
    for word, argument in keywords.items():
        if word in _OPPOSITES:
            found.extend(islice(_OPPOSITES[word](argument), _MOST))
    return [*found, *_of_condition(keywords), *_of_contains(keywords)]


def _of_condition(keywords: Keywords) -> Iterator[Any]:
    if "if" in keywords:
        yield {"allOf": [keywords["if"], {"not": keywords.get("then", True)}]}
        yield {"allOf": [{"not": keywords["if"]}, {"not": keywords.get("else", True)}]}


def _of_contains(keywords: Keywords) -> Iterator[Any]:
    if "contains" in keywords:
        schema, least = keywords["contains"], keywords.get("minContains", 1)
        if least > 0:
            yield {"type": "array", "items": {"not": schema}}
        if least > 1:
            yield {"type": "array", "contains": schema, "minContains": 0, "maxContains": least - 1}
        if "maxContains" in keywords:
            yield {"type": "array", "contains": schema, "minContains": keywords["maxContains"] + 1}


def _limit(kind: str, word: str, step: int) -> Callable[[Any], Iterator[Any]]:
    def opposite(limit: Any) -> Iterator[Any]:
        if limit + step >= 0:
            yield {"type": kind, word: limit + step}

    return opposite


def _bound(word: str) -> Callable[[Any], Iterator[Any]]:
    def opposite(limit: Any) -> Iterator[Any]:
        if limit is not False:
            yield {"type": "number"} if limit is True else {"type": "number", word: limit}

    return opposite


def _of_type(types: Any) -> Iterator[Any]:
    named = {types} if isinstance(types, str) else set(types)
    named |= {"integer"} if "number" in named else set()
    yield {"type": [kind for kind in KINDS if kind not in named]}


def _of_properties(properties: Any) -> Iterator[Any]:
    for name, schema in properties.items():
        yield {"type": "object", "required": [name], "properties": {name: {"not": schema}}}


def _of_pattern_properties(patterns: Any) -> Iterator[Any]:
    for pattern, schema in patterns.items():
        yield {"type": "object", "minProperties": 1, "patternProperties": {pattern: {"not": schema}}}
    yield from _some_member(patterns)


def _of_property_names(schema: Any) -> Iterator[Any]:
    yield {"type": "object", "minProperties": 1, "propertyNames": {"not": schema}}
    yield from _some_member(schema)


def _some_member(_argument: Any) -> Iterator[Any]:
    """Say less than there is to say: that one of the members is to be another cannot be said."""
    yield {"type": "object", "minProperties": 1}


def _of_items(items: Any) -> Iterator[Any]:
    if not isinstance(items, list):
        yield {"type": "array", "contains": {"not": items}}
        return
    for index, schema in enumerate(items):
        yield {"type": "array", "minItems": index + 1, "prefixItems": [*([True] * index), {"not": schema}]}


def _of_dependencies(dependencies: Any) -> Iterator[Any]:
    for name, needed in dependencies.items():
        if isinstance(needed, list):
            yield from ({"required": [name], "properties": {missing: False}, "type": "object"} for missing in needed)
        else:
            yield {"type": "object", "required": [name], "not": needed}


def _of_one_of(schemas: Any) -> Iterator[Any]:
    yield from _of_any_of(schemas)
    yield from ({"allOf": [one, other]} for i, one in enumerate(schemas) for other in schemas[:i])


def _of_any_of(schemas: Any) -> Iterator[Any]:
    yield {"allOf": [{"not": schema} for schema in schemas]}


def _anything(_argument: Any) -> Iterator[Any]:
    yield True


_OPPOSITES: Final[dict[str, Callable[[Any], Iterator[Any]]]] = {
    "type": _of_type,
    "const": _anything,
    "enum": _anything,
    "not": lambda schema: iter([schema]),
    "allOf": lambda schemas: ({"not": schema} for schema in schemas),
    "anyOf": _of_any_of,
    "oneOf": _of_one_of,
    "minLength": _limit("string", "maxLength", -1),
    "maxLength": _limit("string", "minLength", 1),
    "pattern": lambda _pattern: iter([{"type": "string"}]),
    "minItems": _limit("array", "maxItems", -1),
    "maxItems": _limit("array", "minItems", 1),
    "uniqueItems": lambda wanted: iter([{"type": "array", "minItems": 2}] if wanted else []),
    "items": _of_items,
    "prefixItems": _of_items,
    "unevaluatedItems": lambda _schema: iter([{"type": "array", "minItems": 1}]),
    "minProperties": _limit("object", "maxProperties", -1),
    "maxProperties": _limit("object", "minProperties", 1),
    "required": lambda names: ({"type": "object", "properties": {name: False}} for name in names),
    "properties": _of_properties,
    "patternProperties": _of_pattern_properties,
    "additionalProperties": _some_member,
    "unevaluatedProperties": _some_member,
    "propertyNames": _of_property_names,
    "dependentRequired": _of_dependencies,
    "dependentSchemas": _of_dependencies,
    "dependencies": _of_dependencies,
    "minimum": _bound("exclusiveMaximum"),
    "maximum": _bound("exclusiveMinimum"),
    "exclusiveMinimum": _bound("maximum"),
    "exclusiveMaximum": _bound("minimum"),
    "multipleOf": lambda _step: iter([{"type": "number"}]),
}
