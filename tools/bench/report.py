"""Figures and ratios: kept, printed as tables, written as JSON."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from servers import NGINX_PATH


@dataclass(frozen=True)
class Series:
    """One thing measured several times: a figure with its unit, or a ratio (no unit), in a *group* of such."""

    name: str
    values: Sequence[float]
    unit: str = ""
    group: str = ""

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
        name = f"{self.group}: {self.name}" if self.group else self.name
        return name, ("" if self.unit else "x ") + shown(self.median), self.unit, spread

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known."""
        found = {"name": self.name, "unit": self.unit or "ratio", "median": self.median, "values": list(self.values)}
        return {**found, "group": self.group} if self.group else found


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was measured. *wanted* is a bound from below or, with *most*, above; no *measured*: none."""

    name: str
    wanted: float
    measured: Series | None
    most: bool = False
    why: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median reaches it; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured.median <= self.wanted if self.most else self.measured.median >= self.wanted

    def line(self) -> str:
        """Write it in one line."""
        word = {True: "met", False: "not met", None: f"not measured ({self.why})"}[self.met]
        found = "" if self.measured is None else f"measured {shown(self.measured.median)}: "
        return f"{self.name}: at {'most' if self.most else 'least'} {shown(self.wanted)}; {found}{word}"

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known."""
        measured = None if self.measured is None else self.measured.as_json()
        return {
            "name": self.name,
            "wanted": self.wanted,
            "most": self.most,
            "measured": measured,
            "met": self.met,
            "why": self.why,
        }


@dataclass
class Part:
    """What one part of the benchmark found."""

    name: str
    title: str
    figures: list[Series] = field(default_factory=list)
    ratios: list[Series] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: list[Verdict] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def show(self) -> None:
        """Print it."""
        print(f"\n{self.name}: {self.title}\n")
        _table([series.cells() for series in self.figures])
        if self.ratios:
            print("\n  ratios")
            _table([series.cells() for series in self.ratios])
        for goal in self.goals:
            print(f"  goal: {goal.line()}")
        for name, why in self.absent.items():
            print(f"  not measured: {name}: {why}")
        for note in self.notes:
            print(f"  note: {note}")

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known."""
        figures, ratios = ([s.as_json() for s in series] for series in (self.figures, self.ratios))
        more = {"goals": [goal.as_json() for goal in self.goals], "absent": self.absent, "versions": self.versions}
        found = {"title": self.title, "figures": figures, "ratios": ratios, "notes": self.notes}
        return {**found, **{name: value for name, value in more.items() if value}}


def shown(value: float) -> str:
    """Write a number with three digits or more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _table(rows: Sequence[tuple[str, str, str, str]]) -> None:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for name, value, unit, spread in rows:
        print(f"  {name:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  ({spread})")


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
        "packages": {name: version(name) for name in ("stubserver", "vcrpy", "pyyaml")},
        "programs": programs(),
    }


def processor() -> str:
    """Name the processor, as far as the system does."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def programs() -> dict[str, str]:
    """Return the versions of programs that are measured, or measure."""
    asked = {
        "nginx": ("nginx", "-v"),
        "wrk": ("wrk", "-v"),
        "node": ("node", "--version"),
        "java": ("java", "-version"),
    }
    return {name: found for name, command in asked.items() if (found := _first_line(command))}


def _first_line(command: Sequence[str]) -> str:
    path = shutil.which(command[0], path=NGINX_PATH)
    if path is None:
        return ""
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return lines[0].strip() if lines else ""


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
