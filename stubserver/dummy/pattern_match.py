"""A matcher for regular expressions that always ends.

Python's own cannot be stopped and may take years (``(a+)+$``). Here the tree that its parser made is walked with the
set of positions that one can have come to: polynomial, and every step is counted by the caller's *spend*.
"""

# ruff: noqa: ANN401  # re's nodes are Any

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Matcher", "Nodes", "PatternError", "Spend", "fits", "scoped"]

Spend = Callable[[int], None]
Nodes = list[tuple[Any, Any]]


class PatternError(ValueError):
    """A pattern that cannot be read, or that uses what only backtracking can do (back references and such)."""


def fits(op: Any, arg: Any, char: str, flags: int) -> bool:
    """Tell whether one node that stands for one character matches *char*."""
    if op.name == "ANY":
        return bool(flags & re.DOTALL) or char != "\n"
    chars = {char, char.lower(), char.upper()} if flags & re.IGNORECASE else {char}
    if op.name == "IN":
        negated = bool(arg[0][0].name == "NEGATE")
        return negated != any(_TESTS[inner.name](value, c) for inner, value in arg[negated:] for c in chars)
    negated = bool(op.name == "NOT_LITERAL")
    return negated != any(_TESTS[op.name](arg, c) for c in chars)


_CATEGORIES: Final[dict[str, Callable[[str], bool]]] = {
    "DIGIT": str.isdecimal,
    "SPACE": str.isspace,
    "WORD": lambda char: char.isalnum() or char == "_",
}


def _in_category(category: Any, char: str) -> bool:
    name = str(category.name).removeprefix("CATEGORY_")
    return _CATEGORIES[name.removeprefix("NOT_")](char) != name.startswith("NOT_")


_TESTS: Final[dict[str, Callable[[Any, str], bool]]] = {
    "LITERAL": lambda code, char: ord(char) == code if len(char) == 1 else False,
    "NOT_LITERAL": lambda code, char: ord(char) == code if len(char) == 1 else False,
    "RANGE": lambda ends, char: ends[0] <= ord(char) <= ends[1] if len(char) == 1 else False,
    "CATEGORY": _in_category,
}


def scoped(flags: int, added: int, removed: int) -> int:
    """Return the flags inside a group."""
    return (flags | added) & ~removed


class Matcher:
    """Walks the tree with the set of positions that it can have come to."""

    def __init__(self, text: str, spend: Spend) -> None:
        self._text = text
        self._spend = spend

    def run(self, nodes: Nodes, starts: set[int], flags: int) -> set[int]:
        """Return where matches of *nodes* end that begin at one of *starts*."""
        for op, arg in nodes:
            self._spend(3 + len(starts) // 8)
            step = _STEPS.get(op.name)
            starts = step(self, arg, starts, flags) if step else self._one(op, arg, starts, flags)
            if not starts:
                break
        return starts

    def _one(self, op: Any, arg: Any, starts: set[int], flags: int) -> set[int]:
        if op.name not in ("ANY", "IN", "LITERAL", "NOT_LITERAL"):
            raise PatternError(f"the pattern uses {op.name}, which is not supported")
        text = self._text
        return {at + 1 for at in starts if at < len(text) and fits(op, arg, text[at], flags)}

    def fork(self, arg: Any, starts: set[int], flags: int) -> set[int]:
        """Take each branch."""
        return set().union(*(self.run(nodes, starts, flags) for nodes in arg[1]))

    def enter(self, arg: Any, starts: set[int], flags: int) -> set[int]:
        """Enter a group."""
        return self.run(arg[3], starts, scoped(flags, arg[1], arg[2]))

    def repeat(self, arg: Any, starts: set[int], flags: int) -> set[int]:
        """Go through a repetition, as often as it allows; greedy or not is the same here."""
        least, most, nodes = arg
        for _ in range(least):
            before, starts = starts, self.run(nodes, starts, flags)
            if starts in (before, set()):
                break
        reached, fresh, count = set(starts), starts, least
        while fresh and count < most:
            fresh = self.run(nodes, fresh, flags) - reached
            reached |= fresh
            count += 1
        return reached

    def stay(self, where: Any, starts: set[int], _flags: int) -> set[int]:
        """Keep the positions that an anchor is true of."""
        name = where.name.removeprefix("AT_")
        if name.startswith("BEGINNING"):
            return starts & {0}
        if name.startswith("END"):
            return starts & {len(self._text)}
        return {at for at in starts if self._at_edge(at) != name.startswith("NON")}

    def _at_edge(self, at: int) -> bool:
        word = _CATEGORIES["WORD"]
        before, after = self._text[at - 1 : at] if at else "", self._text[at : at + 1]
        return (before != "" and word(before)) != (after != "" and word(after))

    def look(self, arg: Any, starts: set[int], flags: int) -> set[int]:
        """Keep the positions where a look-around matches."""
        return {at for at in starts if self._looks(arg, at, flags)}

    def look_away(self, arg: Any, starts: set[int], flags: int) -> set[int]:
        """Keep the positions where a look-around does not match."""
        return {at for at in starts if not self._looks(arg, at, flags)}

    def _looks(self, arg: Any, at: int, flags: int) -> bool:
        direction, nodes = arg
        if direction > 0:
            return bool(self.run(nodes, {at}, flags))
        start = at - nodes.getwidth()[0]
        return start >= 0 and at in self.run(nodes, {start}, flags)


_STEPS: Final[dict[str, Callable[[Matcher, Any, set[int], int], set[int]]]] = {
    "ASSERT": Matcher.look,
    "ASSERT_NOT": Matcher.look_away,
    "AT": Matcher.stay,
    "BRANCH": Matcher.fork,
    "MAX_REPEAT": Matcher.repeat,
    "MIN_REPEAT": Matcher.repeat,
    "SUBPATTERN": Matcher.enter,
}
