"""What was seen once: a full cache takes in what comes a second time, or else it would only ever be passed through."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

__all__ = ["Newcomers"]

_MOST: Final = 16_384


class Newcomers:
    """The hashes of some thousand keys that came lately."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, key: Hashable) -> bool:
        """Tell whether *key* is a newcomer; the second time it is none."""
        number = hash(key)
        if number in self._seen:
            self._seen.discard(number)
            return False
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen.add(number)
        return True
