"""Headers and bodies as plain data for people to read: without secrets, and no longer than anybody reads."""

from __future__ import annotations

from typing import Any, Final

from stubserver.journal import cut_body
from stubserver.jsonvalue import json_value
from stubserver.messages import Headers, Request, Response
from stubserver.redaction import MARK, clean_headers, clean_text, is_secret_member

__all__ = ["message", "request_shown", "response_shown", "shown_json"]

_LONGEST_TEXT: Final = 16 * 1024
_CLEANED: Final = _LONGEST_TEXT + 8 * 1024  # a secret that is cut in two would not be known as one
_MOST_VALUES: Final = 20_000


def message(headers: Headers, body: bytes, value: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON value
    """Put together what is shown of a request or a response; all of it is clean already."""
    return {"headers": [list(pair) for pair in headers], "body": body.decode("utf-8", "replace"), "json": value}


def request_shown(request: Request) -> dict[str, Any]:
    """Show *request*, which is not clean yet."""
    return message(clean_headers(request.headers), cut_body(request.body), shown_json(request.body))


def response_shown(response: Response) -> dict[str, Any]:
    """Show *response*, which is not clean yet."""
    shown = message(clean_headers(response.headers), cut_body(response.body), shown_json(response.body))
    return {"status": response.status, **shown}


def shown_json(body: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """Return the JSON in *body* without secrets, long texts in it cut; None when it is none, or too much of it.

    So a conversation can be read whose pictures make megabytes of it.
    """
    value = json_value(body)
    if not isinstance(value, (dict, list)):
        return None
    budget = [_MOST_VALUES]
    shown = _shown(value, budget)
    return shown if budget[0] > 0 else None


def _shown(value: Any, budget: list[int]) -> Any:  # noqa: ANN401  # any JSON value
    budget[0] -= 1
    if budget[0] <= 0:
        return None
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(k): MARK if is_secret_member(k) else _shown(v, budget) for k, v in value.items()}
    return [_shown(v, budget) for v in value] if isinstance(value, list) else value


def _text(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return clean_text(text)
    return f"{clean_text(text[:_CLEANED])[:_LONGEST_TEXT]} [cut here: {len(text)} characters in all]"
