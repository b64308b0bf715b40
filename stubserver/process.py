"""The interpreter of a process that does nothing but serve."""

from __future__ import annotations

import gc
import sys
from typing import Final

__all__ = ["begin", "settle_down"]

_SWITCH_SECONDS: Final = 0.0005
_COLLECTED_EVERY: Final = (50_000, 20, 100)


def begin() -> None:
    """Set what suits a process that begins to import: nearly all of it stays, and was walked over dozens of times."""
    gc.set_threshold(*_COLLECTED_EVERY)


def settle_down() -> None:
    """Set what suits a server whose cassettes are read; for a process of our own, never for that of a test."""
    # What was loaded stays: without this, each full collection would walk over all of it and hold every answer up.
    gc.freeze()
    gc.set_threshold(*_COLLECTED_EVERY)
    # Who wants the interpreter while another thread reads cassettes has it after so long, and not ten times that.
    sys.setswitchinterval(_SWITCH_SECONDS)
