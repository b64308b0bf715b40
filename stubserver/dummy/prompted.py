"""JSON that is asked for in words: a JSON schema written into the messages, as clients do for models without a form.

Only looked for where JSON was asked for: by ``response_format`` of type ``json_object``, which says nothing of the
members, or by the last message wanting a ```` ```json ```` block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final, TypeGuard

from stubserver.dummy.errors import APIError

__all__ = ["block", "wanted"]

FENCE: Final = "```json"
_HINTS: Final = ('"properties"', '"$ref"', '"anyOf"', '"oneOf"')
_LONGEST: Final = 200_000  # characters of one text, from its beginning
_TRIES: Final = 100  # braces in all at which a schema may begin
_SCHEMAS: Final = 3  # of them, the last ones, are looked at
_DECODER: Final = json.JSONDecoder()


def wanted(messages: object) -> str | None:
    """Return the smallest instance of the schema that was last written in *messages*; None where none can be had."""
    from stubserver.dummy.structured import instance  # noqa: PLC0415  # the two use each other

    for schema in islice(_schemas(messages), _SCHEMAS):
        try:
            return instance(schema, "the prompt", "messages")
        except APIError:
            continue
    return None


def block(messages: list[dict[str, Any]]) -> str | None:
    """Return the instance as a block of Markdown, where the last of the *messages* asks for one; else None."""
    if not any(FENCE in text for text in _texts(messages[-1:])):
        return None
    found = wanted(messages)
    return None if found is None else f"{FENCE}\n{found}\n```"


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of messages, or of the input and the instructions of a response, in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from _texts(value.get("content"))
        yield from _texts(value.get("text"))


def _schemas(messages: object) -> Iterator[dict[str, Any]]:
    """Yield what looks like a JSON schema, the last one first."""
    tries = _TRIES
    for text in reversed(list(_texts(messages))):
        if any(hint in text for hint in _HINTS):
            found = list(islice(_objects(text[:_LONGEST]), tries))
            tries -= len(found)
            yield from filter(_is_schema, reversed(found))


def _objects(text: str) -> Iterator[object]:
    """Yield the JSON object that begins at each brace of *text* outside the one before, None where none does."""
    start = text.find("{")
    while start >= 0:
        value, end = None, start + 1
        with suppress(ValueError, RecursionError):
            value, end = _DECODER.raw_decode(text, start)
        yield value
        start = text.find("{", end)


def _is_schema(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and (
        isinstance(value.get("properties"), dict) or not value.keys().isdisjoint(("$ref", "anyOf", "oneOf"))
    )
