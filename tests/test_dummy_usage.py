"""Estimated usage, and ids made from the request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage

from stubserver.dummy.usage import made_id, prompt_tokens, usage
from stubserver.jsonvalue import json_value

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


@given(
    st.dictionaries(
        st.text(),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    )
)
def test_the_estimate_is_the_originals_for_any_body(body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    assert prompt_tokens(json_value(raw)) == len(str(json.loads(raw))) // 4


def test_usage_adds_up_and_is_read_by_the_client() -> None:
    made = usage(12, 300)
    read = CompletionUsage.model_validate(made, strict=True)
    assert (read.prompt_tokens, read.completion_tokens, read.total_tokens) == (12, 300, 312)
    assert made["completion_tokens_details"]["reasoning_tokens"] == 0
    assert made["prompt_tokens_details"]["cached_tokens"] == 0


def test_the_same_bytes_make_the_same_id() -> None:
    assert made_id("chatcmpl-", b"a") == made_id("chatcmpl-", b"a") != made_id("chatcmpl-", b"b")
    assert re.fullmatch(r"chatcmpl-[0-9a-z]{29}", made_id("chatcmpl-", b"a"))
