"""Numbers and strings."""

from __future__ import annotations

import ipaddress
import re
import uuid
from datetime import date, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest

from stubserver.dummy.schema_reading import Budget, UnsatisfiableError
from stubserver.dummy.schema_values import numbers, plain, strings


def spends_nothing(_steps: int) -> None:
    """Let it go on."""


def some_numbers(number: int, *, integral: bool = False, **keywords: Any) -> list[float]:
    return list(islice(numbers([keywords], integral=integral), number))


def some_strings(number: int, *parts: dict[str, Any]) -> list[str]:
    return list(islice(strings(parts, spends_nothing), number))


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, [0, 1, -1, 2, -2]),
        ({"minimum": 0}, [0, 1, 2]),
        ({"minimum": 3}, [3, 4, 5]),
        ({"maximum": -2}, [-2, -3, -4]),
        ({"minimum": -1, "maximum": 2}, [0, 1, -1, 2]),
        ({"minimum": 2.5}, [3, 4]),
        ({"maximum": -2.5}, [-3, -4]),
        ({"exclusiveMinimum": 2}, [2, 3]),
        ({"multipleOf": 7, "minimum": 1}, [7, 14]),
        ({"multipleOf": 2.5}, [0, 5, -5]),
        ({"minimum": 2, "maximum": 1}, []),
        ({"minimum": 10**30}, [10**30]),
    ],
)
def test_whole_numbers(keywords: dict[str, Any], expected: list[int]) -> None:
    assert some_numbers(len(expected) or 1, integral=True, **keywords) == expected


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, [0, 1, -1, 0.5]),
        ({"minimum": 0.25}, [0.25, 1]),
        ({"maximum": -0.25}, [-0.25, -1]),
        ({"minimum": 0.1, "maximum": 0.2}, [0.1, 0.15]),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, [0, 1, 0.5]),
        ({"multipleOf": 0.1, "minimum": 0.25}, [0.3, 0.4]),
        ({"multipleOf": 0.01, "minimum": 19.985}, [19.99, 20]),
    ],
)
def test_numbers(keywords: dict[str, Any], expected: list[float]) -> None:
    assert some_numbers(len(expected), **keywords) == expected


def test_bounds_and_multiples_of_several_schemas_hold_together() -> None:
    parts = [{"multipleOf": 4, "minimum": 5}, {"multipleOf": 6, "maximum": 30}, {"minimum": 1}]

    assert list(numbers(parts, integral=True)) == [12, 24]


def test_all_numbers_lie_between_the_bounds() -> None:
    found = list(numbers([{"minimum": -0.5, "maximum": 1.5}], integral=False))

    assert {0, 1, -0.5, 0.5, 1.5} <= set(found)
    assert all(-0.5 <= value <= 1.5 for value in found)


def test_whole_numbers_have_no_point() -> None:
    assert [type(value) for value in some_numbers(3, multipleOf=0.5)] == [int, float, float]


@pytest.mark.parametrize("keywords", [{"minimum": 1e308, "multipleOf": 1e308}, {"exclusiveMinimum": 1.7e308}])
def test_no_number_is_larger_than_floats_are(keywords: dict[str, Any]) -> None:
    found = some_numbers(10, **keywords)

    assert all(float(value) <= 1.7976931348623157e308 for value in found)


def test_a_large_bound_is_also_tried_as_the_float_that_it_is() -> None:
    assert int(1e30) in some_numbers(2, integral=True, minimum=1e30)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([{}], ["", "a", "b"]),
        ([{"minLength": 1}], ["a", "b"]),
        ([{"minLength": 3}], ["aaa", "aab"]),
        ([{"minLength": 5}], ["aaaaa", "aaaab"]),
        ([{"minLength": 1}, {"minLength": 2.0}], ["aa", "ab"]),
        ([{"maxLength": 0}], [""]),
        ([{"minLength": 3}, {"maxLength": 2}], []),
        ([{"minLength": 10**9}], []),
        ([{"pattern": "^a+$", "minLength": 3}], ["aaa", "aaaa"]),
        ([{"pattern": "^a"}, {"pattern": "z$"}], ["az"]),
        ([{"pattern": "^[ab]$"}], ["a", "b"]),
        ([{"pattern": "a{20000}"}], []),
        ([{"pattern": r"^(?=x.y$)", "examples": ["x-y"]}], ["x-y"]),
        ([{"pattern": r"^(?=x.y$)", "default": "x-y"}], ["x-y"]),
        ([{"format": "date", "maxLength": 3}], ["", "a"]),
        ([{"format": "unknown"}], [""]),
    ],
)
def test_strings(parts: list[dict[str, Any]], expected: list[str]) -> None:
    assert some_strings(len(expected) or 1, *parts) == expected


FORMATS = (
    *("date-time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid"),
    *("json-pointer", "relative-json-pointer", "regex", "uri-template", "idn-email", "iri", "time"),
)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("least", [0, 3])
def test_formats(name: str, least: int) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER

    found = some_strings(20, {"format": name, "minLength": least})

    assert len(found) == len(set(found)) == 20
    assert all(checker.conforms(text, name) and len(text) >= least for text in found)


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("date-time", datetime.fromisoformat),
        ("date", date.fromisoformat),
        ("ipv4", ipaddress.IPv4Address),
        ("ipv6", ipaddress.IPv6Address),
        ("ipv4network", ipaddress.IPv4Network),
        ("ipv6network", ipaddress.IPv6Network),
        ("ipvanyaddress", ipaddress.ip_address),
        ("uuid", uuid.UUID),
        ("uri", urlsplit),
    ],
)
def test_python_reads_the_formats(name: str, reads: Any) -> None:
    assert len({reads(text) for text in some_strings(30, {"format": name})}) == 30


@pytest.mark.parametrize("version", [1, 4, 7])
def test_uuids_have_their_version(version: int) -> None:
    assert {uuid.UUID(text).version for text in some_strings(3, {"format": f"uuid{version}"})} == {version}


@pytest.mark.parametrize("name", ["email", "uri", "hostname", "uri-reference", "name-email"])
def test_formats_as_long_as_they_must_be(name: str) -> None:
    (text,) = some_strings(1, {"format": name, "minLength": 60})

    assert len(text) >= 60
    assert jsonschema.Draft202012Validator.FORMAT_CHECKER.conforms(text, name)


def test_a_format_gives_way_to_a_pattern() -> None:
    parts = {"format": "time", "pattern": r"^\d\d:\d\d:\d\d$"}

    assert some_strings(1, parts) == ["00:00:00"]
    assert re.fullmatch("[0-9a-f]{4}", some_strings(1, {"format": "uuid", "pattern": "^[0-9a-f]{4}$"})[0])


def test_strings_are_few() -> None:
    assert len(list(plain(0))) == 2000
    assert len(list(strings([{}], spends_nothing))) == 2000


def test_every_step_is_counted() -> None:
    with pytest.raises(UnsatisfiableError, match="nothing found in 50 steps"):
        list(strings([{}], Budget(50).spend))
