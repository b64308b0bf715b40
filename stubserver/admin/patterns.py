"""Which requests are meant: the same few fields in a query and in the JSON of ``count``, ``find`` and ``wait``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from stubserver.admin.calls import RefusedError, whole
from stubserver.admin.entries import summary
from stubserver.journal import Entry, cut_body

__all__ = ["FIELDS", "Wants", "pattern"]

Wants = Callable[[Entry], bool]

_MOST: Final = 10**15 - 1
_DIGITS: Final = re.compile("[0-9]{1,15}")
_STATUS: Final = re.compile("[1-9](?:[0-9]{2}|xx)")
_LONGEST: Final = 10_000


def pattern(fields: Mapping[str, Any]) -> Wants:
    """Make a filter of *fields*, each of :data:`FIELDS`; all of them have to fit. Raises RefusedError."""
    made = [FIELDS[name](name, value) for name, value in fields.items()]
    return lambda entry: all(wants(entry) for wants in made)


def _since(name: str, value: object) -> Wants:
    given = int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
    number = whole(name, given, most=_MOST)
    return lambda entry: entry.number > number


def _equal(name: str, value: object) -> Wants:
    text = _text(name, value)
    return lambda entry: bool(summary(entry)[name] == text)


def _status(name: str, value: object) -> Wants:
    """Fit the status itself, or, as ``4xx``, a hundred of them."""
    text = (value if isinstance(value, str) else str(whole(name, value, most=999))).lower()
    if not _STATUS.fullmatch(text):
        raise RefusedError(400, f"{name} has to be a status such as 404, or a class such as 4xx", "bad_parameter")
    return lambda entry: text in (str(summary(entry)["status"]), f"{summary(entry)['status'] // 100}xx")


def _path(name: str, value: object) -> Wants:
    text = _text(name, value)
    return lambda entry: text in summary(entry)["path"]


def _body(name: str, value: object) -> Wants:
    text = _text(name, value)
    return lambda entry: text in _shown(entry)[0]


def _anywhere(name: str, value: object) -> Wants:
    """In any case, in any part of what is shown of the request and its answer."""
    text = _text(name, value).lower()

    def wants(entry: Entry) -> bool:
        row = summary(entry)
        if any(text in part.lower() for part in (row["path"], row["model"] or "", row["cassette"], row["note"])):
            return True
        return any(text in part.lower() for part in _shown(entry))

    return wants


def _shown(entry: Entry) -> tuple[str, str]:
    """Return the bodies of request and response as they are shown."""
    request, answer = entry.raw()
    bodies = (cut_body(request.body), cut_body(answer.response.body))
    return bodies[0].decode("utf-8", "replace"), bodies[1].decode("utf-8", "replace")


FIELDS: Final[dict[str, Callable[[str, object], Wants]]] = {
    "since": _since,
    "source": _equal,
    "status": _status,
    "method": _equal,
    "path": _path,
    "model": _equal,
    "cassette": _equal,
    "body_contains": _body,
    "q": _anywhere,
}
"""What can be said of a request: ``path`` and ``body_contains`` are parts of the texts, ``since`` an id before it."""


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise RefusedError(400, f"{name} has to be a text of at most {_LONGEST} characters", "bad_parameter")
    return value
