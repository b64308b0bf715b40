"""One recorded item, as plain data -> Interaction: vcrpy's format, and the dialects of it that are found in the wild.

Read here: text, binary, mapping and null bodies; ``parsed_body`` (pydantic-ai); the older httpx form (``content``,
``status_code``); headers as mappings of lists or of text, and as lists of pairs (tornado); a plain ``body`` text and
``url`` (Datadog's test agent); and what we add ourselves, ``x_stubserver``. Nothing is written here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

from stubserver.messages import Headers, Interaction, Request, Response, header
from stubserver.sse import is_event_stream

__all__ = [
    "TIMING",
    "TOO_OLD",
    "FormatError",
    "is_http",
    "items_of",
    "read_interaction",
    "read_request",
    "read_response",
    "request_of",
    "response_of",
]

TIMING: Final = "x_stubserver"
"""What our own addition to a response is called; vcrpy ignores it, and keeps it."""
TOO_OLD: Final = "written by a vcrpy before 1.0: convert it with 'python -m vcr.migration PATH'"

_TIMES: Final = re.compile(r"[0-9]{1,12}(?:,[0-9]{1,12})*+")
_LATEST: Final = 86_400_000


class FormatError(ValueError):
    """What is wrong with an item."""


def items_of(document: object) -> list[Any] | None:
    """Return the recorded items of a whole document; None when it is no cassette. Raises FormatError."""
    if isinstance(document, list) and document and _is_item(document[0]):
        raise FormatError(TOO_OLD)
    if not isinstance(document, dict):
        return None
    if "interactions" in document:
        items = document["interactions"]
        if items is not None and not isinstance(items, list):
            raise FormatError("'interactions' is no list")
        return items or []
    if isinstance(document.get("requests"), list) and isinstance(document.get("responses"), list):
        return _paired(document["requests"], document["responses"])
    return [document] if _is_item(document) else None


def _is_item(value: object) -> bool:
    return isinstance(value, dict) and "request" in value and "response" in value


def _paired(requests: list[Any], responses: list[Any]) -> list[Any]:
    """Pair langchain's two lists."""
    if len(requests) != len(responses):
        text = f"{len(requests)} requests, but {len(responses)} responses"
        raise FormatError(text)
    return [{"request": a, "response": b} for a, b in zip(requests, responses, strict=True)]


def is_http(item: object) -> bool:
    """Tell whether *item* is an HTTP interaction; recordings of websockets and gRPC calls live in the same files."""
    return isinstance(item, dict) and ("request" in item or "response" in item)


def read_interaction(item: Any) -> Interaction:  # noqa: ANN401  # plain data from a file
    """Read a whole item. Raises FormatError."""
    return Interaction(read_request(item), read_response(item))


def read_request(item: Any) -> Request:  # noqa: ANN401  # plain data from a file
    """Read the request of *item*. Raises FormatError."""
    data = _part(item, "request")
    parsed = data.get("parsed_body")
    body = data.get("body") if parsed is None else _json(parsed)
    return request_of(data.get("method"), data.get("uri", data.get("url")), _pairs(data.get("headers")), body)


def read_response(item: Any) -> Response:  # noqa: ANN401  # plain data from a file
    """Read the response of *item*. Raises FormatError."""
    data = _part(item, "response")
    status: Any = data.get("status", data.get("status_code"))
    reason: Any = None
    if isinstance(status, dict):
        status, reason = status.get("code"), status.get("message")
    ours = data.get(TIMING)
    times = ours.get("events_ms") if isinstance(ours, dict) else None
    return response_of(status, reason, _pairs(data.get("headers")), _response_body(data), times)


def request_of(method: object, uri: object, headers: Iterable[tuple[Any, Any]], body: object) -> Request:
    """Make a request of its parts as a file has them, a header for each of its values. Raises FormatError."""
    if not isinstance(uri, str):
        raise FormatError("the request has no uri")
    return Request.from_uri(str(method or "GET").upper(), uri, _headers(headers), _body(body, "request"))


def response_of(
    status: object, reason: object, headers: Iterable[tuple[Any, Any]], body: object, times: object = None
) -> Response:
    """Make a response of its parts as a file has them, a header for each of its values. Raises FormatError.

    *times* is our own addition; what cannot be read of it is as if it were not there.
    """
    if isinstance(status, str) and status.isdigit():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 999:  # noqa: PLR2004  # HTTP's
        raise FormatError("the response has no status code")
    fields = _headers(headers)
    events = is_event_stream(header(fields, "content-type"))
    text = reason if isinstance(reason, str) else ""
    return Response(status, fields, _body(body, "response"), text, events, None, () if times is None else _times(times))


def _times(value: object) -> tuple[int, ...]:
    """Read times as we write them, ``12,40,71``; none of them is beyond a day, or before the one in front of it."""
    text = str(value)
    if not _TIMES.fullmatch(text):
        return ()
    return tuple(accumulate((min(int(time), _LATEST) for time in text.split(",")), max))


def _part(item: Any, name: str) -> dict[str, Any]:  # noqa: ANN401  # plain data from a file
    part: Any = item.get(name) if isinstance(item, dict) else None
    if not isinstance(part, dict):
        text = f"it has no {name}"
        raise FormatError(text)
    return part


def _response_body(data: dict[str, Any]) -> object:
    if data.get("parsed_body") is not None:
        return _json(data["parsed_body"])
    body = data.get("body", data.get("content"))
    if isinstance(body, dict) and "base64_string" in body:
        return _base64(body["base64_string"])
    return body.get("string") if isinstance(body, dict) else body


def _base64(value: object) -> bytes:
    try:
        return base64.b64decode(str(value))
    except ValueError as error:
        text = f"its base64_string does not decode: {error}"
        raise FormatError(text) from error


def _json(value: object) -> bytes:
    """Write a body that was recorded as data, as its client did or would have."""
    try:
        return json.dumps(value, default=_json_text).encode()
    except (TypeError, ValueError, RecursionError) as error:
        text = f"a body that is data cannot be written as JSON: {error}"
        raise FormatError(text) from error


def _json_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _body(value: object, where: str) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (dict, list, int, float)):
        return _json(value)
    text = f"the {where}'s body is neither text nor data"
    raise FormatError(text)


def _pairs(data: object) -> list[tuple[Any, Any]]:
    """Return the headers of any dialect as pairs, one for each value."""
    if not data:
        return []
    if isinstance(data, dict):
        pairs = list(data.items())
    elif isinstance(data, list):
        pairs = [(pair[0], pair[1]) for pair in data if isinstance(pair, (list, tuple)) and len(pair) == 2]  # noqa: PLR2004
        if len(pairs) != len(data):
            raise FormatError("its headers are a list, but not of pairs")
    else:
        raise FormatError("its headers are neither a mapping nor a list")
    return [(name, value) for name, values in pairs for value in (values if isinstance(values, list) else [values])]


def _headers(pairs: Iterable[tuple[Any, Any]]) -> Headers:
    return tuple(
        [pair if type(pair[1]) is type(pair[0]) is str else (_text(pair[0]), _text(pair[1])) for pair in pairs]
    )


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
