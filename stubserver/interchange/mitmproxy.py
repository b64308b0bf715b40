"""The flow files that ``mitmproxy -w`` and ``mitmdump -w`` write: one tnetstring after another, a flow each.

A tnetstring is ``<length>:<payload><type>``; mitmproxy adds ``;`` for text to the types of the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.interchange import Carried, Lost
from stubserver.interchange.elements import LARGEST
from stubserver.messages import Headers, Interaction, Request, Response, header

__all__ = ["FlowError", "read"]

_DEEPEST: Final = 32
_LONGEST_NUMBER: Final = 12
_PORTS: Final = {"http": 80, "https": 443}


class FlowError(ValueError):
    """Bytes that are no tnetstring."""


def read(path: Path, _base: str = "") -> Iterator[Carried | Lost]:
    """Yield the interactions of a flow file."""
    number = 0
    with path.open("rb") as stream:
        try:
            for number, flow in enumerate(_flows(stream), 1):
                yield _read_flow(flow, f"{path}, flow {number}")
        except FlowError as error:
            yield Lost(f"{path}, after flow {number}", str(error))


def _flows(stream: BinaryIO) -> Iterator[Any]:
    while head := _length_of_next(stream):
        size = int(head)
        if size > LARGEST:
            raise FlowError(f"a flow is larger than {LARGEST >> 20} MB")
        payload = stream.read(size + 1)
        if len(payload) != size + 1:
            raise FlowError("the file ends too early: it was cut off")
        yield _value(payload[size:], payload[:size], 0)


def _length_of_next(stream: BinaryIO) -> bytes:
    """Read the number before the colon; nothing at the end of the file."""
    digits = b""
    while (byte := stream.read(1)) != b":":
        if not byte and not digits:
            return b""
        digits += byte
        if not byte.isdigit() or len(digits) > _LONGEST_NUMBER:
            raise FlowError("it is no flow file of mitmproxy, or damaged here")
    if not digits:
        raise FlowError("it is no flow file of mitmproxy, or damaged here")
    return digits


def _value(kind: bytes, payload: bytes, depth: int) -> Any:  # noqa: ANN401  # plain data
    if depth > _DEEPEST:
        raise FlowError("it is nested too deep")
    if kind == b"]":
        return _list(payload, depth)
    if kind == b"}":
        flat = _list(payload, depth)
        if len(flat) % 2 or not all(isinstance(key, (str, bytes)) for key in flat[::2]):
            raise FlowError("a mapping is damaged")
        return {_text(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
    convert = _SCALARS.get(kind)
    if convert is None:
        raise FlowError("a value is of no known type")
    try:
        return convert(payload)
    except ValueError as error:
        raise FlowError("a value is damaged") from error


def _list(payload: bytes, depth: int) -> list[Any]:
    """Parse what is in a list; cut by offsets, so that a list of many does not copy its rest each time."""
    values, position = [], 0
    while position < len(payload):
        colon = payload.find(b":", position, position + _LONGEST_NUMBER + 1)
        if colon < 0 or not payload[position:colon].isdigit():
            raise FlowError("a length is missing")
        end = colon + 1 + int(payload[position:colon])
        kind = payload[end : end + 1]
        if not kind:
            raise FlowError("a value ends too early")
        values.append(_value(kind, payload[colon + 1 : end], depth + 1))
        position = end + 1
    return values


_SCALARS: Final[dict[bytes, Callable[[bytes], Any]]] = {
    b",": bytes,
    b";": lambda raw: raw.decode("utf-8", "replace"),
    b"#": int,
    b"^": float,
    b"!": b"true".__eq__,
    b"~": lambda _: None,
}


def _read_flow(flow: Any, where: str) -> Carried | Lost:  # noqa: ANN401  # plain data
    try:
        return Carried(where, _interaction(flow))
    except FormatError as error:
        return Lost(where, str(error))


def _interaction(flow: Any) -> Interaction:  # noqa: ANN401  # plain data
    if not isinstance(flow, dict):
        raise FormatError("it is no flow")
    kind = _text(flow.get("type"))
    if kind != "http" or flow.get("websocket") is not None:
        raise FormatError(f"it is no HTTP exchange but {'WebSocket' if kind == 'http' else kind[:20] or 'unknown'}")
    request, response, error = flow.get("request"), flow.get("response"), flow.get("error")
    if not isinstance(request, dict) or not isinstance(response, dict):
        raise FormatError("it has no answer")
    if isinstance(error, dict):
        raise FormatError(f"it was cut off: {_text(error.get('msg'))[:80]}")
    return Interaction(_request(request), _response(response))


def _request(data: dict[str, Any]) -> Request:
    scheme, path, fields = _text(data.get("scheme")) or "http", _text(data.get("path")), _headers(data)
    port = data.get("port")
    host = _text(data.get("host"))
    if isinstance(port, int) and port != _PORTS.get(scheme):
        host = f"{host}:{port}"
    # What the client called the server, where it did: a transparent proxy knows but an address.
    authority = _text(data.get("authority")) or header(fields, "host") or host
    uri = f"{scheme}://{authority}{path if path.startswith('/') else f'/{path}'}"
    return request_of(_text(data.get("method")), uri, fields, _body(data, "request"))


def _response(data: dict[str, Any]) -> Response:
    return response_of(data.get("status_code"), _text(data.get("reason")), _headers(data), _body(data, "answer"))


def _body(data: dict[str, Any], name: str) -> bytes:
    body = data.get("content")
    if not isinstance(body, bytes):
        raise FormatError(f"its {name}'s body was streamed, and not saved")
    return body


def _headers(data: dict[str, Any]) -> Headers:
    listed = data.get("headers")
    pairs = listed if isinstance(listed, list) else []
    return tuple((_text(p[0]), _text(p[1])) for p in pairs if isinstance(p, list) and len(p) == 2)  # noqa: PLR2004


def _text(value: object) -> str:
    """Return text; bytes are those of an HTTP head."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""
