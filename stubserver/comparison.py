"""What changed between a recorded answer and a fresh one: the shape first, and last the text, which a model varies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

from stubserver import sse
from stubserver.jsonvalue import NOT_JSON, json_value
from stubserver.matchers import short
from stubserver.messages import Response, header

__all__ = ["Change", "compare"]

_NAMES: Final = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
# What a server makes up for every answer: that it is another one says nothing.
_NEW_EACH_TIME: Final = frozenset(
    {"id", "created", "created_at", "completed_at", "item_id", "call_id", "request_id", "obfuscation"}
)


class Change(NamedTuple):
    """One thing that is not as it was.

    ``kind``: status, content-type, added, removed, type, events or text; all but text are changes of shape. ``path`` is
    a JSON path in which ``[]`` stands for every element of an array.
    """

    kind: str
    path: str
    recorded: str
    received: str

    @property
    def of_shape(self) -> bool:
        """Whether a client could stumble over it."""
        return self.kind != "text"


def compare(recorded: Response, received: Response) -> list[Change]:
    """Compare two answers to the same request; what is of the shape comes first."""
    found = list(_outside(recorded, received))
    if recorded.events and received.events:
        found += _events(recorded.body, received.body)
    else:
        found += _bodies(recorded.body, received.body)
    return sorted(found, key=lambda change: (not change.of_shape, change.kind, change.path))


def _outside(recorded: Response, received: Response) -> Iterator[Change]:
    if recorded.status != received.status:
        yield Change("status", "status", str(recorded.status), str(received.status))
    old, new = _media_type(recorded), _media_type(received)
    if old != new:
        yield Change("content-type", "content-type", old, new)


def _media_type(response: Response) -> str:
    return (header(response.headers, "content-type") or "").partition(";")[0].strip().lower()


def _bodies(recorded: bytes, received: bytes) -> Iterator[Change]:
    old, new = json_value(recorded), json_value(received)
    if old is NOT_JSON or new is NOT_JSON:
        if recorded != received:
            kind = "text" if (old is NOT_JSON) == (new is NOT_JSON) else "type"
            yield Change(kind, "body", short(_start(recorded)), short(_start(received)))
        return
    yield from _json_changes(_leaves(old), _leaves(new))


def _start(body: bytes) -> str:
    return body[:200].decode("utf-8", "backslashreplace")


def _events(recorded: bytes, received: bytes) -> Iterator[Change]:
    """Compare the order of the kinds of events, runs of one kind counted once, and their members together."""
    old, new = list(_values(recorded)), list(_values(received))
    kinds = [" ".join(kind for kind, _ in groupby(map(_kind, values))) for values in (old, new)]
    if kinds[0] != kinds[1]:
        yield Change("events", "events", short(kinds[0]), short(kinds[1]))
    yield from _json_changes(_leaves(old), _leaves(new))


def _values(body: bytes) -> Iterator[Any]:
    for event in sse.split(body):
        data = sse.data_of(event)
        if data is not None:
            value = json_value(data)
            yield data.decode("utf-8", "replace") if value is NOT_JSON else value


def _kind(value: object) -> str:
    """Name the kind of an event: its type, or what its first choice's delta holds."""
    if not isinstance(value, dict):
        return str(value)[:20]
    if "type" in value:
        return str(value["type"])
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return "usage" if value.get("usage") else "empty"
    delta = choices[0].get("delta")
    held = sorted(name for name, held in delta.items() if held) if isinstance(delta, dict) else ["text"]
    return "+".join(held) or ("finish" if choices[0].get("finish_reason") else "empty")


def _leaves(value: object) -> dict[str, tuple[set[str], object]]:
    """Map each path to the types found there and the first value."""
    found: dict[str, tuple[set[str], object]] = {}
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        path, part = waiting.pop()
        types, _ = found.setdefault(path, (set(), part))
        types.add(_NAMES.get(type(part), "null"))
        if isinstance(part, dict):
            waiting += [(f"{path}.{name}" if path else name, held) for name, held in part.items()]
        elif isinstance(part, list):
            waiting += [(f"{path}[]", held) for held in part]
    return found


def _json_changes(old: dict[str, tuple[set[str], object]], new: dict[str, tuple[set[str], object]]) -> Iterator[Change]:
    for path in sorted({*old, *new}):
        if path not in new:
            yield from _missing("removed", path, old, new)
        elif path not in old:
            yield from _missing("added", path, new, old)
        else:
            yield from _changed(path, old[path], new[path])


def _missing(
    kind: str, path: str, there: dict[str, tuple[set[str], object]], gone: dict[str, tuple[set[str], object]]
) -> Iterator[Change]:
    """Name only the top of what is there on one side alone; an element of an array that is empty says nothing."""
    parent = path.removesuffix("[]") if path.endswith("[]") else path.rpartition(".")[0]
    if (parent and parent not in gone) or path.endswith("[]"):
        return
    types = "/".join(sorted(there[path][0]))
    yield Change(kind, path, *(("", types) if kind == "added" else (types, "")))


def _changed(path: str, old: tuple[set[str], object], new: tuple[set[str], object]) -> Iterator[Change]:
    real_old, real_new = old[0] - {"null"}, new[0] - {"null"}
    if real_old and real_new and real_old != real_new:
        yield Change("type", path or "body", "/".join(sorted(old[0])), "/".join(sorted(new[0])))
    elif old[1] != new[1] and not isinstance(old[1], (dict, list)) and path.rpartition(".")[2] not in _NEW_EACH_TIME:
        yield Change("text", path or "body", short(old[1]), short(new[1]))
