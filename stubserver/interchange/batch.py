"""OpenAI's Batch API: the JSONL file of requests, and those of outputs and errors, put together by ``custom_id``.

https://platform.openai.com/docs/api-reference/batch: the outputs come in any order, and some requests have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.interchange import Carried, Lost
from stubserver.interchange.elements import ElementsError, lines, value_of
from stubserver.messages import Interaction, Request, Response

__all__ = ["read"]

_JSON: Final = (("content-type", "application/json"),)


class _Place(NamedTuple):
    """Where a request stands: only this is kept of it, until its answer comes."""

    file: int
    line: int
    offset: int
    length: int


def read(paths: Iterable[Path], base: str) -> Iterator[Carried | Lost]:
    """Yield an interaction for each output that has its request; *base* is where the API is: ``https://host``."""
    files = list(paths)
    inputs = [path for path in files if _is_input(path)]
    waiting: dict[str, _Place] = {}
    for number, path in enumerate(inputs):
        yield from _index(path, number, waiting)
    streams = [path.open("rb") for path in inputs]
    try:
        for path in files:
            if path not in inputs:
                yield from _outputs(path, waiting, streams, base)
    finally:
        for stream in streams:
            stream.close()
    for name, place in waiting.items():
        yield Lost(f"{inputs[place.file]}, line {place.line}", f"no output has its custom_id {name[:80]!r}")


def _is_input(path: Path) -> bool:
    """Tell requests from outputs by the first line that is an object."""
    with path.open("rb") as stream:
        try:
            first = next((value for line in lines(stream) if (value := value_of(line.text)) is not None), {})
        except ElementsError:
            return False
    return "url" in first and "response" not in first


def _index(path: Path, number: int, waiting: dict[str, _Place]) -> Iterator[Lost]:
    """Remember where each request stands."""
    with path.open("rb") as stream:
        try:
            for line in lines(stream):
                data = value_of(line.text)
                name = data.get("custom_id") if data is not None else None
                if not isinstance(name, str):
                    yield Lost(f"{path}, line {line.number}", "it is no request with a custom_id")
                elif name in waiting:
                    yield Lost(f"{path}, line {line.number}", f"its custom_id {name[:80]!r} was there before")
                else:
                    waiting[name] = _Place(number, line.number, line.offset, line.length)
        except ElementsError as error:
            yield Lost(str(path), str(error))


def _outputs(
    path: Path, waiting: dict[str, _Place], streams: Sequence[BinaryIO], base: str
) -> Iterator[Carried | Lost]:
    number = 0
    with path.open("rb") as stream:
        try:
            for number, _, _, raw in lines(stream):
                where = f"{path}, line {number}"
                try:
                    yield Carried(where, _interaction(value_of(raw), waiting, streams, base))
                except FormatError as error:
                    yield Lost(where, str(error))
        except ElementsError as error:
            yield Lost(f"{path}, after line {number}", str(error))


def _interaction(
    data: dict[str, Any] | None, waiting: dict[str, _Place], streams: Sequence[BinaryIO], base: str
) -> Interaction:
    name = data.get("custom_id") if data is not None else None
    if data is None or not isinstance(name, str):
        raise FormatError("it is no output with a custom_id")
    place = waiting.pop(name, None)
    if place is None:
        raise FormatError(f"no request has its custom_id {name[:80]!r}, or another output had it before")
    answer = data.get("response")
    if not isinstance(answer, dict):
        raise FormatError(f"the batch has no answer to it: {_reason(data.get('error'))}")
    streams[place.file].seek(place.offset)
    return Interaction(_request(streams[place.file].read(place.length), base), _response(answer))


def _reason(error: object) -> str:
    return str(error.get("message") or error.get("code"))[:200] if isinstance(error, dict) else "no error is named"


def _request(line: bytes, base: str) -> Request:
    data = value_of(line.strip()) or {}
    url = data.get("url")
    if not isinstance(url, str) or not url.startswith("/"):
        raise FormatError("its request has no url that begins with /")
    return request_of(data.get("method") or "POST", base + url, _JSON, _json(data.get("body")))


def _response(data: dict[str, Any]) -> Response:
    status, request_id = data.get("status_code"), data.get("request_id")
    headers = (*_JSON, ("x-request-id", request_id)) if isinstance(request_id, str) and request_id else _JSON
    return response_of(status, "", headers, _json(data.get("body")))


def _json(value: object) -> str:
    """Write a body as JSON; the text is ours, the value theirs."""
    return "" if value is None else json.dumps(value, ensure_ascii=False)
