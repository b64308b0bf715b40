"""The exact layout in which vcrpy writes an item, read by one expression: twenty times as fast as a YAML parser.

Anything that is not precisely this layout (a comment, an anchor, another order of keys, a literal block) is not
taken, and the caller parses the item as YAML. What is taken means the same under both: tests hold them together.
"""

from __future__ import annotations

import re
from typing import Any, Final

from stubserver.cassettes.scalars import UnreadableError, binary, double_quoted, single_quoted, typed

__all__ = ["Layout", "match"]

_SINGLE: Final = rb"'[^']*+(?:''[^']*+)*+'"
_DOUBLE: Final = rb'"[^"\\]*+(?:\\[\x00-\xff][^"\\]*+)*+"'
# Plain text on one line: no indicator in front, no ': ', no ' #', no space at the end.
_PLAIN: Final = rb"(?![-?:][ \n])[^\s,\[\]{}#&*!|>'\"%@`](?:[^\s:#]|:(?![ \n])|(?<! )#| (?![ \n#]))*"


def _value(name: bytes, indent: int) -> bytes:
    """Match a scalar with its line end; a binary block ends with its own last line."""
    block = rb"!!binary \|\n(?: {%d}[A-Za-z0-9+/=]+\n)+" % (indent + 2)
    return rb"(?:(?P<%b>%b|%b|%b)\n|(?P<%b_block>%b))" % (name, _SINGLE, _DOUBLE, _PLAIN, name, block)


_HEADERS: Final = rb"(?: \{\}\n|\n(?P<%b>(?: {6}\S.*\n(?: {6,}\S.*\n)*)))"
_ITEM: Final = re.compile(
    rb"- request:\n"
    rb" {4}body: " + _value(b"body", 4) + rb" {4}headers:" + _HEADERS % b"sent" + rb" {4}method: (?P<method>[A-Z]+)\n"
    rb" {4}uri: " + _value(b"uri", 4) + rb" {2}response:\n"
    rb" {4}body:\n"
    rb" {6}string: " + _value(b"string", 6) + rb" {4}headers:" + _HEADERS % b"got" + rb" {4}status:\n"
    rb" {6}code: (?P<code>[1-9][0-9]{2})\n"
    rb" {6}message: " + _value(b"message", 6),
)
_FIELD: Final = re.compile(rb" {6}(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*):\n(?P<values>(?: {6}- .*\n(?: {8}.*\n)*)+)")
_FIELD_VALUE: Final = re.compile(
    rb" {6}- (?:(?P<quoted>"
    + _SINGLE
    + rb"|"
    + _DOUBLE
    + rb")|(?P<plain>"
    + _PLAIN
    + rb"(?:\n {8}"
    + _PLAIN
    + rb")*))\n"
)
# Characters that PyYAML takes for line breaks or refuses: such text goes to the full parser.
_ODD: Final = re.compile("[\x85\u2028\u2029\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


class Layout:
    """An item found to be in the layout; its parts are decoded when they are asked for."""

    __slots__ = ("_found",)

    def __init__(self, found: re.Match[bytes]) -> None:
        self._found = found

    def request(self, *, headers: bool = True) -> dict[str, Any]:
        """Return the item's request as YAML would give it. Raises UnreadableError when only the full parser can."""
        return {
            "body": self._value("body"),
            "headers": self._headers("sent") if headers else {},
            "method": self._found["method"].decode("ascii"),
            "uri": self._value("uri"),
        }

    def response(self) -> dict[str, Any]:
        """Return the item's response as YAML would give it. Raises UnreadableError when only the full parser can."""
        return {
            "body": {"string": self._value("string")},
            "headers": self._headers("got"),
            "status": {"code": int(self._found["code"]), "message": self._value("message")},
        }

    def _value(self, name: str) -> Any:  # noqa: ANN401  # any YAML scalar
        block = self._found[f"{name}_block"]
        if block is not None:
            return binary(block.partition(b"\n")[2])
        return _decode(self._found[name])

    def _headers(self, name: str) -> dict[str, list[Any]]:
        block = self._found[name]
        if block is None:
            return {}
        fields: dict[str, list[Any]] = {}
        position = 0
        while position < len(block):
            field = _FIELD.match(block, position)
            if field is None:
                raise UnreadableError(f"header {block[position : position + 200]!r}")
            fields[_name(field["name"])] = _field_values(field["values"])
            position = field.end()
        return fields


def match(item: bytes) -> Layout | None:
    """Return *item* (from its ``- `` to its last line end) if it is exactly in vcrpy's layout."""
    found = _ITEM.fullmatch(item)
    return None if found is None else Layout(found)


def _name(raw: bytes) -> str:
    name = raw.decode("ascii")
    if not isinstance(typed(name), str):
        raise UnreadableError(name)
    return name


def _field_values(block: bytes) -> list[Any]:
    values, position = [], 0
    while position < len(block):
        found = _FIELD_VALUE.match(block, position)
        if found is None:
            raise UnreadableError(f"header value {block[position : position + 200]!r}")
        values.append(_decode(found["quoted"] or found["plain"]))
        position = found.end()
    return values


def _decode(raw: bytes) -> Any:  # noqa: ANN401  # any YAML scalar
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError("not UTF-8") from error
    if _ODD.search(text):
        raise UnreadableError("odd characters")
    if text.startswith("'"):
        return single_quoted(text[1:-1])
    if text.startswith('"'):
        return double_quoted(text[1:-1])
    return typed(" ".join(line.strip() for line in text.split("\n")) if "\n" in text else text)
