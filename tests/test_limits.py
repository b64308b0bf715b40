"""Rate limits that count, with a clock of the tests' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from tapes import ask, recorded, request, tape

from stubserver import StubServer
from stubserver.errors import UsageError
from stubserver.faults.choosing import Asked
from stubserver.faults.limits import Limit, Limits, limit_of
from stubserver.messages import header


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(*given: str) -> tuple[Limits, Clock]:
    clock = Clock()
    return Limits(map(limit_of, given), clock), clock


def take(found: Limits, body: Any = None, **headers: str) -> Any:
    return found.take(Asked(request({"model": "m"} if body is None else body, **headers)))


def fields(taken: Any) -> dict[str, str]:
    return {name.removeprefix("x-ratelimit-"): value for name, value in taken.headers}


def test_requests_are_counted_and_come_back_evenly() -> None:
    found, clock = limits("rpm=60")

    assert fields(take(found)) == {"limit-requests": "60", "remaining-requests": "59", "reset-requests": "1s"}
    for _ in range(58):
        take(found)
    assert fields(take(found))["remaining-requests"] == "0"
    refused = take(found).refusal
    assert refused.status == 429
    assert header(refused.headers, "retry-after") == "1"
    assert header(refused.headers, "retry-after-ms") == "1000"
    assert json.loads(refused.body)["error"]["message"].startswith(
        "Rate limit reached for m on requests per min (RPM): Limit 60, Used 60, Requested 1. Please try again in 1s."
    )
    clock.now += 1.0
    assert take(found).refusal is None
    clock.now += 3600.0
    assert fields(take(found))["remaining-requests"] == "59"


def test_who_waits_as_long_as_is_said_is_served() -> None:
    found, clock = limits("rpm=7,tpm=1000")
    body = ask(max_tokens=200)
    while (refused := take(found, body).refusal) is None:
        pass
    wait = header(refused.headers, "retry-after-ms")

    assert wait is not None
    clock.now += (int(wait) - 2) / 1000
    assert take(found, body).refusal is not None
    clock.now += 0.002
    assert take(found, body).refusal is None


def test_tokens_are_those_asked_with_and_those_asked_for() -> None:
    found, _ = limits("tpm=1000")
    body = ask(max_completion_tokens=100, n=4)
    cost = len(json.dumps(body)) // 4 + 1 + 400

    assert fields(take(found, body))["remaining-tokens"] == str(1000 - cost)
    take(found, body)
    refused = take(found, body)
    assert json.loads(refused.refusal.body)["error"]["type"] == "tokens"
    assert fields(refused)["remaining-tokens"] == str(1000 - 2 * cost)  # what is refused costs nothing


def test_what_is_too_large_will_never_be_served() -> None:
    refused = take(limits("tpm=100")[0], ask(max_tokens=500)).refusal

    assert header(refused.headers, "x-should-retry") == "false"
    assert header(refused.headers, "retry-after") is None
    assert "Request too large for gpt-4o-mini" in json.loads(refused.body)["error"]["message"]


def test_each_key_and_each_model_has_its_own() -> None:
    found, _ = limits("rpm=1")

    assert take(found, authorization="Bearer a").refusal is None
    assert take(found, authorization="Bearer a").refusal is not None
    assert take(found, authorization="Bearer b").refusal is None
    assert take(found, api_key="a").refusal is None
    assert take(found, {"model": "other"}, authorization="Bearer a").refusal is None


def test_the_first_limit_that_is_for_a_model_counts() -> None:
    found, _ = limits("rpm=1,model=gpt-*", "rpm=5")

    assert fields(take(found, {"model": "gpt-4o"}))["limit-requests"] == "1"
    assert fields(take(found, {"model": "other"}))["limit-requests"] == "5"
    assert take(limits("rpm=1,model=gpt-*")[0], {"model": "other"}) is None
    assert found.take(Asked(request(target="/v1/models", method="GET"))) is None


def test_keys_at_random_take_no_more_and_more_memory() -> None:
    found, _ = limits("rpm=1")
    for number in range(10_050):
        take(found, authorization=f"Bearer {number}")

    assert len(found._buckets) == 10_000


@pytest.mark.parametrize(
    "body", [[], {"model": 5, "n": "x", "max_tokens": "many"}, {"n": -1, "max_tokens": -5}, b"\xff"]
)
def test_any_request_can_be_counted(body: Any) -> None:
    assert take(limits("rpm=5,tpm=500")[0], body).refusal is None


def test_limits_are_read_and_written() -> None:
    assert limit_of("rpm=60, tpm=90000,model=gpt-4o*") == Limit(60, 90_000, "gpt-4o*")
    assert str(limit_of("model=m,tpm=5")) == "tpm=5,model=m"


@pytest.mark.parametrize(
    "given", ["", "rpm", "rpm=0", "rpm=-1", "rpm=x", "rps=5", "model=m", "rpm=1,model=", "tpm=" + "9" * 99]
)
def test_what_is_no_limit_is_said(given: str) -> None:
    with pytest.raises(UsageError, match=r"limit .*give rpm=60"):
        limit_of(given)


def test_replayed_answers_have_the_true_headers(tmp_path: Path) -> None:
    old = {"X-RateLimit-Remaining-Requests": ["12345"], "x-ratelimit-limit-tokens": ["1"]}
    path = tape(tmp_path / "t.yaml", recorded(ask(), headers=old))
    with StubServer(path, fallback="error", limit="rpm=3,tpm=9000") as stub:
        with openai.OpenAI(base_url=stub.base_url, api_key="k", max_retries=0) as client:
            for left in (2, 1, 0):
                answer = client.chat.completions.with_raw_response.create(**ask())
                assert answer.headers["x-stubserver-source"] == "replayed"
                assert answer.headers.get_list("x-ratelimit-remaining-requests") == [str(left)]
                assert answer.headers["x-ratelimit-limit-tokens"] == "9000"
            with pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(**ask())
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 20
        assert caught.value.code == "rate_limit_exceeded"
        assert [entry.fault for entry in stub.journal] == ["", "", "", "limit"]
        assert stub.unplayed == []


def test_openais_client_waits_and_is_served() -> None:
    with StubServer() as stub, openai.OpenAI(base_url=stub.base_url, api_key="k") as client:
        stub.faults.limit("rpm=120")
        for _ in range(121):
            client.chat.completions.create(**ask())
        stub.assert_resilient()
        stub.faults.clear()
        assert "x-stubserver-fault" not in client.chat.completions.with_raw_response.create(**ask()).headers
