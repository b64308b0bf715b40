"""One call of the admin API: what it asks for, read and checked; and how it is refused."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from stubserver.dummy.errors import envelope
from stubserver.jsonvalue import NOT_JSON, json_value
from stubserver.messages import Headers, Request, Response, header

__all__ = ["Call", "RefusedError", "call_of", "json_body", "whole"]

_LONGEST_BODY: Final = 4 * 1024 * 1024
_LONGEST_PARAMETER: Final = 500
_MOST_PARAMETERS: Final = 32
_MOST_DIGITS: Final = 15


class RefusedError(Exception):
    """A call that is answered with an error; the message says what to do instead."""

    def __init__(self, status: int, message: str, code: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers

    def response(self) -> Response:
        """Write it in the one envelope of all errors."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"  # noqa: PLR2004  # HTTP's
        return envelope(self.status, str(self), kind=kind, code=self.code, headers=self.headers)


class Call(NamedTuple):
    """A call: the request, the variable part of its path (or nothing), and the parameters of its query."""

    request: Request
    rest: str = ""
    parameters: dict[str, str] = {}  # noqa: RUF012  # never written to

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter as it is."""
        return self.parameters.get(name, default)

    def number(self, name: str, default: int, *, least: int = 0, most: int = 10**_MOST_DIGITS - 1) -> int:
        """Return a parameter that is a whole number."""
        text = self.parameters.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and least <= int(text) <= most):
            msg = f"{name} has to be a whole number from {least} to {most}"
            raise RefusedError(400, msg, "bad_parameter")
        return int(text)

    def flag(self, name: str) -> bool | None:
        """Return a parameter that is ``true`` or ``false``; None when it is not there."""
        text = self.parameters.get(name)
        if text is None:
            return None
        if text not in ("true", "false"):
            raise RefusedError(400, f"{name} has to be true or false", "bad_parameter")
        return text == "true"


def call_of(request: Request, rest: str, known: tuple[str, ...]) -> Call:
    """Read the query of *request*: the parameters in *known* and no others, each once."""
    try:
        pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise RefusedError(400, "the query has too many parameters", "bad_parameter") from None
    parameters = dict(pairs)
    _refuse_unknown("parameter", parameters, known)
    longest = max(parameters, key=lambda name: len(parameters[name]), default="")
    if longest and len(parameters[longest]) > _LONGEST_PARAMETER:
        raise RefusedError(400, f"{longest} is longer than {_LONGEST_PARAMETER} characters", "bad_parameter")
    if len(pairs) != len(parameters):
        raise RefusedError(400, "a parameter of the query is there twice", "bad_parameter")
    return Call(request, rest, parameters)


def json_body(request: Request, known: tuple[str, ...], *, needed: bool = True) -> dict[str, Any]:
    """Return the JSON object that is the body of *request*, with members in *known* and no others.

    It is an empty one where there is no body, unless one is *needed*.
    """
    if len(request.body) > _LONGEST_BODY:
        msg = f"the body is longer than the {_LONGEST_BODY} bytes that the admin API takes"
        raise RefusedError(413, msg, "request_too_large")
    if not request.body and not needed:
        return {}
    kind = (header(request.headers, "content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, "the body has to be JSON: send it with content-type: application/json", "not_json")
    value = json_value(request.body)
    if value is NOT_JSON or not isinstance(value, dict):
        raise RefusedError(400, "the body has to be a JSON object", "not_json")
    _refuse_unknown("member", value, known)
    return value


def whole(name: str, value: object, *, most: int) -> int:
    """Return a number of JSON that is whole; 2.0 is, too."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise RefusedError(400, f"{name} has to be a whole number from 0 to {most}", "bad_parameter")
    return value


def _refuse_unknown(what: str, given: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        msg = f"the {what} {unknown[:40]!a} is not known here; there are: {', '.join(known) or 'none'}"
        raise RefusedError(400, msg, f"unknown_{what}")
