"""Memory for large tables: had from the system where it is written to, and not filled with zeros first."""

from __future__ import annotations

import mmap
from typing import Final

__all__ = ["zeros"]

_LARGE: Final = 1024**2


def zeros(size: int) -> bytearray | mmap.mmap:
    """Return so many bytes. However many there are, nobody waits for them."""
    if size < _LARGE:
        return bytearray(size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
