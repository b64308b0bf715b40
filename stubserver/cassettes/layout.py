"""The exact layout in which vcrpy writes an item, read by one expression: twenty times as fast as a YAML parser.

Anything that is not precisely this layout (a comment, an anchor, another order of keys, a literal block) is not
taken, and the caller parses the item as YAML. What is taken means the same under both: tests hold them together.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from stubserver.cassettes.scalars import UnreadableError, binary, double_quoted, single_quoted, typed

__all__ = ["Layout", "match"]

_SINGLE: Final = rb"'[^']*+(?:''[^']*+)*+'"
# Escapes are many, escaped quotes are few: going from quote to quote is five times as fast. A quote behind one or three
# backslashes is text; behind any other number of them, the careful way has to tell.
_FAST_DOUBLE: Final = rb'"(?:[^"]*+(?:(?<=[^\\]\\)|(?<=[^\\]\\\\\\))")*+[^"]*+(?<!\\)"'
_DOUBLE: Final = rb'(?:%b|"[^"\\]*+(?:\\[\x00-\xff][^"\\]*+)*+")' % _FAST_DOUBLE
# The same in a header: no line begins as a name or a value does.
_SHORT_SINGLE: Final = rb"'[^'\n]*+(?:(?:''|\n {8})[^'\n]*+)*+'"
_SHORT_DOUBLE: Final = rb'"[^"\\\n]*+(?:(?:\\[^\n]|\\?\n {8})[^"\\\n]*+)*+"'
# Plain text: no indicator in front, no ': ', no ' #', no space at the end. In further lines, indicators are text.
_REST: Final = rb"(?:[^\s:#]++|:(?![ \n])|(?<! )#| (?![ \n#]))*+"
_PLAIN: Final = rb"(?![-?:][ \n])[^\s,\[\]{}#&*!|>'\"%@`]" + _REST
_NAME: Final = rb"[A-Za-z0-9_][A-Za-z0-9_.-]*+"


def _plain(indent: int) -> bytes:
    return rb"%b(?:\n {%d}(?=[^\s#])%b)*+" % (_PLAIN, indent, _REST)


def _value(name: bytes, indent: int) -> bytes:
    """Match a scalar with its line end; a binary block ends with its own last line."""
    block = rb"!!binary \|\n(?: {%d}[A-Za-z0-9+/=]+\n)++" % (indent + 2)
    return rb"(?:(?P<%b>%b|%b|%b)\n|(?P<%b_block>%b))" % (name, _SINGLE, _DOUBLE, _plain(indent + 2), name, block)


def _headers(name: bytes) -> bytes:
    """Match a mapping of lists; values may go on in further lines, which are indented more than anything else."""
    value = rb" {6}- (?:%b|%b|%b)\n" % (_SHORT_SINGLE, _SHORT_DOUBLE, _plain(8))
    return rb"(?: \{\}\n|\n(?P<%b>(?: {6}%b:\n(?:%b)++)++))" % (name, _NAME, value)


_ITEM: Final = re.compile(
    rb"- request:\n"
    rb" {4}body: " + _value(b"body", 4) + rb" {4}headers:" + _headers(b"sent") + rb" {4}method: (?P<method>[A-Z]+)\n"
    rb" {4}uri: " + _value(b"uri", 4) + rb" {2}response:\n"
    rb" {4}body:\n"
    rb" {6}string: " + _value(b"string", 6) + rb" {4}headers:" + _headers(b"got") + rb" {4}status:\n"
    rb" {6}code: (?P<code>[1-9][0-9]{2})\n"
    rb" {6}message: " + _value(b"message", 6)
)
# Characters that YAML takes for line breaks or refuses: such text goes to the full parser.
_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_ODD_ASCII: Final = bytes([*range(9), *range(11, 32), 127])


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
            "method": typed(self._found["method"].decode("ascii")),
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
        return _scalar(_text(self._found[name]))

    def _headers(self, name: str) -> dict[str, list[Any]]:
        block = self._found[name]
        if block is None:
            return {}
        raw: dict[str, list[str]] = {}
        values: list[str] = []
        for line in _text(block)[6:-1].split("\n      "):
            if line.startswith("- "):
                values.append(line[2:])
            elif line.startswith(" "):
                values[-1] += "\n" + line
            else:
                values = raw[_name(line[:-1])] = []
        return {name: [_scalar(value) for value in of_name] for name, of_name in raw.items()}


def match(item: bytes) -> Layout | None:
    """Return *item* (from its ``- `` to its last line end) if it is exactly in vcrpy's layout."""
    found = _ITEM.fullmatch(item)
    return None if found is None else Layout(found)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError("not UTF-8") from error
    odd = len(raw.translate(None, _ODD_ASCII)) < len(raw) if raw.isascii() else _ODD.search(text)
    if odd:
        raise UnreadableError("odd characters")
    return text


@lru_cache(maxsize=1024)
def _name(name: str) -> str:
    if not isinstance(typed(name), str):
        raise UnreadableError(name)
    return name


def _scalar(text: str) -> Any:  # noqa: ANN401  # any YAML scalar
    if text[0] == "'":
        return single_quoted(text[1:-1])
    if text[0] == '"':
        return double_quoted(text[1:-1])
    return typed(" ".join(line.strip() for line in text.split("\n")) if "\n" in text else text)
