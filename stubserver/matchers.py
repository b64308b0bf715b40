"""Named comparisons of two requests. A match is 'no differences', so a near miss comes out of the same code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from stubserver.canonical import Rules
from stubserver.jsonvalue import NOT_JSON
from stubserver.messages import Headers, Request
from stubserver.redaction import MARK, clean_headers, clean_text, clean_value, is_secret_member

__all__ = ["Difference", "NearMiss", "differences", "short"]

_SHOWN: Final = 80
_BEFORE: Final = 20
_MOST: Final = 50
_CLEANED: Final = 16 * 1024
"""So much of a text is searched for secrets before it is shortened; what is shown lies well within it."""


class Difference(NamedTuple):
    """One thing in which a request differs from a recording: a JSON path or a part's name, and both values in short."""

    path: str
    recorded: str
    received: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.path}: recorded {self.recorded}, received {self.received}"


class NearMiss(NamedTuple):
    """A recording that was not played, and why."""

    cassette: str
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        shown = [{"path": d.path, "recorded": d.recorded, "received": d.received} for d in self.differences]
        return {"cassette": self.cassette, "differences": shown}


def differences(recorded: Request, received: Request, rules: Rules) -> list[Difference]:
    """Compare two requests under *rules*; an empty list is a match. At most 50 differences are named."""
    found = (one for name in rules.match_on for one in _BY_NAME[name](recorded, received, rules))
    return list(islice(found, _MOST))


def short(value: object) -> str:
    """Show *value* in one short line without secrets."""
    return _line(_shown(value), _SHOWN)


def _different(path: str, a: object, b: object) -> Difference:
    """Show both values in short, without secrets; of two long texts, the part where they begin to differ."""
    old, new = _shown(a), _shown(b)
    start = next((i for i, (x, y) in enumerate(zip(old, new, strict=False)) if x != y), 0) - _BEFORE
    start = start if start >= _SHOWN // 2 else 0
    return Difference(_line(path, 2 * _SHOWN), _line(old, _SHOWN, start), _line(new, _SHOWN, start))


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        value = value[:_CLEANED].decode("utf-8", "backslashreplace")
    if not isinstance(value, (str, _Absent)):
        value = json.dumps(clean_value(value), ensure_ascii=False)
    return clean_text(str(value)[:_CLEANED])


def _line(text: str, most: int, start: int = 0) -> str:
    """Cut *text* to one line of *most* characters that any terminal and any header can take."""
    text = ("…" if start else "") + text[start : start + most + 1]
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


_Compare = Callable[[Request, Request, Rules], Iterable[Difference]]


def _compare_route(name: str, show: Callable[[Request], str]) -> _Compare:
    """Compare by the very text that goes into the key, so that the two can never disagree."""
    only = Rules(match_on=(name,))

    def compare(recorded: Request, received: Request, rules: Rules) -> Iterator[Difference]:
        del rules
        if only.route(recorded) != only.route(received):
            yield _different(name, show(recorded), show(received))

    return compare


def _compare_headers(recorded: Request, received: Request, rules: Rules) -> Iterator[Difference]:
    del rules
    a, b = _by_name(recorded.headers), _by_name(received.headers)
    clean_a, clean_b = _by_name(clean_headers(recorded.headers)), _by_name(clean_headers(received.headers))
    for name in sorted({*a, *b}):
        if a.get(name) != b.get(name):
            yield _different(f"headers.{name}", _joined(clean_a.get(name)), _joined(clean_b.get(name)))


def _by_name(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in sorted((name.lower(), value) for name, value in headers):
        found.setdefault(name, []).append(value)
    return found


def _joined(values: list[str] | None) -> object:
    return _ABSENT if values is None else ", ".join(values)


def _compare_raw_body(recorded: Request, received: Request, rules: Rules) -> Iterator[Difference]:
    del rules
    if recorded.body != received.body:
        yield _different("raw_body", recorded.body, received.body)


def _compare_body(recorded: Request, received: Request, rules: Rules) -> Iterable[Difference]:
    if rules.body(recorded) == rules.body(received):
        return ()
    a, b = rules.value(recorded), rules.value(received)
    if a is NOT_JSON or b is NOT_JSON:
        return (_different("body", recorded.body, received.body),)
    return _json_differences("", a, b)


def _json_differences(path: str, a: Any, b: Any) -> Iterator[Difference]:  # noqa: ANN401  # any JSON values
    """Walk two JSON values side by side."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            found = _json_differences(f"{path}.{name}" if path else name, a.get(name, _ABSENT), b.get(name, _ABSENT))
            yield from _hidden(found) if is_secret_member(name) else found
    elif isinstance(a, list) and isinstance(b, list):
        for i in range(max(len(a), len(b))):
            old, new = a[i] if i < len(a) else _ABSENT, b[i] if i < len(b) else _ABSENT
            yield from _json_differences(f"{path}[{i}]", old, new)
    elif a != b or isinstance(a, bool) != isinstance(b, bool):
        yield _different(path or "body", *_told_apart(a, b))


def _told_apart(a: object, b: object) -> tuple[object, object]:
    """Put a text that stands against a number or the like in quotes: ``"1"`` is not ``1``."""
    return (a, b) if isinstance(a, str) == isinstance(b, str) else (_quoted(a), _quoted(b))


def _quoted(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else value


def _hidden(found: Iterable[Difference]) -> Iterator[Difference]:
    """Name the differences below a member that holds a secret, but show neither value."""
    return (Difference(one.path, MARK, MARK) for one in found)


class _Absent:
    def __str__(self) -> str:
        return "(absent)"


_ABSENT: Final = _Absent()

_BY_NAME: Final[dict[str, _Compare]] = {
    "method": _compare_route("method", lambda request: request.method),
    "scheme": _compare_route("scheme", lambda request: request.scheme),
    "host": _compare_route("host", lambda request: request.host),
    "port": _compare_route("port", lambda request: str(request.port)),
    "path": _compare_route("path", lambda request: request.path),
    "query": _compare_route("query", lambda request: request.query),
    "uri": _compare_route("uri", lambda request: request.uri),
    "headers": _compare_headers,
    "body": _compare_body,
    "raw_body": _compare_raw_body,
}
