from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.interchange import Carried, Lost, har
from stubserver.messages import Interaction, Request, Response, header

DATA = Path(__file__).parent / "data" / "interchange"
FOUND = Interaction(
    Request.from_uri(
        "POST", "https://api.openai.com/v1/chat/completions?a=1&b=", (("Accept", "*/*"),), b'{"a":"\xc3\xa9"}'
    ),
    Response(200, (("Content-Type", "application/json"), ("x-a", "1"), ("x-a", "2")), b"{}", "OK"),
)


def read(path: Path, *entries: dict[str, Any]) -> list[Carried | Lost]:
    path.write_bytes(b"".join(har.document(entries)))
    return list(har.read(path))


def changed(**changes: Any) -> dict[str, Any]:
    """Make an entry with other parts: ``request__url`` is the url of its request; ... takes one away."""
    entry = har.entry(FOUND)
    for name, value in changes.items():
        *parts, last = name.split("__")
        place = entry
        for part in parts:
            place = place[part]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return entry


def test_everything_that_mitmproxy_saved_is_carried() -> None:
    found = list(har.read(DATA / "mitmproxy.har"))

    assert [type(each) for each in found] == [Carried] * 10
    interactions = [each.interaction for each in found if isinstance(each, Carried)]
    assert [i.response.status for i in interactions] == [200] * 7 + [400, 200, 404]
    assert [i.response.events for i in interactions] == [False, True] + [False] * 8
    assert interactions[1].response.body.endswith(b"data: [DONE]\n\n")
    assert json.loads(interactions[0].response.body)["choices"][0]["message"]["content"] == " Paris\n"
    assert all(header(i.response.headers, "content-encoding") is None for i in interactions)
    assert interactions[8].request.target == "/v1/models?limit=2&after=a%20b"


def test_a_form_with_a_file_keeps_its_bytes() -> None:
    form = list(har.read(DATA / "mitmproxy.har"))[9]

    assert isinstance(form, Carried)
    assert bytes(range(256)) in form.interaction.request.body
    assert len(form.interaction.request.body) == 490


def test_what_chromium_did_is_carried_and_what_it_did_not_keep_is_said() -> None:
    found = list(har.read(DATA / "chromium.har"))

    carried = [each.interaction for each in found if isinstance(each, Carried)]
    assert [i.response.status for i in carried] == [200] * 6 + [400, 200]
    assert carried[2].response.events
    assert carried[2].response.body.endswith(b"data: [DONE]\n\n")
    assert "Zürich — ☃" in carried[3].request.body.decode()
    assert [each.why for each in found if isinstance(each, Lost)] == [
        "its request's body was not saved",
        "it was cut off or blocked: net::ERR_UNSAFE_PORT",
    ]


@given(st.binary(), st.binary(), st.integers(102, 999), st.sampled_from(["text/plain", "text/event-stream", ""]))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, asked: bytes, answered: bytes, status: int, kind: str
) -> None:
    fields = tuple((("content-type", kind), ("content-length", str(len(body)))) for body in (asked, answered))
    request = Request.from_uri("PUT", "http://a.test:1/x?y=%20", fields[0], asked)
    response = Response(status, fields[1], answered, "Why", events=kind == "text/event-stream")

    (again,) = read(tmp_path_factory.getbasetemp() / "a.har", har.entry(Interaction(request, response)))

    assert again[1] == Interaction(request, response)


def test_the_moment_is_the_given_one_or_the_answers_date() -> None:
    dated = FOUND._replace(response=Response(200, (("Date", "Wed, 25 Nov 2026 20:35:42 GMT"),)))

    assert har.entry(FOUND, 1.5)["startedDateTime"] == "1970-01-01T00:00:01.500+00:00"
    assert har.entry(dated)["startedDateTime"] == "2026-11-25T20:35:42+00:00"
    assert har.entry(FOUND)["startedDateTime"].startswith("1970-01-01T00:00:00")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"response__status": 0}, "it has no answer: it was blocked, cut off, or was still under way"),
        ({"response___error": "net::ERR_ABORTED"}, "it was cut off or blocked: net::ERR_ABORTED"),
        ({"response": ...}, "it has no response"),
        ({"request__url": "wss://a.test/x"}, "its url is not that of an HTTP server"),
        ({"request__url": ...}, "its request has no method or no url"),
        ({"request__postData": ...}, "its request's body was not saved"),
        ({"request__postData__text": ""}, "its request's body was not saved"),
        ({"response__content__text": ..., "response__content__size": 5}, "its answer's body was not saved"),
        (
            {"response__content__encoding": "base64", "response__content__text": "*"},
            "its body says that it is base64, but is not",
        ),
        ({"_webSocketMessages": []}, "it is a WebSocket"),
        ({"response__status": 101}, "it is a WebSocket"),
        (
            {"request__method": "CONNECT"},
            "it is a tunnel of a proxy; what went through it has entries of its own, or was not seen",
        ),
        (
            {"request__postData": {"mimeType": "multipart/form-data", "params": [{"name": "f", "fileName": "a"}]}},
            "of its request's body only the names of its parts were saved",
        ),
    ],
)
def test_what_cannot_be_carried_says_why(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = tmp_path / "a.har"

    assert read(path, har.entry(FOUND), changed(**changes))[1:] == [Lost(f"{path}, entry 2", why)]


def test_dialects_of_browsers(tmp_path: Path) -> None:
    http2 = [{"name": ":path", "value": "/x"}, {"name": "accept", "value": "*/*"}]
    packed = [{"name": "content-encoding", "value": "br"}]
    form = {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a b", "value": "ü&"}, {"name": "c"}]}
    latin = {"mimeType": "text/plain; charset=iso-8859-1", "text": "é", "size": 1}
    entries = [
        changed(request__headers=http2, response__headers=packed),
        changed(request__postData=form),
        changed(request__bodySize=-1),
        changed(response__headers=[{"name": "content-type", "value": latin["mimeType"]}], response__content=latin),
    ]

    found = [each.interaction for each in read(tmp_path / "a.har", *entries) if isinstance(each, Carried)]

    assert found[0].request.headers == (("accept", "*/*"),)
    assert found[0].response.headers == (("content-type", "application/json"),)
    assert found[1].request.body == b"a+b=%C3%BC%26&c="
    assert found[2].request.body == FOUND.request.body
    assert found[3].response.body == b"\xe9"


def test_a_file_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    whole = b"".join(har.document([har.entry(FOUND), har.entry(FOUND)]))
    path.write_bytes(whole[:-40])

    first, last = har.read(path)

    assert isinstance(first, Carried)
    assert last == Lost(f"{path}, after entry 1", "the file ends too early: it was cut off, or is no JSON")


def test_binary_bodies_are_in_base64() -> None:
    posted = har.entry(FOUND._replace(request=FOUND.request._replace(body=b"\xff")))["request"]["postData"]

    assert (base64.b64decode(posted["text"]), posted["encoding"]) == (b"\xff", "base64")


def test_an_export_has_the_length_and_the_sizes_of_what_was_sent() -> None:
    packed = gzip.compress(b'{"a": 1}' * 9)
    fields = (("content-type", "application/json"), ("content-encoding", "gzip"))

    whole = har.entry(FOUND)
    zipped = har.entry(FOUND._replace(response=Response(200, fields, packed)))["response"]
    stream = har.entry(FOUND._replace(response=Response(200, (), b"data: 1\n\n", events=True)))["response"]
    bare = har.entry(FOUND._replace(response=Response(204)))["response"]
    head = har.entry(Interaction(Request("HEAD", "/"), Response(200)))

    assert whole["request"]["headers"][-1] == {"name": "Content-Length", "value": str(len(FOUND.request.body))}
    assert whole["response"]["headers"][-1] == {"name": "Content-Length", "value": "2"}
    assert zipped["headers"][-1]["value"] == str(len(packed)) == str(zipped["bodySize"])
    assert zipped["content"]["text"] == '{"a": 1}' * 9
    assert (zipped["content"]["size"], zipped["content"]["compression"]) == (72, 72 - len(packed))
    assert (stream["headers"], bare["headers"], head["response"]["headers"], head["request"]["headers"]) == ([],) * 4


def test_a_packed_answer_is_read_unpacked_with_its_own_length(tmp_path: Path) -> None:
    packed = gzip.compress(b"{}")
    fields = (("content-encoding", "gzip"), ("Content-Length", str(len(packed))))
    once = har.entry(FOUND._replace(response=Response(200, fields, packed)))
    raw = changed(
        response__headers=once["response"]["headers"],
        response__content={"size": 2, "encoding": "base64", "text": base64.b64encode(packed).decode()},
    )

    found = [each.interaction.response for each in read(tmp_path / "a.har", once, raw) if isinstance(each, Carried)]

    assert [(each.body, each.headers) for each in found] == [(b"{}", (("Content-Length", "2"),))] * 2


def test_what_firefox_calls_base64_may_be_none(tmp_path: Path) -> None:
    contents = [
        {"size": 6, "encoding": "base64", "text": "<é/>\n"},
        {"size": 4, "encoding": "base64", "text": "abcd"},
        {"size": 4, "encoding": "base64", "text": "YWJj\r\nZA==\r\n"},
        {"encoding": "base64", "text": "YWJj"},
    ]

    found = read(tmp_path / "a.har", *(changed(response__content=each) for each in contents))

    assert [each.interaction.response.body for each in found if isinstance(each, Carried)] == [
        "<é/>\n".encode(),
        b"abcd",
        b"abcd",
        b"abc",
    ]


def test_what_firefox_puts_in_front_of_an_upload_goes(tmp_path: Path) -> None:
    text = 'Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'

    (found,) = read(tmp_path / "a.har", changed(request__postData={"text": text}, request__bodySize=7))

    assert isinstance(found, Carried)
    assert found.interaction.request.body == b'{"a":1}'


@pytest.mark.parametrize("content", [{"mimeType": "application/json"}, {"size": -1}, {"size": 9, "text": ""}, None])
def test_a_body_that_only_its_length_tells_of_was_not_saved(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.har"
    length = [{"name": "content-length", "value": "9"}]
    entry = changed(response__content=content, response__headers=length)
    head = changed(response__content={"size": 0}, response__headers=length, request__method="HEAD")

    lost, kept = read(path, entry, head)

    assert lost == Lost(f"{path}, entry 1", "its answer's body was not saved")
    assert isinstance(kept, Carried)


def test_the_events_that_chromium_lists_are_a_stream(tmp_path: Path) -> None:
    messages = [
        {"time": 100.5, "eventName": "message", "eventId": "", "data": '{"a":1}'},
        {"time": 100.75, "eventName": "response.done", "eventId": "7", "data": "x\ny"},
    ]
    stream = changed(response__content={"size": 44}, response__headers=[], _eventSourceMessages=messages)
    stream["timings"]["wait"] = 20
    odd = changed(response__content={"size": 44}, _eventSourceMessages=[{"time": None}, {"time": "x", "data": "1"}])

    first, second = (each for each in read(tmp_path / "a.har", stream, odd) if isinstance(each, Carried))

    response = first.interaction.response
    assert response.body == b'data: {"a":1}\n\nid: 7\nevent: response.done\ndata: x\ndata: y\n\n'
    assert (response.events, response.times) == (True, (20, 270))
    assert (second.interaction.response.body, second.interaction.response.times) == (b"data: \n\ndata: 1\n\n", ())


def test_a_type_or_a_query_that_stands_elsewhere_is_found(tmp_path: Path) -> None:
    query = [{"name": "a b", "value": "ü"}, {"name": "c"}]
    entry = changed(
        request__url="https://a.test/x#y",
        request__queryString=query,
        response__headers=[],
        response__content__text="{}",
    )

    (found,) = read(tmp_path / "a.har", entry)

    assert isinstance(found, Carried)
    assert found.interaction.request.target == "/x?a%20b=%C3%BC&c="
    assert found.interaction.response.headers == (("content-type", "application/json"),)


def test_equal_requests_stay_in_their_order(tmp_path: Path) -> None:
    entries = [har.entry(FOUND._replace(response=Response(200, (), b"%d" % number))) for number in (3, 1, 2)]

    found = [each for each in read(tmp_path / "a.har", *entries) if isinstance(each, Carried)]

    assert [each.interaction.response.body for each in found] == [b"3", b"1", b"2"]
