"""Requests, responses and headers as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.messages import Answer, Request, Response, header, without_headers

HEADERS = (("Content-Type", "a"), ("X", "1"), ("x", "2"))


def test_a_header_is_found_in_any_case_the_first_of_several() -> None:
    assert header(HEADERS, "content-type") == header(HEADERS, "CONTENT-TYPE") == "a"
    assert header(HEADERS, "X") == "1"
    assert header(HEADERS, "y") is None
    assert header((), "y") is None


def test_headers_are_left_out_by_their_lower_case_names() -> None:
    assert without_headers(HEADERS, frozenset({"x"})) == (("Content-Type", "a"),)
    assert without_headers(HEADERS, frozenset()) == HEADERS


@pytest.mark.parametrize(
    ("uri", "scheme", "authority", "target"),
    [
        ("https://api.openai.com/v1/models", "https", "api.openai.com", "/v1/models"),
        ("HTTP://Host:81/p?a=b#part", "http", "Host:81", "/p?a=b"),
        ("https://host", "https", "host", "/"),
        ("https://host?a=1", "https", "host", "/?a=1"),
        ("https://host#part", "https", "host", "/"),
        ("https://u:p@[::1]:8080/x//y", "https", "u:p@[::1]:8080", "/x//y"),
        ("https://host//openai/deployments/a", "https", "host", "//openai/deployments/a"),
        ("https://host/p?u=http://other/", "https", "host", "/p?u=http://other/"),
        ("**REDACTED**", "", "", "/**REDACTED**"),
        ("/v1/models", "", "", "/v1/models"),
        ("", "", "", "/"),
        ("://x", "", "", "/://x"),
    ],
)
def test_a_uri_is_taken_apart(uri: str, scheme: str, authority: str, target: str) -> None:
    request = Request.from_uri("GET", uri, HEADERS, b"body")
    assert (request.scheme, request.authority, request.target) == (scheme, authority, target)
    assert (request.method, request.headers, request.body) == ("GET", HEADERS, b"body")


@pytest.mark.parametrize("uri", ["https://api.openai.com/v1/models?a=b", "http://host:8080/", "/only/a/path?x"])
def test_a_uri_is_put_together_again(uri: str) -> None:
    assert Request.from_uri("GET", uri).uri == uri


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("/p?a=b", "/p", "a=b"), ("/p", "/p", ""), ("/p?a?b", "/p", "a?b"), ("//p%2F?", "//p%2F", "")],
)
def test_path_and_query_are_as_they_were_sent(target: str, path: str, query: str) -> None:
    assert (Request("GET", target).path, Request("GET", target).query) == (path, query)


@pytest.mark.parametrize(
    ("scheme", "authority", "host", "port"),
    [
        ("http", "Host.Example", "host.example", 80),
        ("https", "host", "host", 443),
        ("https", "host:8443", "host", 8443),
        ("https", "me:pass@host:1", "host", 1),
        ("http", "[::1]:9", "::1", 9),
        ("http", "[::1]", "::1", 80),
        ("", "", "", None),
        ("http", "host:99999", "host", None),
        ("http", "host:x", "host", None),
        ("http", "[::1", "", None),
        ("http", "[1.2]", "", None),
    ],
)
def test_host_and_port(scheme: str, authority: str, host: str, port: int | None) -> None:
    request = Request("GET", "/", (), b"", scheme, authority)
    assert (request.host, request.port) == (host, port)


@given(st.text(), st.text())
def test_no_authority_is_too_odd(authority: str, uri: str) -> None:
    request = Request("GET", "/", (), b"", "http", authority)
    assert "@" not in request.host
    assert request.port is None or request.port > 0
    assert Request.from_uri("GET", uri).target.startswith("/")


def test_answers_are_equal_only_to_themselves_so_that_each_keeps_its_own_bytes() -> None:
    one, other = Answer(Response(200), "dummy"), Answer(Response(200), "dummy")
    assert one != other
    one.rendered[0] = (b"bytes",)
    assert other.rendered == {}
