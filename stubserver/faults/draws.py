"""Chance that comes out the same every time: the nth request that a rule counts gets the nth draw of its seed."""

from __future__ import annotations

import math
import random
import re
from typing import Final, NamedTuple

from stubserver.errors import UsageError

__all__ = ["Time", "rng", "time_of"]

_LONGEST: Final = 86_400_000.0
_NUMBER: Final = r"(\d{1,9}(?:\.\d{1,6})?)"
_FIXED: Final = re.compile(_NUMBER)
_UNIFORM: Final = re.compile(rf"(?:uniform\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)|{_NUMBER}\.\.{_NUMBER})")
_LOGNORMAL: Final = re.compile(rf"lognormal\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)")


class Time(NamedTuple):
    """A time, fixed or drawn: ``low`` alone, uniform from ``low`` to ``high``, or log-normal around the median ``low``.

    ``sigma`` is the standard deviation of the logarithm.
    """

    low: float
    high: float | None = None
    sigma: float | None = None

    def draw(self, chance: random.Random) -> float:
        """Return one value, at most a day of milliseconds."""
        if self.sigma is not None:
            exponent = min(chance.gauss(0.0, self.sigma), math.log(_LONGEST))
            return min(self.low * math.exp(exponent), _LONGEST)
        return self.low if self.high is None else chance.uniform(self.low, self.high)


def time_of(name: str, said: str) -> Time:
    """Read ``200``, ``200..800`` (or ``uniform(200,800)``), ``lognormal(200,0.5)``. Raises UsageError."""
    if found := _FIXED.fullmatch(said):
        time = Time(float(found[1]))
    elif found := _UNIFORM.fullmatch(said):
        low, high = (float(number) for number in found.groups() if number is not None)
        time = Time(low, high)
    elif found := _LOGNORMAL.fullmatch(said):
        time = Time(float(found[1]), None, float(found[2]))
    else:
        raise UsageError(f"{name}={said[:40]} cannot be: give 200, or 200..800, or lognormal(MEDIAN,SIGMA)")
    if max(time.low, time.high or 0.0) > _LONGEST or (time.high is not None and time.high < time.low):
        raise UsageError(f"{name}={said[:40]} cannot be: from less to more, and a day at most")
    return time


def rng(seed: int | str, place: str, number: int) -> random.Random:
    """Return the source of what is drawn for the request that *place* counted as its *number*."""
    return random.Random(f"{seed}/{place}/{number}")  # noqa: S311  # to come out the same, not to be secret
