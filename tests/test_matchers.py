"""The differences between two requests: where they are, and how they are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tapes import request

from stubserver.canonical import Rules
from stubserver.matchers import Difference, NearMiss, differences, short
from stubserver.messages import Request

KEY = "sk-proj-" + "a1B2c3D4" * 5
PASSWORD = "correct-horse-battery"


def between(a: Any, b: Any, rules: Rules | None = None) -> list[Difference]:
    return differences(request(a), request(b), rules or Rules())


def paths(a: Any, b: Any, rules: Rules | None = None) -> list[str]:
    return [found.path for found in between(a, b, rules)]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": 2}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, ["a.b.c"]),
        ({"a": [1, {"b": 2}, 3]}, {"a": [1, {"b": 9}, 3]}, ["a[1].b"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a[1]"]),
        ({"a": [[1], [2]]}, {"a": [[1], [3]]}, ["a[1][0]"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a"]),
        ([1], [2], ["[0]"]),
        ([], {}, ["body"]),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, ["a", "b"]),
        (b"one", b"two", ["body"]),
        (b"one", {"a": 1}, ["body"]),
        (b"", b"x", ["body"]),
    ],
)
def test_each_difference_is_named_by_its_path(a: Any, b: Any, expected: list[str]) -> None:
    assert paths(a, b) == expected
    assert paths(b, a) == expected


def test_volatile_and_ignored_fields_are_no_differences() -> None:
    assert paths({"user": "a", "seed": 1}, {"user": "b", "seed": 2}) == ["seed"]
    assert paths({"seed": 1}, {"seed": 2}, Rules(ignore=("seed",))) == []


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        (1, 2, ("1", "2")),
        ("red", "blue", ("red", "blue")),
        ("1", 1, ('"1"', "1")),
        (None, [], ("(absent)", "[]")),
        (True, 1, ("true", "1")),
        ({"b": "é"}, [1], ('{"b": "é"}', "[1]")),
        ("a\nb\t\x1b[31m", "c", ("a\\nb\\t\\x1b[31m", "c")),
        ("\ud800", "x", ("\\ud800", "x")),
        (10**30, 10**30 + 1, (str(10**30), str(10**30 + 1))),
    ],
)
def test_both_values_are_shown(a: Any, b: Any, shown: tuple[str, str]) -> None:
    (found,) = between({"v": a}, {"v": b})
    assert (found.recorded, found.received) == shown
    assert str(found) == f"v: recorded {shown[0]}, received {shown[1]}"


@pytest.mark.parametrize("long", ["x" * 5000, ["x" * 50] * 100, {"k" * 3000: 1}, "\n" * 5000, "é" * 5000])
def test_a_long_value_is_shortened(long: Any) -> None:
    (found,) = between({"v": long}, {"v": 0})
    assert len(found.recorded) == 80
    assert found.recorded.endswith("…")
    assert "\n" not in found.recorded


def test_of_two_long_texts_the_part_is_shown_where_they_differ() -> None:
    start = "The same beginning. " * 30
    (found,) = between({"v": f"{start}red and so on"}, {"v": f"{start}blue and so on"})
    assert found.recorded == "…The same beginning. red and so on"
    assert found.received == "…The same beginning. blue and so on"


def test_a_long_path_is_shortened() -> None:
    (found,) = between({"k" * 5000: 1}, {})
    assert len(found.path) == 160
    assert found.path.startswith("kkk")


def test_at_most_fifty_differences_are_named() -> None:
    assert len(between({"a": list(range(1000))}, {"a": list(range(1, 1001))})) == 50


def test_short_shows_anything_in_one_line() -> None:
    assert short(b'{"a": "\xff"}') == '{"a": "\\xff"}'
    assert short({"a": [1, None]}) == '{"a": [1, null]}'
    assert short("two\nlines") == "two\\nlines"


def get(target: str = "/p", *headers: tuple[str, str], authority: str = "a.example", scheme: str = "http") -> Request:
    return Request("GET", target, headers, b"", scheme, authority)


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("method", get(), get()._replace(method="PUT"), Difference("method", "GET", "PUT")),
        ("scheme", get(), get(scheme="https"), Difference("scheme", "http", "https")),
        ("host", get(), get(authority="B.example"), Difference("host", "a.example", "b.example")),
        ("port", get(), get(authority="a.example:81"), Difference("port", "80", "81")),
        ("path", get("/v1/p"), get("/p"), Difference("path", "/v1/p", "/p")),
        ("query", get("/p?a=1"), get("/p?a=2"), Difference("query", "a=1", "a=2")),
        ("uri", get("/p"), get("/q"), Difference("uri", "http://a.example/p", "http://a.example/q")),
        ("headers", get("/p", ("A", "1")), get("/p", ("a", "2")), Difference("headers.a", "1", "2")),
        ("headers", get("/p", ("A", "1")), get("/p"), Difference("headers.a", "1", "(absent)")),
        ("raw_body", request(b"a b"), request(b"a  b"), Difference("raw_body", "a b", "a  b")),
    ],
)
def test_each_part_is_named_as_its_matcher(name: str, a: Request, b: Request, expected: Difference) -> None:
    rules = Rules((name,))
    assert differences(a, b, rules) == [expected]
    assert differences(a, a, rules) == differences(b, b, rules) == []


def test_the_parts_come_in_the_order_of_the_rules() -> None:
    a, b = get("/p?a=1"), get("/q?a=2")._replace(method="PUT", body=b"x")
    assert [d.path for d in differences(a, b, Rules())] == ["method", "path", "query", "body"]


def test_a_repeated_header_is_compared_with_all_its_values() -> None:
    rules = Rules(("headers",))
    a, b = get("/p", ("A", "1"), ("a", "2")), get("/p", ("a", "2"), ("A", "1"))
    assert differences(a, b, rules) == []
    assert differences(a, get("/p", ("a", "2")), rules) == [Difference("headers.a", "1, 2", "2")]


SECRET_PAIRS = [
    ({"api_key": PASSWORD}, {"api_key": "other"}),
    ({"api_key": PASSWORD}, {}),
    ({"headers": {"Authorization": f"Bearer {PASSWORD}"}}, {"headers": {}}),
    ({"headers": {"Authorization": [PASSWORD]}}, {"headers": {"Authorization": ["other"]}}),
    ({"config": {"password": PASSWORD, "n": 1}}, {"config": 7}),
    ({"config": [{"client_secret": [PASSWORD]}]}, {"config": None}),
    ({"text": f"use {KEY} please"}, {"text": "use nothing"}),
    ({"text": "x " * 500 + KEY}, {"text": "x " * 500 + "nothing"}),
    ({"text": f"a line\n{KEY}"}, {"text": "a line\nnothing"}),
    ({"text": json.dumps({"password": PASSWORD})}, {"text": "nothing"}),
    ({"text": json.dumps({"password": PASSWORD * 100})}, {"text": "nothing"}),
    ({"text": json.dumps({"inner": json.dumps({"password": PASSWORD})})}, {"text": "nothing"}),
    ({"url": f"https://u:{PASSWORD}@host/"}, {"url": "https://host/"}),
    (f"client_secret={PASSWORD}&a=1".encode(), b"a=1"),
    (b"x " + KEY.encode() + b"\xff", b"x"),
]


@pytest.mark.parametrize(("a", "b"), SECRET_PAIRS)
@pytest.mark.parametrize("rules", [Rules(), Rules(("raw_body",))], ids=["body", "raw_body"])
def test_no_secret_of_a_body_is_ever_shown(a: Any, b: Any, rules: Rules) -> None:
    for found in (*between(a, b, rules), *between(b, a, rules)):
        assert KEY[:20] not in str(found)
        assert PASSWORD not in str(found)
    assert between(a, b, rules)


@pytest.mark.parametrize("name", ["headers", "query", "uri"])
def test_no_secret_of_the_rest_is_ever_shown(name: str) -> None:
    secret = get(
        f"/p?key={PASSWORD}", ("Authorization", PASSWORD), ("x-note", KEY), authority=f"u:{PASSWORD}@a.example"
    )
    found = differences(secret, get("/p?key=other", ("Authorization", "other")), Rules((name,)))
    assert found
    assert PASSWORD not in str(found)
    assert KEY[:20] not in str(found)


def test_a_near_miss_is_plain_data() -> None:
    miss = NearMiss("chat.yaml#3", (Difference("seed", "1", "2"),))
    differences = [{"path": "seed", "recorded": "1", "received": "2"}]
    assert miss.as_json() == {"cassette": "chat.yaml#3", "differences": differences}
