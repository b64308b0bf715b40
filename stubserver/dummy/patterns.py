"""Strings that a regular expression matches.

Patterns are read as JavaScript's and Python's are where the two agree: searched, not anchored; ``$`` is the very end.
"""

# ruff: noqa: ANN401  # re's nodes are Any

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from itertools import combinations
from typing import Any, Final

from stubserver.dummy.pattern_match import Matcher, Nodes, PatternError, Spend, fits, scoped

__all__ = ["Pattern", "PatternError", "read"]

# The parser of re and its opcodes: the same in 3.11 to 3.14, though without a promise.
_PARSER: Final = import_module("re._parser")
_KNOWN_FLAGS: Final = re.IGNORECASE | re.DOTALL | re.UNICODE | re.VERBOSE | re.ASCII
_LONGEST: Final = 10_000
_LETTERS: Final = (
    "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ _-.!@#$%&*+=/:;,?<>()[]{}'\"\\|^~`\t\n\r\f\v"
)
# For patterns made of look-aheads, as rules for passwords are: a letter of each kind, then repeated.
_SAMPLE: Final = "Aa0!"

# JavaScript's spellings of what Python spells otherwise.
_PIECE: Final = re.compile(r"\\[pP]\{[^}]*\}|\\u\{[0-9A-Fa-f]+\}|\\.|\(\?<(?![=!])|.", re.DOTALL)
_PROPERTIES: Final = {
    "L": "A-Za-z",
    "Letter": "A-Za-z",
    "Alphabetic": "A-Za-z",
    "Lu": "A-Z",
    "Uppercase": "A-Z",
    "Ll": "a-z",
    "Lowercase": "a-z",
    "N": "0-9",
    "Nd": "0-9",
    "Number": "0-9",
    "Emoji": "\U0001f600-\U0001f64f",
    "Extended_Pictographic": "\U0001f600-\U0001f64f",
    "Emoji_Component": "0-9",
    "Regional_Indicator": "\U0001f1e6-\U0001f1ff",
}


class _UnwritableError(PatternError):
    """A string that cannot be written."""


@lru_cache(maxsize=256)
def read(pattern: str) -> Pattern:
    """Parse *pattern*, as JavaScript or Python write it."""
    try:
        tree = _PARSER.parse(_to_python(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"the pattern {pattern[:80]!r} cannot be read: {error}") from None
    if tree.state.flags & ~_KNOWN_FLAGS:
        raise PatternError(f"the pattern {pattern[:80]!r} uses flags that are not supported")
    return Pattern(tree)


def _to_python(pattern: str) -> str:
    written: list[str] = []
    members = -1  # of the class that we are in
    for piece in _PIECE.findall(pattern):
        inside = members >= 0
        text = piece
        if piece.startswith(("\\p{", "\\P{", "\\u{")):
            text = _escape(piece, inside=inside)
        elif piece == "(?<":
            text = "(?<" if inside else "(?P<"
        elif inside and (piece in "[&|~" or (piece == "-" and members > 1 and written[-1] == "-")):
            text = f"\\{piece}"  # what Python warns of today and may read as a set operation tomorrow
        if inside:
            members = -1 if piece == "]" else members + 1
        elif piece == "[":
            members = 0
        written.append(text)
    return "".join(written)


def _escape(piece: str, *, inside: bool) -> str:
    name = piece[3:-1].removeprefix("Script=").removeprefix("General_Category=").removeprefix("gc=")
    if piece[1] == "u":
        return re.escape(chr(min(int(name, 16), 0x10FFFF)))
    if name not in _PROPERTIES or (piece[1] == "P" and inside):
        raise PatternError(f"the pattern's {piece} is not supported")
    members = _PROPERTIES[name]
    return members if inside else f"[{'^' if piece[1] == 'P' else ''}{members}]"


class Pattern:
    """A parsed pattern: what it matches, and strings that it matches."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self.flags: int = tree.state.flags
        self._letters: dict[tuple[object, ...], str] = {}

    def matches(self, text: str, spend: Spend) -> bool:
        """Search the pattern in *text*."""
        return bool(Matcher(text, spend).run(self._tree, set(range(len(text) + 1)), self.flags))

    def strings(self, least: int, spend: Spend) -> Iterator[str]:
        """Write strings for it, the plainest first and of *least* characters where that can be; look-arounds apart.

        None are written when the pattern asks for very many characters, or for one of a class that has no members.
        """
        with suppress(_UnwritableError):
            yield from self._strings(least, spend)

    def _strings(self, least: int, spend: Spend) -> Iterator[str]:
        stretch = self._stretch(least, spend)
        text, picks = self._write({}, stretch, spend)
        yield text
        yield text + "a" * (least - len(text))
        yield "a" * (least - len(text)) + text
        for size in (max(least, 4), 8, 12, 16, 32):
            yield (_SAMPLE * (size // 4 + 1))[:size]
        points = [index for index, options in enumerate(picks) if options > 1][:_LONGEST]
        for option in range(1, max(picks, default=0)):
            for index in points:
                if option < picks[index]:
                    yield self._write({index: option}, stretch, spend)[0]
        for pair in combinations(points[:16], 2):
            yield self._write(dict.fromkeys(pair, 1), stretch, spend)[0]

    def _write(self, changes: Mapping[int, int], stretch: Mapping[int, int], spend: Spend) -> tuple[str, list[int]]:
        writer = _Writer(self, changes, stretch, spend)
        return writer.run(self._tree, self.flags), writer.picks

    def _stretch(self, least: int, spend: Spend) -> dict[int, int]:
        """Choose how often each repetition, the last one first, goes beyond its minimum to reach *least* characters."""
        stretch: dict[int, int] = {}
        text, _ = self._write({}, stretch, spend)
        for key, room in reversed(list(_repetitions(self._tree))):
            missing = least - len(text)
            if missing <= 0:
                break
            unit = len(self._write({}, {**stretch, key: 1}, spend)[0]) - len(text)
            if unit > 0:
                stretch[key] = min(room, -(-missing // unit))
                text, _ = self._write({}, stretch, spend)
        return stretch

    def letters(self, op: Any, arg: Any, flags: int) -> str:
        """List characters that one node matches, the plainest first."""
        key = (op, arg if isinstance(arg, int) else id(arg), flags)
        if key not in self._letters:
            special = "".join(chr(code) for code in _codes(op, arg))
            found = "".join(c for c in _LETTERS + special if fits(op, arg, c, flags))
            self._letters[key] = "".join(dict.fromkeys(found))
        return self._letters[key]


def _codes(op: Any, arg: Any) -> Iterator[int]:
    if op.name == "IN":
        for inner, value in arg:
            yield from _codes(inner, value)
    elif op.name == "RANGE":
        yield arg[0]
    elif op.name == "LITERAL":
        yield arg


def _repetitions(nodes: Nodes) -> Iterator[tuple[int, int]]:
    """List the repetitions that are always written, as (identity, how often more)."""
    for op, arg in nodes:
        if op.name in ("MAX_REPEAT", "MIN_REPEAT"):
            yield id(arg), int(arg[1]) - arg[0]
            if arg[0]:
                yield from _repetitions(arg[2])
        elif op.name == "SUBPATTERN":
            yield from _repetitions(arg[3])


class _Writer:
    """Writes one string: at each point with options the first one, unless *changes* or *stretch* say otherwise."""

    def __init__(self, pattern: Pattern, changes: Mapping[int, int], stretch: Mapping[int, int], spend: Spend) -> None:
        self._pattern = pattern
        self._changes = changes
        self._stretch = stretch
        self._spend = spend
        self._length = 0
        self.picks: list[int] = []

    def run(self, nodes: Nodes, flags: int) -> str:
        self._spend(1)
        return "".join([self._node(op, arg, flags) for op, arg in nodes])

    def _pick(self, options: int) -> int:
        index = len(self.picks)
        self.picks.append(options)
        return min(self._changes.get(index, 0), options - 1)

    def _node(self, op: Any, arg: Any, flags: int) -> str:
        match op.name:
            case "LITERAL":
                return self._written(chr(arg))
            case "NOT_LITERAL" | "ANY" | "IN":
                return self._written(self._letter(op, arg, flags))
            case "BRANCH":
                ways = sorted(arg[1], key=lambda nodes: nodes.getwidth()[0])
                return self.run(ways[self._pick(len(ways))], flags)
            case "SUBPATTERN":
                return self.run(arg[3], scoped(flags, arg[1], arg[2]))
            case "MAX_REPEAT" | "MIN_REPEAT":
                return self._repeated(arg, flags)
            case "AT" | "ASSERT" | "ASSERT_NOT":
                return ""
            case name:
                raise PatternError(f"the pattern uses {name}, which is not supported")

    def _written(self, char: str) -> str:
        self._length += 1
        if self._length > _LONGEST:
            raise _UnwritableError
        return char

    def _letter(self, op: Any, arg: Any, flags: int) -> str:
        letters = self._pattern.letters(op, arg, flags)
        if not letters:
            raise _UnwritableError
        return letters[self._pick(len(letters))]

    def _repeated(self, arg: Any, flags: int) -> str:
        least, most, nodes = arg
        room = int(most) - least
        more = min(room, self._stretch.get(id(arg), 0))
        more += self._pick(min(room - more, 3) + 1)
        return "".join([self.run(nodes, flags) for _ in range(least + more)])
