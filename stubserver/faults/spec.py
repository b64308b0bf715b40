"""What a fault is and when it comes: ``reset,after-events=3,p=0.1,model=gpt-4o*`` -> a rule; the same as a mapping.

The name stands first, with its value behind ``=``; options follow. A bare status is ``status=N``, 429 ``rate-limit``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from stubserver.errors import UsageError
from stubserver.faults.draws import Time, time_of
from stubserver.faults.kinds import KINDS, Kind

__all__ = ["Match", "Place", "Rule", "When", "parsed"]

_COMMA: Final = re.compile(r"[,;](?![^(]*\))")
_LONGEST: Final = 1000
_MOST: Final = 10**12
_STATUSES: Final = range(400, 600)
_TOO_MANY: Final = "429"


class Place(NamedTuple):
    """Where a fault strikes: in the head, or after so many bytes or events of the body, or ms; else before the head."""

    in_head: bool = False
    bytes: int | None = None
    events: int | None = None
    ms: int | None = None


class When(NamedTuple):
    """Which of the requests it comes for: passes over ``skip``, then the ``first`` N, every Nth, with a probability.

    ``times``: so often at most. Zero: no such condition.
    """

    p: float = 1.0
    skip: int = 0
    first: int = 0
    every: int = 0
    times: int = 0


class Match(NamedTuple):
    """Which requests are counted at all; path and model may have ``*``; method is POST where nothing else is said."""

    path: str = ""
    method: str = ""
    model: str = ""
    body: bytes = b""


class Rule(NamedTuple):
    """One fault, with when it comes. ``text`` is how it was given, ``what`` the part of it that says what is done."""

    kind: Kind
    value: Any
    place: Place
    when: When
    match: Match
    retry_after: Time | None
    text: str
    what: str

    @property
    def number(self) -> int:
        """The value of a kind that takes a number or a status."""
        return int(self.value)


def parsed(given: str | Mapping[str, Any], **options: Any) -> Rule:  # noqa: ANN401  # numbers and texts
    """Read one rule: a text, or a mapping with ``fault`` and the options as its members. Raises UsageError."""
    pairs = _pairs_of_text(given) if isinstance(given, str) else _pairs_of_mapping(given)
    pairs += [(name.replace("_", "-"), _text(value)) for name, value in options.items() if value is not None]
    name, value = pairs[0]
    kind = KINDS.get(name)
    if kind is None:
        raise UsageError(_unknown(name))
    taken: dict[str, Any] = {}
    for option, said in pairs[1:]:
        _take(kind, option, said, taken)
    what = ",".join(_shown(*pair) for pair in pairs if pair[0] not in _WHEN)
    retry_after = taken.pop("retry_after", None)
    return Rule(
        kind,
        _value(kind, value),
        _of(Place, taken),
        _of(When, taken),
        _of(Match, taken),
        retry_after,
        ",".join(_shown(*pair) for pair in pairs),
        what,
    )


def _pairs_of_text(given: str) -> list[tuple[str, str | None]]:
    if len(given) > _LONGEST:
        raise UsageError(f"a fault of {len(given)} characters is too long: {given[:40]!a}...")
    parts = (part.strip() for part in _COMMA.split(given))
    pairs = [_pair(part) for part in parts if part]
    if not pairs:
        raise UsageError(f"{given!a} names no fault: see `stubserver faults`")
    pairs[0] = _named(*pairs[0])
    return pairs


def _pair(part: str) -> tuple[str, str | None]:
    name, mark, value = part.partition("=")
    return name.strip().lower().replace("_", "-"), value.strip() if mark else None


def _pairs_of_mapping(given: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    members = {str(name).replace("_", "-").lower(): value for name, value in given.items()}
    fault = members.pop("fault", None)
    if fault is None:
        raise UsageError("a fault in a mapping needs a member `fault`: {fault: reset, after-events: 3}")
    pairs = _pairs_of_text(_text(fault) or "")
    if "value" in members:
        pairs[0] = (pairs[0][0], _text(members.pop("value")))
    return pairs + [(name, _text(value)) for name, value in members.items() if value not in (None, False)]


def _text(value: Any) -> str | None:  # noqa: ANN401  # numbers and texts
    if value is True or value is None:
        return None
    if not isinstance(value, (str, int, float)):
        raise UsageError(f"{str(value)[:40]!a} is no value of a fault: give a number or a text")
    return str(value)


def _named(name: str, value: str | None) -> tuple[str, str | None]:
    if not (name.isascii() and name.isdigit()):
        return name, value
    return ("rate-limit", value) if name == _TOO_MANY else ("status", name)


def _shown(name: str, value: str | None) -> str:
    return name if value is None else f"{name}={value}"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, [*KINDS, *_OPTIONS], 1)
    hint = f", perhaps {near[0]}" if near else ""
    return f"there is no fault {name[:40]!a}{hint}: `stubserver faults` lists them all"


def _take(kind: Kind, option: str, said: str | None, taken: dict[str, Any]) -> None:
    """Read one option into *taken*."""
    if option == "once":
        option, said = "times", "1"
    known = _OPTIONS.get(option)
    if known is None:
        near = difflib.get_close_matches(option, _OPTIONS, 1)
        hint = f", perhaps {near[0]}" if near else ""
        raise UsageError(f"a fault has no option {option[:40]!a}{hint}; it has {', '.join(_OPTIONS)}")
    field, read = known
    if field in Place._fields and not kind.places:
        raise UsageError(f"{kind.name} takes no {option}: reset, close and stall do")
    if field == "retry_after" and kind.name not in {"status", "rate-limit"}:
        raise UsageError(f"{kind.name} takes no {option}: status and rate-limit do")
    taken[field] = read(option, said)


def _of(values: Any, taken: dict[str, Any]) -> Any:  # noqa: ANN401  # one of the tuples above
    return values(**{name: taken[name] for name in values._fields if name in taken})


def _value(kind: Kind, given: str | None) -> Any:  # noqa: ANN401  # what the kind takes
    if not kind.takes:
        if given is not None:
            raise UsageError(f"{kind.name} takes no value, and was given {given[:40]!a}")
        return None
    said = kind.default if given is None else given
    if kind.takes == "time":
        return time_of(kind.name, said)
    if kind.takes == "status":
        status = _whole(kind.name, said)
        if status not in _STATUSES:
            raise UsageError(f"{kind.name}={status} cannot be: give a status from 400 to 599")
        return status
    if kind.takes == "number":
        return _whole(kind.name, said, kind.least)
    if not said or not said.isascii() or not said.isprintable():
        raise UsageError(f"{kind.name}={said[:40]!a} cannot be: give printable ASCII")
    return said


def _whole(name: str, said: str | None, least: int = 0) -> int:
    if said is None or not said.isascii() or not said.isdigit() or not least <= int(said[:20]) <= _MOST:
        raise UsageError(f"{name}={said} cannot be: give a whole number, {least} or more")
    return int(said)


def _chance(name: str, said: str | None) -> float:
    try:
        chance = float(said or "")
    except ValueError:
        chance = -1.0
    if not 0 <= chance <= 1:
        raise UsageError(f"{name}={said} cannot be: give a probability from 0 to 1")
    return chance


def _positive(name: str, said: str | None) -> int:
    return _whole(name, said, 1)


def _given(name: str, said: str | None) -> str:
    if not said:
        raise UsageError(f"{name} needs a text: {name}=...")
    return said


def _flag(name: str, said: str | None) -> bool:
    if said is not None:
        raise UsageError(f"{name} takes no value")
    return True


def _method(name: str, said: str | None) -> str:
    return _given(name, said).upper()


def _bytes(name: str, said: str | None) -> bytes:
    return _given(name, said).encode()


def _seconds(name: str, said: str | None) -> Time:
    return time_of(name, said or "")


_OPTIONS: Final[dict[str, tuple[str, Callable[[str, str | None], Any]]]] = {
    "p": ("p", _chance),
    "skip": ("skip", _whole),
    "first": ("first", _positive),
    "every": ("every", _positive),
    "times": ("times", _positive),
    "once": ("times", _positive),
    "path": ("path", _given),
    "method": ("method", _method),
    "model": ("model", _given),
    "body": ("body", _bytes),
    "in-head": ("in_head", _flag),
    "after-bytes": ("bytes", _whole),
    "after-events": ("events", _whole),
    "after-ms": ("ms", _whole),
    "retry-after": ("retry_after", _seconds),
}
"""What may stand behind a fault: the field it becomes, and how it is read."""

_WHEN: Final = frozenset({"p", "skip", "first", "every", "times", "once", "path", "method", "model", "body"})
