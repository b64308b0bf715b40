"""Which answers are kept: whole ones, of a status that would come again."""

from __future__ import annotations

import gzip
import zlib

import pytest

from stubserver.keeping import KEPT_STATUSES, decoded, why_not

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
CHUNK = b'data: {"object": "chat.completion.chunk", "choices": []}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("status", [200, 201, 204, 299, *sorted(KEPT_STATUSES)])
def test_a_status_that_would_come_again_is_kept(status: int) -> None:
    assert why_not(status, (), b"") is None


@pytest.mark.parametrize("status", [199, 300, 307, 401, 403, 408, 409, 425, 429, 500, 502, 503, 529])
def test_a_status_that_may_pass_is_not_kept(status: int) -> None:
    assert why_not(status, (), b"") == f"status {status} is not kept (see --record-status)"
    assert why_not(status, (), b"", frozenset({status})) is None


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (JSON, b'{"a": 1}', None),
        (JSON, b" [1, 2] ", None),
        (JSON, b'"text"', None),
        (JSON, b"1", None),
        (JSON, b"null", None),
        (JSON, b"", None),
        (JSON, b'{"a": 1', "no whole JSON"),
        (JSON, b'{"a": 1} {', "no whole JSON"),
        (JSON, b"1, 2", "no whole JSON"),
        (JSON, b"<html>", "no whole JSON"),
        ("application/problem+json; charset=utf-8", b"{", "no whole JSON"),
        ("APPLICATION/JSON", b"{", "no whole JSON"),
        ("text/plain", b"{", None),
        ("audio/mpeg", b"\xff\x00", None),
        (SSE, CHUNK + DONE, None),
        (SSE, b"data: {}\r\n\r\ndata:[DONE]\r\n\r\n", None),
        (SSE, b": ping\n\nevent: x\n\n" + CHUNK + DONE, None),
        (SSE, b"data: anything\n\n", None),
        (SSE, b'event: response.completed\ndata: {"type": "response.completed"}\n\n', None),
        (SSE, b'data: {"type": "response.incomplete", "response": {"error": null}}\n\n', None),
        (SSE, b'data: {"type": "message_stop"}\n\n', None),
        (SSE, CHUNK, "without its last event"),
        (SSE, b'data: {"type": "message_start"}\n\ndata: {"type": "message_delta"}\n\n', "without its last event"),
        (SSE, b'data: {"type": "content_block_delta", "delta": {}}\n\n', "without its last event"),
        (SSE, b'data: {"type": "transcript.text.delta"}\n\n', "without its last event"),
        (SSE, b'data: {"type": "transcript.text.done"}\n\n', None),
        (SSE, b'data: {"type": "speech.audio.delta"}\n\n', "without its last event"),
        (SSE, b'data: {"object": "text_completion"}\n\n', "without its last event"),
        (SSE, b'data: {"a": "chat.completion.chunk"}\n\n', None),
        (SSE, b'data: {"type": ["response."]}\n\n', None),
        (SSE, b'data: {"type": "response.failed", "response": {"error": {"code": "x"}}}\n\n', "holds an error"),
        (SSE, b'data: {"type":"response.created"}\n\n', "without its last event"),
        (SSE, CHUNK + b"data: [DO", "within an event"),
        (SSE, CHUNK + DONE[:-1], "within an event"),
        (SSE, b"", "within an event"),
        (SSE, CHUNK + b'data: {"error": {"message": "x"}}\n\n' + DONE, "holds an error"),
        (SSE, b'event: error\ndata: {"type": "error"}\n\n' + DONE, "holds an error"),
        (SSE, b'data: {"error": null}\n\n' + DONE, None),
    ],
)
def test_what_is_whole_is_kept(kind: str, body: bytes, reason: str | None) -> None:
    found = why_not(200, (("Content-Type", kind),), body)

    assert found is None if reason is None else reason in str(found)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


BODY = b'{"a": 1}' * 50
PACKED = gzip.compress(BODY)


@pytest.mark.parametrize(
    ("encoding", "body", "plain"),
    [
        (None, BODY, BODY),
        ("identity", BODY, BODY),
        ("gzip", PACKED, BODY),
        ("X-GZIP", PACKED, BODY),
        (" gzip ", b"", b""),
        ("deflate", zlib.compress(BODY), BODY),
        ("deflate", raw_deflate(BODY), BODY),
        ("gzip", PACKED[:-1], None),
        ("gzip", PACKED[:20], None),
        ("gzip", PACKED + PACKED, None),
        ("gzip", PACKED + b"\0", None),
        ("gzip", PACKED[:-8] + bytes(8), None),
        ("gzip", BODY, None),
        ("deflate", BODY, None),
        ("br", BODY, None),
        ("gzip, gzip", gzip.compress(PACKED), None),
        ("gzip", gzip.compress(bytes(64 * 1024 * 1024), 1), bytes(64 * 1024 * 1024)),
        ("gzip", gzip.compress(bytes(64 * 1024 * 1024 + 1), 1), None),
    ],
    ids=range(18),
)
def test_a_body_is_unpacked_whole_or_not_at_all(encoding: str | None, body: bytes, plain: bytes | None) -> None:
    headers = () if encoding is None else (("content-encoding", encoding),)

    assert decoded(headers, body) == plain
