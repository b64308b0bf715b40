"""The way to the upstream: its address, what is sent, and the reading of what comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import responses
from faulty_upstream import JSON, answer, head, silent
from faulty_upstream import Upstream as Faulty
from faulty_upstream import upstream as faulty

from stubserver.errors import UpstreamError, UsageError
from stubserver.messages import Request
from stubserver.upstream import Timeouts, Upstream

GET = Request("GET", "/v1/models")


@pytest.fixture
def up() -> Iterator[Faulty]:
    with faulty() as found:
        yield found


def body_of(up: Faulty, request: Request = GET, timeouts: Timeouts | None = None) -> bytes:
    to = Upstream(up.url, timeouts=timeouts)
    reply = to.send(request)
    try:
        return b"".join(reply.pieces())
    finally:
        reply.close()
        to.close()


@pytest.mark.parametrize(
    ("url", "target", "uri"),
    [
        ("https://api.openai.com", "/v1/models", "https://api.openai.com/v1/models"),
        ("https://api.openai.com/", "/v1/models", "https://api.openai.com/v1/models"),
        ("https://api.openai.com/v1", "/v1/models", "https://api.openai.com/v1/models"),
        ("https://api.openai.com/v1/", "/v1/models?a=b", "https://api.openai.com/v1/models?a=b"),
        ("https://host/api/v1", "/models", "https://host/api/v1/models"),
        ("http://host:8000/x", "/v1/models", "http://host:8000/x/v1/models"),
        ("http://[::1]:8000", "/v1//a%2Fb", "http://[::1]:8000/v1//a%2Fb"),
        ("http://host", "*", "http://host/"),
        ("http://host", "//other/x", "http://host//other/x"),
        ("http://host", "/@other", "http://host/@other"),
    ],
)
def test_where_a_request_goes(url: str, target: str, uri: str) -> None:
    assert Upstream(url).uri(Request("GET", target)) == uri


@pytest.mark.parametrize(
    ("url", "address"),
    [("http://a", ("a", 80)), ("https://a/v1", ("a", 443)), ("http://[::1]:81", ("::1", 81)), ("http://A:1", ("a", 1))],
)
def test_the_address_of_the_upstream(url: str, address: tuple[str, int]) -> None:
    assert Upstream(url).address == address


@pytest.mark.parametrize(
    "url", ["", "host", "//host", "file:///a", "http://", "http://a:0", "http://a:x", "http://a?b", "http://a#b"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Upstream(url)


@pytest.mark.parametrize("url", ["http://user@host", "http://:secret-word@host", "http://u:secret-word@host?x"])
def test_a_password_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Upstream(url)

    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(("method", "length"), [("POST", "0"), ("PUT", "0"), ("GET", None), ("DELETE", None)])
def test_a_body_that_is_empty_has_a_length_where_one_is_expected(method: str, length: str | None, up: Faulty) -> None:
    body_of(up, Request(method, "/v1/x"))

    assert up.asked[0].fields.get("content-length") == length


def test_names_of_fields_arrive_with_the_bodys_bytes(up: Faulty) -> None:
    body_of(up, Request("POST", "/v1/x", (("X-One", "a"), ("x-two", "ü")), b"\x00\xff"))

    assert (up.asked[0].fields["x-one"], up.asked[0].body) == ("a", b"\x00\xff")


def test_pieces_are_never_empty_and_nothing_is_unpacked(up: Faulty) -> None:
    up.otherwise = answer(b"\x1f\x8bnot unpacked", JSON, "Content-Encoding: gzip")
    to = Upstream(up.url)
    reply = to.send(GET)
    pieces = list(reply.pieces())
    to.close()

    assert b"".join(pieces) == b"\x1f\x8bnot unpacked"
    assert all(pieces)
    assert (reply.status, reply.reason, reply.length, reply.received) == (200, "OK", 14, 14)


def test_an_answer_that_takes_longer_than_it_may_in_all_is_ended(up: Faulty) -> None:
    up.otherwise = answer(b"x")

    with pytest.raises(UpstreamError, match="longer than it may") as caught:
        body_of(up, timeouts=Timeouts(total=0.0))

    assert caught.value.status == 504


def test_a_wait_for_the_next_piece_can_be_ended(up: Faulty) -> None:
    up.otherwise = silent(head("Content-Length: 9") + b"a")
    to = Upstream(up.url)
    reply = to.send(GET)
    pieces = reply.pieces()

    assert next(pieces) == b"a"
    reply.interrupt()
    with pytest.raises(UpstreamError):
        next(pieces)
    reply.interrupt()  # and once more, when there is nothing to end
    to.close()


@pytest.mark.parametrize(
    ("field", "kept"),
    [("X-A: one\r\n\ttwo", "one two"), ("X-A: b\x01c", "b c"), ("X-A:  spaced ", "spaced"), ("X-A: é", "é")],
)
def test_values_are_made_fit_to_be_passed_on(field: str, kept: str, up: Faulty) -> None:
    up.otherwise = answer(b"{}", JSON, field)
    to = Upstream(up.url)
    with_field = dict(to.send(GET).headers)
    to.close()

    assert with_field["X-A"] == kept


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (requests.exceptions.SSLError("https://a/?key=secret"), 502, "certificate"),
        (requests.exceptions.ConnectTimeout("https://a/?key=secret"), 504, "did not accept the connection"),
        (requests.exceptions.ReadTimeout("https://a/?key=secret"), 504, "did not answer in time"),
        (requests.exceptions.ConnectionError("NameResolutionError https://a/?key=secret"), 502, "does not resolve"),
        (requests.exceptions.ConnectionError("refused https://a/?key=secret"), 502, "refused the connection"),
        (requests.exceptions.ConnectionError("https://a/?key=secret"), 502, "broke off"),
        (requests.exceptions.InvalidURL("https://a/?key=secret"), 502, "broke off"),
        (OSError("https://a/?key=secret"), 502, "broke off"),
    ],
)
def test_what_failed_is_said_without_the_address(raised: Exception, status: int, said: str) -> None:
    with responses.RequestsMock() as mock:
        mock.get("http://upstream/v1/models", body=raised)
        with pytest.raises(UpstreamError, match=said) as caught:
            Upstream("http://upstream").send(GET)

    assert caught.value.status == status
    assert "secret" not in str(caught.value)
