"""What a JSON schema says, read safely: keywords of the right shape, references inside the document, counted steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin

from stubserver.dummy import patterns

__all__ = [
    "KINDS",
    "REFERENCES",
    "Budget",
    "Keywords",
    "Schemas",
    "UnsatisfiableError",
    "children",
    "item_schemas",
    "member_schemas",
    "quoted",
]

Keywords = dict[str, Any]

# What a value can be. A type "number" allows both "number" and "integer".
KINDS: Final = ("string", "number", "integer", "boolean", "null", "array", "object")

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_IN_PLACE_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS: Final = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_SINGLE: Final = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)


_QUOTED: Final = 80
# A float's largest value; whole numbers may be as large.
_LARGEST: Final = sys.float_info.max


class UnsatisfiableError(ValueError):
    """No instance of the schema was found; the message begins with the JSON path and says why."""


class Budget:
    """The steps that one search may take in all, so that no schema can take for ever."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """Count *steps*."""
        self._left -= steps
        if self._left < 0:
            raise UnsatisfiableError(
                f"nothing found in {self._steps} steps: the schema is too large, or its branches exclude each other"
            )


def quoted(value: object) -> str:
    """Write *value* into a message, shortened; what cannot be written has its type named."""
    try:
        return repr(value)[:_QUOTED]
    except (ValueError, RecursionError):  # more digits than Python writes, or nested too deeply
        return f"a {type(value).__name__} too large to show"


def _is_number(value: object) -> bool:
    """Tell whether *value* is a number that JSON can hold, and that has no more digits than Python writes."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_count(value: object) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)  # type: ignore[operator,call-overload]


def _is_schema(value: object) -> bool:
    return isinstance(value, (bool, dict))


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_types(value: object) -> bool:
    return value in KINDS if isinstance(value, str) else _is_names(value) and set(value) <= set(KINDS)  # type: ignore[call-overload]


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_schema, value))


_SHAPES: Final[dict[str, Callable[[object], bool]]] = {
    **dict.fromkeys(_IN_PLACE_LISTS, _is_list),
    **dict.fromkeys(_MAPS, _is_map),
    **dict.fromkeys(_SINGLE, _is_schema),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), _is_count),
    **dict.fromkeys(("minProperties", "maxProperties"), _is_count),
    **dict.fromkeys(("minimum", "maximum"), _is_number),
    # Draft 4 and OpenAPI 3.0 say with a boolean that the other bound is exclusive.
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), lambda v: isinstance(v, bool) or _is_number(v)),
    **dict.fromkeys((*REFERENCES, "pattern", "format"), lambda v: isinstance(v, str)),
    "items": lambda v: _is_schema(v) or _is_list(v),
    "multipleOf": lambda v: _is_number(v) and v > 0,  # type: ignore[operator]
    "type": _is_types,
    "enum": lambda v: isinstance(v, list),
    "required": _is_names,
    "uniqueItems": lambda v: isinstance(v, bool),
    "dependentRequired": lambda v: isinstance(v, dict) and all(map(_is_names, v.values())),
    "dependencies": lambda v: isinstance(v, dict) and all(_is_schema(d) or _is_names(d) for d in v.values()),
}


class Schemas:
    """One schema document: its keywords when they have the shape they must have, and what its references point to."""

    def __init__(self, root: object, spend: Callable[[int], None]) -> None:
        self._root = root
        self._spend = spend
        self._sound: set[int] = set()
        self._names: _Names | None = None

    def keywords(self, schema: object) -> Keywords:
        """Return an object schema's keywords; the caller keeps *schema* alive."""
        if not isinstance(schema, dict):
            raise UnsatisfiableError(f"a schema must be an object or a boolean, not {quoted(schema)}")
        if id(schema) not in self._sound:
            self._check(schema)
            self._sound.add(id(schema))
        return schema

    def _check(self, schema: Keywords) -> None:
        self._spend(1 + len(schema))
        for name, value in schema.items():
            shape = _SHAPES.get(name)
            if shape and not shape(value):
                raise UnsatisfiableError(f"the schema's {name!r} cannot be {quoted(value)}")

    def targets(self, keywords: Keywords) -> list[Any]:
        """Return the schemas that *keywords* refers to: JSON pointers, anchors and ``$id`` of the same document."""
        return [self._target(keywords, word) for word in REFERENCES if word in keywords]

    def _target(self, keywords: Keywords, word: str) -> object:
        reference = keywords[word]
        if self._names is None:
            self._names = _Names(self._root, self._spend)
        found = self._names.find(self._names.bases.get(id(keywords), ""), reference)
        if found is None:
            raise UnsatisfiableError(f"the reference {reference[:80]!r} points to nothing in this schema")
        if word == "$dynamicRef" and not self._names.is_only(found):
            raise UnsatisfiableError(f"the dynamic reference {reference[:80]!r} has several targets: not supported")
        return found


class _Names:
    """The names that a document gives to its schemas, and the base URI of each schema."""

    def __init__(self, root: object, spend: Callable[[int], None]) -> None:
        self.bases: dict[int, str] = {}
        self._named: dict[str, object] = {"": root}
        self._dynamic: list[str] = []
        pending = [(root, "")]
        while pending:
            schema, base = pending.pop()
            spend(1)
            if isinstance(schema, dict):
                base = self._add(schema, base)
                pending.extend((child, base) for child in children(schema))

    def _add(self, schema: Keywords, base: str) -> str:
        name = schema.get("$id")
        if isinstance(name, str):
            base = urljoin(base, name).removesuffix("#")
            self._named.setdefault(base, schema)
        self.bases[id(schema)] = urldefrag(base).url
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(schema.get(keyword), str):
                self._named.setdefault(f"{base}#{schema[keyword]}", schema)
        if isinstance(schema.get("$dynamicAnchor"), str):
            self._dynamic.append(schema["$dynamicAnchor"])
        return self.bases[id(schema)]

    def find(self, base: str, reference: str) -> object | None:
        """Follow *reference*, written in a schema whose base URI is *base*; None when it leads nowhere."""
        url, fragment = urldefrag(urljoin(base, reference) if not reference.startswith("#") else base + reference)
        if fragment and not fragment.startswith("/"):
            return self._named.get(f"{url}#{fragment}")
        resource = self._named.get(url)
        return None if resource is None else _pointed(resource, fragment)

    def is_only(self, schema: object) -> bool:
        """Tell whether no other schema could be meant when *schema* is referred to dynamically."""
        name = schema.get("$dynamicAnchor") if isinstance(schema, dict) else None
        return name is None or self._dynamic.count(name) == 1


def children(schema: Keywords) -> Iterator[object]:
    """List the schemas directly inside *schema*, whatever their shape."""
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            yield from value.values()
        elif name in _IN_PLACE_LISTS and isinstance(value, list):
            yield from value
        elif name in _SINGLE:
            yield from value if isinstance(value, list) else [value]


def _pointed(document: object, fragment: str) -> object | None:
    """Follow a JSON pointer; None when it leads nowhere."""
    for step in fragment.split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(key)
        elif isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        else:
            return None
    return document


def member_schemas(keywords: Keywords, name: str, spend: Callable[[int], None]) -> list[Any]:
    """List what *keywords* says of an object's member *name*, their own applicators only."""
    properties = keywords.get("properties", {})
    found = [properties[name]] if name in properties else []
    for pattern, schema in keywords.get("patternProperties", {}).items():
        if patterns.read(pattern).matches(name, spend):
            found.append(schema)
    return found or [keywords[key] for key in ("additionalProperties",) if key in keywords]


def item_schemas(keywords: Keywords, index: int) -> list[Any]:
    """List what *keywords* says of an array's item *index*: in today's words, or in draft 7's."""
    items = keywords.get("items")
    first, rest = (items, "additionalItems") if isinstance(items, list) else (keywords.get("prefixItems", []), "items")
    if index < len(first):
        return [first[index]]
    return [keywords[rest]] if rest in keywords else []
