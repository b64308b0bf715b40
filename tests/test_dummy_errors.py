"""OpenAI's error envelope."""

from __future__ import annotations

import json

import pytest

from stubserver.dummy.errors import APIError, envelope, json_bytes, json_response


def test_all_four_members_are_always_there() -> None:
    response = envelope(404, "not here")
    expected = {"error": {"message": "not here", "type": "invalid_request_error", "param": None, "code": None}}
    assert json.loads(response.body) == expected
    assert response.status == 404
    assert response.headers == (("content-type", "application/json"),)


def test_the_envelope_takes_what_an_error_says() -> None:
    response = envelope(500, "m", kind="server_error", param="p", code="c", headers=(("a", "b"),), extra={"more": [1]})
    error = json.loads(response.body)["error"]
    assert error == {"message": "m", "type": "server_error", "param": "p", "code": "c", "more": [1]}
    assert list(error) == ["message", "type", "param", "code", "more"]
    assert response.headers == (("content-type", "application/json"), ("a", "b"))


def test_an_api_error_is_written_as_one() -> None:
    response = APIError("text", "n", "invalid_type", status=422).response()
    assert response.status == 422
    assert json.loads(response.body)["error"]["param"] == "n"
    assert APIError("text").response().status == 400


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None]}, b'{"a":[1,null]}'),
        ("é", b'"\xc3\xa9"'),
        ("\ud800 é", b'"\\ud800 \\u00e9"'),
        ({"n": 10**30}, b'{"n":1000000000000000000000000000000}'),
    ],
)
def test_json_is_compact_and_can_always_be_written(value: object, expected: bytes) -> None:
    assert json_bytes(value) == expected
    assert json_response(value, 201).body == expected
    assert json_response(value, 201).status == 201
