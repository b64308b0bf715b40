"""What was seen once: a full cache takes in what comes a second time, or else it would only ever be passed through."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

__all__ = ["Newcomers"]

_PLACES: Final = 1 << 14
_BYTE: Final = 255


class Newcomers:
    """One byte of the hash of each key that came lately, in 16 KB, which stay in the processor's cache.

    One in some hundred newcomers is taken for one that was here before.
    """

    def __init__(self) -> None:
        self._seen = bytearray(_PLACES)

    def add(self, key: Hashable) -> bool:
        """Tell whether *key* is a newcomer; the second time it is none."""
        number, seen = hash(key), self._seen
        place, mark = number & (_PLACES - 1), number >> 24 & _BYTE or 1
        if seen[place] == mark:
            seen[place] = 0
            return False
        seen[place] = mark
        return True
