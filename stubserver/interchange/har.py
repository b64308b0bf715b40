"""HTTP Archive 1.2: what browsers, mitmproxy, Charles and others save of their traffic.

Bodies stand in it decoded, as text or in base64; http://www.softwareishard.com/blog/har-12-spec/ is its description.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from stubserver import __version__
from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.interchange import Carried, Lost, times_of
from stubserver.interchange.elements import ElementsError, elements, value_of
from stubserver.messages import Headers, Interaction, Request, Response, header, without_headers

__all__ = ["document", "entry", "read"]

_FAILED: Final = ("_error", "_failureText")
_DECODED: Final = frozenset({"content-encoding", "transfer-encoding"})
_CHARSET: Final = re.compile(r"charset=\"?(iso-8859-1|windows-1252|us-ascii|shift_jis|gbk|euc-kr)\b", re.IGNORECASE)


def document(entries: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Write an archive of *entries*, each on a line of its own, piece by piece."""
    creator = json.dumps({"name": "stubserver", "version": __version__})
    yield b'{"log": {"version": "1.2", "creator": %b, "pages": [], "entries": [' % creator.encode()
    separator = b"\n"
    for each in entries:
        yield separator + json.dumps(each).encode()
        separator = b",\n"
    yield b"\n]}}\n"


def entry(found: Interaction, started: float | None = None, took_ms: float = 0) -> dict[str, Any]:
    """Make the archive's entry of an interaction.

    *started* is in seconds since the epoch; where it is not known, the answer's ``date`` stands for it.
    """
    request, response = found
    return {
        "startedDateTime": _moment(response.headers, started),
        "time": took_ms,
        "request": {
            "method": request.method,
            "url": request.uri,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _fields(request.headers),
            "queryString": [{"name": n, "value": v} for n, v in parse_qsl(request.query, keep_blank_values=True)],
            "headersSize": -1,
            "bodySize": len(request.body),
            **_post_data(request),
        },
        "response": {
            "status": response.status,
            "statusText": response.reason,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _fields(response.headers),
            "content": {
                "size": len(response.body),
                "mimeType": header(response.headers, "content-type") or "",
                **_text_or_base64(response.body),
            },
            "redirectURL": header(response.headers, "location") or "",
            "headersSize": -1,
            "bodySize": len(response.body),
            **({"_eventsMs": response.times} if response.times else {}),
        },
        "cache": {},
        "timings": {"send": 0, "wait": took_ms, "receive": 0},
    }


def _moment(headers: Headers, started: float | None) -> str:
    if started is not None:
        return datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds")
    try:
        return parsedate_to_datetime(header(headers, "date") or "").isoformat()
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(0, UTC).isoformat()


def _fields(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _post_data(request: Request) -> dict[str, Any]:
    if not request.body:
        return {}
    kind = header(request.headers, "content-type") or ""
    return {"postData": {"mimeType": kind, "params": [], **_text_or_base64(request.body)}}


def _text_or_base64(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), "encoding": "base64"}


def read(path: Path, _base: str = "") -> Iterator[Carried | Lost]:
    """Yield the interactions of an archive."""
    number = 0
    with path.open("rb") as stream:
        try:
            for number, raw in enumerate(elements(stream, "log", "entries"), 1):
                yield _read_entry(raw, f"{path}, entry {number}")
        except ElementsError as error:
            yield Lost(f"{path}, after entry {number}", str(error))


def _read_entry(raw: bytes, where: str) -> Carried | Lost:
    data = value_of(raw)
    if data is None:
        return Lost(where, "it is no sound JSON")
    if data.get("_webSocketMessages") is not None or data.get("_resourceType") == "websocket":
        return Lost(where, "it is a WebSocket")
    try:
        response = _response(_part(data, "response"), data)
        return Carried(where, Interaction(_request(_part(data, "request")), response))
    except FormatError as error:
        return Lost(where, str(error))


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    part = data.get(name)
    if not isinstance(part, dict):
        raise FormatError(f"it has no {name}")
    return part


def _request(data: dict[str, Any]) -> Request:
    method, url = data.get("method"), data.get("url")
    if not (isinstance(method, str) and isinstance(url, str) and url):
        raise FormatError("its request has no method or no url")
    if not url.lower().startswith(("http://", "https://")):
        raise FormatError("its url is not that of an HTTP server")
    return request_of(method, url, without_headers(_headers(data), _DECODED), _posted(data))


def _posted(data: dict[str, Any]) -> bytes:
    found, size = data.get("postData"), data.get("bodySize")
    posted = found if isinstance(found, dict) else {}
    kind = str(posted.get("mimeType") or "")
    if isinstance(posted.get("text"), str) and posted["text"]:
        return _bytes(posted, kind, size)
    params = posted.get("params")
    if not isinstance(params, list) or not params:
        if _had_body(data):
            raise FormatError("its request's body was not saved")
        return b""
    if "urlencoded" not in kind:
        raise FormatError("of its request's body only the names of its parts were saved")
    pairs = [(p.get("name"), p.get("value")) for p in params if isinstance(p, dict)]
    return urlencode(
        [(str(name), "" if value is None else str(value)) for name, value in pairs], errors="replace"
    ).encode()


def _had_body(data: dict[str, Any]) -> bool:
    """Tell whether a request had a body that is not there. Of a form with a file, Chromium says that its size is 0."""
    size, headers = data.get("bodySize"), _headers(data)
    length = header(headers, "content-length") or "0"
    return (
        (isinstance(size, int) and size > 0)
        or length.strip("0") != ""
        or header(headers, "transfer-encoding") is not None
    )


def _response(data: dict[str, Any], entry_data: dict[str, Any]) -> Response:
    status = data.get("status")
    broken = next((part.get(name) for part in (data, entry_data) for name in _FAILED if part.get(name)), None)
    if broken:
        raise FormatError(f"it was cut off or blocked: {str(broken)[:80]}")
    if status in {0, -1, None}:
        raise FormatError("it has no answer: it was blocked, cut off, or was still under way")
    headers = without_headers(_headers(data), _DECODED)
    content = data.get("content")
    kind = header(headers, "content-type") or ""
    body = _content(content if isinstance(content, dict) else {}, kind)
    return response_of(status, data.get("statusText"), headers, body)._replace(times=times_of(data.get("_eventsMs")))


def _content(content: dict[str, Any], kind: str) -> bytes:
    size = content.get("size")
    if isinstance(content.get("text"), str):
        return _bytes(content, kind or str(content.get("mimeType") or ""), None)
    if isinstance(size, int) and size > 0:
        raise FormatError("its answer's body was not saved")
    return b""


def _bytes(data: dict[str, Any], kind: str, size: object) -> bytes:
    """Return the bytes of a body; *size* is their number, where that is known."""
    text = data["text"]
    if str(data.get("encoding") or "").lower() == "base64":
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise FormatError("its body says that it is base64, but is not") from error
    named = _CHARSET.search(kind)
    plain = _encoded(text, named[1] if named else "utf-8")
    if not isinstance(size, int) or size < 0 or len(plain) == size:
        return plain
    # A body that is no text (a form with a file) is saved by some tools as one character for each byte.
    raw = _encoded(text, "latin-1")
    return raw if len(raw) == size else plain


def _encoded(text: str, charset: str) -> bytes:
    try:
        return text.encode(charset)
    except UnicodeError:
        return text.encode("utf-8", "surrogatepass")


def _headers(data: dict[str, Any]) -> Headers:
    """Return the fields as they were sent; those of HTTP/2's own, such as ``:path``, are none."""
    listed = data.get("headers")
    pairs = [(f.get("name"), f.get("value")) for f in listed if isinstance(f, dict)] if isinstance(listed, list) else []
    return tuple((str(n), "" if v is None else str(v)) for n, v in pairs if isinstance(n, str) and n and n[0] != ":")
