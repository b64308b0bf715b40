"""WireMock's stub mappings: files below ``mappings`` with bodies below ``__files``, or what its admin API gives.

A mapping that stands for one exact request becomes that request. One that matches by a pattern, or makes its answer,
has no request that could be kept. https://wiremock.org/docs/stubbing/ describes the format.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.interchange import Carried, Lost
from stubserver.interchange.elements import LARGEST, ElementsError, elements, root_keys, value_of
from stubserver.interchange.stubs import Parts, file_body, from_base64, kept_of, quoted, unpacked
from stubserver.jsonvalue import NOT_JSON, json_value
from stubserver.messages import Interaction, Request, Response

__all__ = ["Turn", "document", "read", "same"]

_STARTED: Final = "Started"
_PEEKED: Final = 64 * 1024
_EXACT: Final = ("equalToJson", "equalTo", "binaryEqualTo")
_MADE: Final = {"fault": "a fault", "proxyBaseUrl": "another server's answer", "transformers": "made by a template"}
_LOOSE: Final = ("ignoreExtraElements", "ignoreArrayOrder", "caseInsensitive")
_DELAYS: Final = ("fixedDelayMilliseconds", "delayDistribution", "chunkedDribbleDelay")


class Turn(NamedTuple):
    """Which of several equal requests one is: the *number*-th, from 1, *of* so many; *name* is theirs alone."""

    name: str
    number: int
    of: int


def document(found: Iterable[tuple[Interaction, Turn]]) -> Iterator[bytes]:
    """Write a file with a mapping for each interaction, piece by piece; it goes below WireMock's folder ``mappings``.

    Equal requests become a scenario: they are played in their order, and then the last one over and over.
    """
    yield b'{"mappings": ['
    separator = b"\n"
    for interaction, turn in found:
        yield separator + json.dumps({**_mapping(interaction), **_scenario(turn)}).encode()
        separator = b",\n"
    yield b"\n]}\n"


def same(request: Request) -> bytes:
    """Return what two requests have in common that WireMock takes for one: JSON in any order of its members."""
    value = json_value(request.body)
    body = request.body if value is NOT_JSON else json.dumps(value, sort_keys=True).encode()
    head = f"{request.method} {request.target}"
    return blake2b(b"\n".join([head.encode("utf-8", "surrogatepass"), body]), digest_size=16).digest()


def _mapping(found: Interaction) -> dict[str, Any]:
    request, response = found
    asked = {"method": request.method, "url": request.target, **_body_pattern(request)}
    fields: dict[str, list[str]] = {}
    for name, value in response.headers:
        fields.setdefault(name, []).append(value)
    headers = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    answer = {"status": response.status, "headers": headers, **_body_of(response.body)}
    if response.reason:
        answer["statusMessage"] = response.reason
    return {"request": asked, "response": answer}


def _body_pattern(request: Request) -> dict[str, Any]:
    """Return what finds this body and no other: JSON as JSON, in any order of its members."""
    body = request.body
    if not body:
        return {}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"bodyPatterns": [{"binaryEqualTo": base64.b64encode(body).decode()}]}
    if json_value(body) is NOT_JSON:
        return {"bodyPatterns": [{"equalTo": text}]}
    return {"bodyPatterns": [{"equalToJson": text, "ignoreArrayOrder": False, "ignoreExtraElements": False}]}


def _body_of(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"base64Body": base64.b64encode(body).decode()}


def _scenario(turn: Turn) -> dict[str, str]:
    """Return the state that a mapping needs and leads to; the last one leads nowhere, and so is played again."""
    if turn.of == 1:
        return {}
    needs = _STARTED if turn.number == 1 else f"turn {turn.number}"
    leads_to = {"newScenarioState": f"turn {turn.number + 1}"} if turn.number < turn.of else {}
    return {"scenarioName": turn.name, "requiredScenarioState": needs, **leads_to}


class _Step(NamedTuple):
    """A mapping of a scenario: the state that it needs, and the one that it leads to."""

    needs: str
    leads_to: str
    carried: Carried


def read(path: Path, base: str) -> Iterator[Carried | Lost]:
    """Yield an interaction for each mapping at *path*, a file or a folder; scenarios in their order, at the end.

    *base* is where the requests went, ``https://host``: a mapping does not say.
    """
    scenarios: dict[str, list[_Step]] = {}
    for file in _files(path):
        bodies = _bodies_of(file)
        for where, data in _mappings(file):
            found = _read_mapping(data, where, bodies, base)
            name = data.get("scenarioName") if data else None
            if isinstance(found, Carried) and data and isinstance(name, str):
                needs, leads_to = (str(data.get(f"{s}ScenarioState") or "") for s in ("required", "new"))
                scenarios.setdefault(name, []).append(_Step(needs, leads_to, found))
            else:
                yield found
    for name, steps in scenarios.items():
        yield from _in_order(name, steps)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    folder = path / "mappings" if (path / "mappings").is_dir() else path
    return sorted(file for file in folder.rglob("*.json") if file.is_file() and "__files" not in file.parts)


def _bodies_of(file: Path) -> Path:
    """Return ``__files``, the folder of bodies: beside the folder ``mappings`` that *file* is in, or beside *file*."""
    above = next((parent for parent in file.parents if parent.name == "mappings"), None)
    return (above.parent if above else file.parent) / "__files"


def _mappings(file: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    with file.open("rb") as stream:
        head = stream.read(_PEEKED)
        stream.seek(0)
        if "mappings" not in root_keys(head):
            yield str(file), value_of(stream.read(LARGEST))
            return
        number = 0
        try:
            for number, raw in enumerate(elements(stream, "mappings"), 1):
                yield f"{file}, mapping {number}", value_of(raw)
        except ElementsError:
            yield f"{file}, after mapping {number}", None


def _read_mapping(data: dict[str, Any] | None, where: str, bodies: Path, base: str) -> Carried | Lost:
    def made(asked: Parts, answer: Parts) -> Interaction:
        return Interaction(_request(asked, base), _response(answer, bodies))

    return kept_of(data, where, made, partial(_notes, data or {}))


def _notes(data: dict[str, Any], asked: dict[str, Any], answer: dict[str, Any]) -> Iterator[str]:
    if any(pattern.get(name) for pattern in _body_patterns(asked) for name in _LOOSE):
        yield "the stub takes bodies with more in them, or in another order; the recording takes this one alone"
    if any(name in answer for name in _DELAYS):
        yield "its delay is left out"
    if any(name in asked for name in ("headers", "cookies", "basicAuthCredentials")):
        yield "what it asks of headers is left out: a recording matches without them"
    if data.get("priority") not in {None, 5}:
        yield "its priority is left out"


def _request(data: dict[str, Any], base: str) -> Request:
    method = data.get("method")
    if not isinstance(method, str) or method.upper() == "ANY":
        raise FormatError("it stands for more than one method")
    if any(name in data for name in ("multipartPatterns", "formParameters", "customMatcher")):
        raise FormatError("it matches the parts of a form, or by a program")
    target = _target(data)
    body, kind = _body(data)
    headers = (("content-type", kind),) if kind else ()
    if not body and method.upper() in {"POST", "PUT", "PATCH"}:
        raise FormatError("it takes any body, so there is no request that could be kept")
    return request_of(method, base + target, headers, body)


def _target(data: dict[str, Any]) -> str:
    url, path = data.get("url"), data.get("urlPath")
    target = url if isinstance(url, str) else path
    if not isinstance(target, str) or not target.startswith("/"):
        raise FormatError("it matches its path by a pattern, or takes any")
    pairs = []
    parameters = data.get("queryParameters")
    for name, pattern in parameters.items() if isinstance(parameters, dict) else ():
        pairs += [(name, value) for value in _exact_values(pattern)]
    if not pairs:
        return target
    query = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in pairs)
    return f"{target}{'&' if '?' in target else '?'}{query}"


def _exact_values(pattern: object) -> list[str]:
    """Return the values of a query parameter that may be these alone."""
    found = pattern if isinstance(pattern, dict) else {}
    several = found.get("hasExactly")
    values = [one.get("equalTo") for one in several if isinstance(one, dict)] if isinstance(several, list) else []
    values = values or [found.get("equalTo")]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        raise FormatError("it matches its query by a pattern")
    return texts


def _body_patterns(data: dict[str, Any]) -> list[dict[str, Any]]:
    patterns = data.get("bodyPatterns")
    return [p for p in patterns if isinstance(p, dict)] if isinstance(patterns, list) else []


def _body(data: dict[str, Any]) -> tuple[bytes, str]:
    """Return the one body that is meant, and its type."""
    patterns = _body_patterns(data)
    exact = [(name, pattern[name]) for pattern in patterns for name in _EXACT if name in pattern]
    if len(patterns) > len(exact) or len(exact) > 1:
        raise FormatError("it matches its body by a pattern")
    if not exact:
        return b"", ""
    name, value = exact[0]
    if name == "binaryEqualTo":
        return from_base64(value), "application/octet-stream"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if name == "equalToJson" and "${json-unit." in text:
        raise FormatError("it matches its body by a pattern")
    return text.encode("utf-8", "surrogatepass"), "application/json" if name == "equalToJson" else "text/plain"


def _response(data: dict[str, Any], bodies: Path) -> Response:
    for name, what in _MADE.items():
        if data.get(name):
            raise FormatError(f"its answer is {what}")
    fields = data.get("headers")
    pairs = [
        (name, value)
        for name, values in (fields.items() if isinstance(fields, dict) else ())
        for value in (values if isinstance(values, list) else [values])
    ]
    return unpacked(response_of(data.get("status", 200), data.get("statusMessage"), pairs, _answer_body(data, bodies)))


def _answer_body(data: dict[str, Any], bodies: Path) -> object:
    if isinstance(data.get("body"), str):
        return data["body"]
    if "jsonBody" in data:
        return json.dumps(data["jsonBody"], ensure_ascii=False)
    if "base64Body" in data:
        return from_base64(data["base64Body"])
    name = data.get("bodyFileName")
    return b"" if name is None else _file_body(str(name), bodies)


def _file_body(name: str, bodies: Path) -> bytes:
    if "{{" in name:
        raise FormatError("its answer is made by a template")
    return file_body(name, bodies)


def _in_order(name: str, steps: list[_Step]) -> Iterator[Carried | Lost]:
    """Follow a scenario from its start; what is not on that way cannot be an order."""
    state, left = _STARTED, list(steps)
    while step := next((each for each in left if each.needs in {state, ""}), None):
        left.remove(step)
        yield step.carried
        state = step.leads_to or state
    for step in left:
        yield Lost(step.carried.where, f"the state that it needs does not come in a row in scenario {name[:80]!r}")
