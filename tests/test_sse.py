"""Event streams: cut into events and joined again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.sse import data_of, frame, is_event_stream, split

LINES = st.sampled_from([b"data: a", b"data:b", b"data", b"event: x", b": comment", b"id: 1", b"", b"data: \xff", b"x"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(
    st.one_of(st.binary(), st.lists(st.tuples(LINES, ENDS)).map(lambda ls: b"".join(b for line in ls for b in line)))
)
def test_the_pieces_join_to_the_whole(body: bytes) -> None:
    pieces = split(body)
    assert b"".join(pieces) == body
    assert all(pieces)


@given(st.lists(st.lists(LINES.filter(bool), min_size=1, max_size=3), max_size=5), ENDS)
def test_each_event_is_one_piece_whatever_the_line_end(events: list[list[bytes]], end: bytes) -> None:
    written = [b"".join(line + end for line in [*lines, b""]) for lines in events]
    assert split(b"".join(written)) == written


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        (b"", []),
        (b"data: 1\n\n", [b"data: 1\n\n"]),
        (b"data: 1\n\ndata: 2\n\n", [b"data: 1\n\n", b"data: 2\n\n"]),
        (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"]),
        (b"data: 1\r\rdata: 2\r\r", [b"data: 1\r\r", b"data: 2\r\r"]),
        (b"data: 1\n\r\ndata: 2\r\n\n", [b"data: 1\n\r\n", b"data: 2\r\n\n"]),
        (b"data: 1\r\r\ndata: 2\n\rx", [b"data: 1\r\r\n", b"data: 2\n\r", b"x"]),
        (b"data: 1\r\ndata: 2\r\n\r\n", [b"data: 1\r\ndata: 2\r\n\r\n"]),
        (b"data: 1\n\ndata: 2\n", [b"data: 1\n\n", b"data: 2\n"]),
        (b"data: 1", [b"data: 1"]),
        (b"data: 1\n\n\ndata: 2\n\n", [b"data: 1\n\n", b"\ndata: 2\n\n"]),
        (b"\n\n", [b"\n\n"]),
    ],
)
def test_where_a_stream_is_cut(body: bytes, pieces: list[bytes]) -> None:
    assert split(body) == pieces


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: one\n\n", b"one"),
        (b"data:one\r\n\r\n", b"one"),
        (b"data:  one\n\n", b" one"),
        (b"event: x\ndata: one\ndata: two\nid: 3\n\n", b"one\ntwo"),
        (b"data: one\rdata:two\r\r", b"one\ntwo"),
        (b"data:\n\n", b""),
        (b": only a comment\n\n", None),
        (b"event: ping\n\n", None),
        (b"database: no\n\n", None),
        (b"", None),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes | None) -> None:
    assert data_of(event) == data


@given(st.lists(st.binary().filter(lambda data: b"\n" not in data and b"\r" not in data)))
def test_what_was_framed_is_read_again(datas: list[bytes]) -> None:
    events = list(frame(datas))
    assert split(b"".join(events)) == events
    assert [data_of(event) for event in events] == datas


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/event-stream", True),
        ("text/event-stream; charset=utf-8", True),
        ("Text/Event-Stream ;charset=utf-8", True),
        ("application/json", False),
        ("text/event-stream-2", False),
        ("", False),
        (None, False),
    ],
)
def test_an_event_stream_is_known_by_its_content_type(content_type: str | None, *, expected: bool) -> None:
    assert is_event_stream(content_type) is expected
