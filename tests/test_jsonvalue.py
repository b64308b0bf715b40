"""JSON is read exactly, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stubserver.jsonvalue import NOT_JSON, brackets, json_value

DEEP = 100_000


def brief(value: object) -> str:
    return repr(value)[:40]


@pytest.mark.parametrize("depth", [199, 200, 201, 1000, 1023, 1024])
@pytest.mark.parametrize("leaf", ["", "1.5", '"\\ud800"', "123456789012345678901234567890"])
def test_how_deep_is_read_does_not_hang_on_how_deep_the_stack_is(depth: int, leaf: str) -> None:
    body = ("[" * depth + leaf + "]" * depth).encode()

    def at(frames: int) -> bool:
        return at(frames - 1) if frames else json_value(body) is NOT_JSON

    assert at(0) == at(300) == (depth > 200)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b" \n[1.5]", [1.5]),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b"[{}" + b",{}" * 500 + b"]", [{}] * 501),
        (b"[" * 200 + b"]" * 200, json.loads("[" * 200 + "]" * 200)),
    ],
)
def test_json_is_read_exactly(body: bytes, value: Any) -> None:
    assert json_value(body) == value


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"1", b'"a"', b"{", b"{'a': 1}", b'{"a": NaN}', b"[Infinity]", b"[1e999]", b"[-1e999]"),
        *(b"\xff{}", b'{"a": "\xff"}', '{"a": 1}'.encode("utf-16"), '{"a": 1}'.encode("utf-16-le")),
        *(b"[" * DEEP, b'[{"a":' * DEEP),
    ],
    ids=brief,
)
def test_what_is_no_json_object_or_array(body: bytes) -> None:
    assert json_value(body) is NOT_JSON


@pytest.mark.parametrize("text", [b"", b"{}", b'[{"a": "[{"}]', b"[" * 300 + b"]" * 300])
def test_brackets_are_counted(text: bytes) -> None:
    assert brackets(text) == text.count(b"[") + text.count(b"{")
