"""Calls of tools with something wrong in them, in whole answers and in streams, of chat completions and responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from stubserver.dummy.errors import json_bytes
from stubserver.faults.events import changed_data
from stubserver.jsonvalue import json_value

__all__ = ["breaker"]

_DELTA: Final = "response.function_call_arguments.delta"


class _Calls:
    """Changes the calls of one answer; remembers of which call a stream has already shown the beginning."""

    def __init__(self, change: Callable[[dict[str, Any], bool], None]) -> None:
        self._change = change
        self._begun: set[object] = set()
        self._changed = False

    def event(self, event: bytes) -> bytes:
        """Return one event of a stream."""
        return changed_data(event, self._walked)

    def whole(self, body: bytes) -> bytes:
        """Return a whole answer."""
        value = json_value(body)
        made = self._walked(value) if isinstance(value, dict) else None
        return body if made is None else json_bytes(made)

    def _walked(self, value: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
        self._changed = False
        if value.get("type") == _DELTA and isinstance(value.get("delta"), str):
            self._call(value, "delta", value.get("item_id"))
        for choice in _dicts(value.get("choices")):
            self._choice(choice)
        response = value.get("response")
        items = [value.get("item"), value, *_dicts(value.get("output"))]
        items += _dicts(response.get("output")) if isinstance(response, dict) else []
        for item in _dicts(items):
            if isinstance(item.get("arguments"), str):
                self._call(item, "arguments", None)
        return value if self._changed else None

    def _choice(self, choice: dict[str, Any]) -> None:
        for place in ("message", "delta"):
            said = choice.get(place)
            if not isinstance(said, dict):
                continue
            streamed = place == "delta"
            for call in _dicts(said.get("tool_calls")):
                which = (choice.get("index"), call.get("index")) if streamed else None
                for function in _dicts([call.get("function")]):
                    self._call(function, "arguments", which)
            for function in _dicts([said.get("function_call")]):
                self._call(function, "arguments", (choice.get("index"), "function") if streamed else None)

    def _call(self, call: dict[str, Any], member: str, which: object) -> None:
        """Change one call, or one piece of it; of the pieces of *which*, the first that is not empty begins it."""
        begins = bool(call.get(member)) and (which is None or which not in self._begun)
        if begins and which is not None:
            self._begun.add(which)
        before = dict(call)
        self._change(call, begins)
        self._changed = self._changed or call != before


def _dicts(values: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # any JSON value
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _break_arguments(call: dict[str, Any], begins: bool) -> None:  # noqa: FBT001  # one of the two changes
    """Take the first character away: an object that does not begin is no JSON, however its rest comes."""
    member = "delta" if call.get("type") == _DELTA else "arguments"
    if begins:
        call[member] = call[member][1:]


def breaker(name: str, value: str) -> tuple[Callable[[Iterator[bytes]], Iterator[bytes]], Callable[[bytes], bytes]]:
    """Return what becomes of a stream's events, and of a whole body, under the fault *name*."""

    def rename(call: dict[str, Any], _begins: bool) -> None:  # noqa: FBT001  # the other of the two
        if isinstance(call.get("name"), str):
            call["name"] = value

    calls = _Calls(_break_arguments if name == "bad-arguments" else rename)
    return lambda events: map(calls.event, events), calls.whole
