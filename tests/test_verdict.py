"""What is said of a client: by the book on a journal with made-up times, and of real clients."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import openai
import pytest
import requests
from asking import get
from tapes import ask, request

from stubserver import StubServer
from stubserver.canonical import Rules
from stubserver.journal import Entry
from stubserver.messages import Answer, Delivery, Headers, Response
from stubserver.verdict import Verdict, judge

OK = (200, "")


def entry(number: int, at: float, said: tuple[int, str], headers: Headers = (), **more: Any) -> Entry:
    """Make one entry: received at *at* seconds, answered within 10 ms, with a status and a fault."""
    status, fault = said
    delivery = Delivery()
    delivery.received = 100.0 + at
    delivery.last = 100.01 + at + more.pop("took", 0.0)
    delivery.cut = more.pop("cut", False)
    body = more.pop("body", b"")
    asked = request(ask(more.pop("question", "hi")), authorization=more.pop("key", "Bearer k"))
    return Entry(number, 0.0, asked, Answer(Response(status, headers, body), "fault", fault=fault), delivery)


def said(*attempts: Any) -> list[str]:
    """Judge attempts, each as ``(at, (status, fault), headers, options)``."""
    entries = []
    for number, (at, what, *more) in enumerate(attempts, 1):
        entries.append(entry(number, at, what, more[0] if more else (), **(more[1] if len(more) > 1 else {})))
    return [finding.what for finding in judge(entries, Rules().key).findings]


def wait(seconds: str) -> Headers:
    return (("retry-after", seconds),)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([(0, OK)], []),
        ([(0, OK), (1, OK)], []),
        ([(0, (500, "")), (0.5, OK)], []),
        ([(0, (503, ""), wait("1")), (1.02, OK)], []),
        ([(0, (429, ""), wait("2")), (1, OK)], ["ignored Retry-After"]),
        ([(0, (429, ""), (("retry-after-ms", "500"), ("retry-after", "2"))), (0.6, OK)], []),
        ([(0, (429, ""), wait("soon")), (0.6, OK)], []),
        ([(0, (400, "")), (1, OK)], ["retried what must not be"]),
        ([(0, (401, "bad-key"))], []),
        ([(0, (409, "")), (1, OK)], []),
        ([(0, (500, ""), (("x-should-retry", "false"),)), (1, OK)], ["retried what must not be"]),
        ([(0, (400, ""), (("x-should-retry", "true"),)), (1, OK)], []),
        ([(0, (500, "")), (0.05, OK)], ["no backoff"]),
        ([(0, (500, "")), (0.05, (500, "")), (0.5, OK)], []),
        ([(t / 5, (500, "")) for t in range(5)], ["retry storm"]),
        ([(t, (500, "")) for t in range(11)], ["retry storm"]),
        ([(t, (500, "")) for t in range(10)], []),
        ([(0, (500, ""))], ["gave up"]),
        ([(0, (500, "")), (1, (500, ""))], ["gave up"]),
        ([(0, (429, ""), wait("3600"))], []),
        ([(0, (0, "reset"))], ["gave up"]),
        ([(0, (200, "reset,after-events=3"))], ["gave up"]),
        ([(0, (200, "delay=5; close,after-bytes=3"))], ["gave up"]),
        ([(0, (200, "truncate=3"))], ["took a truncated stream for whole"]),
        ([(0, (200, "no-done")), (1, OK)], []),
        ([(0, (200, "comments")), (0.001, OK)], []),
        ([(0, (200, "delay=90000"), (), {"cut": True})], ["gave up"]),
        ([(0, (200, "delay=90000"))], []),
        ([(0, (200, ""), (), {"cut": True})], []),
        ([(0, (500, "")), (999, OK)], ["gave up"]),
    ],
)
def test_by_the_book(attempts: list[Any], expected: list[str]) -> None:
    assert said(*attempts) == expected


def test_an_exhausted_quota_is_not_to_be_asked_again() -> None:
    body = {"body": json.dumps({"error": {"code": "insufficient_quota"}}).encode()}

    assert said((0, (429, ""), (), body), (1, OK)) == ["retried what must not be"]
    assert said((0, (429, ""), (), body)) == []


def test_a_date_is_waited_for_as_well() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)

    assert said((0, (503, ""), wait(later)), (1, OK)) == ["ignored Retry-After"]


def test_equal_requests_that_overlap_are_not_retries() -> None:
    slow = {"took": 5.0}

    assert said((0, (500, ""), (), slow), (0.1, OK), (0.2, OK), (6, OK)) == []
    assert said((0, (401, ""), (), slow), (0.1, OK), (0.2, OK)) == []


def test_other_questions_and_other_keys_are_other_requests() -> None:
    assert said((0, (401, "")), (1, OK, (), {"question": "other"})) == []
    assert said((0, (401, "")), (1, OK, (), {"key": "Bearer other"})) == []


def test_each_of_many_equal_requests_has_its_own_attempts() -> None:
    verdict = judge(
        [entry(n, n / 10, (500, "")) for n in (0, 1)] + [entry(n, 2 + n / 10, OK) for n in (2, 3)], Rules().key
    )

    assert (verdict.requests, verdict.attempts, verdict.failed) == (2, 4, 2)


def test_it_is_said_in_lines_and_as_json() -> None:
    verdict = judge([entry(7, 0, (400, "")), entry(8, 1, OK)], Rules().key, 3)

    assert str(verdict).splitlines() == [
        "retried what must not be: POST /v1/chat/completions (#7, #8): 400 is the same next time",
        "failed: 1 requests in 2 attempts, 1 of which failed; 3 older ones are not in the journal any more",
    ]
    assert Verdict.of_json(json.loads(json.dumps(verdict.as_json()))) == verdict
    assert str(judge([], Rules().key)) == "passed: 0 requests in 0 attempts, 0 of which failed"


# Real clients.


def naive(stub: StubServer, **more: Any) -> None:
    """Ask until it works, as fast as it goes."""
    while not requests.post(f"{stub.base_url}/chat/completions", json=ask(**more), timeout=60).ok:
        pass


@pytest.mark.parametrize(
    "fault", ["429,retry-after=0.2,first=2", "503,first=2", "reset,first=1", "529,retry-after=0.1,once"]
)
def test_openais_client_passes(fault: str) -> None:
    with StubServer(fault=fault) as stub, openai.OpenAI(base_url=stub.base_url, api_key="k") as client:
        client.chat.completions.create(**ask())
        stub.assert_resilient()
        assert stub.verdict().failed >= 1


def test_openais_client_does_not_retry_what_must_not_be() -> None:
    with StubServer(fault="context-length") as stub, openai.OpenAI(base_url=stub.base_url, api_key="k") as client:
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**ask())
        stub.assert_resilient()


def test_a_naive_loop_fails_with_the_reasons() -> None:
    with StubServer(fault=["429,first=6", "503,first=2", "401,once"]) as stub:
        naive(stub)
        with pytest.raises(AssertionError) as caught:
            stub.assert_resilient()
    reasons = set(re.findall(r"^[^:\n]+(?=: POST)", str(caught.value), re.MULTILINE))
    assert reasons == {"ignored Retry-After", "no backoff", "retry storm", "retried what must not be"}


def test_who_reads_a_stream_to_its_clean_end_and_no_further_takes_it_for_whole() -> None:
    with StubServer(fault="truncate=2") as stub:
        requests.post(f"{stub.base_url}/chat/completions", json=ask(stream=True), timeout=60)
        with pytest.raises(AssertionError, match="took a truncated stream for whole"):
            stub.assert_resilient()


def test_concurrent_equal_requests_pass() -> None:
    with StubServer(fault="delay=50..150") as stub:
        threads = [threading.Thread(target=naive, args=(stub,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stub.assert_resilient()
        assert stub.verdict().requests == 8


def test_what_was_reset_is_not_judged_and_what_was_dropped_is_counted() -> None:
    with StubServer(fault="401,once") as stub:
        requests.post(f"{stub.base_url}/chat/completions", json=ask(), timeout=60)
        stub.reset()
        assert stub.verdict() == Verdict(0, 0, 0)
        for _ in range(3):
            requests.get(f"{stub.base_url}/models", timeout=60)
        assert stub.verdict().forgotten == 0


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stubserver", "verdict", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_is_asked_for_over_http_and_on_the_command_line() -> None:
    with StubServer(fault="401,once", admin_token="t0ken") as stub:
        assert run("--url", stub.url, "--admin-token", "t0ken").returncode == 0
        naive(stub)
        found = get(stub, "/verdict", authorization="Bearer t0ken").json
        assert [finding["what"] for finding in found["findings"]] == ["retried what must not be", "no backoff"]
        done = run("--url", stub.url, "--admin-token", "t0ken")
        assert done.returncode == 1
        assert done.stdout == f"{Verdict.of_json(found)}\n"
        as_json = run("--url", f"127.0.0.1:{stub.port}", "--json", "--admin-token", "t0ken")
        assert json.loads(as_json.stdout) == found
        refused = run("--url", stub.url)
        assert refused.returncode == 2
        assert "token" in refused.stderr
    nobody = run("--url", stub_url_that_is_gone(stub))
    assert nobody.returncode == 2
    assert "is a stubserver running there" in nobody.stderr
    assert "is no address" in run("--url", "ftp://x").stderr


def stub_url_that_is_gone(stub: StubServer) -> str:
    del stub
    with StubServer() as other:
        return other.url


def test_an_answer_under_way_is_no_failure() -> None:
    with StubServer(fault="stall=60000,after-bytes=10") as stub:
        thread = threading.Thread(target=pytest.raises, args=(requests.RequestException, naive, stub))
        thread.start()
        while not len(stub.journal):
            time.sleep(0.005)
        assert stub.verdict().findings == ()
        stub.stop(0)
        thread.join()
