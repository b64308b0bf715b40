"""Recorded items as every client and serializer left them, read as one kind of value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tapes import recorded

from stubserver.cassettes.format import (
    TOO_OLD,
    FormatError,
    is_http,
    items_of,
    read_interaction,
    read_request,
    read_response,
)
from stubserver.messages import Request, Response

REQUEST = {"method": "GET", "uri": "https://api.openai.com/v1/models"}
RESPONSE = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": ""}}


def request_of(**parts: Any) -> Request:
    return read_request({"request": {**REQUEST, **parts}})


def response_of(**parts: Any) -> Response:
    return read_response({"response": {**RESPONSE, **parts}})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, b""),
        ("", b""),
        ("text é", "text é".encode()),
        (b"\xff\0", b"\xff\0"),
        ({"a": 1, "b": [None, True]}, b'{"a": 1, "b": [null, true]}'),
        ({"file": b"\xffa"}, b'{"file": "\\ufffda"}'),
        (["é"], b'["\\u00e9"]'),
        (12, b"12"),
        ("half a pair \ud800", b"half a pair \xed\xa0\x80"),
    ],
)
def test_bodies_of_requests(body: Any, expected: bytes) -> None:
    assert request_of(body=body).body == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"body": {"string": "text"}}, b"text"),
        ({"body": {"string": b"\x1f\x8b"}}, b"\x1f\x8b"),
        ({"body": {"string": None}}, b""),
        ({"body": {}}, b""),
        ({"body": None}, b""),
        ({"body": "text"}, b"text"),
        ({"body": {"string": {"a": 1}}}, b'{"a": 1}'),
        ({"body": {"encoding": "ASCII-8BIT", "base64_string": "aGk="}}, b"hi"),
        ({"parsed_body": {"a": "é"}}, b'{"a": "\\u00e9"}'),
        ({"parsed_body": None, "body": {"string": "text"}}, b"text"),
        ({"parsed_body": []}, b"[]"),
    ],
)
def test_bodies_of_responses(parts: dict[str, Any], expected: bytes) -> None:
    assert response_of(**parts).body == expected


def test_parsed_bodies_are_written_as_pydantic_ai_writes_them() -> None:
    body = {"model": "gpt-4o", "temperature": 1.0, "messages": [{"content": "≠"}]}
    assert request_of(parsed_body=body, body=None).body == json.dumps(body).encode()


def test_the_older_form_of_httpx() -> None:
    old = {"status_code": 201, "http_version": "HTTP/1.1", "headers": {"a": ["b"]}, "content": "made é"}
    assert read_response({"response": old}) == Response(201, (("a", "b"),), "made é".encode())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, []),
        ({}, []),
        ([], []),
        ({"A": ["1", "2"], "b": ["3"]}, [("A", "1"), ("A", "2"), ("b", "3")]),
        ({"A": "one"}, [("A", "one")]),
        ({"A": []}, []),
        ({"A": 12, "B": [True], "C": None, "D": [1.5]}, [("A", "12"), ("B", "true"), ("C", ""), ("D", "1.5")]),
        ({"A": [b"caf\xe9"], b"B": ["x"]}, [("A", "caf\xe9"), ("B", "x")]),
        ([["Server", ["nginx", "b"]], ("Date", "today")], [("Server", "nginx"), ("Server", "b"), ("Date", "today")]),
    ],
)
def test_headers(headers: Any, expected: list[tuple[str, str]]) -> None:
    assert list(request_of(headers=headers).headers) == expected
    assert list(response_of(headers=headers).headers) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"status": {"code": 404, "message": "Not Found"}}, (404, "Not Found")),
        ({"status": {"code": 200}}, (200, "")),
        ({"status": {"code": 200, "message": None}}, (200, "")),
        ({"status": {"code": "429", "message": "Slow"}}, (429, "Slow")),
        ({"status": 500}, (500, "")),
    ],
)
def test_statuses(parts: dict[str, Any], expected: tuple[int, str]) -> None:
    response = response_of(**parts)
    assert (response.status, response.reason) == expected


@pytest.mark.parametrize(
    ("kind", "events"),
    [("text/event-stream; charset=utf-8", True), ("Text/Event-Stream", True), ("application/json", False)],
)
def test_an_event_stream_is_known_by_its_content_type(kind: str, events: bool) -> None:  # noqa: FBT001
    assert response_of(headers={"Content-Type": [kind]}).events is events


@pytest.mark.parametrize(
    ("parts", "method", "uri"),
    [
        ({"method": "post"}, "POST", REQUEST["uri"]),
        ({"method": None}, "GET", REQUEST["uri"]),
        ({"uri": "HTTPS://a.b:8443//x?q=1#part"}, "GET", "https://a.b:8443//x?q=1"),
        ({"uri": "**REDACTED**"}, "GET", "/**REDACTED**"),
    ],
)
def test_methods_and_addresses(parts: dict[str, Any], method: str, uri: str) -> None:
    request = request_of(**parts)
    assert (request.method, request.uri) == (method, uri)


def test_the_form_of_datadogs_test_agent() -> None:
    item = {
        "request": {"method": "POST", "url": "https://a/v1/x", "headers": {"A": "b"}, "body": "{}"},
        "response": {"status": {"code": 200, "message": ""}, "headers": {"C": "d"}, "body": "plain"},
    }
    found = read_interaction(item)
    assert found.request == Request("POST", "/v1/x", (("A", "b"),), b"{}", "https", "a")
    assert found.response == Response(200, (("C", "d"),), b"plain")


ITEM = {"request": REQUEST, "response": RESPONSE}


@pytest.mark.parametrize(
    ("document", "items"),
    [
        ({"interactions": [ITEM], "version": 1}, [ITEM]),
        ({"interactions": []}, []),
        ({"interactions": None, "version": 1}, []),
        ({"requests": [1, 2], "responses": [3, 4]}, [{"request": 1, "response": 3}, {"request": 2, "response": 4}]),
        (ITEM, [ITEM]),
        ({"requests": [1]}, None),
        ({"name": "package", "version": 1}, None),
        ([], None),
        ([{"name": 1}], None),
        ("text", None),
        (None, None),
    ],
)
def test_the_items_of_a_document(document: Any, items: Any) -> None:
    assert items_of(document) == items


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ([ITEM], TOO_OLD),
        ({"interactions": {"a": 1}}, "'interactions' is no list"),
        ({"requests": [1, 2], "responses": [3]}, "2 requests, but 1 responses"),
    ],
)
def test_documents_that_look_like_cassettes_but_cannot_be_read(document: Any, cause: str) -> None:
    with pytest.raises(FormatError, match=cause.replace("(", r"\(")):
        items_of(document)


@pytest.mark.parametrize(
    ("item", "http"), [(ITEM, True), ({"request": 1}, True), ({"messages": []}, False), ("x", False)]
)
def test_what_is_an_http_item(item: Any, http: bool) -> None:  # noqa: FBT001
    assert is_http(item) is http


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("item", "cause"),
    [
        ({}, "it has no request"),
        ({"request": None}, "it has no request"),
        ({"request": REQUEST}, "it has no response"),
        ({"request": {"method": "GET"}, "response": RESPONSE}, "no uri"),
        ({"request": {"uri": 12}, "response": RESPONSE}, "no uri"),
        ({"request": REQUEST, "response": {"headers": {}}}, "no status code"),
        *(
            ({"request": REQUEST, "response": {"status": {"code": code}}}, "no status code")
            for code in (None, True, 99, 1000, "2xx", "", 200.0, [200])
        ),
        ({"request": {**REQUEST, "headers": "A: b"}, "response": RESPONSE}, "neither a mapping nor a list"),
        ({"request": {**REQUEST, "headers": ["A: b\r\n"]}, "response": RESPONSE}, "not of pairs"),
        ({"request": {**REQUEST, "body": {(1, 2): 3}}, "response": RESPONSE}, "cannot be written as JSON"),
        ({"request": {**REQUEST, "body": nested(100_000)}, "response": RESPONSE}, "cannot be written as JSON"),
        ({"request": {**REQUEST, "body": object()}, "response": RESPONSE}, "request's body is neither text nor data"),
        ({"request": REQUEST, "response": {**RESPONSE, "body": object()}}, "response's body is neither text nor data"),
        ({"request": REQUEST, "response": {**RESPONSE, "body": {"base64_string": "a"}}}, "base64_string does not"),
    ],
)
def test_a_damaged_item_is_refused_with_its_cause(item: Any, cause: str) -> None:
    with pytest.raises(FormatError, match=cause):
        read_interaction(item)


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ({"events_ms": "12,40,71"}, (12, 40, 71)),
        ({"events_ms": "12"}, (12,)),
        ({"events_ms": 12}, (12,)),
        ({"events_ms": "40,12,50"}, (40, 40, 50)),
        ({"events_ms": "5,999999999999"}, (5, 86_400_000)),
        ({"events_ms": "5,9999999999999"}, ()),
        ({"events_ms": "-1"}, ()),
        ({"events_ms": ""}, ()),
        ({"events_ms": [1, 2]}, ()),
        ({"events_ms": None}, ()),
        ({}, ()),
        ("12", ()),
        (None, ()),
    ],
)
def test_when_the_events_came_is_read_where_it_can_be(said: Any, times: tuple[int, ...]) -> None:
    assert read_response({"response": {**recorded()["response"], "x_stubserver": said}}).times == times
