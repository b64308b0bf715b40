"""Errors of the API, and answers that are none, in place of the answer."""

from __future__ import annotations

import math
from typing import Final

from stubserver.dummy.api_headers import duration, request_id
from stubserver.dummy.errors import envelope
from stubserver.faults.choosing import Asked, Chosen
from stubserver.messages import Headers, Response

__all__ = ["made", "retry_headers", "too_many"]

_TEXTS: Final[dict[int, tuple[str, str, str | None]]] = {
    400: ("This request could not be processed.", "invalid_request_error", None),
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: ("You do not have access to this resource.", "invalid_request_error", None),
    404: ("The resource you asked for does not exist.", "invalid_request_error", "model_not_found"),
    408: ("The request took too long, please try again.", "timeout", "request_timeout"),
    409: ("The resource was changed by another request, please try again.", "invalid_request_error", None),
    429: ("Rate limit reached, please try again later.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request. Sorry about that!", "server_error", None),
    502: ("Bad gateway.", "server_error", None),
    503: ("The engine is currently overloaded, please try again later", "server_error", None),
    504: ("The upstream server did not answer in time.", "server_error", None),
    529: ("Overloaded", "overloaded_error", None),
}
_SERVER: Final = 500
_REASONS: Final = {529: "Site Is Overloaded"}
_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
    b"<body><h1>502 Bad Gateway</h1><hr>cloudflare</body></html>"
)
_QUOTA: Final = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_CONTEXT: Final = 8192
_BYTES_A_TOKEN: Final = 4
_LIMIT: Final = 60
_TOKEN_LIMIT: Final = 90_000


def made(chosen: Chosen, asked: Asked) -> Response | None:
    """Return the response that stands in place of the answer; None for a fault that is another's to make."""
    maker = _MAKERS.get(chosen.rule.kind.name)
    if maker is None:
        return None
    response = maker(chosen, asked)
    return response._replace(headers=(*response.headers, ("x-request-id", request_id(asked.request))))


def _status(chosen: Chosen, _asked: Asked) -> Response:
    status = chosen.rule.number
    text, kind, code = _TEXTS.get(status) or _TEXTS[_SERVER if status >= _SERVER else 400]
    headers: Headers = ()
    if chosen.rule.retry_after is not None:
        headers = retry_headers(chosen.rule.retry_after.draw(chosen.chance))
    return envelope(status, text, kind=kind, code=code, headers=headers)._replace(reason=_REASONS.get(status, ""))


def _rate_limit(chosen: Chosen, asked: Asked) -> Response:
    wait = (chosen.rule.retry_after or chosen.rule.value).draw(chosen.chance)
    headers = (
        ("x-ratelimit-limit-requests", str(_LIMIT)),
        ("x-ratelimit-limit-tokens", str(_TOKEN_LIMIT)),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-remaining-tokens", str(_TOKEN_LIMIT)),
        ("x-ratelimit-reset-requests", duration(math.ceil(wait * 1000))),
        ("x-ratelimit-reset-tokens", "0s"),
    )
    return too_many(asked.model, "requests", limit=_LIMIT, used=_LIMIT, requested=1, wait=wait, headers=headers)


def too_many(  # noqa: PLR0913  # what the API's text says
    model: str, what: str, *, limit: int, used: int, requested: int, wait: float, headers: Headers
) -> Response:
    """Write the 429 of a limit of *what*, ``requests`` or ``tokens``, a minute; *wait* in seconds."""
    short = "RPM" if what == "requests" else "TPM"
    text = (
        f"Rate limit reached for {model[:80] or 'this model'} on {what} per min ({short}): Limit {limit}, Used {used}, "
        f"Requested {requested}. Please try again in {duration(math.ceil(wait * 1000))}. "
        "Visit https://platform.openai.com/account/rate-limits to learn more."
    )
    fields = (*retry_headers(wait), *headers)
    return envelope(429, text, kind=what, code="rate_limit_exceeded", headers=fields)


def retry_headers(seconds: float) -> Headers:
    """Say when to come again: in whole seconds, rounded up as they have to be, and in milliseconds."""
    wait = max(math.ceil(seconds * 1000), 1)
    return (("retry-after", str(max(math.ceil(wait / 1000), 1))), ("retry-after-ms", str(wait)))


def _quota(_chosen: Chosen, _asked: Asked) -> Response:
    return envelope(429, _QUOTA, kind="insufficient_quota", code="insufficient_quota")


def _context(_chosen: Chosen, asked: Asked) -> Response:
    tokens = max(len(asked.request.body) // _BYTES_A_TOKEN, _CONTEXT + 1)
    text = (
        f"This model's maximum context length is {_CONTEXT} tokens. However, your messages resulted in {tokens} "
        "tokens. Please reduce the length of the messages."
    )
    return envelope(400, text, param="messages", code="context_length_exceeded")


def _bad_key(_chosen: Chosen, _asked: Asked) -> Response:
    text = "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."
    return envelope(401, text, code="invalid_api_key")


def _html(_chosen: Chosen, _asked: Asked) -> Response:
    return Response(200, (("content-type", "text/html; charset=UTF-8"),), _PAGE)


def _empty(_chosen: Chosen, _asked: Asked) -> Response:
    return Response(200, (("content-type", "application/json"),))


_MAKERS: Final = {
    "status": _status,
    "rate-limit": _rate_limit,
    "quota": _quota,
    "context-length": _context,
    "bad-key": _bad_key,
    "html": _html,
    "empty": _empty,
}
