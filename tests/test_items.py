"""The text of one item becomes an interaction, whichever of the two ways it is read."""

from __future__ import annotations

import pytest
import yaml
from tapes import recorded

from stubserver.cassettes import layout
from stubserver.cassettes.items import read_item, read_item_request, read_item_response

PLAIN = yaml.dump(
    [recorded({"q": "Don't?\n"}, "data: é\n\n", headers={"x-a": ["b", "c"]})], Dumper=yaml.CDumper
).encode()


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b"  response:\n", b"# a comment\n  response:\n"),
        PLAIN.replace(b"uri: ", b"uri: >-\n      "),
        PLAIN + b"\n# the end\n",
        PLAIN.removesuffix(b"\n"),
    ],
)
def test_an_item_outside_the_layout_reads_as_one_inside(other: bytes) -> None:
    assert layout.match(PLAIN) is not None
    assert layout.match(other) is None
    assert read_item(other) == read_item(PLAIN)
    assert read_item_request(other) == read_item(PLAIN).request
    assert read_item_response(other) == read_item(PLAIN).response


def test_line_ends_of_windows_are_read_by_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_item(PLAIN)
    monkeypatch.delattr("stubserver.cassettes.items._parsed")
    windows = PLAIN.replace(b"\n", b"\r\n")
    assert read_item(windows) == (read_item_request(windows), read_item_response(windows)) == expected


def test_what_the_layout_cannot_decode_goes_to_the_full_parser() -> None:
    odd = PLAIN.replace(b"- b\n", b"- 'b\xc2\x85c'\n")
    assert layout.match(odd) is not None
    assert ("x-a", "b c") in read_item(odd).response.headers
    assert read_item_response(odd) == read_item(odd).response
    odd = PLAIN.replace(b"REDACTED", b"'a\xe2\x80\xa8b'")
    assert read_item_request(odd).headers[0] == ("authorization", "a\u2028b")


def test_headers_are_left_unread_only_by_the_layout_and_only_when_asked() -> None:
    assert read_item_request(PLAIN, headers=False).headers == ()
    assert read_item_request(PLAIN).headers == read_item(PLAIN).request.headers != ()


def test_what_is_no_http_is_no_request() -> None:
    assert read_item_request(b"- kind: websocket\n  messages: []\n") is None


def test_an_item_outside_the_layout_is_checked_as_a_whole() -> None:
    with pytest.raises(ValueError, match="no status code"):
        read_item_request(PLAIN.replace(b"code: 200", b"code: null"))


@pytest.mark.parametrize("text", [b"- a\n- b\n", b"a: 1\n", b""])
def test_a_text_that_is_not_one_item_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not one list item"):
        read_item(text)


def test_an_error_names_the_line_in_the_file() -> None:
    with pytest.raises(ValueError, match=r"line 98: the tag python/name:os\.system is refused"):
        read_item_request(PLAIN.replace(b"method: POST", b"method: !!python/name:os.system ''"), line=90)


@pytest.mark.parametrize(
    "body", [b"", b"\0\xff", b"a\r\nb", "é\u2028".encode(), b"\x1f\x8b\x08", b" lead", b"12", b"null", b"~"]
)
def test_bodies_come_back_byte_for_byte(body: bytes) -> None:
    text = body.decode() if body.isascii() or body.startswith(b"\xc3") else body
    item = recorded(text, text)
    raw = yaml.dump([item], Dumper=yaml.CDumper).encode()
    assert (read_item(raw).request.body, read_item(raw).response.body) == (body, body)
