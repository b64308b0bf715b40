"""What the relay passes on, when it hears the end, and what it says went through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stubserver import relay as module
from stubserver.errors import UpstreamError
from stubserver.messages import Headers
from stubserver.relay import Relay, Relayed

STREAM = (("content-type", "text/event-stream"),)
DONE = b"data: [DONE]\n\n"


class Reply:
    """Stands for an answer of the upstream; an exception among *pieces* is raised."""

    status, reason = 200, "OK"

    def __init__(self, *pieces: bytes | Exception, headers: Headers = (), length: int | None = None) -> None:
        self._pieces = iter(pieces)
        self.headers = headers
        self.length = length
        self.has_body = length != 0
        self.closed = False
        self.interrupted = False
        self.stays = False

    def pieces(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def interrupt(self) -> None:
        self.interrupted = True

    def stay(self) -> None:
        self.stays = True

    def close(self) -> None:
        self.closed = True


def relayed(reply: Any) -> tuple[Relay, list[Relayed]]:
    heard: list[Relayed] = []
    return Relay(reply, (("x-stubserver-source", "recorded"),), 0.0, heard.append), heard


@pytest.mark.parametrize(
    ("pieces", "events"),
    [
        ((b"data: 1\n\ndata: 2\n\n",), [b"data: 1\n\n", b"data: 2\n\n"]),
        ((b"data: 1\n", b"\ndata", b": 2\n\n"), [b"data: 1\n\n", b"data: 2\n\n"]),
        ((b"data: 1\r\n\r", b"\n"), [b"data: 1\r\n\r\n"]),
        ((b"data: \xc3", b"\xbc\n\n"), [b"data: \xc3\xbc\n\n"]),
        ((b"data: 1\n\ndata: 2",), [b"data: 1\n\n", b"data: 2"]),
        ((), []),
    ],
)
def test_events_leave_whole(pieces: tuple[bytes, ...], events: list[bytes]) -> None:
    relay, heard = relayed(Reply(*pieces, headers=STREAM))

    assert [piece for piece in relay.pieces() if piece] == events
    assert (heard[0].body, heard[0].cut, len(heard[0].times)) == (b"".join(pieces), "", len(events))


def test_the_last_byte_leaves_when_the_end_was_heard() -> None:
    reply = Reply(b"one", b"two")
    relay, heard = relayed(reply)
    pieces = relay.pieces()

    assert [next(pieces) for _ in range(3)] == [b"", b"on", b"etw"]
    assert heard == []
    assert next(pieces) == b"o"
    assert (heard[0].body, heard[0].cut, reply.closed) == (b"onetwo", "", True)
    assert list(pieces) == []
    assert len(heard) == 1


def test_without_a_body_the_end_is_heard_before_the_head_leaves() -> None:
    relay, heard = relayed(Reply(length=0))

    assert list(relay.pieces()) == []
    assert heard == [Relayed(b"", "", heard[0].times)]


def test_an_answer_that_breaks_is_passed_on_as_broken() -> None:
    reply = Reply(b"data: 1\n\n", UpstreamError(502, "it broke"), headers=STREAM)
    relay, heard = relayed(reply)
    pieces = relay.pieces()

    assert [next(pieces), next(pieces)] == [b"", b"data: 1\n\n"]
    with pytest.raises(UpstreamError, match="it broke"):
        next(pieces)
    assert (heard[0].cut, reply.closed) == ("it broke", True)


def test_an_answer_that_breaks_behind_its_last_event_is_still_broken() -> None:
    relay, heard = relayed(Reply(DONE, UpstreamError(502, "it broke"), headers=STREAM))

    with pytest.raises(UpstreamError):
        list(relay.pieces())
    assert heard[0].cut == "it broke"


@pytest.mark.parametrize("taken", [1, 2])
def test_a_client_that_leaves_early_ends_the_upstream_request(taken: int) -> None:
    reply = Reply(b"data: 1\n\n", DONE, headers=STREAM)
    relay, heard = relayed(reply)
    pieces = relay.pieces()
    for _ in range(taken):
        next(pieces)
    pieces.close()

    assert heard[0].cut == "the client left before the end"
    assert reply.closed


@pytest.mark.parametrize(
    "end",
    [
        DONE,
        b"data:[DONE]\n\n",
        b"event: message_stop\ndata: {}\n\n",
        *(b"event: response.%b\ndata: {}\n\n" % end for end in (b"completed", b"incomplete", b"failed")),
    ],
)
def test_a_client_that_leaves_behind_the_last_event_had_it_all(end: bytes) -> None:
    reply = Reply(end, b": the rest\n\n", headers=STREAM)
    relay, heard = relayed(reply)
    pieces = relay.pieces()
    assert next(pieces) == b""
    assert not reply.stays
    assert next(pieces) == end
    assert reply.stays
    pieces.close()

    assert (heard[0].body, heard[0].cut) == (end + b": the rest\n\n", "")


def test_text_about_the_last_event_is_not_the_last_event() -> None:
    relay, heard = relayed(Reply(b'data: {"a": "data: [DONE]"}\n\n', b"data: 2\n\n", headers=STREAM))
    pieces = relay.pieces()
    assert [next(pieces), len(next(pieces))] == [b"", 29]
    pieces.close()

    assert heard[0].cut == "the client left before the end"


def test_an_upstream_that_does_not_end_behind_the_last_event_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAIN_SECONDS", 0.0)
    reply = Reply(DONE, headers=STREAM)
    relay, heard = relayed(reply)
    pieces = relay.pieces()
    assert [next(pieces), next(pieces)] == [b"", DONE]

    def late() -> Iterator[bytes]:
        while not reply.interrupted:
            pass
        raise UpstreamError(502, "interrupted")
        yield b""

    reply.pieces = late  # type: ignore[method-assign]
    pieces.close()

    assert heard[0].cut == "the upstream did not end after the last event"


def test_what_is_too_large_is_passed_on_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KEPT", 10)
    relay, heard = relayed(Reply(b"12345", b"67890", b"1"))

    assert b"".join(relay.pieces()) == b"12345678901"
    assert heard[0].body is None


def test_fields_of_the_connection_are_not_passed_on() -> None:
    headers = (
        ("X-Stubserver-Source", "dummy"),
        ("Connection", "close, X-Mine"),
        ("X-Mine", "1"),
        ("Content-Length", "5"),
        ("X-Other", "2"),
    )
    relay, _ = relayed(Reply(headers=(*headers, ("Transfer-Encoding", "chunked"))))

    assert relay.head.headers == (("X-Other", "2"), ("x-stubserver-source", "recorded"))


@pytest.mark.parametrize("pieces", [(b"a",), (b"a", b"b"), (b"a", b"bc", b"d"), (b"abc",), ()])
def test_whatever_the_pieces_are_all_bytes_leave_and_the_last_one_last(pieces: tuple[bytes, ...]) -> None:
    relay, heard = relayed(Reply(*pieces))
    sent = [(piece, len(heard)) for piece in relay.pieces()]

    assert b"".join(piece for piece, _ in sent) == b"".join(pieces)
    assert [piece for piece, ended in sent if ended] == ([b"".join(pieces)[-1:]] if pieces else [])
