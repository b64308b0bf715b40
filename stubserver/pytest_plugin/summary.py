"""What is said, and done, at the end of a session: what was played, what was not recorded, what is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from stubserver.errors import CassetteError
from stubserver.pytest_plugin import LEFT_OUT
from stubserver.pytest_plugin.naming import default_cassette
from stubserver.pytest_plugin.usage import Usage, usage_of
from stubserver.rewriting import drop_items, put_aside

__all__ = ["claim", "conclude", "strict_left"]

_SHOWN: Final = 20
_OTHERS_MARKERS: Final = ("vcr", "default_cassette")
"""A test with one of these plays its cassettes by pytest-recording, which does not tell us what it plays."""


def claim(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember which cassettes would be the own ones of *items*, and which of these use a stub."""
    usage = usage_of(config)
    for item in items:
        own = default_cassette(item).resolve()
        usage.claimed.add(str(own))
        if any(item.get_closest_marker(name) for name in _OTHERS_MARKERS) and own.parent.is_dir():
            usage.claimed.update(map(str, own.parent.iterdir()))
        if {"stub_server", "stub_server_session"} & set(getattr(item, "fixturenames", ())) or any(
            item.get_closest_marker(name) for name in ("stub", "stub_cassette")
        ):
            usage.users.add(item.nodeid)


def strict_left(config: pytest.Config) -> dict[Path, set[int]]:
    """Return what the tests left of the cassettes that they share, where that is asked for and all of them ran."""
    usage = usage_of(config)
    return {} if _only_some(usage, config) else usage.left_of_strict()


def conclude(reporter: Any, exitstatus: int, config: pytest.Config) -> None:  # noqa: ANN401  # pytest's terminal reporter
    """Report what was played, and drop what was not, as far as the options ask for it."""
    usage = usage_of(config)
    said = [*_recorded(usage), *_strict(strict_left(config), config.rootpath)]
    if config.getoption("stub_report"):
        said += _report(usage, config.rootpath)
    if said:
        reporter.section("stubserver")
    for line in said:
        reporter.line(line)
    if config.getoption("stub_drop_unused"):
        reporter.section("stubserver: unused recordings")
        why_not = _why_not(usage, exitstatus, reporter.stats, config)
        for line in [f"nothing was removed: {why_not}"] if why_not else _drop(usage, config.rootpath):
            reporter.line(line)


def _recorded(usage: Usage) -> Iterator[str]:
    if usage.recorded:
        yield f"{usage.recorded} answer{'' if usage.recorded == 1 else 's'} recorded"
    yield from (f"not recorded: {note}" for note in usage.notes[:_SHOWN])
    if len(usage.notes) > _SHOWN:
        yield f"and {len(usage.notes) - _SHOWN} more were not recorded"


def _strict(left: dict[Path, set[int]], root: Path) -> Iterator[str]:
    for path, numbers in left.items():
        shown = ", ".join(f"#{number}" for number in sorted(numbers)[:_SHOWN])
        yield f"{_short(path, root)}: no test played {shown}{' ...' if len(numbers) > _SHOWN else ''} (--stub-strict)"


def _report(usage: Usage, root: Path) -> list[str]:
    lines = []
    for path, total in sorted(usage.totals.items()):
        played = len(usage.played[path])
        word = "played" if played == total else "partly played" if played else "not played"
        lines.append(f"{_short(Path(path), root)}: {word}, {played} of {total}")
    lines += [f"{_short(path, root)}: never used" for path in usage.never_opened()]
    return lines or ["no cassette was used"]


def _why_not(usage: Usage, exitstatus: int, stats: dict[str, list[Any]], config: pytest.Config) -> str:
    """Say why what was not played may be needed all the same; empty when it may not."""
    if exitstatus != pytest.ExitCode.OK:
        return "not every test passed"
    if usage.lost:
        return "a process of pytest-xdist ended without telling what it had played"
    reports = [*stats.get("skipped", []), *stats.get("xfailed", [])]
    unsure = sum(getattr(report, "nodeid", "") in usage.users for report in reports)
    if unsure:
        return f"{unsure} tests with a stub were skipped or failed as expected, and may need what they did not play"
    return _only_some(usage, config)


def _only_some(usage: Usage, config: pytest.Config) -> str:
    """Say that only some of the tests ran; empty when all did."""
    left_out = usage.left_out or config.stash.get(LEFT_OUT, 0)
    if left_out or config.getoption("file_or_dir", default=None) or config.getoption("maxfail", default=0):
        return "not all tests ran: name no files, and leave -k, -m, -x and --lf away"
    return ""


def _drop(usage: Usage, root: Path) -> list[str]:
    lines = []
    for path, numbers in usage.unplayed().items():
        if usage.processes[str(path)] > 1:  # the second of two equal requests may have gone to another process
            count = usage.processes[str(path)]
            said = f"not changed: {count} processes played it, each from its beginning; run without -n"
            lines.append(f"{_short(path, root)}: {said}")
            continue
        try:
            kept = drop_items(path, numbers).kept
        except (CassetteError, OSError) as error:
            lines.append(f"{_short(path, root)}: not changed: {error}")
        else:
            where = f"the old file is {kept.name}" if kept else "nothing was left to do"
            lines.append(f"{_short(path, root)}: {len(numbers)} removed, {where}")
    lines += [f"{_short(path, root)}: put aside as {put_aside(path).name}" for path in usage.never_opened()]
    return lines or ["every recording was played"]


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
