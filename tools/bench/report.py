"""Figures and ratios: kept, printed as tables, written as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Series:
    """One thing measured several times: a figure with its unit, or a ratio (no unit)."""

    name: str
    values: Sequence[float]
    unit: str = ""

    @property
    def median(self) -> float:
        """The value that is quoted."""
        return median(self.values)

    def over(self, other: Series, name: str) -> Series:
        """Return this divided by *other*: round by round when both were measured in the same rounds."""
        if len(self.values) == len(other.values):
            return Series(name, [mine / its for mine, its in zip(self.values, other.values, strict=True)])
        return Series(name, [self.median / other.median])

    def cells(self) -> tuple[str, str, str, str]:
        """Return name, median, unit and spread as they are printed."""
        low, high = min(self.values), max(self.values)
        spread = f"{shown(low)} - {shown(high)}, {len(self.values)} times" if len(self.values) > 1 else "once"
        return self.name, ("" if self.unit else "x ") + shown(self.median), self.unit, spread

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known."""
        return {"name": self.name, "unit": self.unit or "ratio", "median": self.median, "values": list(self.values)}


@dataclass
class Part:
    """What one part of the benchmark found."""

    name: str
    title: str
    figures: list[Series] = field(default_factory=list)
    ratios: list[Series] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print it."""
        print(f"\n{self.name}: {self.title}\n")
        _table([series.cells() for series in self.figures])
        if self.ratios:
            print("\n  ratios")
            _table([series.cells() for series in self.ratios])
        for note in self.notes:
            print(f"  note: {note}")

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known."""
        figures, ratios = ([s.as_json() for s in series] for series in (self.figures, self.ratios))
        return {"title": self.title, "figures": figures, "ratios": ratios, "notes": self.notes}


def shown(value: float) -> str:
    """Write a number with three digits or more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _table(rows: Sequence[tuple[str, str, str, str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, value, unit, spread in rows:
        print(f"  {name:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  ({spread})")


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
        "packages": {name: version(name) for name in ("stubserver", "vcrpy", "pyyaml")},
    }


def describe(found: dict[str, Any]) -> str:
    """Write the machine in one line."""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    return f"{found['cores']} cores, load {found['load'][0]:.1f} before; Python {found['python']}, {packages}"


def save(folder: Path, parts: Iterable[Part], before: dict[str, Any], *, quick: bool) -> Path:
    """Write everything as JSON into *folder*; *before* is the machine as it was at the beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    found = {"machine": before, "quick": quick, "parts": {part.name: part.as_json() for part in parts}}
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return path
