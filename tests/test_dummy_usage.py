"""Estimated usage, and ids made from the request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CompletionUsage

from stubserver.canonical import json_value
from stubserver.dummy.settings import DummySettings
from stubserver.dummy.usage import finish_reason, made_id, prompt_tokens, usage

SETTINGS = DummySettings()
PARTS = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:,A"}}]


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": [{"role": "user", "content": "test"}]}, 12),
        ({"model": "m", "messages": [{"role": "user", "content": PARTS}], "max_tokens": 100}, 41),
        ({}, 0),
        ({"a": "it's"}, len("{'a': \"it's\"}") // 4),
        ({"a": [True, None, 1.5]}, len("{'a': [True, None, 1.5]}") // 4),
    ],
)
def test_prompt_tokens_are_a_quarter_of_what_python_shows_of_the_request(body: dict[str, Any], tokens: int) -> None:
    assert prompt_tokens(body) == tokens


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    )
)
def test_the_estimate_is_the_originals_for_any_body(body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    assert prompt_tokens(json_value(raw)) == len(str(json.loads(raw))) // 4


@pytest.mark.parametrize(
    ("limit", "choices", "completion", "reason"),
    [
        *((None, 1, 100, "stop"), (5, 1, 5, "length"), (99, 1, 99, "length"), (100, 1, 100, "stop")),
        *((500, 1, 100, "stop"), (None, 3, 300, "stop"), (7, 2, 14, "length"), (0, 1, 0, "length")),
    ],
)
def test_completion_tokens_are_cut_by_the_limit(limit: int | None, choices: int, completion: int, reason: str) -> None:
    made = usage({"messages": []}, limit, SETTINGS, choices)
    assert made["completion_tokens"] == completion
    assert made["total_tokens"] == made["prompt_tokens"] + completion
    assert finish_reason(limit, SETTINGS) == reason
    CompletionUsage.model_validate(made, strict=True)


def test_the_tokens_of_the_settings_count() -> None:
    few = DummySettings(tokens=4)
    assert usage({}, None, few)["completion_tokens"] == 4
    assert finish_reason(4, few) == "stop"
    assert finish_reason(3, few) == "length"


def test_the_same_bytes_make_the_same_id() -> None:
    assert made_id("chatcmpl-", b"a") == made_id("chatcmpl-", b"a") != made_id("chatcmpl-", b"b")
    assert re.fullmatch(r"chatcmpl-[0-9a-z]{29}", made_id("chatcmpl-", b"a"))
