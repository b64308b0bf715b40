"""Estimated usage and ids, from the request alone."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

__all__ = ["made_id", "prompt_tokens", "usage"]


def prompt_tokens(body: Any) -> int:  # noqa: ANN401  # any JSON value
    """Estimate as datatrove's DummyServer does: a quarter of the length of Python's ``str()`` of the request."""
    return len(str(body)) // 4


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """Return the usage object for so many tokens of the request, and of all choices together."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def made_id(prefix: str, raw: bytes) -> str:
    """Make an id of *prefix* from the request's bytes: the same request, the same id."""
    return prefix + blake2b(raw, digest_size=15).hexdigest()[:29]
