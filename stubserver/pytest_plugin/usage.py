"""Which recordings the tests played, over the whole session and all of its processes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from stubserver.cassettes.library import ENDINGS, Library

__all__ = ["Usage", "conclude", "receive", "send", "usage_of"]

_OUTPUT: Final = "stubserver"


class Usage:
    """Cassettes that were opened, each with how many recordings it holds and the numbers of those that were played.

    ``left_out`` counts tests that were deselected: what they would have played is not unused.
    """

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.played: dict[str, set[int]] = {}
        self.left_out = 0

    def add(self, library: Library) -> None:
        """Take in what was played of *library*."""
        for file in library.files:
            numbers = [r.number for r in file.recordings if library.played(r)]
            self._add(str(file.path.resolve()), len(file.recordings), numbers)

    def _add(self, path: str, total: int, numbers: Iterable[int]) -> None:
        self.totals[path] = max(total, self.totals.get(path, 0))
        self.played.setdefault(path, set()).update(numbers)

    def as_json(self) -> str:
        """Write it for another process."""
        return json.dumps(
            [self.left_out, [[path, self.totals[path], sorted(self.played[path])] for path in self.totals]]
        )

    def take(self, text: str) -> None:
        """Take in what another process wrote."""
        left_out, rows = json.loads(text)
        self.left_out = max(self.left_out, left_out)  # each process deselects the same ones
        for path, total, numbers in rows:
            self._add(path, total, numbers)

    def never_opened(self) -> list[Path]:
        """List the cassettes beside those that were opened which no test asked for."""
        folders = {Path(path).parent for path in self.totals}
        beside = {path for folder in folders for path in folder.iterdir() if path.name.endswith(ENDINGS)}
        return sorted(path for path in beside if str(path) not in self.totals)

    def unplayed(self) -> dict[Path, set[int]]:
        """Return the numbers of the recordings that no test played, for each cassette that has some."""
        left = {Path(path): set(range(1, total + 1)) - self.played[path] for path, total in self.totals.items()}
        return {path: numbers for path, numbers in sorted(left.items()) if numbers}


_USAGE: Final = pytest.StashKey[Usage]()


def usage_of(config: pytest.Config) -> Usage:
    """Return the usage of this session."""
    return config.stash.setdefault(_USAGE, Usage())


def send(config: pytest.Config) -> None:
    """In a process of pytest-xdist, hand over what was played here."""
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = usage_of(config).as_json()


def receive(config: pytest.Config, output: dict[str, Any]) -> None:
    """Take in what a process of pytest-xdist handed over."""
    if _OUTPUT in output:
        usage_of(config).take(output[_OUTPUT])


def conclude(reporter: Any, exitstatus: int, config: pytest.Config) -> None:  # noqa: ANN401  # pytest's terminal reporter
    """Report what was played, and drop what was not, as far as the options ask for it."""
    usage = usage_of(config)
    if config.getoption("stub_report"):
        reporter.section("stubserver")
        for line in _report(usage, config.rootpath):
            reporter.line(line)
    if config.getoption("stub_drop_unused"):
        reporter.section("stubserver: unused recordings")
        why_not = _why_not(usage, exitstatus, reporter.stats, config)
        for line in [f"nothing was removed: {why_not}"] if why_not else _drop(usage, config.rootpath):
            reporter.line(line)


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
    unsure = len(stats.get("skipped", [])) + len(stats.get("xfailed", []))
    if unsure:
        return f"{unsure} tests were skipped or failed as expected, and may need what they did not play"
    if usage.left_out or any("::" in argument for argument in config.args):
        return "not all tests ran: leave -k, -m, --lf and ::names away"
    return ""


def _drop(usage: Usage, root: Path) -> list[str]:
    from stubserver.errors import CassetteError  # noqa: PLC0415  # hardly ever needed
    from stubserver.rewriting import drop_items, put_aside  # noqa: PLC0415

    lines = []
    for path, numbers in usage.unplayed().items():
        try:
            kept = drop_items(path, numbers).kept
        except (CassetteError, OSError) as error:
            lines.append(f"{_short(path, root)}: not changed: {error}")
        else:
            lines.append(
                f"{_short(path, root)}: {len(numbers)} removed, the old file is {kept.name if kept else 'gone'}"
            )
    lines += [f"{_short(path, root)}: put aside as {put_aside(path).name}" for path in usage.never_opened()]
    return lines or ["every recording was played"]


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
