"""Reading a request's body: the API's checks and its words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stubserver.dummy import body as read
from stubserver.dummy.errors import NOT_PARSED, APIError
from stubserver.messages import Request

CHAT = Request("POST", "/v1/chat/completions")


def refused(make: Callable[[], Any]) -> tuple[str, str | None, str | None]:
    """Return message, param and code of the error that *make* raises."""
    with pytest.raises(APIError) as caught:
        make()
    assert caught.value.status == 400
    return str(caught.value), caught.value.param, caught.value.code


def parse(raw: bytes) -> dict[str, Any]:
    return read.parse(Request("POST", "/v1/chat/completions", (), raw))


@pytest.mark.parametrize("raw", [b'{"a": 1}', b' \n{"a": 1}\n', b'\xef\xbb\xbf{"a": 1}'])
def test_an_object_is_read(raw: bytes) -> None:
    assert parse(raw) == {"a": 1}


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"not json", b"[]", b"[1, 2, 3]", b'"text"', b"null", b"1", b'{"a": NaN}', b'{"a": ', b"\xff\xfe"),
        *(b"a=1&b=2", b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"a": 1e999}'),
    ],
    ids=lambda raw: repr(raw)[:30],
)
def test_anything_else_could_not_be_parsed(raw: bytes) -> None:
    assert refused(lambda: parse(raw)) == (NOT_PARSED, None, None)


def test_the_text_for_what_could_not_be_parsed_is_the_apis() -> None:
    start = (
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library"
    )
    assert NOT_PARSED.startswith(start)
    assert NOT_PARSED.endswith("please contact us through our help center at help.openai.com.)")


def test_the_model_is_returned() -> None:
    assert read.require_model({"model": "org/model"}, CHAT) == "org/model"


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ""}])
def test_a_model_is_required(body: dict[str, Any]) -> None:
    assert refused(lambda: read.require_model(body, CHAT)) == ("you must provide a model parameter", None, None)


def test_a_model_is_a_string() -> None:
    expected = "Invalid type for 'model': expected a string, but got an integer instead."
    assert refused(lambda: read.require_model({"model": 5}, CHAT)) == (expected, "model", "invalid_type")


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("/openai/deployments/my%20own/chat/completions?api-version=1", "my own"),
        ("/openai/deployments/d/embeddings", "d"),
    ],
)
def test_azures_deployment_stands_for_the_model(target: str, model: str) -> None:
    azure = Request("POST", target)
    assert read.require_model({}, azure) == model
    assert read.require_model({"model": "m"}, azure) == "m"
    assert refused(lambda: read.require_model({"model": ""}, azure))[0] == "you must provide a model parameter"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "a boolean"),
        (1, "an integer"),
        (1.5, "a decimal"),
        ("x", "a string"),
        ({}, "an object"),
        ([], "an array"),
        (None, "null"),
        (10**30, "an integer"),
    ],
)
def test_the_types_are_named_as_the_api_names_them(value: object, name: str) -> None:
    assert read.type_name(value) == name


@pytest.mark.parametrize(("value", "expected"), [(None, None), (1, 1), (128, 128)])
def test_an_integer_in_its_range_is_returned(value: int | None, expected: int | None) -> None:
    assert read.integer({"n": value}, "n", 1, 128) == expected
    assert read.integer({}, "n", 1, 128) is None


@pytest.mark.parametrize(
    ("value", "message", "code"),
    [
        ("2", "Invalid type for 'n': expected an integer, but got a string instead.", "invalid_type"),
        (True, "Invalid type for 'n': expected an integer, but got a boolean instead.", "invalid_type"),
        (1.5, "Invalid type for 'n': expected an integer, but got a decimal instead.", "invalid_type"),
        (
            0,
            "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            "integer_below_min_value",
        ),
        (
            129,
            "Invalid 'n': integer above maximum value. Expected a value <= 128, but got 129 instead.",
            "integer_above_max_value",
        ),
        (
            -(10**400),
            f"Invalid 'n': integer below minimum value. Expected a value >= 1, but got {-(10**400)} instead.",
            "integer_below_min_value",
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_another_integer_is_refused(value: object, message: str, code: str) -> None:
    assert refused(lambda: read.integer({"n": value}, "n", 1, 128)) == (message, "n", code)


@pytest.mark.parametrize("value", [None, 0, 2, 1.5, 0.0])
def test_a_number_in_its_range_is_returned(value: float | None) -> None:
    assert read.number({"temperature": value}, "temperature", 0, 2) == value


@pytest.mark.parametrize(
    ("value", "message", "code"),
    [
        ("hot", "Invalid type for 'temperature': expected a decimal, but got a string instead.", "invalid_type"),
        (False, "Invalid type for 'temperature': expected a decimal, but got a boolean instead.", "invalid_type"),
        (
            99,
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 99.0 instead.",
            "decimal_above_max_value",
        ),
        (
            -0.5,
            "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -0.5 instead.",
            "decimal_below_min_value",
        ),
        (
            10**400,
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got inf instead.",
            "decimal_above_max_value",
        ),
        (
            -(10**400),
            "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -inf instead.",
            "decimal_below_min_value",
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_another_number_is_refused(value: object, message: str, code: str) -> None:
    assert refused(lambda: read.number({"temperature": value}, "temperature", 0, 2)) == (message, "temperature", code)


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), (None, False)])
def test_a_flag_is_returned(value: object, *, expected: bool) -> None:
    assert read.flag({"stream": value}, "stream") is expected
    assert read.flag({}, "stream") is False


@pytest.mark.parametrize("value", ["true", 1, [], {}])
def test_a_flag_is_a_boolean(value: object) -> None:
    expected = f"Invalid type for 'stream': expected a boolean, but got {read.type_name(value)} instead."
    assert refused(lambda: read.flag({"stream": value}, "stream")) == (expected, "stream", "invalid_type")


@pytest.mark.parametrize(
    ("options", "expected"),
    [(None, False), ({}, False), ({"include_usage": True}, True), ({"include_usage": False}, False)],
)
def test_whether_usage_is_asked_for(options: object, *, expected: bool) -> None:
    assert read.includes_usage({"stream_options": options}) is expected


def test_the_options_of_a_stream_are_an_object() -> None:
    expected = "Invalid type for 'stream_options': expected an object, but got a string instead."
    assert refused(lambda: read.includes_usage(json.loads('{"stream_options": "usage"}'))) == (
        expected,
        "stream_options",
        "invalid_type",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b")), ("", ()), (["", "a"], ("a",)), ([], ())],
)
def test_a_string_or_some_of_them_are_a_tuple(value: object, expected: tuple[str, ...]) -> None:
    assert read.strings({"stop": value}, "stop", 2) == expected


TOO_LONG = "Expected an array with maximum length 2, but got an array with length 3"


@pytest.mark.parametrize(
    ("value", "message", "param", "code"),
    [
        (
            5,
            "Invalid type for 'stop': expected one of a string or array of strings, but got an integer instead.",
            "stop",
            "invalid_type",
        ),
        (
            ["a", 5],
            "Invalid type for 'stop[1]': expected a string, but got an integer instead.",
            "stop[1]",
            "invalid_type",
        ),
        (
            ["a", "b", "c"],
            f"Invalid 'stop': array too long. {TOO_LONG} instead.",
            "stop",
            "array_above_max_length",
        ),
    ],
)
def test_other_strings_are_refused(value: object, message: str, param: str, code: str) -> None:
    assert refused(lambda: read.strings({"stop": value}, "stop", 2)) == (message, param, code)


@pytest.mark.parametrize(
    ("value", "message", "code"),
    [
        (5, "Invalid type for 'w': expected one of 'a', 'b', or 'c', but got an integer instead.", "invalid_type"),
        ("x", "Invalid value: 'x'. Supported values are: 'a', 'b', and 'c'.", "invalid_value"),
    ],
)
def test_a_word_is_one_of_those_that_are_known(value: object, message: str, code: str) -> None:
    assert refused(lambda: read.one_of({"w": value}, "w", ("a", "b", "c"), ("d",))) == (message, "w", code)
    for known in (None, "a", "d"):
        read.one_of({"w": known}, "w", ("a", "b", "c"), ("d",))


def test_a_member_that_is_needed_is_named_with_its_owner() -> None:
    read.needs("a[0]", {"name": "x"}, "name", read.string)
    expected = ("Missing required parameter: 'a[0].name'.", "a[0].name", "missing_required_parameter")
    assert refused(lambda: read.needs("a[0]", {}, "name", read.string)) == expected
    assert refused(lambda: read.needs("a[0]", {"name": 5}, "name", read.string))[1:] == ("a[0].name", "invalid_type")


def test_an_array_without_items_is_called_empty() -> None:
    text = "Invalid 'a': empty array. Expected an array with minimum length 1, but got an empty array instead."
    error = read.empty("a")
    assert (str(error), error.param, error.code) == (text, "a", "empty_array")
