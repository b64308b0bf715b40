"""Requests that were seen before, by the bytes they came as."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from stubserver.app import Prepared
from stubserver.newcomers import Newcomers

__all__ = ["Known"]

_KNOWN_BYTES: Final = 32 * 1024 * 1024
_DUMMYS: Final = 8 * 1024
_KNOWN_LONGEST: Final = 16 * 1024


class Known:
    """Requests by the bytes they arrived as: a request seen before is not parsed or hashed again.

    Bounded by bytes: what is half full takes in what comes a second time, and the oldest leave.
    """

    def __init__(self) -> None:
        self._by_bytes: OrderedDict[bytes, tuple[Prepared, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self._newcomers = Newcomers()
        self.get = self._by_bytes.get

    def add(self, raw: bytes, prepared: Prepared, flags: int) -> None:
        """Remember that *raw* is one whole request, which has been answered."""
        if len(raw) > _KNOWN_LONGEST:
            return
        if self._bytes > _KNOWN_BYTES // 2 and self._newcomers.add(raw):
            return
        with self._lock:
            if raw not in self._by_bytes:
                prepared.cost = _cost(raw, prepared)
                self._by_bytes[raw] = (prepared, flags)
                self._bytes += prepared.cost
                while self._bytes > _KNOWN_BYTES:
                    # Not next(iter()) of a dict, which walks over all that was deleted before.
                    _, (oldest, _) = self._by_bytes.popitem(last=False)
                    self._bytes -= oldest.cost


def _cost(raw: bytes, prepared: Prepared) -> int:
    """Return about how many bytes a request is that is remembered: itself, its parts, and the dummy's small answer."""
    return 2 * len(raw) + 512 + (_DUMMYS if prepared.dummy is not None else 0)
