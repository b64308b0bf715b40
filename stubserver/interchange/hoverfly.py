"""Hoverfly's simulations, of its schemas 1 to 5: pairs of what a request has to be like, and the answer to it.

A pair that stands for one exact request becomes that request; one that matches by a pattern has none to be kept.
The shapes are those of https://docs.hoverfly.io/en/latest/pages/reference/simulationschema.html and of what
``core/handlers/v2`` reads: schema 1 has texts, 2 to 4 objects such as ``{"exactMatch": …}``, 5 lists of matchers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from stubserver.cassettes.format import FormatError, request_of, response_of
from stubserver.interchange import Carried, Lost
from stubserver.interchange.elements import ElementsError, elements, value_of
from stubserver.interchange.stubs import Parts, file_body, from_base64, kept_of, quoted, unpacked
from stubserver.jsonvalue import NOT_JSON, json_value
from stubserver.messages import Headers, Interaction, Request, Response, header, without_headers

__all__ = ["read"]

_FRAMING: Final = frozenset({"content-length", "content-encoding", "transfer-encoding", "connection", "host"})
_ITS_OWN: Final = frozenset({"hoverfly"})
_IN_A_PATH: Final = "/%:@!$&'()*+,;=~"
_IN_A_QUERY: Final = "/%:@!$'()*,;=~&+?"
_HOST: Final = re.compile(r"[^/\s?#@*]+")
_SEQUENCE: Final = "sequence:"
_DELAYS: Final = ("delays", "delaysLogNormal")


class _Matcher(NamedTuple):
    """How one part of a request is compared, and with what."""

    kind: str
    value: object
    plain: bool = True
    """Whether nothing else is said, such as that the order does not matter, or what comes after it."""


class _Step(NamedTuple):
    """A pair of a sequence: the state that it needs, the one that it leads to."""

    needs: str
    leads_to: str
    found: Carried


def read(path: Path, base: str) -> Iterator[Carried | Lost]:
    """Yield an interaction for each pair of the simulation at *path*, or of each one in a folder; sequences at the end.

    *base* is where requests went, ``https://host``, where a pair does not say.
    """
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        yield from _read_file(file, base)


def _read_file(file: Path, base: str) -> Iterator[Carried | Lost]:
    sequences: dict[str, list[_Step]] = {}
    for where, data in _objects(file, "pairs"):
        found, states = _read_pair(data, where, file.parent, base), _states(data, "request", "requiresState")
        if isinstance(found, Lost) or not states:
            yield found
        elif len(states) == 1 and (key := next(iter(states))).startswith(_SEQUENCE):
            leads_to = _states(data, "response", "transitionsState").get(key, "")
            sequences.setdefault(key, []).append(_Step(states[key], leads_to, found))
        else:
            yield Lost(where, "it is the answer in a state that other requests lead to; recordings have no such states")
    for key, steps in sequences.items():
        yield from _in_order(key, steps)
    for name in _DELAYS:
        for where, _ in _objects(file, "globalActions", name):
            yield Lost(where, "delays are left out; see --ttft and --fault")


def _objects(file: Path, *path: str) -> Iterator[tuple[str, dict[str, Any] | None]]:
    number, name = 0, "pair" if path[0] == "pairs" else path[-1]
    with file.open("rb") as stream:
        try:
            for number, raw in enumerate(elements(stream, "data", *path), 1):
                yield f"{file}, {name} {number}", value_of(raw)
        except ElementsError:
            if name == "pair":
                yield f"{file}, after pair {number}", None


def _read_pair(data: dict[str, Any] | None, where: str, bodies: Path, base: str) -> Carried | Lost:
    def made(asked: Parts, answer: Parts) -> Interaction:
        return Interaction(_request(asked, base), _response(answer, bodies))

    return kept_of(data, where, made, _notes)


def _notes(asked: dict[str, Any], answer: dict[str, Any]) -> Iterator[str]:
    if asked.get("headers") or asked.get("headersWithMatchers"):
        yield "what it asks of headers is left out: a recording matches without them"
    if any(_matchers(asked, name) and _exact(asked, name) is None for name in ("destination", "scheme")):
        yield "where requests went is a pattern; --upstream stands for it"
    if not any(name in asked for name in ("query", "queriesWithMatchers", "deprecatedQuery")):
        yield "the stub takes any query; the recording takes none"
    if answer.get("fixedDelay") or answer.get("logNormalDelay"):
        yield "its delay is left out"
    if answer.get("postServeAction") or answer.get("postActionHooks"):
        yield "what it does after its answer is left out"
    if any(not key.startswith(_SEQUENCE) for key in _texts(answer.get("transitionsState"))) or answer.get(
        "removesState"
    ):
        yield "the state that it leads to is left out"


def _request(data: dict[str, Any], base: str) -> Request:
    method, path = _exact(data, "method"), _exact(data, "path")
    if not method:
        raise FormatError("it stands for more than one method")
    if not path or not path.startswith("/"):
        raise FormatError("it matches its path by a pattern, or takes any")
    body, kind = _body(data, method.upper())
    headers = without_headers(_asked_headers(data), _FRAMING)
    if kind and header(headers, "content-type") is None:
        headers = (*headers, ("content-type", kind))
    query = _query(data)
    target = quoted(path, _IN_A_PATH) + (f"?{query}" if query else "")
    return request_of(method, _origin(data, base) + target, headers, body)


def _origin(data: dict[str, Any], base: str) -> str:
    """Return where the request went: what the pair says, and *base* for what it does not say."""
    host, scheme = _exact(data, "destination"), _exact(data, "scheme")
    if not host:
        return base
    if not _HOST.fullmatch(host) or scheme not in {None, "", "http", "https"}:
        raise FormatError("where it went is no host, or not asked by HTTP")
    return f"{scheme or base.partition('://')[0]}://{host}"


def _matchers(data: dict[str, Any], name: str) -> list[_Matcher]:
    """Return how the part *name* of a request is compared, of whichever schema the pair is."""
    return _read_matchers(data.get(name), template=data.get("requestType") not in {None, "recording"})


def _read_matchers(value: object, *, template: bool = False) -> list[_Matcher]:
    if isinstance(value, str):
        return [_Matcher("glob" if template else "exact", value)]
    if isinstance(value, dict):
        return [_Matcher(name.removesuffix("Match"), each) for name, each in value.items() if each is not None]
    found = value if isinstance(value, list) else []
    return [_matcher(each) for each in found if isinstance(each, dict)]


def _matcher(data: dict[str, Any]) -> _Matcher:
    config, after = data.get("config"), data.get("doMatch")
    loose = isinstance(config, dict) and any(config.values())
    return _Matcher(str(data.get("matcher")).lower(), data.get("value"), not loose and not after)


def _exact_value(matchers: Iterable[_Matcher]) -> str | None:
    """Return the one text that all *matchers* take, None if there are none, or if they take more than one."""
    values = {each.value if _is_exact(each) else None for each in matchers}
    value = values.pop() if len(values) == 1 else None
    return value if isinstance(value, str) else None


def _is_exact(matcher: _Matcher) -> bool:
    kind, value, plain = matcher
    return plain and isinstance(value, str) and (kind == "exact" or (kind == "glob" and "*" not in value))


def _exact(data: dict[str, Any], name: str) -> str | None:
    return _exact_value(_matchers(data, name))


def _query(data: dict[str, Any]) -> str:
    whole = _whole_query(data)
    pairs = []
    for name, matchers in _named(data, "query", "queriesWithMatchers"):
        pairs += [(name, value) for value in _values(matchers)]
    parts = [quoted(whole, _IN_A_QUERY)] if whole else []
    return "&".join([*parts, *(f"{quoted(name, '')}={quoted(value, '')}" for name, value in pairs)])


def _whole_query(data: dict[str, Any]) -> str:
    """Return the query as older schemas have it, in one piece."""
    for name in ("deprecatedQuery", "query"):
        value = data.get(name)
        matchers = [] if name == "query" and _is_by_name(value) else _matchers(data, name)
        if matchers:
            found = _exact_value(matchers)
            if found is None:
                raise FormatError("it matches its query by a pattern")
            return found
    return ""


def _is_by_name(value: object) -> bool:
    return isinstance(value, dict) and not any(isinstance(each, str) for each in value.values())


def _named(data: dict[str, Any], *names: str) -> Iterator[tuple[str, list[_Matcher]]]:
    """Yield the matchers of each query parameter, or header field."""
    for name in names:
        value = data.get(name)
        if isinstance(value, dict) and _is_by_name(value):
            yield from ((key, _read_matchers(each)) for key, each in value.items())


def _values(matchers: list[_Matcher]) -> list[str]:
    """Return the values of a query parameter that may be these alone."""
    kind, value, plain = matchers[0] if len(matchers) == 1 else _Matcher("", None)
    if kind == "array" and plain and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    exact = _exact_value(matchers)
    if exact is None:
        raise FormatError("it matches its query by a pattern")
    return [exact]


def _asked_headers(data: dict[str, Any]) -> Headers:
    """Return the header fields that are known for certain. Those of schemas 1 to 4 are lists of texts."""
    listed = data.get("headers")
    fields = listed if isinstance(listed, dict) else {}
    texts = [(name, each) for name, v in fields.items() if isinstance(v, list) for each in v if isinstance(each, str)]
    exact = [(name, _exact_value(matchers)) for name, matchers in _named(data, "headers", "headersWithMatchers")]
    return (*((n, v) for n, v in texts if "*" not in v), *((name, value) for name, value in exact if value is not None))


def _body(data: dict[str, Any], method: str) -> tuple[bytes, str]:
    """Return the one body that is meant, and its type."""
    matchers = _matchers(data, "body")
    if not matchers:
        if method in {"POST", "PUT", "PATCH"}:
            raise FormatError("it takes any body, so there is no request that could be kept")
        return b"", ""
    kind, value, plain = matchers[0]
    if len(matchers) == 1 and kind == "json" and plain:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    elif (exact := _exact_value(matchers)) is not None:
        text = exact
    else:
        raise FormatError("it matches its body by a pattern")
    if "\N{REPLACEMENT CHARACTER}" in text:  # so Go writes any byte that is no text
        raise FormatError("its request's body is no text, and was not saved as it was")
    body = text.encode("utf-8", "surrogatepass")
    return body, "" if not body else "text/plain" if json_value(body) is NOT_JSON else "application/json"


def _response(data: dict[str, Any], bodies: Path) -> Response:
    fields = data.get("headers")
    pairs = [
        (name, value)
        for name, values in (fields.items() if isinstance(fields, dict) else ())
        for value in (values if isinstance(values, list) else [values])
    ]
    body = _answer_body(data, bodies)
    if data.get("templated") and (b"{{" in body or any("{{" in str(value) for _, value in pairs)):
        raise FormatError("its answer is made by a template")
    response = response_of(data.get("status", 200), None, pairs, body)
    return unpacked(response._replace(headers=without_headers(response.headers, _ITS_OWN)))


def _answer_body(data: dict[str, Any], bodies: Path) -> bytes:
    name, text = data.get("bodyFile"), data.get("body")
    if name:
        if "://" in str(name):
            raise FormatError("its body is at a URL, not in a file")
        return file_body(str(name), bodies)
    if data.get("encodedBody"):
        return from_base64(text or "")
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(each) for key, each in value.items()} if isinstance(value, dict) else {}


def _states(data: dict[str, Any] | None, part: str, name: str) -> dict[str, str]:
    """Return the states that a pair needs, or leads to."""
    found = data.get(part) if data else None
    return _texts(found.get(name)) if isinstance(found, dict) else {}


def _in_order(key: str, steps: list[_Step]) -> Iterator[Carried | Lost]:
    """Follow a sequence from 1, where Hoverfly begins each; what is not on that way cannot be an order."""
    state, left = "1", list(steps)
    while step := next((each for each in left if each.needs == state), None):
        left.remove(step)
        yield step.found
        state = step.leads_to or state
    for step in left:
        yield Lost(step.found.where, f"the state that it needs does not come in a row in {key[:80]!r}")
