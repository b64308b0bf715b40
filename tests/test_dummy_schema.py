"""The smallest instance of a schema, judged by the jsonschema library and by pydantic."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import json
import pathlib
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import Field
from schema_strategies import SCHEMAS, VALUES, about, is_valid

from stubserver.dummy.schema import UnsatisfiableError, smallest

SLOW_TO_MAKE = [HealthCheck.too_slow, HealthCheck.data_too_large]


# Any schema, and schemas that are known to be met by something.


@settings(max_examples=100, suppress_health_check=SLOW_TO_MAKE)
@given(SCHEMAS)
def test_an_instance_is_valid_or_there_is_none(schema: Any) -> None:
    try:
        found = smallest(schema)
    except UnsatisfiableError:
        return
    assert is_valid(schema, found)
    assert json.loads(json.dumps(found)) == found
    assert json.dumps(smallest(schema)) == json.dumps(found)


@settings(max_examples=100, suppress_health_check=SLOW_TO_MAKE)
@given(VALUES.flatmap(lambda value: st.tuples(st.just(value), about(value))))
def test_a_schema_that_something_meets_is_met(pair: tuple[Any, Any]) -> None:
    value, schema = pair
    assert is_valid(schema, value)

    assert is_valid(schema, smallest(schema))


# Which of the instances.

RECURSIVE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/Node",
}

TAGGED = {
    "type": "object",
    "properties": {"kind": {"enum": ["a", "b", "c"]}},
    "required": ["kind"],
    "allOf": [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": {"required": [f"of_{kind}"]}} for kind in ("a", "b")
    ],
}

SMALLEST: list[tuple[Any, Any]] = [
    # no type, booleans, null
    ({}, ""),
    (True, ""),
    ({"title": "anything"}, ""),
    ({"type": "null"}, None),
    ({"type": "boolean"}, False),
    ({"type": "boolean", "not": {"const": False}}, True),
    # numbers
    ({"type": "integer"}, 0),
    ({"type": "integer", "minimum": 18, "maximum": 120}, 18),
    ({"type": "integer", "exclusiveMinimum": 0}, 1),
    ({"type": "integer", "maximum": -5}, -5),
    ({"type": "integer", "multipleOf": 7, "minimum": 1}, 7),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "number", "minimum": 0.25, "multipleOf": 0.1}, 0.4),
    ({"type": "number", "minimum": 19.981, "multipleOf": 0.01}, 20),
    ({"minimum": 3, "exclusiveMinimum": True, "type": "integer"}, 4),
    # strings
    ({"type": "string"}, ""),
    ({"type": "string", "minLength": 2}, "aa"),
    ({"type": "string", "pattern": r"^\d{3}-[A-Z]{2}$"}, "000-AA"),
    ({"type": "string", "pattern": "^a", "allOf": [{"pattern": "z$"}, {"minLength": 4}]}, "aaaz"),
    ({"type": "string", "format": "date-time"}, "1970-01-01T00:00:00Z"),
    ({"type": "string", "format": "uuid"}, "00000000-0000-4000-8000-000000000000"),
    ({"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "array"}}, "[]"),
    ({"type": "string", "not": {"enum": ["", "a"]}}, "b"),
    # listed values
    ({"enum": ["b", "a"]}, "b"),
    ({"enum": [[1], "b", "a"]}, "b"),
    ({"const": {"a": [1]}}, {"a": [1]}),
    ({"type": "string", "enum": [1, "x"]}, "x"),
    ({"enum": [1, 2], "allOf": [{"enum": [2, 3]}]}, 2),
    # objects
    ({"type": "object"}, {}),
    ({"type": "object", "properties": {"a": {"type": "string"}}}, {}),
    ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["b", "a"]}, {"a": 0, "b": ""}),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}, {"a": 0, "b": 0}),
    ({"type": "object", "propertyNames": {"pattern": "^x_"}, "minProperties": 1}, {"x_": ""}),
    ({"type": "object", "patternProperties": {r"^\d+$": {"type": "null"}}, "minProperties": 1}, {"0": None}),
    (
        {
            "type": "object",
            "properties": {"a": {"minimum": 2}},
            "required": ["a"],
            "allOf": [{"properties": {"a": {"multipleOf": 5}}}],
        },
        {"a": 5},
    ),
    ({"type": "object", "required": ["a"], "dependentSchemas": {"a": {"required": ["b"]}}}, {"a": "", "b": ""}),
    # arrays
    ({"type": "array"}, []),
    ({"type": "array", "minItems": 2, "items": {"type": "boolean"}}, [False, False]),
    ({"type": "array", "minItems": 2, "items": {"type": "boolean"}, "uniqueItems": True}, [False, True]),
    (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "items": False},
        [0, ""],
    ),
    ({"type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "null"}, "minItems": 2}, [0, None]),
    ({"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 5}, "minItems": 2}, [5, 0]),
    ({"type": "array", "contains": {"type": "integer"}, "minContains": 2, "maxContains": 2, "minItems": 3}, [0, 0, ""]),
    # several schemas
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ""),
    ({"anyOf": [{"type": "object", "required": ["a"]}, {"type": "null"}]}, None),
    ({"anyOf": [{"type": "object"}, {"type": "null"}]}, {}),
    ({"type": ["null", "string"]}, None),
    ({"type": "object", "nullable": True, "properties": {"a": False}, "required": ["a"]}, None),
    ({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 0}]}, -1),
    ({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}, "aaaa"),
    ({"anyOf": [False, {"type": "integer"}]}, 0),
    ({"type": "integer", "anyOf": [{"minimum": 9}, {"maximum": -9}], "multipleOf": 4}, 12),
    ({"not": {"type": ["string", "number", "boolean", "null"]}}, []),
    ({"type": "object", "not": {"properties": {"a": {"type": "string"}}}, "required": ["a"]}, {"a": 0}),
    ({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 3}}, 3),
    (TAGGED, {"kind": "c"}),
    ({**TAGGED, "properties": {"kind": {"const": "b"}}}, {"kind": "b", "of_b": ""}),
    # references
    (RECURSIVE, {"value": 0, "next": None}),
    ({"type": "array", "items": {"$ref": "#"}, "minItems": 0}, []),
    ({"$ref": "#/definitions/a", "definitions": {"a": {"type": "integer", "minimum": 2}}, "multipleOf": 3}, 3),
    ({"$defs": {"even": {"$anchor": "even", "multipleOf": 2}}, "type": "integer", "$ref": "#even", "minimum": 1}, 2),
    ({"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "integer"}}}, 0),
]


@pytest.mark.parametrize(("schema", "expected"), SMALLEST)
def test_which_instance_is_the_smallest(schema: Any, expected: Any) -> None:
    found = smallest(schema)

    assert (found, type(found)) == (expected, type(expected))
    assert is_valid(schema, found) or schema.get("nullable")


def test_members_have_the_order_of_the_properties() -> None:
    schema = {"properties": {"b": {}, "a": {}, "c": {}}, "required": ["c", "other", "a", "b"]}

    assert list(smallest(schema)) == ["b", "a", "c", "other"]


# Schemas as real clients send them.


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(pydantic.BaseModel):
    street: str
    code: Annotated[str, Field(pattern=r"^\d{5}(-\d{4})?$")]


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = Field(min_length=1)


class Node(pydantic.BaseModel):
    value: int
    children: list[Node]
    next: Node | None


class Expression(pydantic.BaseModel):
    operator: Literal["+", "-"]
    left: Expression | float
    right: Expression | float


class Nested(pydantic.RootModel[int | list["Nested"]]):
    pass


class Scalars(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=20)
    age: int = Field(gt=17, lt=120)
    score: float = Field(ge=0.5, multiple_of=0.25)
    below: pydantic.NegativeFloat
    color: Color
    when: dt.datetime
    day: dt.date
    at: dt.time
    span: dt.timedelta
    key: uuid.UUID
    key4: pydantic.UUID4
    money: decimal.Decimal
    url: pydantic.HttpUrl
    v4: ipaddress.IPv4Address
    v6: ipaddress.IPv6Address
    network: ipaddress.IPv4Network
    packed: pydantic.Json[list[int]]
    path: pathlib.Path
    anything: Any
    nothing: None
    one_of: Literal["x", 1] | None


class Containers(pydantic.BaseModel):
    address: Address
    addresses: list[Address] = Field(min_length=2, max_length=3)
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    pets: list[Cat | Dog]
    optional: str | None
    optional_address: Address | None
    pair: tuple[int, str, bool]
    numbers: set[int] = Field(min_length=3)
    colors: frozenset[Color] = Field(min_length=2)
    counts: dict[str, int]
    by_color: dict[Color, int] = Field(min_length=1)
    either: int | str
    node: Node


MODELS = [Address, Cat, Dog, Node, Expression, Nested, Scalars, Containers]


@pytest.mark.parametrize("written", [pydantic.BaseModel.model_json_schema.__func__, to_strict_json_schema])
@pytest.mark.parametrize("model", MODELS)
def test_pydantic_takes_it(model: type[pydantic.BaseModel], written: Callable[[Any], dict[str, Any]]) -> None:
    schema = written(model)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER

    found = smallest(schema)

    assert jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(found)
    assert model.model_validate_json(json.dumps(found))


def test_a_pydantic_model_in_full() -> None:
    assert smallest(to_strict_json_schema(Containers)) == {
        "address": {"street": "", "code": "00000"},
        "addresses": [{"street": "", "code": "00000"}, {"street": "", "code": "00000"}],
        "pet": {"kind": "cat", "lives": 1},
        "pets": [],
        "optional": "",
        "optional_address": None,
        "pair": [0, "", False],
        "numbers": [0, 1, -1],
        "colors": ["red", "blue"],
        "counts": {},
        "by_color": {"red": 0},
        "either": 0,
        "node": {"value": 0, "children": [], "next": None},
    }


# As zod 4 writes them.
ZOD_PATTERNS = {
    "email": (
        "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$"
    ),
    "uuid": (
        "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
        "|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$"
    ),
    "time": "^(?:[01]\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d(?:\\.\\d+)?)?$",
    "duration": (
        "^P(?:(\\d+W)|(?!.*W)(?=\\d|T\\d)(\\d+Y)?(\\d+M)?(\\d+D)?(T(?=\\d)(\\d+H)?(\\d+M)?(\\d+([.,]\\d+)?S)?)?)$"
    ),
    "ipv6": (
        "^(([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:"
        "|::([0-9a-fA-F]{1,4}:){0,6}[0-9a-fA-F]{1,4})$"
    ),
    "base64": "^$|^(?:[0-9a-zA-Z+/]{4})*(?:(?:[0-9a-zA-Z+/]{2}==)|(?:[0-9a-zA-Z+/]{3}=))?$",
    "nanoid": "^[a-zA-Z0-9_-]{21}$",
    "cuid2": "^[0-9a-z]+$",
    "ulid": "^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}$",
    "e164": "^\\+[1-9]\\d{6,14}$",
}


@pytest.mark.parametrize("name", ZOD_PATTERNS)
def test_zods_formats_with_their_patterns(name: str) -> None:
    schema = {"type": "string", "format": name, "pattern": ZOD_PATTERNS[name]}

    assert is_valid(schema, smallest(schema))


def test_formats_are_met_inside_arrays_of_different_items() -> None:
    schema = {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 3, "uniqueItems": True}

    assert smallest(schema) == ["1970-01-01", "1971-01-01", "1972-01-01"]


# What cannot be.

IMPOSSIBLE: list[tuple[Any, str]] = [
    (False, "$: nothing is allowed here"),
    ({"type": "integer", "minimum": 5, "maximum": 3}, "$: no integer was found that meets minimum 5, maximum 3"),
    ({"allOf": [{"type": "string"}, {"type": "null"}]}, "$: no type is allowed by all of its schemas"),
    ({"enum": []}, "$: no literal was found that meets enum []"),
    (
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "array", "minItems": 2, "maxItems": 1}}},
        "$.a: no array was found that meets minItems 2, maxItems 1",
    ),
    (
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["a b"], "properties": {"a b": False}},
        },
        '$[0]["a b"]: nothing is allowed here',
    ),
    ({"required": ["a"], "properties": {"a": {"$ref": "#"}}, "type": "object"}, "required inside itself without end"),
    ({"type": "array", "minItems": 1, "items": {"$ref": "#"}}, "$[0][0]: required inside itself without end"),
    ({"type": "array", "items": {"enum": [1, 2]}, "minItems": 3, "uniqueItems": True}, "$: no array was found"),
    ({"type": "string", "pattern": "(["}, "$: the pattern '([' cannot be read"),
    ({"type": "string", "pattern": r"^(a)\1$"}, "$: the pattern uses GROUPREF, which is not supported"),
    ({"$ref": "https://example.com/schema"}, "$: the reference 'https://example.com/schema' points to nothing"),
    ({"properties": {"a": {"type": "date"}}, "required": ["a"]}, "$.a: the schema's 'type' cannot be 'date'"),
    (5, "$: a schema must be an object or a boolean, not 5"),
]


@pytest.mark.parametrize(("schema", "message"), IMPOSSIBLE)
def test_what_cannot_be_is_told_with_its_place(schema: Any, message: str) -> None:
    with pytest.raises(UnsatisfiableError) as caught:
        smallest(schema)

    assert message in str(caught.value)
    assert str(caught.value).startswith("$")


# Hostile schemas come to an end, whatever they say.


def nested(schema: Any, times: int, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(times):
        schema = wrap(schema)
    return schema


def doubled(way: Callable[[Any], Any], last: Any) -> Any:
    """Refer to everything twice, forty times over."""
    steps = {f"d{i}": way({"$ref": f"#/$defs/d{i + 1}"}) for i in range(40)}
    return {"$defs": {**steps, "d40": last}, "$ref": "#/$defs/d0"}


DEEP = 100_000
HOSTILE: dict[str, Any] = {
    "deep items": nested({}, DEEP, lambda s: {"type": "array", "items": s, "minItems": 1}),
    "deep members": nested({}, DEEP, lambda s: {"type": "object", "properties": {"a": s}, "required": ["a"]}),
    "deep allOf": nested({}, DEEP, lambda s: {"allOf": [s]}),
    "deep anyOf": nested({}, DEEP, lambda s: {"anyOf": [s]}),
    "deep oneOf": nested({}, DEEP, lambda s: {"oneOf": [s]}),
    "deep not": nested({}, DEEP, lambda s: {"not": s}),
    "deep if": nested({}, DEEP, lambda s: {"if": s, "then": s}),
    "deep const": {"const": nested(0, DEEP, lambda s: [s])},
    "many branches": {
        "type": "object",
        "required": ["k"],
        "anyOf": [{"properties": {"k": False, "x": {"const": i}}} for i in range(5000)],
    },
    "exponential choices": {
        "allOf": [{"anyOf": [{"properties": {"a": {"const": i}}}, {"required": ["a"]}]} for i in range(40)],
        "not": {"type": "object"},
        "type": "object",
    },
    "exponential members": doubled(
        lambda s: {"type": "object", "properties": {"l": s, "r": s}, "required": ["l", "r"]}, {}
    ),
    "exponential allOf": doubled(lambda s: {"allOf": [s, s]}, {}),
    "exponential anyOf": doubled(lambda s: {"anyOf": [s, s]}, {"not": {}}),
    "endless references": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "not itself": {"not": {"$ref": "#"}},
    "long string": {"type": "string", "minLength": 10**9},
    "long array": {"type": "array", "minItems": 10**9},
    "long contains": {"type": "array", "contains": {}, "minContains": 10**9},
    "large object": {"type": "object", "minProperties": 10**9},
    "large arrays": nested({"type": "integer"}, 4, lambda s: {"type": "array", "items": s, "minItems": 1000}),
    "slow pattern": {"type": "string", "pattern": "^(a|aa|aaa)*$", "minLength": 3000, "not": {"pattern": "(a+a+)+$"}},
    "long pattern": {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
    "empty pattern": {"type": "string", "pattern": "((){60000}){60000}x"},
    "deep pattern": {"type": "string", "pattern": "(" * 50_000 + ")" * 50_000},
    "huge numbers": {"type": "integer", "minimum": 1, "allOf": [{"multipleOf": 10**300 + i} for i in range(200)]},
    "tiny steps": {"type": "number", "multipleOf": 1e-300, "minimum": 1e300},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_schemas_come_to_an_end(name: str) -> None:
    with pytest.raises(UnsatisfiableError, match=r"^\$.{0,220}: .{5,500}$"):
        smallest(HOSTILE[name])


LARGE: dict[str, tuple[Any, int]] = {
    "many members": ({"required": [f"m{i}" for i in range(5000)], "additionalProperties": {"type": "null"}}, 5000),
    "many properties": (
        {"properties": {f"m{i}": {"type": "null"} for i in range(2000)}, "required": [f"m{i}" for i in range(2000)]},
        2000,
    ),
    "many items": ({"type": "array", "minItems": 9999}, 9999),
    "many different items": (
        {"type": "array", "minItems": 1000, "uniqueItems": True, "items": {"type": "integer"}},
        1000,
    ),
    "many listed values": (
        {"type": "array", "minItems": 300, "uniqueItems": True, "items": {"enum": [*range(9000)]}},
        300,
    ),
    "many dependents": ({"required": ["a0"], "dependentRequired": {f"a{i}": [f"a{i + 1}"] for i in range(3000)}}, 3001),
    "a long pattern": ({"type": "string", "pattern": "^(a+)+$", "minLength": 3000}, 3000),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_schemas_are_met(name: str) -> None:
    schema, length = LARGE[name]

    assert len(smallest(schema)) == length


def test_a_branch_behind_thousands_that_cannot_be() -> None:
    bad = [{"type": "object", "required": ["k"], "properties": {"k": False, "x": {"const": i}}} for i in range(3000)]

    assert smallest({"anyOf": [*bad, {"type": "integer"}]}) == 0


def test_models_that_all_refer_to_each_other() -> None:
    names = [f"m{i}" for i in range(12)]
    members = {name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]} for name in names}
    model = {"type": "object", "properties": members, "required": names}

    assert smallest({"$defs": dict.fromkeys(names, model), "$ref": "#/$defs/m0"}) == dict.fromkeys(names)
