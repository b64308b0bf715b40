"""Lines for people: counted, flushed, and without anything that a terminal would obey."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

__all__ = ["PATHS", "PLACES", "PathOrUrl", "count", "end", "plain", "print_report"]


class PathOrUrl(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic since click 8.4
    """A path; or a URL, as it was written."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:  # noqa: ANN401
        """Return a Path, or the text of a URL."""
        del param, ctx
        return value if isinstance(value, str) and "://" in value else Path(value)


PATHS: Final = click.Path(path_type=Path)
PLACES: Final = PathOrUrl()


def count(number: int, noun: str) -> str:
    """Return *number* with its noun, in the plural where that is due."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_report(report: Any) -> None:  # noqa: ANN401  # Report, imported late
    """Print what a load found, to stderr."""
    for line in report.warnings:
        click.echo(f"warning: {plain(line)}", err=True)
    for error in report.errors:
        click.echo(f"error: {plain(str(error))}", err=True)


def plain(line: str) -> str:
    """Keep control characters out of the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def end(line: str) -> NoReturn:
    """Print a line and exit with status 1."""
    click.echo(line)
    sys.exit(1)
