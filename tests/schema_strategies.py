"""JSON schemas for tests, made by hypothesis: any schema, and schemas that a given value meets."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

KINDS = ("string", "number", "integer", "boolean", "null", "array", "object")
NAMES = st.sampled_from(["a", "b", "c", "id", "name"])
PATTERNS = ("^a", "b$", "^[a-z]+$", r"^[a-z]{2,4}-\d+$", "x", "^(foo|bar)?$", r"\d{3}", "^[^x]*$", "^.{2,}$", "1$|^x")
FEW = st.integers(0, 4)
BOUNDS = st.integers(-10, 10) | st.sampled_from([0.5, -2.5, 3.75])

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-20, 20)
    | st.sampled_from([0.5, -1.5, 2.25, 0.1, 1e3])
    | st.text("abx1-", max_size=5)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)


def is_valid(schema: Any, value: Any) -> bool:
    """Ask the judge: the jsonschema library, for the draft in whose words the schema is written."""
    is_old = isinstance(schema, dict) and isinstance(schema.get("items"), list)
    judge = jsonschema.Draft7Validator if is_old else jsonschema.Draft202012Validator
    return bool(judge(schema).is_valid(value))


def some(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Take any of these keywords."""
    return st.fixed_dictionaries({}, optional=keywords)


def leaves() -> st.SearchStrategy[Any]:
    """Make schemas without schemas in them."""
    numbers = some(
        type=st.sampled_from(["integer", "number"]),
        minimum=BOUNDS,
        maximum=BOUNDS,
        exclusiveMinimum=BOUNDS,
        exclusiveMaximum=BOUNDS,
        multipleOf=st.sampled_from([1, 2, 3, 0.5, 0.1, 0.3, 7]),
    )
    strings = some(
        type=st.just("string"),
        minLength=FEW,
        maxLength=st.integers(0, 10),
        pattern=st.sampled_from(PATTERNS),
        format=st.sampled_from(["date", "email", "uuid", "odd"]),
    )
    types = st.sampled_from(KINDS) | st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)
    enums = st.lists(VALUES, min_size=1, max_size=5)
    return st.booleans() | some(type=types) | some(const=VALUES) | some(enum=enums) | numbers | strings


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make schemas of schemas."""
    arrays = some(
        type=st.just("array"),
        items=inner,
        prefixItems=st.lists(inner, max_size=3),
        contains=inner,
        minContains=FEW,
        maxContains=FEW,
        minItems=FEW,
        maxItems=st.integers(0, 6),
        uniqueItems=st.booleans(),
    )
    names = st.lists(NAMES, max_size=3, unique=True)
    objects = some(
        type=st.just("object"),
        properties=st.dictionaries(NAMES, inner, max_size=4),
        required=names,
        additionalProperties=inner,
        patternProperties=st.dictionaries(st.sampled_from(PATTERNS), inner, max_size=2),
        propertyNames=inner,
        minProperties=FEW,
        maxProperties=FEW,
        dependentRequired=st.dictionaries(NAMES, names, max_size=2),
        dependentSchemas=st.dictionaries(NAMES, inner, max_size=2),
    )
    several = st.lists(inner, min_size=1, max_size=3)
    in_place = [st.fixed_dictionaries({word: several}) for word in ("anyOf", "oneOf", "allOf")]
    conditions = st.fixed_dictionaries({"if": inner, "then": inner, "else": inner})
    both = st.tuples(inner, inner).map(lambda two: {k: v for s in two if isinstance(s, dict) for k, v in s.items()})
    return st.one_of(arrays, objects, *in_place, st.fixed_dictionaries({"not": inner}), conditions, both)


SCHEMAS = st.recursive(leaves(), around, max_leaves=8)


@st.composite
def about(draw: Draw, value: Any, depth: int = 3) -> Any:
    """Make a schema that *value* meets."""
    ways: list[Callable[[Draw, Any, int], Any]] = [lambda _draw, _value, _depth: {}, literal, plain, plain, plain]
    if depth:
        ways += [plain, plain, any_of, one_of, all_of, excluded, conditional, referred]
    return draw(st.sampled_from(ways))(draw, value, depth)


def literal(draw: Draw, value: Any, _depth: int) -> Any:
    others = draw(st.lists(VALUES, max_size=2))
    return {"enum": draw(st.permutations([*others, value]))} if others else {"const": value}


def any_of(draw: Draw, value: Any, depth: int) -> Any:
    return {"anyOf": draw(st.permutations([*draw(st.lists(SCHEMAS, max_size=2)), draw(about(value, depth - 1))]))}


def one_of(draw: Draw, value: Any, depth: int) -> Any:
    others = [schema for schema in draw(st.lists(SCHEMAS, max_size=2)) if not is_valid(schema, value)]
    return {"oneOf": draw(st.permutations([*others, draw(about(value, depth - 1))]))}


def all_of(draw: Draw, value: Any, depth: int) -> Any:
    return {"allOf": [draw(about(value, depth - 1)), draw(about(value, depth - 1))]}


def excluded(draw: Draw, value: Any, _depth: int) -> Any:
    schema = draw(SCHEMAS)
    return schema if is_valid(schema, value) else {"not": schema}


def conditional(draw: Draw, value: Any, depth: int) -> Any:
    condition, taken, other = draw(SCHEMAS), draw(about(value, depth - 1)), draw(SCHEMAS)
    branches = (taken, other) if is_valid(condition, value) else (other, taken)
    return {"if": condition, "then": branches[0], "else": branches[1]}


def referred(draw: Draw, value: Any, depth: int) -> Any:
    """An anchor is found from wherever the schema comes to stand."""
    name = draw(st.uuids()).hex
    return {"$defs": {"it": {"$anchor": f"a{name}", "allOf": [draw(about(value, depth - 1))]}}, "$ref": f"#a{name}"}


def plain(draw: Draw, value: Any, depth: int) -> Any:
    """Say some of what is true of the value itself."""
    kind, describe = described()[type(value)]
    types = [kind, [kind, "null"] if kind != "null" else kind, ["boolean", kind] if kind != "boolean" else kind]
    typed = draw(some(type=st.sampled_from(types)))
    return {**typed, **draw(some(**describe(value, max(0, depth - 1))))}


@cache
def described() -> dict[type, tuple[str, Callable[[Any, int], dict[str, st.SearchStrategy[Any]]]]]:
    return {
        type(None): ("null", lambda _value, _depth: {}),
        bool: ("boolean", lambda _value, _depth: {}),
        int: ("integer", of_number),
        float: ("number", of_number),
        str: ("string", of_string),
        list: ("array", of_array),
        dict: ("object", of_object),
    }


def of_number(value: float, _depth: int) -> dict[str, st.SearchStrategy[Any]]:
    steps = [step for step in (1, 2, 3, 0.5, 5, 7) if value % step == 0]
    return {
        "minimum": FEW.map(lambda n: value - n),
        "maximum": FEW.map(lambda n: value + n),
        "exclusiveMinimum": FEW.map(lambda n: value - n - 1),
        "exclusiveMaximum": FEW.map(lambda n: value + n + 1),
        **({"multipleOf": st.sampled_from(steps)} if steps else {}),
    }


def sized(value: Any, word: str) -> dict[str, st.SearchStrategy[Any]]:
    return {
        f"min{word}": FEW.map(lambda n: max(0, len(value) - n)),
        f"max{word}": FEW.map(lambda n: len(value) + n),
    }


def of_string(value: str, _depth: int) -> dict[str, st.SearchStrategy[Any]]:
    met = [pattern for pattern in PATTERNS if re.search(pattern, value)]
    return {**sized(value, "Length"), **({"pattern": st.sampled_from(met)} if met else {})}


def each(values: list[Any], depth: int) -> st.SearchStrategy[Any]:
    """Make one schema that all of *values* meet."""
    if not values:
        return st.sampled_from([False]) | SCHEMAS
    return st.tuples(*(about(value, depth) for value in values)).map(lambda schemas: {"anyOf": list(schemas)})


def of_array(value: list[Any], depth: int) -> dict[str, st.SearchStrategy[Any]]:
    found = {**sized(value, "Items"), "items": each(value, depth)}
    found["prefixItems"] = st.tuples(*(about(item, depth) for item in value)).map(list)
    if is_valid({"uniqueItems": True}, value):
        found["uniqueItems"] = st.booleans()
    if value:
        found["contains"] = st.sampled_from(value).flatmap(lambda item: about(item, depth))
    return found


def of_object(value: dict[str, Any], depth: int) -> dict[str, st.SearchStrategy[Any]]:
    names = list(value)
    return {
        **sized(value, "Properties"),
        "properties": st.fixed_dictionaries({name: about(value[name], depth) for name in names[: len(names) // 2]}),
        "required": st.permutations(names),
        "patternProperties": st.just({"^zz": False}),
        "propertyNames": st.sampled_from([{"pattern": "^[a-z]+$"}, {"maxLength": 4}, {"type": "string"}]),
        "dependentRequired": st.dictionaries(NAMES, st.just(names), max_size=2),
        "additionalProperties": each(list(value.values()), depth),
        "unevaluatedProperties": each(list(value.values()), depth),
    }
