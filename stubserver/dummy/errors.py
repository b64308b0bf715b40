"""OpenAI's error envelope, and the texts of its errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from stubserver.messages import Headers, Response

__all__ = ["JSON", "APIError", "envelope", "json_bytes", "json_response"]

JSON: Final = ("content-type", "application/json")

NOT_PARSED: Final = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
    "figuring out how to fix this, please contact us through our help center at help.openai.com.)"
)


class APIError(Exception):
    """A request that the API itself would refuse; never leaves the dummy."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def response(self) -> Response:
        """Write it as the API does."""
        return envelope(self.status, str(self), param=self.param, code=self.code)


def json_response(value: object, status: int = 200, headers: Headers = ()) -> Response:
    """Write *value* as a compact JSON answer."""
    return Response(status, (JSON, *headers), json_bytes(value))


def json_bytes(value: object) -> bytes:
    """Write compact JSON; text that UTF-8 cannot hold (a lone surrogate quoted from a request) is escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def envelope(  # noqa: PLR0913  # the envelope's own members
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Headers = (),
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """Write an error as OpenAI does: all four members, always; *extra* members come after them."""
    error = {"message": message, "type": kind, "param": param, "code": code, **(extra or {})}
    return json_response({"error": error}, status, headers)
