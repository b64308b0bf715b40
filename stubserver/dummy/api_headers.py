"""The header fields that the real API puts on its answers, made of the request: the same request, the same fields.

Which route has which is what recorded answers of api.openai.com show. Routes that only other servers have get none.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from stubserver.messages import Headers, Request

__all__ = ["api_headers", "duration", "request_id"]

_OTHERS: Final = frozenset({"/health", "/ping", "/version", "/metrics", "/tokenize", "/detokenize"}) | {
    "/server_info",
    "/get_server_info",
    "/props",
}
_LIMITED: Final = ("/chat/completions", "/completions", "/embeddings", "/responses")
_REQUESTS: Final = 10_000
_TOKENS: Final = 2_000_000
_MINUTE_MS: Final = 60_000
_BYTES_A_TOKEN: Final = 4  # as the API itself estimates before it counts
_VERSION: Final = (("openai-version", "2020-10-01"), ("openai-processing-ms", "1"))


def request_id(request: Request) -> str:
    """Return the ``x-request-id`` of the answer: ``req_`` and 32 hexadecimal digits; HEAD has that of GET."""
    method = "GET" if request.method == "HEAD" else request.method
    made = blake2b(f"{method} {request.target}\n".encode(), digest_size=16)
    made.update(request.body)
    return f"req_{made.hexdigest()}"


def api_headers(request: Request, path: str, status: int) -> Headers:
    """Return the fields for the answer to *request*; *path* is its path without ``/v1`` and the like."""
    if path in _OTHERS:
        return ()
    fields: Headers = (("x-request-id", request_id(request)),)
    if status in {401, 404, 405}:  # turned away at the edge, which knows neither version nor limits
        return fields
    fields = (*fields, *_VERSION)
    return (*fields, *_limits(len(request.body) // _BYTES_A_TOKEN + 1)) if path in _LIMITED else fields


def _limits(tokens: int) -> Headers:
    """Return what is left of limits that were full before a request of *tokens*: the dummy remembers no other."""
    left = max(_TOKENS - tokens, 0)
    reset = (_TOKENS - left) * _MINUTE_MS // _TOKENS
    return (
        ("x-ratelimit-limit-requests", str(_REQUESTS)),
        ("x-ratelimit-limit-tokens", str(_TOKENS)),
        ("x-ratelimit-remaining-requests", str(_REQUESTS - 1)),
        ("x-ratelimit-remaining-tokens", str(left)),
        ("x-ratelimit-reset-requests", duration(_MINUTE_MS // _REQUESTS)),
        ("x-ratelimit-reset-tokens", duration(reset)),
    )


def duration(milliseconds: int) -> str:
    """Write a time as the API does: ``6ms``, ``1.2s``, ``1m0s``."""
    minutes, rest = divmod(milliseconds, _MINUTE_MS)
    if not minutes and rest < 1000:  # noqa: PLR2004  # ms in a second
        return f"{rest}ms" if rest else "0s"
    seconds = f"{rest / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds
