r"""Our own plain form: one interaction on each line, for ``jq``, ``grep``, pandas or a data set; it goes both ways.

``{"request": {"method", "uri", "headers": [[name, value], ...], "body"}, "response": {"status", "reason", "headers",
"body", "times"}}``: bodies are text, exactly as they were; one that is not UTF-8 is in ``body_base64`` instead.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.interchange import Carried, Lost, times_of
from stubserver.interchange.elements import ElementsError, lines, value_of
from stubserver.messages import Interaction

__all__ = ["document", "read"]


def document(found: Iterable[Interaction]) -> Iterator[bytes]:
    """Write each interaction as a line."""
    for request, response in found:
        asked = {"method": request.method, "uri": request.uri, "headers": request.headers, **_body_of(request.body)}
        answer = {
            "status": response.status,
            "reason": response.reason,
            "headers": response.headers,
            **_body_of(response.body),
            **({"times": response.times} if response.times else {}),
        }
        row = {"request": asked, "response": answer}
        try:
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:  # half of a pair, which a file may hold, but not in UTF-8
            yield json.dumps(row).encode() + b"\n"


def _body_of(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def read(path: Path, _base: str = "") -> Iterator[Carried | Lost]:
    """Yield the interactions of a file."""
    number = 0
    with path.open("rb") as stream:
        try:
            for number, _, _, raw in lines(stream):
                where = f"{path}, line {number}"
                try:
                    yield Carried(where, _interaction(value_of(raw)))
                except FormatError as error:
                    yield Lost(where, str(error))
        except ElementsError as error:
            yield Lost(f"{path}, after line {number}", str(error))


def _interaction(data: dict[str, Any] | None) -> Interaction:
    request, response = (data.get(name) for name in ("request", "response")) if data else (None, None)
    if not isinstance(request, dict) or not isinstance(response, dict):
        raise FormatError("it is no JSON object with a request and a response")
    asked = request_of(request.get("method"), request.get("uri"), _headers(request), _body(request))
    answer = response_of(response.get("status"), response.get("reason"), _headers(response), _body(response))
    return Interaction(asked, answer._replace(times=times_of(response.get("times"))))


def _headers(data: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Take pairs, or a mapping that somebody wrote by hand."""
    listed = data.get("headers")
    pairs = list(listed.items()) if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    return ((pair[0], pair[1]) for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2)  # noqa: PLR2004


def _body(data: dict[str, Any]) -> object:
    """Return text or data as it stands there, or the bytes that could not."""
    packed = data.get("body_base64")
    if not isinstance(packed, str):
        return data.get("body")
    try:
        return base64.b64decode(packed, validate=True)
    except ValueError as error:
        raise FormatError("its body_base64 is not base64") from error
