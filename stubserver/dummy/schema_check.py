"""Tell whether a value is valid for a JSON schema (draft 2020-12, and draft 7's own keywords).

``format`` is an annotation, as the specification has it by default; ``nullable`` is OpenAPI's.
"""

# ruff: noqa: ANN401  # JSON values are Any

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from fractions import Fraction
from typing import Any, Final

from stubserver.dummy import patterns
from stubserver.dummy.schema_reading import (
    REFERENCES,
    Keywords,
    Schemas,
    UnsatisfiableError,
    item_schemas,
)

__all__ = ["Checker", "exact", "identity"]

_DEEPEST: Final = 150


def exact(number: float) -> Fraction:
    """Return the number that was written: 0.1 is a tenth."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def identity(value: Any) -> Hashable:
    """Return what two JSON values have in common exactly when they are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return ("array", *map(identity, value))
    if isinstance(value, dict):
        return ("object", frozenset((name, identity(member)) for name, member in value.items()))
    return value  # type: ignore[no-any-return]  # a string, a number or None


def _is_multiple(value: float, step: float) -> bool:
    """Both ways of telling must agree: some clients divide floats, some compare decimals."""
    try:
        if isinstance(step, float) and (value / step) % 1:
            return False
        return exact(value) % exact(step) == 0
    except (OverflowError, ValueError):
        return False


_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}

# Keyword -> the values it speaks of, and its test.
_LIMITS: Final[dict[str, tuple[str, Callable[[Any, Any], bool]]]] = {
    "minLength": ("string", lambda limit, value: len(value) >= limit),
    "maxLength": ("string", lambda limit, value: len(value) <= limit),
    "minItems": ("array", lambda limit, value: len(value) >= limit),
    "maxItems": ("array", lambda limit, value: len(value) <= limit),
    "minProperties": ("object", lambda limit, value: len(value) >= limit),
    "maxProperties": ("object", lambda limit, value: len(value) <= limit),
    "required": ("object", lambda names, value: all(name in value for name in names)),
    "minimum": ("number", lambda limit, value: value >= limit),
    "maximum": ("number", lambda limit, value: value <= limit),
    "exclusiveMinimum": ("number", lambda limit, value: isinstance(limit, bool) or value > limit),
    "exclusiveMaximum": ("number", lambda limit, value: isinstance(limit, bool) or value < limit),
    "multipleOf": ("number", lambda step, value: _is_multiple(value, step)),
    "uniqueItems": ("array", lambda wanted, value: not wanted or len(set(map(identity, value))) == len(value)),
    "dependentRequired": (
        "object",
        lambda needs, value: all(n in value for k in needs if k in value for n in needs[k]),
    ),
}


class Checker:
    """Checks values against the schemas of one document."""

    def __init__(self, schemas: Schemas, spend: Callable[[int], None]) -> None:
        self._schemas = schemas
        self._spend = spend

    def valid(self, schema: object, value: Any, depth: int = 0) -> bool:
        """Tell whether *value* is valid for *schema*."""
        self._spend(1)
        if isinstance(schema, bool):
            return schema
        if depth > _DEEPEST:
            raise UnsatisfiableError(f"the schema is nested, or refers to itself, more than {_DEEPEST} times")
        keywords = self._schemas.keywords(schema)
        if value is None and keywords.get("nullable") is True:
            return True
        for name, argument in keywords.items():
            kind, test = _LIMITS.get(name, ("", None))
            if test and _TYPES[kind](value) and not test(argument, value):
                return False
        return all(_APPLICATORS[name](self, keywords, value, depth + 1) for name in keywords if name in _APPLICATORS)

    def matches(self, pattern: str, text: str) -> bool:
        """Search *pattern* in *text*."""
        return patterns.read(pattern).matches(text, self._spend)

    def targets(self, keywords: Keywords) -> list[Any]:
        """Return the schemas that *keywords* refers to."""
        return self._schemas.targets(keywords)

    def evaluated(self, keywords: Keywords, value: Any, depth: int) -> Iterator[Any]:
        """List the names or indexes in *value* that *keywords* or a valid schema applied in its place speaks of."""
        if isinstance(value, dict):
            yield from (name for name in value if self._speaks_of(keywords, name))
        else:
            yield from (i for i in range(len(value)) if item_schemas(keywords, i) or "unevaluatedItems" in keywords)
            contained = keywords.get("contains", False)
            yield from (i for i, item in enumerate(value) if self.valid(contained, item, depth + 1))
        for inner in self._in_place(keywords, value, depth + 1):
            if isinstance(inner, dict) and self.valid(inner, value, depth + 1):
                yield from self.evaluated(inner, value, depth + 1)

    def _speaks_of(self, keywords: Keywords, name: str) -> bool:
        return (
            "additionalProperties" in keywords
            or "unevaluatedProperties" in keywords
            or name in keywords.get("properties", ())
            or any(self.matches(pattern, name) for pattern in keywords.get("patternProperties", ()))
        )

    def _in_place(self, keywords: Keywords, value: Any, depth: int) -> Iterator[object]:
        for word in ("allOf", "anyOf", "oneOf"):
            yield from keywords.get(word, ())
        yield from self.targets(keywords)
        if "if" in keywords:
            met = self.valid(keywords["if"], value, depth)
            yield from (keywords[word] for word in (("if", "then") if met else ("else",)) if word in keywords)
        if isinstance(value, dict):
            yield from (schema for name, schema in keywords.get("dependentSchemas", {}).items() if name in value)


Test = Callable[[Checker, Keywords, Any, int], bool]


def _type(_check: Checker, keywords: Keywords, value: Any, _depth: int) -> bool:
    types = keywords["type"]
    return any(_TYPES[name](value) for name in ([types] if isinstance(types, str) else types))


def _enum(_check: Checker, keywords: Keywords, value: Any, _depth: int) -> bool:
    return identity(value) in map(identity, keywords["enum"])


def _const(_check: Checker, keywords: Keywords, value: Any, _depth: int) -> bool:
    return identity(value) == identity(keywords["const"])


def _exclusive(_check: Checker, keywords: Keywords, value: Any, _depth: int) -> bool:
    if not _TYPES["number"](value):
        return True
    lower = keywords.get("exclusiveMinimum") is True and value == keywords.get("minimum")
    return not lower and not (keywords.get("exclusiveMaximum") is True and value == keywords.get("maximum"))


def _pattern(check: Checker, keywords: Keywords, value: Any, _depth: int) -> bool:
    return not isinstance(value, str) or check.matches(keywords["pattern"], value)


def _references(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    return all(check.valid(schema, value, depth) for schema in check.targets(keywords))


def _all_of(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    return all(check.valid(schema, value, depth) for schema in keywords["allOf"])


def _any_of(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    return any(check.valid(schema, value, depth) for schema in keywords["anyOf"])


def _one_of(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    return sum(check.valid(schema, value, depth) for schema in keywords["oneOf"]) == 1


def _not(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    return not check.valid(keywords["not"], value, depth)


def _if(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    branch = "then" if check.valid(keywords["if"], value, depth) else "else"
    return check.valid(keywords.get(branch, True), value, depth)


def _dependent(word: str) -> Test:
    def test(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
        if not isinstance(value, dict):
            return True
        present = [need for name, need in keywords[word].items() if name in value]
        return all(
            all(n in value for n in need) if isinstance(need, list) else check.valid(need, value, depth)
            for need in present
        )

    return test


def _properties(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    if not isinstance(value, dict):
        return True
    known = keywords["properties"]
    return all(check.valid(known[name], member, depth) for name, member in value.items() if name in known)


def _pattern_properties(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    if not isinstance(value, dict):
        return True
    return all(
        check.valid(schema, member, depth)
        for pattern, schema in keywords["patternProperties"].items()
        for name, member in value.items()
        if check.matches(pattern, name)
    )


def _additional_properties(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    if not isinstance(value, dict):
        return True
    known, patterns = keywords.get("properties", ()), keywords.get("patternProperties", ())
    return all(
        check.valid(keywords["additionalProperties"], member, depth)
        for name, member in value.items()
        if name not in known and not any(check.matches(pattern, name) for pattern in patterns)
    )


def _property_names(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    return not isinstance(value, dict) or all(check.valid(keywords["propertyNames"], name, depth) for name in value)


def _items(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    return not isinstance(value, list) or all(
        check.valid(schema, item, depth) for i, item in enumerate(value) for schema in item_schemas(keywords, i)
    )


def _contains(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
    if not isinstance(value, list):
        return True
    found = sum(check.valid(keywords["contains"], item, depth) for item in value)
    return bool(keywords.get("minContains", 1) <= found <= keywords.get("maxContains", len(value)))


def _unevaluated(word: str, kind: str) -> Test:
    def test(check: Checker, keywords: Keywords, value: Any, depth: int) -> bool:
        if not _TYPES[kind](value):
            return True
        own = {name: argument for name, argument in keywords.items() if name != word}
        rest = set(value if kind == "object" else range(len(value))) - set(check.evaluated(own, value, depth))
        return all(check.valid(keywords[word], value[name], depth) for name in rest)

    return test


_APPLICATORS: Final[dict[str, Test]] = {
    **dict.fromkeys(REFERENCES, _references),
    "type": _type,
    "const": _const,
    "enum": _enum,
    "exclusiveMinimum": _exclusive,
    "exclusiveMaximum": _exclusive,
    "pattern": _pattern,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "dependentSchemas": _dependent("dependentSchemas"),
    "dependencies": _dependent("dependencies"),
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "items": _items,
    "prefixItems": _items,
    "contains": _contains,
    "unevaluatedProperties": _unevaluated("unevaluatedProperties", "object"),
    "unevaluatedItems": _unevaluated("unevaluatedItems", "array"),
}
