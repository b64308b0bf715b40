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
from urllib.parse import parse_qsl, quote, urlencode

from stubserver import __version__
from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.interchange import Carried, Lost, times_of
from stubserver.interchange.elements import ElementsError, elements, value_of
from stubserver.keeping import decoded
from stubserver.messages import Headers, Interaction, Request, Response, header, without_headers

__all__ = ["document", "entry", "read"]

_FAILED: Final = ("_error", "_failureText")
_DECODED: Final = frozenset({"content-encoding", "transfer-encoding"})
_NO_BODY: Final = frozenset({204, 304})
_STREAM: Final = "text/event-stream"
_KIND: Final = re.compile(r"[\w.+-]+/[\w.+-]+")
_GZIP: Final = b"\x1f\x8b"
_UPLOADED: Final = re.compile(rb"content-(?:type|length):", re.IGNORECASE)
_LONGEST_WAIT_MS: Final = 1e9
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
            "headers": _fields(request.headers, len(request.body) if request.body else None),
            "queryString": [{"name": n, "value": v} for n, v in parse_qsl(request.query, keep_blank_values=True)],
            "headersSize": -1,
            "bodySize": len(request.body),
            **_post_data(request),
        },
        "response": _written_response(request.method, response),
        "cache": {},
        "timings": {"send": 0, "wait": took_ms, "receive": 0},
    }


def _written_response(method: str, response: Response) -> dict[str, Any]:
    """Write a response as it was sent: sizes are those on the wire, the text is what was packed."""
    sent = response.body
    plain = decoded(response.headers, sent)
    plain = sent if plain is None else plain
    no_length = response.events or method == "HEAD" or response.status in _NO_BODY or response.status < 200  # noqa: PLR2004  # HTTP's
    return {
        "status": response.status,
        "statusText": response.reason,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _fields(response.headers, None if no_length else len(sent)),
        "content": {
            "size": len(plain),
            **({"compression": len(plain) - len(sent)} if plain is not sent else {}),
            "mimeType": header(response.headers, "content-type") or "",
            **_text_or_base64(plain),
        },
        "redirectURL": header(response.headers, "location") or "",
        "headersSize": -1,
        "bodySize": len(sent),
        **({"_eventsMs": response.times} if response.times else {}),
    }


def _moment(headers: Headers, started: float | None) -> str:
    if started is not None:
        return datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds")
    try:
        return parsedate_to_datetime(header(headers, "date") or "").isoformat()
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(0, UTC).isoformat()


def _fields(headers: Headers, length: int | None) -> list[dict[str, str]]:
    """List the fields; the *length* of what was sent is there too, which recordings may not have."""
    if length is not None and header(headers, "content-length") is None:
        headers = (*headers, ("Content-Length", str(length)))
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
    if _is_websocket(data):
        return Lost(where, "it is a WebSocket")
    try:
        response = _response(_part(data, "response"), data)
        return Carried(where, Interaction(_request(_part(data, "request")), response))
    except FormatError as error:
        return Lost(where, str(error))


def _is_websocket(data: dict[str, Any]) -> bool:
    """Tell whether an entry is one: Chromium says so, others have but the status."""
    answer = data.get("response")
    switched = isinstance(answer, dict) and answer.get("status") == 101  # noqa: PLR2004  # Switching Protocols
    return switched or data.get("_webSocketMessages") is not None or data.get("_resourceType") == "websocket"


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    part = data.get(name)
    if not isinstance(part, dict):
        raise FormatError(f"it has no {name}")
    return part


def _request(data: dict[str, Any]) -> Request:
    method, url = data.get("method"), data.get("url")
    if not (isinstance(method, str) and isinstance(url, str) and url):
        raise FormatError("its request has no method or no url")
    if method.upper() == "CONNECT":
        raise FormatError("it is a tunnel of a proxy; what went through it has entries of its own, or was not seen")
    if not url.lower().startswith(("http://", "https://")):
        raise FormatError("its url is not that of an HTTP server")
    if "?" not in url:  # Insomnia has the query in the list alone
        head, mark, fragment = url.partition("#")
        query = urlencode(_pairs(data.get("queryString")), errors="replace", quote_via=quote)
        url = head + (f"?{query}" if query else "") + mark + fragment
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
    return urlencode(_pairs(params), errors="replace").encode()


def _pairs(listed: object) -> list[tuple[str, str]]:
    found = listed if isinstance(listed, list) else []
    pairs = [(p.get("name"), p.get("value")) for p in found if isinstance(p, dict)]
    return [(n, "" if v is None else str(v)) for n, v in pairs if isinstance(n, str)]


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
    content = data.get("content")
    content = content if isinstance(content, dict) else {}
    headers = _typed(_headers(data), content, entry_data)
    body, times = _content(content, headers, bare=_has_no_body(status, entry_data)), data.get("_eventsMs")
    if body is None:
        body, times = _from_messages(entry_data)
    headers = tuple((n, str(len(body)) if n.lower() == "content-length" else v) for n, v in headers)
    response = response_of(status, data.get("statusText"), without_headers(headers, _DECODED), body)
    return response._replace(times=times_of(times))


def _has_no_body(status: object, entry_data: dict[str, Any]) -> bool:
    asked = entry_data.get("request")
    return status in _NO_BODY or (isinstance(asked, dict) and asked.get("method") == "HEAD")


def _typed(headers: Headers, content: dict[str, Any], entry_data: dict[str, Any]) -> Headers:
    """Add the type where only the content says it."""
    kind = str(content.get("mimeType") or "")
    if entry_data.get("_eventSourceMessages") and not kind.startswith(_STREAM):
        kind = _STREAM
    if header(headers, "content-type") is None and _KIND.match(kind):
        return (*headers, ("content-type", kind))
    return headers


def _content(content: dict[str, Any], headers: Headers, *, bare: bool) -> bytes | None:
    """Return the body of an answer; None when its events alone may be there. *bare*: its length is that of another."""
    size, text = content.get("size"), content.get("text")
    known = isinstance(size, int) and size >= 0
    if isinstance(text, str) and (text or not known or size == 0):
        found = _bytes(content, header(headers, "content-type") or "", size if content.get("encoding") else None)
        # Where the bytes are those that were sent, they are packed still.
        packed = content.get("encoding") and found[:2] == _GZIP and decoded(headers, found)
        return packed or found
    length = header(headers, "content-length") or "0"
    return b"" if bare or not (size if known else length.strip("0")) else None


def _from_messages(entry_data: dict[str, Any]) -> tuple[bytes, list[int]]:
    """Make a stream of the events that Chromium lists apart from the body; and when each came. Raises FormatError."""
    listed = entry_data.get("_eventSourceMessages")
    messages = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if not messages:
        raise FormatError("its answer's body was not saved")
    moments = [each.get("time") for each in messages]
    first, timings = moments[0], entry_data.get("timings")
    waited = timings.get("wait") if isinstance(timings, dict) else 0
    start = waited if isinstance(waited, (int, float)) and 0 <= waited < _LONGEST_WAIT_MS else 0
    times = [
        int(start + (moment - first) * 1000)
        for moment in moments
        if isinstance(moment, (int, float))
        and isinstance(first, (int, float))
        and abs(moment - first) < _LONGEST_WAIT_MS
    ]
    return b"".join(map(_event, messages)), times if len(times) == len(messages) else []


def _event(message: dict[str, Any]) -> bytes:
    name, number = message.get("eventName") or message.get("event"), message.get("eventId") or message.get("id")
    lines = [f"id: {number}"] if number else []
    lines += [f"event: {name}"] if name and name != "message" else []
    lines += [f"data: {line}" for line in str(message.get("data") or "").split("\n")]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "surrogatepass")


def _bytes(data: dict[str, Any], kind: str, size: object) -> bytes:
    """Return the bytes of a body; *size* is their number, where that is known."""
    text = data["text"]
    named = _CHARSET.search(kind)
    plain = _encoded(text, named[1] if named else "utf-8")
    if str(data.get("encoding") or "").lower() == "base64":
        return _from_base64(text, plain, size)
    if not isinstance(size, int) or size < 0 or len(plain) == size:
        return plain
    if _UPLOADED.match(plain) and len(own := plain.partition(b"\r\n\r\n")[2]) == size:
        return own  # Firefox has the fields of an upload in front of it
    # A body that is no text (a form with a file) is saved by some tools as one character for each byte.
    raw = _encoded(text, "latin-1")
    return raw if len(raw) == size else plain


def _from_base64(text: str, plain: bytes, size: object) -> bytes:
    """Return what is in base64. Firefox calls some bodies so that are none: those have the length of the text."""
    try:
        found = base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        if size == len(plain):
            return plain
        raise FormatError("its body says that it is base64, but is not") from error
    return plain if size == len(plain) != len(found) else found


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
