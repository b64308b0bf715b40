"""Named comparisons of two requests. A match is 'no differences', so a near miss comes out of the same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from stubserver.canonical import NOT_JSON, Rules
from stubserver.messages import Request
from stubserver.redaction import clean_text

__all__ = ["Difference", "NearMiss", "differences"]

_SHOWN: Final = 80
_MOST: Final = 50


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
    found: list[Difference] = []
    for name in rules.match_on:
        found += _BY_NAME[name](recorded, received, rules)
    return found[:_MOST]


def short(value: object) -> str:
    """Show *value* in one short line without secrets."""
    text = value if isinstance(value, str) else repr(value)
    text = clean_text(text if len(text) < 16 * _SHOWN else text[: 16 * _SHOWN])
    text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _part(name: str, read: Callable[[Request], object]) -> Callable[[Request, Request, Rules], list[Difference]]:
    def compare(recorded: Request, received: Request, rules: Rules) -> list[Difference]:
        del rules
        a, b = read(recorded), read(received)
        return [] if a == b else [Difference(name, short(a), short(b))]

    return compare


def _compare_route(name: str) -> Callable[[Request, Request, Rules], list[Difference]]:
    """Compare by the very text that goes into the key, so that the two can never disagree."""

    def compare(recorded: Request, received: Request, rules: Rules) -> list[Difference]:
        del rules
        only = Rules(match_on=(name,))
        if only.route(recorded) == only.route(received):
            return []
        return [Difference(name, short(getattr(recorded, name)), short(getattr(received, name)))]

    return compare


def _compare_body(recorded: Request, received: Request, rules: Rules) -> list[Difference]:
    if rules.body(recorded) == rules.body(received):
        return []
    a, b = rules.value(recorded), rules.value(received)
    if a is NOT_JSON or b is NOT_JSON:
        return [Difference("body", short(_text(recorded.body)), short(_text(received.body)))]
    return list(_json_differences("", a, b))


def _text(body: bytes) -> str:
    return body[:2000].decode("utf-8", "backslashreplace")


def _json_differences(path: str, a: Any, b: Any) -> Iterator[Difference]:  # noqa: ANN401  # any JSON values
    """Walk two JSON values side by side."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            where = f"{path}.{name}" if path else name
            yield from _json_differences(where, a.get(name, _ABSENT), b.get(name, _ABSENT))
    elif isinstance(a, list) and isinstance(b, list):
        for i in range(max(len(a), len(b))):
            old, new = a[i] if i < len(a) else _ABSENT, b[i] if i < len(b) else _ABSENT
            yield from _json_differences(f"{path}[{i}]", old, new)
    elif a != b or isinstance(a, bool) != isinstance(b, bool):
        yield Difference(path or "body", short(a), short(b))


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT: Final = _Absent()

_BY_NAME: Final[dict[str, Callable[[Request, Request, Rules], list[Difference]]]] = {
    "body": _compare_body,
    "raw_body": _part("raw_body", lambda request: request.body),
    **{name: _compare_route(name) for name in ("method", "scheme", "host", "port", "path", "query", "headers", "uri")},
}
