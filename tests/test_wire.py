"""The parser and the writer of HTTP/1.1, fed with bytes: no sockets here."""

from __future__ import annotations

import itertools
import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver import sse, wire
from stubserver.errors import ProtocolError
from stubserver.messages import Request, Response
from stubserver.wire import CLOSE, HEAD, HTTP10, Limits, Parsed, RequestParser, State, ends_connection, render

GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
DEFAULTS = Limits()
SMALL = Limits(head=400, fields=4, target=100, body=20)


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, *fields, "\r\n"]).encode("latin-1")


def post(*fields: str, body: bytes = b"") -> bytes:
    return head("POST /p HTTP/1.1", "Host: a", *fields) + body


def get(*fields: str) -> bytes:
    return head("GET /g HTTP/1.1", "Host: a", *fields)


def chunked(body: bytes) -> bytes:
    return post("Transfer-Encoding: chunked", body=body)


class Outcome:
    """What a parser makes of some pieces: the requests, and the error that ended it."""

    def __init__(self, pieces: list[bytes], limits: Limits = DEFAULTS) -> None:
        self.parser = RequestParser(limits)
        self.parsed: list[Parsed] = []
        self.error: ProtocolError | None = None
        try:
            for piece in pieces:
                self.parser.receive(piece)
                while (parsed := self.parser.next_request()) is not None:
                    self.parsed.append(parsed)
        except ProtocolError as error:
            self.error = error

    @property
    def status(self) -> int | None:
        return self.error.status if self.error else None

    @property
    def targets(self) -> list[str]:
        return [parsed.request.target for parsed in self.parsed]


def whole(data: bytes, limits: Limits = DEFAULTS) -> Outcome:
    return Outcome([data], limits)


def bytewise(data: bytes, limits: Limits = DEFAULTS) -> Outcome:
    return Outcome([data[i : i + 1] for i in range(len(data))], limits)


def refusal(data: bytes, limits: Limits = DEFAULTS) -> ProtocolError:
    """Return the error that *data* ends in, whole and byte by byte."""
    at_once, dripping = whole(data, limits), bytewise(data, limits)
    assert at_once.error is not None
    assert dripping.status == at_once.status
    assert not at_once.parsed
    assert not dripping.parsed
    return at_once.error


def only(data: bytes, limits: Limits = DEFAULTS) -> Parsed:
    """Return the one request that *data* is, whole and byte by byte."""
    at_once = whole(data, limits)
    assert at_once.error is None
    assert bytewise(data, limits).parsed == at_once.parsed
    assert at_once.parser.state is State.IDLE
    [parsed] = at_once.parsed
    return parsed


ACCEPTED = {
    "get": (get(), Request("GET", "/g", (("Host", "a"),), authority="a"), 0),
    "head": (head("HEAD /h HTTP/1.1", "Host: a"), Request("HEAD", "/h", (("Host", "a"),), authority="a"), HEAD),
    "options star": (
        head("OPTIONS * HTTP/1.1", "Host: a"),
        Request("OPTIONS", "*", (("Host", "a"),), authority="a"),
        0,
    ),
    "body": (
        post("Content-Length: 3", body=b"abc"),
        Request("POST", "/p", (("Host", "a"), ("Content-Length", "3")), b"abc", authority="a"),
        0,
    ),
    "chunks": (
        chunked(b"3\r\nabc\r\n0\r\n\r\n"),
        Request("POST", "/p", (("Host", "a"), ("Transfer-Encoding", "chunked")), b"abc", authority="a"),
        0,
    ),
    "absolute form": (
        head("GET http://b.test:81/x?y HTTP/1.1", "Host: a"),
        Request("GET", "/x?y", (("Host", "a"),), authority="b.test:81"),
        0,
    ),
    "1.0 without Host": (head("GET /old HTTP/1.0"), Request("GET", "/old"), HTTP10 | CLOSE),
}


@pytest.mark.parametrize(("data", "request_", "flags"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_request_is_taken_apart(data: bytes, request_: Request, flags: int) -> None:
    assert only(data) == Parsed(request_, flags)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(ACCEPTED, 2)), ids=" then ".join)
def test_pipelined_pair_is_two_requests(first: str, second: str) -> None:
    data = ACCEPTED[first][0] + ACCEPTED[second][0]
    expected = [Parsed(*ACCEPTED[first][1:]), Parsed(*ACCEPTED[second][1:])]
    assert whole(data).parsed == expected
    assert bytewise(data).parsed == expected


@pytest.mark.parametrize(
    ("line", "target", "authority"),
    [
        ("GET /a//b/../c?d=%2f&e HTTP/1.1", "/a//b/../c?d=%2f&e", "a"),
        ("GET //double HTTP/1.1", "//double", "a"),
        ("GET /?? HTTP/1.1", "/??", "a"),
        ('GET /"<>\\^`{|} HTTP/1.1', '/"<>\\^`{|}', "a"),
        ("GET http://h HTTP/1.1", "/", "h"),
        ("GET http://h?q HTTP/1.1", "/?q", "h"),
        ("GET HTTP://H/x HTTP/1.1", "/x", "H"),
        ("GET https://h/x HTTP/1.1", "/x", "h"),
        ("GET http://[::1]:80/x HTTP/1.1", "/x", "[::1]:80"),
    ],
)
def test_target_is_kept_as_sent_and_absolute_form_names_the_authority(line: str, target: str, authority: str) -> None:
    request = only(head(line, "Host: a")).request
    assert (request.target, request.authority) == (target, authority)


@pytest.mark.parametrize(
    ("version", "connection", "flags"),
    [
        ("1.1", None, 0),
        ("1.1", "keep-alive", 0),
        ("1.1", "close", CLOSE),
        ("1.1", "Close", CLOSE),
        ("1.1", "TE, close", CLOSE),
        ("1.1", "keep-alive,close", CLOSE),
        ("1.1", "closed", 0),
        ("1.1", "Upgrade, HTTP2-Settings", 0),
        ("1.0", None, HTTP10 | CLOSE),
        ("1.0", "keep-alive", HTTP10),
        ("1.0", "Keep-Alive", HTTP10),
        ("1.0", "TE , keep-alive", HTTP10),
        ("1.0", "keep-alive, close", HTTP10 | CLOSE),
    ],
)
def test_connection_field_decides_whether_the_connection_ends(version: str, connection: str | None, flags: int) -> None:
    fields = [f"Connection: {connection}"] if connection else []
    assert only(head(f"GET / HTTP/{version}", "Host: a", *fields)).flags == flags


def test_several_connection_fields_count_together() -> None:
    assert only(get("Connection: keep-alive", "Connection: close")).flags == CLOSE


@pytest.mark.parametrize(
    "upgrade", [("Upgrade: h2c", "Connection: Upgrade"), ("Upgrade: websocket", "Connection: Upgrade")]
)
def test_upgrade_is_ignored_and_its_body_belongs_to_it(upgrade: tuple[str, ...]) -> None:
    data = post(*upgrade, "Content-Length: 3", body=b"abc")
    assert only(data).request.body == b"abc"
    assert whole(data + GOOD).targets == ["/p", "/good"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X:a", "a"),
        ("X: \t a b \t ", "a b"),
        ("X:", ""),
        ("X:  ", ""),
        ("X: a:b: c", "a:b: c"),
        ("X: caf\xe9 \xff", "caf\xe9 \xff"),
        ("!#$%&'*+-.^_`|~9z: x", "x"),
    ],
)
def test_field_value_is_kept_without_the_space_around_it(line: str, value: str) -> None:
    assert only(get(line)).request.headers[1] == (line.partition(":")[0], value)


@pytest.mark.parametrize(
    "host",
    ["", "a", "a.b:80", "127.0.0.1:8080", "[::1]", "[::1]:8080", "[fe80::1%eth0]", "a_b.test", "a:", "xn--caf-dma"],
)
def test_host_names_are_accepted(host: str) -> None:
    assert only(head("GET / HTTP/1.1", f"Host: {host}")).request.authority == host


# fmt: off
HOSTS_REFUSED = (
    "a b", "a, b", "a/b", "u@a", "http://a", "a?b", "a#b", "a\\b", "[::1", "::1", "[g::1]", "[1:2]", "[]", "[::1]x",
    "[a]:1", "a:b", "a:1:2", "a:123456", "caf\xe9", "<a>",
)
LINES_REFUSED = (
    "GET /x", "GET", "GET ", "GET  /x HTTP/1.1", "GET /x  HTTP/1.1", "GET /x HTTP/1.1 ", " GET /x HTTP/1.1",
    "GET\t/x\tHTTP/1.1", "GET\x0b/x\x0bHTTP/1.1", "GET\xa0/x\xa0HTTP/1.1", "GET /x y HTTP/1.1", "GET /x\ty HTTP/1.1",
    "GET /caf\xe9 HTTP/1.1", "GET /x\x7f HTTP/1.1", "GET /x\x00 HTTP/1.1", "GET /x\x1b[0m HTTP/1.1", "GET /x http/1.1",
    "GET /x HTTP/1", "GET /x HTTP/11", "GET /x HTTP/1.1.1", "GET /x HTTP/1.10", "GET /x HTTP/+1.1", "GET /x HTTP/a.b",
    "GET /x HTTPS/1.1", "GET /x ICY/1.1", "G(T /x HTTP/1.1", "G\x00T /x HTTP/1.1", "G\xc9T /x HTTP/1.1",
    ": /x HTTP/1.1", "GET x HTTP/1.1", "GET ?x HTTP/1.1", "GET * HTTP/1.1", "POST * HTTP/1.1",
    "GET ftp://h/x HTTP/1.1", "GET file:///etc/passwd HTTP/1.1", "GET http:///x HTTP/1.1", "GET http:/x HTTP/1.1",
    "GET http://u:p@h/x HTTP/1.1", "GET http://[::1/x HTTP/1.1", "GET http://h:b/x HTTP/1.1",
    "GET /x#fragment HTTP/1.1", "GET http://h/x#fragment HTTP/1.1", "PRI /x HTTP/1.1", "DESCRIBE /x HTTP/1.1",
)
VALUES_OF_LENGTH = (
    "", " ", "-1", "-0", "+5", "0x5", "0b1", "5_0", "5 5", "5,5", "5, 5", "5;", "5.0", "5e0", "1e1", "five", "abc",
    "\xb2", "5\xa0", "\xa05", "5\x0b", "5\x00", '"5"', "NaN",
)
VALUES_OF_CODING = (
    "", "identity", "gzip", "xchunked", "chunkedx", "chunked, chunked", "gzip, chunked", "chunked, gzip",
    "chunked, identity", "identity, chunked", ", chunked", "chunked,", "chunked;q=1", "chunked ; a", '"chunked"',
    "\x0bchunked", "chunked\x0b", "chunked\x00", "\xa0chunked", "ch\xfcnked",
)
SIZES_OF_CHUNK = (
    b"", b" 5", b"5 ", b"\t5", b"0x5", b"+5", b"-5", b"5_", b"g", b"5h", b"5,5", b"5\x00", b"5;\x00", b"5;a\x7f",
    b"\xb2", b"0" * 17,
)
PIECES_OF_HTTP = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b"GET ", b"POST ", b"/x", b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n", b"Host: a\r\n", b"Content-Length: ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"12345", b"Transfer-Encoding: ", b"chunked", b"0\r\n\r\n", b"5\r\n", b"5;a\r\n", b"Expect: 100-continue\r\n",
    b"\x00", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X: a\r\n", b"\xff", b"http://a/",
    GOOD,
)
# fmt: on
HOST_REFUSED = {
    "missing": head("GET / HTTP/1.1"),
    "twice": head("GET / HTTP/1.1", "Host: a", "Host: b"),
    "twice the same": head("GET / HTTP/1.1", "Host: a", "host: a"),
    "twice in 1.0": head("GET / HTTP/1.0", "Host: a", "Host: a"),
    **{f"is {host!r}": head("GET / HTTP/1.1", f"Host: {host}") for host in HOSTS_REFUSED},
}
LINE_REFUSED = {repr(line): head(line, "Host: a") for line in LINES_REFUSED}
FIELDS_REFUSED = {
    repr(fields): get(*fields)
    for fields in (
        ("X : a",),
        ("X\t: a",),
        (" X: a",),
        ("X: a", " folded"),
        ("X: a", "\tfolded"),
        ("X: a", " "),
        ("X",),
        (": a",),
        ("X Y: a",),
        ("X(: a",),
        ("X\xe9: a",),
        ("X\x00: a",),
        ("X: a\x00b",),
        ("X: a\x01b",),
        ("X: a\x1bb",),
        ("X: a\x7fb",),
        ("X: a\x0bY: b",),
        ("X: a\rY: b",),
        ("X: a\nY: b",),
        ("X: a\r",),
        ("X: a\n",),
        ("garbage line",),
        ("\x00",),
        ("@: a",),
        ("{}: a",),
    )
}
LINE_ENDS_REFUSED = {
    "LF alone": b"GET /x HTTP/1.1\nHost: a\n\n",
    "LF after the line": b"GET /x HTTP/1.1\nHost: a\r\n\r\n",
    "LF after a field": b"GET /x HTTP/1.1\r\nHost: a\n\r\n",
    "LF as the empty line": b"GET /x HTTP/1.1\r\nHost: a\r\n\nGET",
    "CR alone": b"GET /x HTTP/1.1\rHost: a\r\r",
    "CR CR LF": b"GET /x HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "CR CR LF as the empty line": b"GET /x HTTP/1.1\r\nHost: a\r\n\r\r\n",
    "LF first": b"\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR first": b"\rGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "five empty lines": b"\r\n" * 5 + GOOD,
}
LENGTHS_REFUSED = {
    f"length {value!r}": post(f"Content-Length: {value}", body=b"12345") for value in VALUES_OF_LENGTH
} | {
    "length twice": post("Content-Length: 5", "Content-Length: 6", body=b"12345"),
    "length twice the same": post("Content-Length: 5", "content-length: 5", body=b"12345"),
    "length with a space before the colon": post("Content-Length : 5", body=b"12345"),
    "length folded": post("Content-Length:", " 5", body=b"12345"),
}
CODINGS_REFUSED = {
    f"coding {value!r}": post(f"Transfer-Encoding: {value}", body=b"0\r\n\r\n") for value in VALUES_OF_CODING
} | {
    "coding twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding twice, one unknown": post("Transfer-Encoding: x", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding with a space before the colon": post("Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "coding folded": post("Transfer-Encoding:", " chunked", body=b"0\r\n\r\n"),
    "coding in 1.0": head("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "coding, then length": post("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"),
    "length, then coding": post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "length 0 and coding": post("Content-Length: 0", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "length and unknown coding": post("Content-Length: 5", "Transfer-Encoding: x", body=b"12345"),
    "length and empty coding": post("Content-Length: 5", "Transfer-Encoding:", body=b"12345"),
}
REFUSED_400 = LINE_REFUSED | FIELDS_REFUSED | HOST_REFUSED | LINE_ENDS_REFUSED | LENGTHS_REFUSED | CODINGS_REFUSED
OTHERWISE_REFUSED = {
    "HTTP/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "version 0.9": (505, head("GET /x HTTP/0.9", "Host: a")),
    "version 1.2": (505, head("GET /x HTTP/1.2", "Host: a")),
    "version 2.0": (505, head("GET /x HTTP/2.0", "Host: a")),
    "version 9.9": (505, head("GET /x HTTP/9.9", "Host: a")),
    "CONNECT": (405, head("CONNECT a:443 HTTP/1.1", "Host: a")),
    "unknown method": (405, head("BREW /x HTTP/1.1", "Host: a")),
    "method in small letters": (405, head("get /x HTTP/1.1", "Host: a")),
    "very long method": (405, head("M" * 5000 + " /x HTTP/1.1", "Host: a")),
    "other expectation": (417, post("Expect: 200-ok", "Content-Length: 5", body=b"12345")),
    "two expectations": (417, post("Expect: 100-continue, x", "Content-Length: 5", body=b"12345")),
    "empty expectation": (417, post("Expect:", "Content-Length: 5", body=b"12345")),
}
REFUSED = {name: (400, data) for name, data in REFUSED_400.items()} | OTHERWISE_REFUSED


@pytest.mark.parametrize(("status", "data"), REFUSED.values(), ids=REFUSED.keys())
def test_malformed_request_is_refused_and_nothing_behind_it_is_read(status: int, data: bytes) -> None:
    assert refusal(data + SMUGGLED).status == status
    after_good = whole(GOOD + data + SMUGGLED)
    assert (after_good.targets, after_good.status) == (["/good"], status)


@pytest.mark.parametrize(
    "start",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"\x00",
        b" ",
        b"\xff\xfb",
        b"{",
        b"\x80\x2e\x01",  # SSL 2
        b"GET /x\r\n",  # HTTP/0.9 sends no more
        b"GET /x HTTP/1.1\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO mail\r\n",
    ],
)
def test_what_cannot_become_a_request_is_refused_before_it_ends(start: bytes) -> None:
    assert refusal(start).status == 400


def test_four_empty_lines_before_a_request_are_skipped() -> None:
    assert only(b"\r\n" * 4 + GOOD).request.target == "/good"
    assert whole((b"\r\n" * 4 + GOOD) * 2).targets == ["/good", "/good"]


def test_empty_line_after_a_request_leaves_the_parser_idle() -> None:
    outcome = whole(GOOD + b"\r\n")
    assert outcome.targets == ["/good"]
    assert outcome.parser.state is State.IDLE


@pytest.mark.parametrize("space", ["", " ", "\t", "   \t "])
@pytest.mark.parametrize("value", ["5", "05", "0" * 40 + "5", "0" * 5000 + "5"])
def test_length_may_have_space_around_and_zeros_before(space: str, value: str) -> None:
    assert only(post(f"Content-Length:{space}{value}{space}", body=b"12345")).request.body == b"12345"


@pytest.mark.parametrize("value", ["chunked", "Chunked", "CHUNKED", " \tchunked "])
def test_coding_is_chunked_in_any_case(value: str) -> None:
    data = post(f"Transfer-Encoding:{value}", body=b"5\r\n12345\r\n0\r\n\r\n")
    assert only(data).request.body == b"12345"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "TRACE"])
def test_body_belongs_to_its_request_with_every_method(method: str) -> None:
    data = head(f"{method} /m HTTP/1.1", "Host: a", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED
    assert only(data).request.body == SMUGGLED


CHUNKS = {
    "none": (b"0\r\n\r\n", b""),
    "one": (b"5\r\n12345\r\n0\r\n\r\n", b"12345"),
    "several": (b"1\r\n1\r\n2\r\n23\r\n2\r\n45\r\n0\r\n\r\n", b"12345"),
    "hexadecimal": (b"A\r\n1234567890\r\na\r\n1234567890\r\n0\r\n\r\n", b"1234567890" * 2),
    "leading zeros": (b"0000000000000005\r\n12345\r\n000\r\n\r\n", b"12345"),
    "line ends as data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    "extension": (b"5;a=b\r\n12345\r\n0;c\r\n\r\n", b"12345"),
    "extension with space": (b"5 \t; a = b\r\n12345\r\n0\r\n\r\n", b"12345"),
    "quoted extension": (b'5;a="b;\\"c"\r\n12345\r\n0\r\n\r\n', b"12345"),
    "trailers": (b"5\r\n12345\r\n0\r\nX: a\r\nContent-Length: 99\r\n\r\n", b"12345"),
    "a request as data": (b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), SMUGGLED),
}


@pytest.mark.parametrize(("body", "content"), CHUNKS.values(), ids=CHUNKS.keys())
def test_chunked_body_is_joined_and_the_next_request_follows(body: bytes, content: bytes) -> None:
    parsed = only(chunked(body))
    assert parsed.request.body == content
    assert [name for name, _ in parsed.request.headers] == ["Host", "Transfer-Encoding"]
    assert whole(chunked(body) + GOOD).targets == ["/p", "/good"]
    assert bytewise(chunked(body) + GOOD).targets == ["/p", "/good"]


CHUNKS_REFUSED = {
    **{f"size {size!r}": size + b"\r\n12345\r\n0\r\n\r\n" for size in SIZES_OF_CHUNK},
    "size line ends with LF": b"5\n12345\r\n0\r\n\r\n",
    "size line ends with CR": b"5\r12345\r\n0\r\n\r\n",
    "CR within the size line": b"5;\ra\r\n12345\r\n0\r\n\r\n",
    "data longer than its size": b"4\r\n12345\r\n0\r\n\r\n",
    "data ends with LF": b"5\r\n12345\n0\r\n\r\n",
    "data shorter than its size": b"6\r\n12345\r\n0\r\n\r\n",
    "extension without an end": b"5;" + b"a" * 5000,
    "size without an end": b"0" * 5000,
    "trailer without colon": b"0\r\nX\r\n\r\n",
    "trailer folded": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer with NUL": b"0\r\nX: \0\r\n\r\n",
    "trailer with space before the colon": b"0\r\nX : a\r\n\r\n",
    "trailer ends with LF": b"0\r\nX: a\n\r\n",
    "end with LF": b"0\r\n\n",
}


@pytest.mark.parametrize("body", CHUNKS_REFUSED.values(), ids=CHUNKS_REFUSED.keys())
def test_malformed_chunks_are_refused(body: bytes) -> None:
    assert refusal(chunked(body)).status == 400
    assert not whole(chunked(body) + SMUGGLED).parsed


def test_too_many_trailers_are_refused() -> None:
    def trailers(number: int) -> bytes:
        return chunked(b"0\r\n" + b"X: a\r\n" * number + b"\r\n")

    assert only(trailers(50)).request.body == b""
    assert refusal(trailers(51)).status == 431


@pytest.mark.parametrize(
    "data", [post("Content-Length: 5", body=b"12345"), chunked(b"5;a\r\n12345\r\n0\r\nX: a\r\n\r\n")]
)
def test_truncated_request_is_no_request(data: bytes) -> None:
    for length in range(len(data)):
        outcome = whole(data[:length])
        assert (outcome.parsed, outcome.error) == ([], None)


def test_state_follows_the_request() -> None:
    parser = RequestParser(DEFAULTS)
    states = []
    for piece in (b"", b"POST /p HT", b"TP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", b"1", b"2"):
        parser.receive(piece)
        parser.next_request()
        states.append((parser.state, parser.body_size))
    assert states == [(State.IDLE, 0), (State.HEAD, 0), (State.BODY, 2), (State.BODY, 2), (State.IDLE, 0)]


def test_body_size_of_chunks_counts_what_was_announced() -> None:
    parser = RequestParser(DEFAULTS)
    sizes = []
    for piece in (chunked(b""), b"5\r\n", b"12345\r\n", b"10\r\n"):
        parser.receive(piece)
        parser.next_request()
        sizes.append(parser.body_size)
    assert sizes == [0, 5, 5, 21]


TOO_LARGE = {
    f"length {value[:30]}, {len(value)} digits": value
    for value in ("67108865", "20000000000", str(2**63 - 1), str(2**63), str(2**64 + 5), "1" + "0" * 30, "9" * 5000)
}


@pytest.mark.parametrize("value", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_huge_length_is_too_large_before_any_body_comes(value: str) -> None:
    error = refusal(post(f"Content-Length: {value}"))
    assert error.status == 413
    assert str(DEFAULTS.body) in str(error)


@pytest.mark.parametrize(
    "body", [b"4000001\r\n", b"ffffffffffffffff\r\n", b"5\r\n12345\r\n4000000\r\n"], ids=["just", "huge", "in all"]
)
def test_huge_chunks_are_too_large_before_their_data_comes(body: bytes) -> None:
    assert refusal(chunked(body)).status == 413


def test_limits_are_the_largest_that_is_accepted() -> None:
    assert only(post("Content-Length: 20", body=b"a" * 20), SMALL).request.body == b"a" * 20
    assert refusal(post("Content-Length: 21"), SMALL).status == 413
    assert only(chunked(b"a\r\n1234567890\r\n" * 2 + b"0\r\n\r\n"), SMALL).request.body == b"1234567890" * 2
    assert refusal(chunked(b"a\r\n1234567890\r\n" * 2 + b"1\r\n"), SMALL).status == 413
    target = "/" + "t" * 99
    assert only(head(f"GET {target} HTTP/1.1", "Host: a"), SMALL).request.target == target
    assert refusal(head(f"GET {target}t HTTP/1.1", "Host: a"), SMALL).status == 414
    assert len(only(get("X: a", "Y: a", "Z: a"), SMALL).request.headers) == 4
    assert refusal(get("W: a", "X: a", "Y: a", "Z: a"), SMALL).status == 431
    padded = get("X: " + "a" * (400 - len(get("X: "))))
    assert len(only(padded, SMALL).request.headers) == 2
    assert refusal(get("X: a" + "a" * (400 - len(get("X: ")))), SMALL).status == 431


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        (b"GET /", b"a", 414),
        (b"G", b"G", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: a\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"a" * 100, 431),
    ],
)
def test_endless_head_is_refused_soon_after_its_limit(start: bytes, more: bytes, status: int) -> None:
    kilobyte = more * (1024 // len(more))
    pieces = [start, *[kilobyte] * 100]
    needed = next(n for n in range(len(pieces)) if Outcome(pieces[:n]).error)
    assert Outcome(pieces[:needed]).status == status
    assert needed < (DEFAULTS.target if status == 414 else DEFAULTS.head) // 1024 + 5


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (post("Expect: 100-continue", "Content-Length: 5"), True),
        (post("Expect: 100-Continue", "Content-Length: 5"), True),
        (chunked(b"").replace(b"Host", b"Expect: 100-continue\r\nHost"), True),
        (post("Content-Length: 5"), False),
        (head("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 5"), False),
        (post("Expect: 100-continue", "Content-Length: 0"), False),
        (post("Expect: 100-continue"), False),
        (post("Expect: 100-continue", "Content-Length: 5", body=b"12345"), False),
        (post("Expect: 100-continue"[:-4]), False),
    ],
)
def test_continue_is_wanted_where_a_body_is_held_back(data: bytes, wanted: bool) -> None:  # noqa: FBT001
    outcome = whole(data)
    assert outcome.parser.wants_continue is wanted
    outcome.parser.continued()
    assert outcome.parser.wants_continue is False


def test_too_large_body_is_refused_instead_of_continued() -> None:
    assert refusal(post("Expect: 100-continue", "Content-Length: 99999999999")).status == 413


# ---------------------------------------------------------------------------------------------------- any bytes

FRAGMENTS = st.sampled_from(PIECES_OF_HTTP)
SOUP = st.lists(FRAGMENTS | st.binary(max_size=4), max_size=30).map(b"".join)
MUTATED = st.builds(
    lambda data, at, gone, put: data[:at] + put + data[at + gone :],
    st.sampled_from([data for data, *_ in ACCEPTED.values()]).map(lambda data: data + GOOD),
    st.integers(0, 120),
    st.integers(0, 3),
    FRAGMENTS | st.binary(max_size=3),
)


def cut(data: bytes, points: list[int]) -> list[bytes]:
    ends = sorted({min(point, len(data)) for point in points})
    return [data[a:b] for a, b in itertools.pairwise([0, *ends, len(data)])]


@given(st.binary(max_size=500) | SOUP | MUTATED)
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    outcome = whole(data, SMALL)
    assert len(outcome.parsed) <= len(data) // len(b"GET / HTTP/1.0\r\n\r\n")
    if outcome.error:
        assert outcome.status in {400, 405, 413, 414, 417, 431, 505}
        assert str(outcome.error).isprintable()
        json.dumps(str(outcome.error)).encode("ascii")


@given(SOUP | MUTATED, st.lists(st.integers(0, 300), max_size=8))
def test_any_bytes_are_read_the_same_however_they_are_cut(data: bytes, points: list[int]) -> None:
    at_once, in_pieces = whole(data), Outcome(cut(data, points))
    assert in_pieces.parsed == at_once.parsed
    assert (in_pieces.error is None) == (at_once.error is None)


class H11:
    """The whole requests, each as method and body, that another parser finds in *data*; ``refused``: it gave up."""

    def __init__(self, data: bytes) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.refused = False
        self._connection = h11.Connection(h11.SERVER)
        self._connection.receive_data(data)
        try:
            while (request := self._next()) is not None:
                self.requests.append(request)
        except h11.RemoteProtocolError:
            self.refused = True

    def _next(self) -> tuple[str, bytes] | None:
        connection = self._connection
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        if not isinstance(event, h11.EndOfMessage):
            return None
        connection.send(h11.Response(status_code=204, headers=[]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is h11.DONE:
            connection.start_next_cycle()
        return request.method.decode(), body


@given(MUTATED | SOUP)
def test_another_parser_reads_no_accepted_request_otherwise(data: bytes) -> None:
    accepted = whole(data).parsed
    last = next((i for i, parsed in enumerate(accepted) if parsed.flags & CLOSE), len(accepted))
    ours = [(parsed.request.method, parsed.request.body) for parsed in accepted[: last + 1]]
    theirs = H11(data)
    assert ours[: len(theirs.requests)] == theirs.requests[: len(ours)]
    assert theirs.refused or len(theirs.requests) >= len(ours)


# ---------------------------------------------------------------------------------------------------- answers


def test_a_known_head_is_a_whole_request_only_with_all_that_belongs_to_it() -> None:
    data = post("Content-Length: 2", body=b"hi")
    parser = RequestParser(DEFAULTS)
    assert Outcome([data, GOOD]).error is None
    parsed = parser.whole(data)
    assert parsed == only(data)
    assert parser.whole(GOOD) == only(GOOD)
    for cut in (data[:-1], data + b"x", data[:-4], data[:-6], GOOD[:-2], GOOD[:-4], GOOD + b"x", GOOD + GOOD, b""):
        assert parser.whole(cut) is None
    assert parser.state is State.IDLE


def test_notes_are_those_of_the_head() -> None:
    parser = RequestParser(DEFAULTS)
    parser.receive(GOOD + get() + GOOD)
    notes = []
    while parser.next_request():
        notes.append(parser.notes)
    assert notes[0] is notes[2] is not notes[1]
    notes[0][str] = "kept"
    assert RequestParser(DEFAULTS).whole(GOOD)
    other = RequestParser(DEFAULTS)
    other.whole(GOOD)
    assert other.notes.pop(str) == "kept"


WHOLE = Response(200, (("content-type", "text/plain"),), b"hello")
EVENTS = Response(200, (("content-type", "text/event-stream"),), b"data: 1\n\ndata: [DONE]\n\n", events=True)
ALL_FLAGS = [close | old | head_ for close in (0, CLOSE) for old in (0, HTTP10) for head_ in (0, HEAD)]
START = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n"
EVENTS_START = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, START + b"\r\nhello"),
        (CLOSE, START + b"Connection: close\r\n\r\nhello"),
        (HTTP10, START + b"Connection: keep-alive\r\n\r\nhello"),
        (HTTP10 | CLOSE, START + b"Connection: close\r\n\r\nhello"),
        (HEAD, START + b"\r\n"),
        (HEAD | CLOSE, START + b"Connection: close\r\n\r\n"),
        (HEAD | HTTP10, START + b"Connection: keep-alive\r\n\r\n"),
        (HEAD | HTTP10 | CLOSE, START + b"Connection: close\r\n\r\n"),
    ],
)
def test_whole_answer_is_one_piece_with_its_length(flags: int, expected: bytes) -> None:
    assert render(WHOLE, flags) == (expected,)


CHUNKED_PIECES = (b"9\r\ndata: 1\n\n\r\n", b"e\r\ndata: [DONE]\n\n\r\n", b"0\r\n\r\n")
PLAIN_PIECES = (b"data: 1\n\n", b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, (EVENTS_START + b"Transfer-Encoding: chunked\r\n\r\n", *CHUNKED_PIECES)),
        (CLOSE, (EVENTS_START + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", *CHUNKED_PIECES)),
        (HTTP10, (EVENTS_START + b"Connection: close\r\n\r\n", *PLAIN_PIECES)),
        (HTTP10 | CLOSE, (EVENTS_START + b"Connection: close\r\n\r\n", *PLAIN_PIECES)),
        (HEAD, (EVENTS_START + b"Content-Length: 23\r\n\r\n",)),
        (HEAD | CLOSE, (EVENTS_START + b"Content-Length: 23\r\nConnection: close\r\n\r\n",)),
        (HEAD | HTTP10, (EVENTS_START + b"Content-Length: 23\r\nConnection: keep-alive\r\n\r\n",)),
        (HEAD | HTTP10 | CLOSE, (EVENTS_START + b"Content-Length: 23\r\nConnection: close\r\n\r\n",)),
    ],
)
def test_stream_is_a_piece_for_each_event(flags: int, expected: tuple[bytes, ...]) -> None:
    assert render(EVENTS, flags) == expected


@pytest.mark.parametrize("flags", ALL_FLAGS)
@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("status", [100, 103, 204, 304])
def test_status_without_a_body_has_neither_body_nor_framing(status: int, events: bool, flags: int) -> None:  # noqa: FBT001
    [piece] = render(Response(status, (), b"data: 1\n\n", events=events), flags)
    lower = piece.lower()
    assert piece.endswith(b"\r\n\r\n")
    assert b"content-length" not in lower
    assert b"transfer-encoding" not in lower
    assert b"data" not in lower


@pytest.mark.parametrize("flags", ALL_FLAGS)
@pytest.mark.parametrize(
    "response", [WHOLE, EVENTS, Response(204, (), b"", events=True)], ids=["whole", "events", "204"]
)
def test_connection_ends_exactly_when_the_answer_says_so(response: Response, flags: int) -> None:
    assert ends_connection(response, flags) == (b"\r\nConnection: close\r\n" in render(response, flags)[0])


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (200, "", b"HTTP/1.1 200 OK"),
        (429, "", b"HTTP/1.1 429 Too Many Requests"),
        (299, "", b"HTTP/1.1 299 Unknown"),
        (200, "Fine by me", b"HTTP/1.1 200 Fine by me"),
    ],
)
def test_reason_is_the_recorded_one_or_the_usual(status: int, reason: str, line: bytes) -> None:
    assert render(Response(status, reason=reason), 0)[0].startswith(line + b"\r\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nset-cookie: b"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x\r\ny", "a"),
        ("x: a\r\ny", "a"),
        ("x y", "a"),
        ("x:", "a"),
        ("", "a"),
        ("caf\xe9", "a"),
        ("x", "\u2028"),
        ("Content-Length", "3"),
        ("transfer-encoding", "chunked"),
        ("Connection", "keep-alive"),
    ],
)
def test_header_that_could_break_the_framing_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"header|latin-1"):
        render(Response(200, ((name, value),), b"hello"), 0)


def test_reason_that_could_break_the_framing_is_refused() -> None:
    with pytest.raises(ValueError, match="line end"):
        render(Response(200, reason="OK\r\nX: a"), 0)


NAMES = st.from_regex(r"[Xx]-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
RESPONSES = st.builds(
    Response,
    st.sampled_from([200, 201, 204, 205, 304, 400, 404, 429, 500, 503, 599]),
    st.lists(st.tuples(NAMES, VALUES), max_size=5).map(tuple),
    st.binary(max_size=200) | st.lists(st.sampled_from([b"data: 1", b"\n", b"\r", b"\r\n", b"\n\n"])).map(b"".join),
    st.just(""),
    st.booleans(),
    st.none() | st.integers(0, 10**6),
)


def as_client_reads(data: bytes, method: str) -> tuple[h11.Response, bytes]:
    """Read one answer as another implementation's client does; what is left over is an error."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response, body


@given(RESPONSES, st.sampled_from(ALL_FLAGS))
def test_any_answer_reads_back_as_it_was(response: Response, flags: int) -> None:
    read, body = as_client_reads(b"".join(render(response, flags)), "HEAD" if flags & HEAD else "GET")
    bodiless = response.status in {204, 304} or flags & HEAD
    assert (read.status_code, body) == (response.status, b"" if bodiless else response.body)
    sent = [(name.lower().encode(), value.encode()) for name, value in response.headers]
    assert [pair for pair in read.headers if pair[0].startswith(b"x-")] == sent


@given(st.binary(max_size=200))
def test_pieces_of_a_stream_are_its_events(body: bytes) -> None:
    pieces = render(Response(200, (), body, events=True), HTTP10)
    assert list(pieces[1:]) == sse.split(body)


def test_hop_by_hop_headers_are_all_in_lower_case() -> None:
    assert all(name == name.lower() for name in wire.HOP_BY_HOP)
    assert {"connection", "transfer-encoding"} <= wire.HOP_BY_HOP
