"""Estimated usage and ids, from the request alone."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from stubserver.dummy.settings import DummySettings

__all__ = ["made_id", "prompt_tokens", "usage"]


def prompt_tokens(body: dict[str, Any]) -> int:
    """Estimate as datatrove's DummyServer does: a quarter of the length of Python's ``str()`` of the request."""
    return len(str(body)) // 4


def usage(body: dict[str, Any], limit: int | None, settings: DummySettings, choices: int = 1) -> dict[str, Any]:
    """Return the usage object; *limit* caps the completion tokens of each of the *choices*."""
    completion = choices * (settings.tokens if limit is None else min(settings.tokens, limit))
    prompt = prompt_tokens(body)
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


def finish_reason(limit: int | None, settings: DummySettings) -> str:
    """Return ``length`` when *limit* cuts the completion tokens, else ``stop``."""
    return "length" if limit is not None and limit < settings.tokens else "stop"


def made_id(prefix: str, raw: bytes) -> str:
    """Make an id of *prefix* from the request's bytes: the same request, the same id."""
    return prefix + blake2b(raw, digest_size=15).hexdigest()[:29]
