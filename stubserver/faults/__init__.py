"""Faults on purpose: what a client does when the API misbehaves can be tried, and comes out the same every time.

Only imported when one is set, or asked for.
"""

from __future__ import annotations

from stubserver.faults.shaping import Faults, Spec

__all__ = ["Faults", "Spec"]
