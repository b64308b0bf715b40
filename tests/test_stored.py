"""An answer that was stored is the one that would have been made."""

from __future__ import annotations

import dataclasses

import pytest

from stubserver import replay
from stubserver.answers import CLOSE, HEAD, HTTP10, render
from stubserver.messages import Answer, Response
from stubserver.recorder import source_headers
from stubserver.stored import StoredAnswer, seal

JSON = (("Content-Type", "application/json"), ("x-request-id", "é1"), ("Connection", "keep-alive"))
MORE = source_headers("replayed", "tapes/a.yaml#7")
RESPONSES = {
    "whole": Response(200, JSON, b'{"a": 1}', "OK"),
    "empty": Response(200, (), b""),
    "an error": Response(429, (("retry-after", "1"),), b"{}", "Slow Down"),
    "an odd status": Response(299, JSON, b"x"),
    "no content": Response(204, JSON, b""),
    "to HEAD": Response(200, (("Content-Length", "512"),), b""),
    "events": Response(200, (("content-type", "text/event-stream"),), b"data: 1\n\ndata: [DONE]\n\n", events=True),
    "timed": Response(200, JSON, b"data: 1\n\n", "OK", events=True, times=(5, 12)),
    "identity": Response(200, (("content-encoding", "identity"),), b"plain"),
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("flags", [0, CLOSE, HTTP10, HEAD])
def test_it_is_sent_as_the_other_would_be(name: str, flags: int) -> None:
    recorded = RESPONSES[name]
    made = replay.replayed(recorded, "gzip")
    made = made._replace(headers=(*made.headers, *MORE))
    stored = seal(recorded)
    assert stored is not None
    answer = StoredAnswer(stored, "tapes/a.yaml", 7)
    sent = answer.rendered.get(flags) or render(answer.response, flags)
    assert sent == render(made, flags)
    assert answer.response._replace(reason=made.reason) == made
    assert (answer.source, answer.cassette, answer.events) == ("replayed", "tapes/a.yaml#7", made.events)
    assert answer.size >= len(made.body)


def test_what_depends_on_the_client_is_not_stored() -> None:
    assert seal(Response(200, (("Content-Encoding", "gzip"),), b"x")) is None


def test_a_response_can_be_put_in_its_place() -> None:
    answer = StoredAnswer(seal(RESPONSES["whole"]) or b"", "", 1)
    answer.response = RESPONSES["empty"]
    assert answer.response == RESPONSES["empty"]


def test_it_has_every_field_of_an_answer() -> None:
    answer, plain = (
        StoredAnswer(seal(RESPONSES["events"]) or b"", "x", 1),
        Answer(RESPONSES["events"], "replayed", "x#1"),
    )
    for field in dataclasses.fields(Answer):
        if field.name != "response":
            assert getattr(answer, field.name) == getattr(plain, field.name)
    assert (answer.status, answer.events, answer.forwarded) == (plain.status, plain.events, plain.forwarded)


def test_it_may_be_changed_as_every_answer() -> None:
    answer = StoredAnswer(seal(RESPONSES["events"]) or b"", "x", 1)
    changed = answer.changed(fault="late")
    assert (changed.fault, changed.response, changed.cassette) == ("late", answer.response, "x#1")
    assert changed.rendered is answer.rendered
    assert answer.fault == ""
