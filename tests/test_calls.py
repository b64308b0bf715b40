"""Calls that are under way may be ended from outside, once, and only while they are; their URLs are in no log."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from faulty_upstream import JSON, answer, upstream
from raw import Raw

from stubserver.calls import Call, interrupt, interruptible
from stubserver.errors import UpstreamError
from stubserver.stub import StubServer

KEY = "sk-proj-" + "Zq3" * 16


def test_a_wait_is_stopped_and_the_call_knows_why() -> None:
    call, stopped = Call(), []
    call.waits(lambda: stopped.append(1))
    interrupt(threading.get_ident())
    call.end()

    assert stopped == [1]
    with pytest.raises(UpstreamError, match="the client left"):
        call.check()


def test_a_wait_that_is_not_worth_it_does_not_begin() -> None:
    call = Call()
    interrupt(threading.get_ident())
    with pytest.raises(UpstreamError, match="the client left"):
        call.waits(lambda: None)
    call.end()


def test_a_call_that_has_ended_is_not_stopped() -> None:
    call = Call()
    call.waits(pytest.fail)
    call.end()
    interrupt(threading.get_ident())
    call.interrupt()
    call.end()


def test_who_left_before_the_call_began_ends_it_too_and_none_behind_the_block() -> None:
    with interruptible() as left:
        Call().end()
        left()
        call = Call()
        with pytest.raises(UpstreamError, match="the client left"):
            call.check()
        call.end()
    call = Call()
    call.check()
    call.end()


def test_only_the_newest_call_of_a_thread_is_under_way() -> None:
    first, second = Call(), Call()
    first.end()
    interrupt(threading.get_ident())
    second.end()

    assert (first.left, second.left) == (False, True)


@pytest.mark.parametrize("error", [ValueError, RuntimeError, OSError])
def test_a_wait_that_has_just_ended_is_no_error(error: type[Exception]) -> None:
    def stop() -> None:
        raise error

    call = Call()
    call.waits(stop)
    call.interrupt()
    call.end()


def test_urllib3_logs_no_url_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It warns of fields it cannot read, and at DEBUG of everything; with the URL, in which a key may stand."""
    with caplog.at_level(logging.DEBUG), upstream() as up:
        up.otherwise = answer(b"{}", JSON, "X(A): b", "no field at all")
        stub = StubServer(tmp_path / "t.yaml", record_mode="new_episodes", upstream=up.url)
        with stub, Raw(("127.0.0.1", stub.port)) as client:
            client.ask(f"GET /v1/models?key={KEY} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert KEY not in caplog.text
    logging.getLogger("urllib3.connection").warning("of somebody else")
    assert "of somebody else" in caplog.text
