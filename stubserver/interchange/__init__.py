"""Recordings in the files of other tools: into cassettes, and out of them. One module for each format.

A format reads its files piece by piece and yields what it finds, in order: what can be kept as :class:`Carried`, what
cannot as :class:`Lost`. It never raises for what a file holds, only OSError for a file that cannot be read.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from stubserver.messages import Interaction

__all__ = ["Carried", "Lost", "times_of"]


_LONGEST_MS: Final = 1 << 40


class Carried(NamedTuple):
    """An interaction, where it was found, and what of it could not be carried over."""

    where: str
    interaction: Interaction
    notes: tuple[str, ...] = ()


class Lost(NamedTuple):
    """What could not be carried over at all, and why."""

    where: str
    why: str


def times_of(value: object) -> tuple[int, ...]:
    """Return when each event came, in milliseconds, as our own exports have it; nothing for any other value."""
    whole = isinstance(value, list) and all(type(each) is int and 0 <= each < _LONGEST_MS for each in value)
    return tuple(value) if isinstance(value, list) and whole else ()
