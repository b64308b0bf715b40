"""A recorded response as it is sent: what is kept, what is dropped, what is decoded."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapes import chunks, completion, events

from stubserver import wire
from stubserver.messages import Headers, Response, header
from stubserver.replay import Mode, accepts, replayed

TEXT = json.dumps({"text": "hello " * 50}).encode()
GZIP = gzip.compress(TEXT, mtime=0)
BROTLI = b"\x1b\x0f\x00\xf8\xa5\x5b"  # no text, whatever else it is


def deflated(raw: bytes, *, bare: bool = False) -> bytes:
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
    return made.compress(raw) + made.flush()


def recorded(*headers: tuple[str, str], body: bytes = TEXT, status: int = 200, events: bool = False) -> Response:
    return Response(status, headers, body, "OK", events)


def encoded(body: bytes, encoding: str) -> Response:
    return recorded(("Content-Encoding", encoding), ("Content-Type", "application/json"), body=body)


def sent_headers(*headers: tuple[str, str]) -> Headers:
    return replayed(recorded(*headers), "").headers


# --- Content-Encoding ---------------------------------------------------------------------------------------------

ENCODED = [
    ("gzip", GZIP),
    ("x-gzip", GZIP),
    ("GZip ", GZIP),
    ("deflate", deflated(TEXT)),
    ("deflate", deflated(TEXT, bare=True)),
]


@pytest.mark.parametrize(("encoding", "body"), ENCODED)
def test_an_encoded_body_is_kept_for_a_client_that_takes_it(encoding: str, body: bytes) -> None:
    response = replayed(encoded(body, encoding), "gzip, deflate, br")
    assert response.body == body
    assert header(response.headers, "content-encoding") == encoding.strip().lower().removeprefix("x-")


@pytest.mark.parametrize(("encoding", "body"), ENCODED)
def test_an_encoded_body_is_decoded_for_a_client_that_does_not_take_it(encoding: str, body: bytes) -> None:
    response = replayed(encoded(body, encoding), "br")
    assert response.body == TEXT
    assert header(response.headers, "content-encoding") is None


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br", "unknown"])
def test_an_encoding_that_the_stored_body_does_not_have_is_dropped(encoding: str) -> None:
    response = replayed(encoded(TEXT, encoding), "gzip, deflate, br, zstd")
    assert response.body == TEXT
    assert header(response.headers, "content-encoding") is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
@pytest.mark.parametrize("accepted", ["", "br, zstd"])
def test_an_encoding_that_cannot_be_decoded_here_is_kept(encoding: str, accepted: str) -> None:
    response = replayed(encoded(BROTLI + b"\xff", encoding), accepted)
    assert response.body == BROTLI + b"\xff"
    assert header(response.headers, "content-encoding") == encoding


def test_a_gzip_body_that_was_cut_off_is_still_one() -> None:
    cut = GZIP[:-12]
    assert header(replayed(encoded(cut, "gzip"), "gzip").headers, "content-encoding") == "gzip"
    plain = replayed(encoded(cut, "gzip"), "")
    assert TEXT.startswith(plain.body)
    assert header(plain.headers, "content-encoding") is None


def test_of_a_gzip_body_that_holds_nothing_yet_nothing_is_known() -> None:
    response = replayed(encoded(GZIP[:10], "gzip"), "gzip")
    assert response.body == GZIP[:10]
    assert header(response.headers, "content-encoding") is None


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity"])
def test_an_empty_body_has_no_encoding(encoding: str) -> None:
    response = replayed(encoded(b"", encoding), "gzip, br")
    assert response.body == b""
    assert header(response.headers, "content-encoding") is None


@pytest.mark.parametrize(
    ("accepted", "kept"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("*", True),
        ("br, gzip;q=0.1", True),
        ("gzip;q=1.0", True),
        ("*;q=0, gzip", True),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip ; Q=0", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("not-gzip", False),
    ],
)
def test_what_a_client_says_of_encodings_is_honoured(accepted: str, *, kept: bool) -> None:
    accepted = accepts((("Accept-Encoding", accepted),))
    assert (replayed(encoded(GZIP, "gzip"), accepted).body == GZIP) is kept


def test_several_accept_encoding_fields_are_one_list() -> None:
    accepted = accepts((("accept-encoding", "br"), ("Accept-Encoding", "Gzip"), ("a", "deflate")))
    assert replayed(encoded(GZIP, "gzip"), accepted).body == GZIP
    assert replayed(encoded(deflated(TEXT), "deflate"), accepted).body == TEXT
    assert accepts(()) == ""


# --- headers ------------------------------------------------------------------------------------------------------

HOP_BY_HOP = [
    *("Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Proxy-Authenticate"),
    *("Proxy-Authorization", "Proxy-Connection", "Content-Length"),
]


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_what_belongs_to_the_recorded_connection_is_dropped(name: str) -> None:
    for spelled in (name, name.lower()):
        assert sent_headers(("A", "1"), (spelled, "x"), ("B", "2")) == (("A", "1"), ("B", "2"))


def test_what_connection_names_is_dropped_too() -> None:
    headers = [
        ("Connection", "close, X-Hop"),
        ("connection", "x-Other"),
        ("x-hop", "1"),
        ("X-Other", "2"),
        ("X-Kept", "3"),
    ]
    assert sent_headers(*headers) == (("X-Kept", "3"),)


def test_all_other_headers_go_out_as_they_were_recorded() -> None:
    headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("x-request-id", "req_1"), ("X-RateLimit-Limit", "5")]
    assert sent_headers(*headers) == tuple(headers)


def test_what_an_earlier_stub_said_of_itself_is_dropped() -> None:
    assert sent_headers(("X-Stubserver-Source", "dummy"), ("x-stubserver-cassette", "old#1"), ("a", "b")) == (
        ("a", "b"),
    )


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("a\r\nX-Injected: 1", "a  X-Injected: 1"),
        ("a\nb", "a b"),
        ("a\0b\x07c\x7f", "a b c "),
        ("tab\there", "tab\there"),
        ("caf\xe9", "caf\xe9"),
        ("漢", "漢".encode().decode("latin-1")),
        ("\ud800", "?"),
    ],
)
def test_a_value_that_cannot_be_sent_is_made_one_that_can(value: str, sent: str) -> None:
    assert sent_headers(("X-Note", value)) == (("X-Note", sent),)


@pytest.mark.parametrize("name", ["", "bad name", "bad:name", "bad\r\nname", "naïve", "\x00"])
def test_a_header_without_a_proper_name_is_dropped(name: str) -> None:
    assert sent_headers((name, "value"), ("good", "value")) == (("good", "value"),)


def test_an_encoding_cannot_inject_a_header() -> None:
    response = replayed(encoded(BROTLI + b"\xff", "br\r\nX-Injected: 1"), "br")
    assert not any("\r" in value or "\n" in value for _, value in response.headers)


@given(
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4),
    st.integers(0, 1200),
    st.text(max_size=8),
    st.binary(max_size=30),
)
def test_whatever_was_recorded_can_be_written_as_http(
    headers: list[tuple[str, str]], status: int, reason: str, body: bytes
) -> None:
    response = replayed(Response(status, tuple(headers), body, reason), "gzip")
    head = b"".join(wire.render(response, 0)).split(b"\r\n\r\n", 1)[0]
    assert head.count(b"\r\n") <= len(headers) + 1
    assert head.count(b"\n") == head.count(b"\r\n")


# --- status and reason --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sent"), [(200, 200), (204, 204), (304, 304), (429, 429), (599, 599), (600, 600), (999, 999)]
)
def test_the_status_is_the_recorded_one(status: int, sent: int) -> None:
    assert replayed(recorded(status=status), "").status == sent


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000])
def test_a_status_that_would_not_end_an_answer_is_200(status: int) -> None:
    assert replayed(recorded(status=status), "").status == 200


@pytest.mark.parametrize(
    ("reason", "sent"), [("OK", "OK"), ("I'm a teapot", "I'm a teapot"), ("a\r\nb", ""), ("naïve", ""), ("", "")]
)
def test_a_reason_that_cannot_be_sent_is_left_out(reason: str, sent: str) -> None:
    assert replayed(Response(200, (), b"", reason), "").reason == sent


# --- events, and the other stream mode ----------------------------------------------------------------------------

STREAM = events(*chunks({"role": "assistant", "content": ""}, {"content": "Hi"})).encode()
EVENTS = (("content-type", "text/event-stream"),)
WHOLE = Response(200, (("content-type", "application/json"),), json.dumps(completion()).encode())


def test_an_event_stream_stays_one() -> None:
    response = replayed(Response(200, EVENTS, STREAM, events=True), "")
    assert response.events
    assert response.body == STREAM


def test_an_event_stream_that_is_sent_compressed_goes_out_whole() -> None:
    made = Response(200, (*EVENTS, ("content-encoding", "gzip")), gzip.compress(STREAM), events=True)
    assert not replayed(made, "gzip").events
    assert replayed(made, "").events
    assert replayed(made, "").body == STREAM


def test_a_stream_is_folded_for_a_client_that_wants_one_answer() -> None:
    for body, more in ((STREAM, ()), (gzip.compress(STREAM), (("content-encoding", "gzip"),))):
        response = replayed(Response(200, (*EVENTS, *more), body, events=True), "gzip", Mode(stream=False, usage=False))
        assert json.loads(response.body)["choices"][0]["message"]["content"] == "Hi"
        assert not response.events
        assert response.headers == (("content-type", "application/json"),)


@pytest.mark.parametrize("usage", [False, True])
def test_an_answer_is_unfolded_for_a_client_that_wants_a_stream(*, usage: bool) -> None:
    response = replayed(WHOLE, "", Mode(stream=True, usage=usage))
    assert response.events
    assert response.body.endswith(b"data: [DONE]\n\n")
    assert (b'"usage"' in response.body) is usage


@pytest.mark.parametrize(
    ("response", "mode"),
    [
        (WHOLE._replace(status=429), Mode(stream=True, usage=True)),
        (Response(400, EVENTS, STREAM, events=True), Mode(stream=False, usage=False)),
        (WHOLE, Mode(stream=False, usage=False)),
        (Response(200, EVENTS, STREAM, events=True), Mode(stream=True, usage=False)),
    ],
)
def test_errors_and_answers_in_the_right_mode_stay_as_they_are(response: Response, mode: Mode) -> None:
    assert replayed(response, "", mode) == response


@pytest.mark.parametrize(("stated", "shown"), [("1234", "1234"), ("0", "0"), ("-1", "0"), ("x", "0"), ("9" * 30, "0")])
def test_an_answer_to_head_says_the_length_it_was_recorded_with(stated: str, shown: str) -> None:
    response = replayed(Response(200, (("Content-Length", stated),), b""), "")

    (head,) = wire.render(response, wire.HEAD)
    (whole,) = wire.render(response, 0)

    assert f"\r\nContent-Length: {shown}\r\n".encode() in head
    assert b"\r\nContent-Length: 0\r\n" in whole
