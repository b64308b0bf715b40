"""What changed between two answers: the shape first, the text last."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tapes import chunks, completion, events

from stubserver.comparison import compare
from stubserver.messages import Response


def said(body: Any, status: int = 200, kind: str = "application/json") -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, (("Content-Type", kind),), raw)


def streamed(*deltas: dict[str, Any], **more: Any) -> Response:
    headers = (("Content-Type", "text/event-stream"),)
    return Response(200, headers, events(*chunks(*deltas, **more)).encode(), events=True)


@pytest.mark.parametrize(
    ("recorded", "received", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": {"c": [1]}}, {"b": {"c": [1]}, "a": 1}, []),
        ({"a": 1}, {"a": 2}, [("text", "a")]),
        ({"a": 1}, {"a": 1.5}, [("text", "a")]),
        ({"a": 1}, {"a": "1"}, [("type", "a")]),
        ({"a": True}, {"a": 1}, [("type", "a")]),
        ({"a": None}, {"a": "x"}, [("text", "a")]),
        ({"a": {}}, {"a": []}, [("type", "a")]),
        ({}, {"a": {"b": {"c": 1}}}, [("added", "a")]),
        ({"a": {"b": {"c": 1}}}, {}, [("removed", "a")]),
        ({"a": []}, {"a": [{"b": 1}]}, []),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"c": 1}]}, [("added", "a[].c")]),
        ({"a": "x", "b": "y"}, {"a": "z", "b": 1}, [("type", "b"), ("text", "a")]),
        ([1], {"a": 1}, [("added", "a"), ("type", "body")]),
        (b"plain", b"other", [("text", "body")]),
        (b"plain", {"a": 1}, [("type", "body")]),
        (b"\xff", b"\xff", []),
    ],
)
def test_what_changed_in_a_body(recorded: Any, received: Any, changes: list[tuple[str, str]]) -> None:
    assert [(change.kind, change.path) for change in compare(said(recorded), said(received))] == changes


def test_status_and_content_type_are_of_the_shape() -> None:
    found = compare(said({}), said({}, 404, "text/html; charset=utf-8"))

    assert [(c.kind, c.recorded, c.received) for c in found] == [
        ("content-type", "application/json", "text/html"),
        ("status", "200", "404"),
    ]
    assert all(change.of_shape for change in found)


def test_parameters_of_the_content_type_do_not_count() -> None:
    assert compare(said({}), said({}, kind="APPLICATION/JSON; charset=utf-8")) == []


def test_another_text_of_a_completion_is_no_change_of_shape() -> None:
    found = compare(said(completion("one")), said(completion("two")))

    assert [(c.kind, c.path, c.of_shape) for c in found] == [("text", "choices[].message.content", False)]


def test_more_or_fewer_pieces_of_text_are_no_change_of_shape() -> None:
    found = compare(streamed({"content": "a"}, {"content": "b"}), streamed({"content": "a"}))

    assert [change for change in found if change.of_shape] == []


def test_another_order_of_events_is_a_change_of_shape() -> None:
    found = compare(streamed({"content": "a"}), streamed({"tool_calls": [{"index": 0}]}))

    assert [c.kind for c in found if c.path == "events"] == ["events"]


def test_a_member_that_only_some_events_have_is_named_once() -> None:
    found = compare(streamed({"content": "a"}), streamed({"content": "a"}, usage={"total_tokens": 1}))

    assert [(c.kind, c.path) for c in found] == [("added", "[].usage")]


def test_what_a_server_makes_up_each_time_is_no_change() -> None:
    old, new = ({"id": f"chatcmpl-{n}", "created": n, "choices": [{"id": f"c{n}", "text": "a"}]} for n in (1, 2))
    changed = compare(said(old), said({**new, "id": None, "created": "now"}))

    assert compare(said(old), said(new)) == []
    assert [(change.kind, change.path) for change in changed] == [("type", "created")]
