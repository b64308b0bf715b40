"""The header fields of the real API on the dummy's answers: the same for the same request, and what clients parse."""

from __future__ import annotations

import json
import re

import pytest

from stubserver.dummy import respond
from stubserver.dummy.api_headers import api_headers, request_id
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
LIMITS = {f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")}


def post(path: str, body: object) -> Request:
    return Request("POST", path, (), json.dumps(body).encode())


def fields(request: Request) -> dict[str, str]:
    return dict(respond(request, DummySettings()).headers)


def test_a_chat_answer_has_what_the_api_sends() -> None:
    found = fields(post("/v1/chat/completions", CHAT))
    assert re.fullmatch(r"req_[0-9a-f]{32}", found["x-request-id"])
    assert (found["openai-version"], found["openai-processing-ms"]) == ("2020-10-01", "1")
    assert found.keys() >= LIMITS
    assert int(found["x-ratelimit-limit-requests"]) - int(found["x-ratelimit-remaining-requests"]) == 1
    body = len(json.dumps(CHAT))
    assert int(found["x-ratelimit-limit-tokens"]) - int(found["x-ratelimit-remaining-tokens"]) == body // 4 + 1
    assert (found["x-ratelimit-reset-requests"], found["x-ratelimit-reset-tokens"]) == ("6ms", "0s")


def test_the_request_id_follows_from_the_request_alone() -> None:
    asked = post("/v1/chat/completions", CHAT)
    assert request_id(asked) == request_id(asked._replace(headers=(("authorization", "Bearer x"),)))
    others = [asked._replace(body=asked.body + b" "), asked._replace(target="/chat/completions"), Request("GET", "/")]
    assert len({request_id(one) for one in [asked, *others]}) == 4


@pytest.mark.parametrize(
    ("request_", "limited", "versioned"),
    [
        (post("/v1/chat/completions", {**CHAT, "stream": True}), True, True),
        (post("/v1/completions", {"model": "m", "prompt": "x"}), True, True),
        (post("/openai/deployments/d/embeddings?api-version=1", {"model": "m", "input": "x"}), True, True),
        (post("/v1/responses", {"model": "m", "input": "x"}), True, True),
        (post("/v1/chat/completions", {"model": "m"}), True, True),  # a 400, as recorded of the real API
        (post("/v1/moderations", {"input": "x"}), False, True),
        (Request("GET", "/v1/models"), False, True),
        (Request("GET", "/v1/nope"), False, False),
        (Request("GET", "/v1/chat/completions"), True, False),
    ],
)
def test_each_route_has_its_own(request_: Request, *, limited: bool, versioned: bool) -> None:
    found = fields(request_)
    assert found["x-request-id"] == request_id(request_)
    assert ("openai-version" in found, "openai-processing-ms" in found) == (versioned, versioned)
    assert (found.keys() >= LIMITS) == (limited and versioned)


@pytest.mark.parametrize("path", ["/health", "/ping", "/version", "/metrics", "/props", "/server_info"])
def test_what_only_other_servers_have_is_answered_without(path: str) -> None:
    assert fields(Request("GET", path)).keys() <= {"content-type"}


@pytest.mark.parametrize(
    ("size", "left", "reset"),
    [(0, "1999999", "0s"), (4_000, "1998999", "30ms"), (400_000, "1899999", "3s"), (9_000_000, "0", "1m0s")],
)
def test_long_requests_use_up_more(size: int, left: str, reset: str) -> None:
    found = dict(api_headers(Request("POST", "/v1/completions", (), b"x" * size), "/completions", 200))
    assert found["x-ratelimit-remaining-tokens"] == left
    assert found["x-ratelimit-reset-tokens"] == reset
