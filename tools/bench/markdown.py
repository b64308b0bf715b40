"""A result as Markdown: goals first, then who did what, then everything that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from report import shown

Json = dict[str, Any]
REQUESTS = "requests/s"


def document(found: Json, pictures: Sequence[Path]) -> str:
    """Return the whole page."""
    parts: Json = found["parts"]
    lines = [f"# Measured on {str(found['machine']['time'])[:10]}", "", *_machine(found), ""]
    lines += [f"![{path.stem}]({path.name})\n" for path in pictures]
    lines += [*_goals(parts), *_throughput(parts.get("peers")), *_absent(parts)]
    for name, part in parts.items():
        lines += _part(name, part)
    return "\n".join(lines).rstrip() + "\n"


def _machine(found: Json) -> list[str]:
    machine = found["machine"]
    versions = {
        **machine.get("packages", {}),
        **{n: v for p in found["parts"].values() for n, v in p.get("versions", {}).items()},
    }
    programs = "; ".join(f"{name}: {line}" for name, line in machine.get("programs", {}).items())
    return [
        f"{machine.get('cpu', '?')}, {machine['cores']} cores, {machine['system']}, Python {machine['python']};",
        f"{', '.join(f'{name} {number}' for name, number in versions.items())}; {programs}.",
        "",
        "Ratios are what to look at: the figures are this machine's. Medians, and from the smallest to the largest.",
    ]


def _goals(parts: Json) -> Iterator[str]:
    goals = [goal for part in parts.values() for goal in part.get("goals", [])]
    if not goals:
        return
    yield from ("## Goals", "")
    rows = [
        (g["name"], f"{'at most' if g['most'] else 'at least'} {shown(g['wanted'])}", _measured(g), _word(g))
        for g in goals
    ]
    yield from table(("ratio", "goal", "measured", ""), rows)


def _measured(goal: Json) -> str:
    return _spread(goal["measured"]) if goal["measured"] else f"not measured: {goal['why']}"


def _word(goal: Json) -> str:
    return {True: "met", False: "**not met**", None: "-"}[goal["met"]]


def _throughput(part: Json | None) -> Iterator[str]:
    """Yield a row for each server, a column for each number of stubs."""
    figures = [figure for figure in (part or {}).get("figures", []) if figure["unit"] == REQUESTS]
    if not figures:
        return
    groups = list(dict.fromkeys(figure["group"] for figure in figures))
    names = list(dict.fromkeys(figure["name"] for figure in figures))
    found = {(figure["name"], figure["group"]): shown(figure["median"]) for figure in figures}
    yield from ("## Requests a second", "")
    yield from table(("", *groups), [(name, *(found.get((name, group), "-") for group in groups)) for name in names])


def _absent(parts: Json) -> Iterator[str]:
    absent = {name: why for part in parts.values() for name, why in part.get("absent", {}).items()}
    if absent:
        yield from ("## Not measured", "")
        yield from table(("", "why"), list(absent.items()))


def _part(name: str, part: Json) -> Iterator[str]:
    yield from (f"## {name}: {part['title']}", "")
    rows = [
        (f"{f['group']}: {f['name']}" if f.get("group") else f["name"], shown(f["median"]), f["unit"], _range(f))
        for f in [*part["figures"], *part["ratios"]]
    ]
    yield from table(("", "median", "", "from - to"), rows)
    yield from (f"- {note}" for note in part["notes"])
    yield ""


def _spread(figure: Json) -> str:
    return f"{shown(figure['median'])} ({_range(figure)})" if len(figure["values"]) > 1 else shown(figure["median"])


def _range(figure: Json) -> str:
    values = figure["values"]
    return f"{shown(min(values))} - {shown(max(values))}" if len(values) > 1 else "once"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, and an empty one."""
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""
