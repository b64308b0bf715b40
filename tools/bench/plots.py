"""A result as pictures: requests a second by the number of stubs, and from the start to the first answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt  # behind the choice of what draws

Json = dict[str, Any]
OURS = "stubserver"
COLOUR, GREY = "#c2410c", "#64748b"
WIDTH = 9.0


def draw(found: Json, stem: Path) -> list[Path]:
    """Draw what there is, as PNG and SVG beside *stem*; return the files."""
    mpl.rcParams.update({"font.size": 9, "svg.hashsalt": "stubserver", "svg.fonttype": "none"})
    parts, paths = found["parts"], []
    day = str(found["machine"]["time"])[:10]
    if "peers" in parts:
        paths += _save(_throughput(parts["peers"], day), stem, "throughput")
    if "starts" in parts:
        paths += _save(_starts(parts["starts"], day), stem, "starts")
    return paths


def _throughput(part: Json, day: str) -> Any:  # noqa: ANN401  # a figure of matplotlib's
    figures = [figure for figure in part["figures"] if figure["unit"] == "requests/s"]
    groups = list(dict.fromkeys(figure["group"] for figure in figures))
    drawn, axes = plt.subplots(1, len(groups), figsize=(2.6 * len(groups), 4.2), sharex=True)
    for place, group in zip([axes] if len(groups) == 1 else list(axes), groups, strict=True):
        _bars(place, [figure for figure in figures if figure["group"] == group], 1.0)
        place.set_title(group)
        place.set_xlabel("requests/s")
    drawn.suptitle(f"Requests a second on one core, log scale: median and range of the rounds ({day})")
    return drawn


def _starts(part: Json, day: str) -> Any:  # noqa: ANN401  # a figure of matplotlib's
    drawn, axes = plt.subplots(figsize=(WIDTH, 0.3 * len(part["figures"]) + 1.2))
    _bars(axes, part["figures"], 1 / 1000)
    axes.set_xlabel("seconds, log scale")
    axes.set_title(f"From the start of the process to its first right answer ({day})")
    return drawn


def _bars(axes: Any, figures: list[Json], scale: float) -> None:  # noqa: ANN401  # axes of matplotlib's
    """Draw a bar for each, the slowest below, with a line from the smallest to the largest value."""
    found = sorted(figures, key=lambda figure: figure["median"])
    medians = [figure["median"] * scale for figure in found]
    low = [(figure["median"] - min(figure["values"])) * scale for figure in found]
    high = [(max(figure["values"]) - figure["median"]) * scale for figure in found]
    colours = [COLOUR if figure["name"] == OURS else GREY for figure in found]
    axes.barh([figure["name"] for figure in found], medians, xerr=[low, high], color=colours, error_kw={"lw": 1})
    axes.set_xscale("log")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for row, value in enumerate(medians):
        axes.annotate(_short(value), (value, row), xytext=(4, 3), textcoords="offset points", fontsize=7, va="bottom")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _save(drawn: Any, stem: Path, name: str) -> list[Path]:  # noqa: ANN401  # a figure of matplotlib's
    paths = [stem.with_name(f"{stem.name}-{name}{ending}") for ending in (".png", ".svg")]
    drawn.tight_layout()
    for path in paths:
        # No date in the file: the same result draws the same bytes.
        drawn.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(drawn)
    return paths
