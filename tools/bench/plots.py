"""A result as pictures: requests a second by the number of stubs, and from the start to the first answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt  # behind the choice of what draws
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

Json = dict[str, Any]
Drawing = Any  # of matplotlib's, which may not be there when types are checked
OURS = "stubserver"
COLOUR, GREY = "#c2410c", "#64748b"
OTHERS = ("#1d4ed8", "#0f766e", "#7c3aed", "#a16207", "#be185d", "#0e7490", "#4d7c0f", "#475569")
MARKS = "sDv^<>pXP*"
OWN = "own answers"
TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


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


def _throughput(part: Json, day: str) -> Drawing:
    """Draw rates by the number of stubs, with a line from the smallest to the largest; beside them, own answers."""
    figures = [figure for figure in part["figures"] if figure["unit"] == "requests/s"]
    drawn, (many, own) = plt.subplots(1, 2, figsize=(11.0, 4.6), sharey=True, width_ratios=(2.4, 1.4))
    stubs = [figure for figure in figures if figure["group"] != OWN]
    for number, name in enumerate(_names(stubs)):
        _line(many, [figure for figure in stubs if figure["name"] == name], number)
    many.set_xscale("log")
    many.set_yscale("log")
    many.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    many.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    many.set_xlabel("distinct recordings, all asked for in turn")
    many.set_ylabel("requests/s")
    many.set_title("replay")
    many.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    _columns(own, [figure for figure in figures if figure["group"] == OWN])
    for axes in (many, own):
        _plain(axes, "y")
    drawn.suptitle(f"Requests a second on one core, log scale; median and range of the rounds ({day})")
    return drawn


def _names(figures: list[Json]) -> list[str]:
    """Return the names, ours first."""
    return sorted(dict.fromkeys(figure["name"] for figure in figures), key=lambda name: name != OURS)


def _line(axes: Drawing, figures: list[Json], number: int) -> None:
    counts = [int(figure["group"].split()[0].replace(",", "")) for figure in figures]
    medians, spread = _medians(figures)
    ours = figures[0]["name"] == OURS
    colour = COLOUR if ours else OTHERS[(number - 1) % len(OTHERS)]
    style = {"marker": "o" if ours else MARKS[(number - 1) % len(MARKS)], "lw": 2.5 if ours else 1.2, "ms": 5}
    axes.errorbar(counts, medians, yerr=spread, label=figures[0]["name"], color=colour, capsize=2, **style)


def _columns(axes: Drawing, figures: list[Json]) -> None:
    found = sorted(figures, key=lambda figure: -figure["median"])
    medians, spread = _medians(found)
    colours = [COLOUR if figure["name"] == OURS else GREY for figure in found]
    names = [figure["name"].replace(", ", ",\n") for figure in found]
    axes.bar(names, medians, yerr=spread, color=colours, error_kw={"lw": 1, "capsize": 2})
    axes.tick_params(axis="x", rotation=60)
    axes.set_title("own answers, no recordings")


def _starts(part: Json, day: str) -> Drawing:
    found = sorted(part["figures"], key=lambda figure: figure["median"])
    drawn, axes = plt.subplots(figsize=(8.0, 0.3 * len(found) + 1.2))
    medians, spread = _medians(found, 1 / 1000)
    colours = [COLOUR if figure["name"] == OURS else GREY for figure in found]
    axes.barh(
        [figure["name"] for figure in found], medians, xerr=spread, color=colours, error_kw={"lw": 1, "capsize": 2}
    )
    axes.set_xscale("log")
    axes.set_xlim(min(medians) / 3, max(medians) * 2)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for row, value in enumerate(medians):
        axes.annotate(
            f"{value:.2g} s", (min(medians) / 3, row), xytext=(4, -3), textcoords="offset points", color="white"
        )
    axes.set_xlabel("seconds, log scale; median and range")
    axes.set_title(f"From the start of the process to its first right answer ({day})")
    _plain(axes, "x")
    return drawn


def _medians(figures: list[Json], scale: float = 1.0) -> tuple[list[float], list[list[float]]]:
    """Return the medians, and how far the smallest and the largest value are from them."""
    low = [(figure["median"] - min(figure["values"])) * scale for figure in figures]
    high = [(max(figure["values"]) - figure["median"]) * scale for figure in figures]
    return [figure["median"] * scale for figure in figures], [low, high]


def _plain(axes: Drawing, axis: str) -> None:
    axes.grid(axis=axis, alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _save(drawn: Drawing, stem: Path, name: str) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}-{name}{ending}") for ending in (".png", ".svg")]
    drawn.set_layout_engine("constrained")
    for path in paths:
        # No date in the file: the same result draws the same bytes.
        drawn.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(drawn)
    return paths
