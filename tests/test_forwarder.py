"""The answer of an upstream as the app gets it, and the journal's entry about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_upstream import WHOLE, answer, upstream
from faulty_upstream import Upstream as Faulty

from stubserver.cassettes.library import Library
from stubserver.forwarder import Forwarder, Once, Recording
from stubserver.journal import Journal
from stubserver.keeper import Keeper, RecordMode
from stubserver.messages import Request
from stubserver.scrubbing import Scrubber
from stubserver.upstream import Upstream

KEY = "3f9a0c77d1b24e6f8a55c0de11223344"
ASKED = Request("POST", "/v1/x?a=b", (("Host", "127.0.0.1:1"), ("api-key", KEY)), b"{}", "http", "127.0.0.1:1")


@pytest.fixture
def up() -> Iterator[Faulty]:
    with upstream() as found:
        yield found


def forwarder(up: Faulty, tape: Path | None = None, mode: str = "new_episodes") -> tuple[Forwarder, Journal]:
    journal, scrubber = Journal(), Scrubber()
    recording = None
    if tape is not None:
        recording = Recording(RecordMode(mode), Keeper(tape, Library([tape], to_come=True), scrubber))
    return Forwarder(Upstream(up.url), scrubber, journal, recording), journal


@pytest.mark.parametrize(("mode", "always"), [("new_episodes", False), ("once", False), ("all", True)])
def test_what_a_forwarder_does(mode: str, always: bool, up: Faulty, tmp_path: Path) -> None:  # noqa: FBT001
    found, _ = forwarder(up, tmp_path / "t.yaml", mode)

    assert (found.records, found.always) == (True, always)


def test_without_a_recording_it_only_passes_on(up: Faulty) -> None:
    found, journal = forwarder(up)
    live = found.answer(ASKED).live
    assert live is not None
    body = b"".join(live.pieces())

    assert (found.records, found.always) == (False, False)
    assert (body, journal[-1].source, journal[-1].cassette, journal[-1].note) == (WHOLE, "forwarded", "", "")


def test_the_entry_is_written_when_the_answer_is_through(up: Faulty, tmp_path: Path) -> None:
    up.otherwise = answer(json.dumps({"your key": KEY}).encode())
    found, journal = forwarder(up, tmp_path / "t.yaml")
    given = found.answer(ASKED)
    assert given.live is not None
    assert (given.forwarded, len(journal)) == (True, 0)
    body = b"".join(given.live.pieces())

    entry = journal[-1]
    assert KEY.encode() in body
    assert entry.response.body == b'{"your key": "REDACTED"}'
    assert entry.cassette.endswith("t.yaml#1")
    assert f"{entry.request.scheme}://{entry.request.authority}" == up.url
    assert ("Host", f"127.0.0.1:{up.port}") in entry.request.headers
    assert KEY not in repr(entry.request)


def test_an_upstream_that_is_not_there_is_an_error_of_the_api(up: Faulty) -> None:
    up.close()
    found, journal = forwarder(up)
    given = found.answer(ASKED)

    error = json.loads(given.response.body)["error"]
    assert (given.response.status, given.live) == (502, None)
    assert (error["type"], error["code"]) == ("server_error", "upstream_error")
    assert ("x-stubserver-source", "forwarded") in given.response.headers
    assert journal[-1].note == error["message"] == "the upstream refused the connection"
    assert KEY not in repr((journal[-1].request, journal[-1].response))


def test_what_is_waited_for_is_taken_once_and_not_endlessly_many() -> None:
    once = Once(None)  # type: ignore[arg-type]  # nothing is sent
    for i in range(1005):
        once.add(b"%d" % i)
    assert not once.take(b"4")
    assert once.take(b"5")
    assert not once.take(b"5")
    assert once.take(b"1004")
