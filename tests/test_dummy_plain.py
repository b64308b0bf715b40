"""The plain dummy against what datatrove's DummyServer was seen to answer (version 0.10.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tapes import ask, request

from stubserver.dummy import DEFAULT_TEXT, DummySettings, asks_whether_ready, respond
from stubserver.messages import Request

PLAIN = DummySettings(style="datatrove")


def answer(body: object, path: str = "/v1/chat/completions", settings: DummySettings = PLAIN) -> dict[str, Any]:
    response = respond(request(body, path), settings)
    assert response.status == 200
    parsed: dict[str, Any] = json.loads(response.body)
    return parsed


@pytest.mark.parametrize(
    ("raw", "tokens"),
    [
        (b'{"messages":[{"role":"user","content":"test"}]}', 12),
        (b"{}", 0),
        (b"[1,2,3]", 2),
        (b"null", 1),
        (b'{"a": NaN, "b": 1.0, "c": 12345678901234567890123}', 12),
        (b"not json", 50),
        (b"", 50),
        (b"\xff", 50),
        (b"[" * 100_000, 50),
    ],
)
def test_tokens_are_the_originals(raw: bytes, tokens: int) -> None:
    assert answer(raw)["usage"] == {
        "prompt_tokens": tokens,
        "completion_tokens": 100,
        "total_tokens": tokens + 100,
    }


@pytest.mark.parametrize("more", [{"max_tokens": 2}, {"temperature": 99}, {"n": 3}, {"stream": True}, {"stop": ["is"]}])
def test_nothing_that_is_asked_for_makes_a_difference(more: dict[str, Any]) -> None:
    (choice,) = answer(ask(**more))["choices"]

    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": DEFAULT_TEXT},
        "finish_reason": "stop",
    }


def test_completions_are_answered_in_the_same_way() -> None:
    found = answer({"model": "m", "prompt": "hello"}, "/v1/completions")

    assert found["choices"] == [{"index": 0, "text": DEFAULT_TEXT, "finish_reason": "stop"}]
    assert (found["object"], found["model"]) == ("text_completion", "m")


def test_text_tokens_and_model_can_be_chosen() -> None:
    found = answer(b"[]", settings=DummySettings("page", 7, ("a",), style="datatrove"))

    assert found["choices"][0]["message"]["content"] == "page"
    assert (found["usage"]["completion_tokens"], found["model"]) == (7, "a")


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions", "/v1/v1/chat/completions"])
def test_base_urls_may_end_as_they_like(path: str) -> None:
    assert answer(ask(), path)["object"] == "chat.completion"


def test_other_endpoints_are_as_ever() -> None:
    response = respond(request({"model": "m", "input": "a"}, "/v1/embeddings"), PLAIN)

    assert json.loads(response.body)["object"] == "list"


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/v1/models", True),
        ("HEAD", "/health", True),
        ("GET", "/v1/v1/models?a=b", True),
        ("GET", "/v1/models/m", False),
        ("POST", "/v1/models", False),
    ],
)
def test_what_asks_whether_we_are_ready(method: str, target: str, expected: bool) -> None:  # noqa: FBT001  # a table
    assert asks_whether_ready(Request(method, target)) is expected
