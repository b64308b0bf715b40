"""Fields of JSON by their paths, to be left out: a member (``seed``), or ``messages[].name``, ``messages[0]``."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["PATH", "drop"]

PATH: Final = re.compile(r"(?:\$\.)?(?:[^.\[\]]+|\[(?:[0-9]{1,9}|\*)?\])(?:\.[^.\[\]]+|\[(?:[0-9]{1,9}|\*)?\])*")
"""How a path is written."""


def drop(value: Any, path: str) -> None:  # noqa: ANN401  # any JSON value
    """Remove what *path* leads to, where it is there."""
    _drop(value, [step for step in re.split(r"\.|(\[[0-9*]*\])", path.removeprefix("$.")) if step])


def _drop(value: Any, steps: list[str]) -> None:  # noqa: ANN401  # any JSON value
    step, rest = steps[0], steps[1:]
    if step.startswith("["):
        if isinstance(value, list):
            _drop_items(value, step[1:-1], rest)
    elif isinstance(value, dict) and step in value:
        if rest:
            _drop(value[step], rest)
        else:
            del value[step]


def _drop_items(items: list[Any], number: str, rest: list[str]) -> None:
    chosen = slice(int(number), int(number) + 1) if number.isdigit() else slice(None)
    if not rest:
        del items[chosen]
    for item in items[chosen] if rest else ():
        _drop(item, rest)
