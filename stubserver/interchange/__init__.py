"""Recordings in the files of other tools: into cassettes, and out of them. One module for each format.

A format reads its files piece by piece and yields what it finds, in order: what can be kept as :class:`Carried`, what
cannot as :class:`Lost`. It never raises for what a file holds, only OSError for a file that cannot be read.
"""

from __future__ import annotations

from typing import NamedTuple

from stubserver.messages import Interaction

__all__ = ["Carried", "Lost", "UnfitError"]


class Carried(NamedTuple):
    """An interaction, where it was found, and what of it could not be carried over."""

    where: str
    interaction: Interaction
    notes: tuple[str, ...] = ()


class UnfitError(ValueError):
    """Why something cannot be kept; a format makes it a Lost."""


class Lost(NamedTuple):
    """What could not be carried over at all, and why."""

    where: str
    why: str
