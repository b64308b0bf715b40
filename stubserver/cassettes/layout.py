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
    rb" {6}message: " + _value(b"message", 6) +
    # What our own writer adds, where vcrpy ignores it.
    rb"(?: {4}x_stubserver:\n"
    rb"(?: {6}events_ms: (?P<times>'[0-9]*'|[0-9]+(?:,[0-9]+)+)\n)?+(?: {6}rank: [0-9]{1,9}\n)?+)?+"
)
_NEXT: Final = re.compile(r"\n {6}(?! )")
# Characters that YAML takes for line breaks or refuses: such text goes to the full parser.
_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_ODD_ASCII: Final = bytes([*range(9), *range(11, 32), 127])


class Layout:
    """An item found to be in the layout; its parts are decoded when they are asked for.

    The values are what PyYAML would give. Every method raises UnreadableError when only the full parser can tell.
    """

    __slots__ = ("_found",)

    def __init__(self, found: re.Match[bytes]) -> None:
        self._found = found

    def value(self, name: str) -> Any:  # noqa: ANN401  # any YAML scalar
        """Return the request's ``body``, ``method`` or ``uri``, the response's ``string``, ``code`` or ``message``."""
        raw = self._found[name]
        if raw is None:
            return binary(self._found[f"{name}_block"].partition(b"\n")[2])
        return _scalar(_text(raw))

    def times(self) -> str | None:
        """Return what our own writer added; None for nothing."""
        raw = self._found["times"]
        return None if raw is None else raw.decode("ascii").strip("'")

    def headers(self, name: str) -> list[tuple[str, Any]]:
        """Return the headers ``sent`` or ``got``: a pair for every value."""
        block = self._found[name]
        if block is None:
            return []
        pairs: list[tuple[str, Any]] = []
        names: list[str] = []
        for line in _whole_lines(_text(block)):
            if line[0] == "-":
                pairs.append((names[-1], _scalar(line[2:])))
            else:
                names.append(_name(line[:-1]))
        if len(set(names)) < len(names):
            raise UnreadableError("a header is there twice")
        return pairs


def match(item: bytes) -> Layout | None:
    """Return *item* (from its ``- `` to its last line end) if it is exactly in vcrpy's layout."""
    found = _ITEM.fullmatch(item)
    return None if found is None else Layout(found)


def _whole_lines(block: str) -> list[str]:
    """Cut a block of headers at its names and values, which begin in column 6; some go on in further lines."""
    lines = block[6:-1]
    return _NEXT.split(lines) if "\n       " in lines else lines.split("\n      ")


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
    first = text[0]
    if first == "'":
        return single_quoted(text[1:-1])
    if first == '"':
        return double_quoted(text[1:-1])
    return typed(" ".join(line.strip() for line in text.split("\n")) if "\n" in text else text)
