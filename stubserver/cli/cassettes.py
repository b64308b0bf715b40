"""``show``, ``check`` and ``scrub``: look at cassettes, and mend them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from stubserver.canonical import DEFAULT_MATCH_ON
from stubserver.cli.printing import PATHS, count, end, plain, print_report
from stubserver.errors import StubserverError

__all__ = ["check", "scrub", "show"]


@click.command()
@click.argument("paths", nargs=-1, type=PATHS, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
@click.option("--match-on", default=",".join(DEFAULT_MATCH_ON), metavar="A,B,C", help="For the column of repeats.")
@click.option("--ignore", multiple=True, metavar="FIELD", help="JSON field to leave out of the match; repeatable.")
def show(paths: tuple[Path, ...], match_on: str, ignore: tuple[str, ...], *, as_json: bool) -> None:
    """Show what is in the cassettes: one line for each interaction."""
    from stubserver.canonical import Rules  # noqa: PLC0415  # --help needs none of it
    from stubserver.cassettes.library import Library  # noqa: PLC0415
    from stubserver.listing import rows  # noqa: PLC0415

    library = Library(paths, Rules(tuple(match_on.split(",")), ignore))
    print_report(library.report)
    listed = rows(library)
    if as_json:
        click.echo(json.dumps(listed, indent=2))
    else:
        _print_table(listed)


def _print_table(listed: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415  # importing rich takes as long as starting the server
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console() if sys.stdout.isatty() else Console(width=200)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("file", "#", "method", "path", "status", "model", "stream", "size", "repeats"):
        table.add_column(name, justify="right" if name in {"#", "size", "repeats"} else "left", overflow="fold")
    for row in listed:
        cells = [row[name] for name in ("file", "number", "method", "path", "status", "model")]
        cells += ["yes" if row["stream"] else "", row["size"], row["repeats"]]
        table.add_row(*(Text(plain("" if cell is None else str(cell))) for cell in cells))
    console.print(table)
    console.print(count(len(listed), "interaction"))


@click.command()
@click.argument("paths", nargs=-1, type=PATHS, required=True, metavar="PATH...")
def check(paths: tuple[Path, ...]) -> None:
    """Load every cassette whole; name what is damaged, unsafe, no cassette, or looks like a secret.

    The exit status is 1 if anything was named. A secret itself is never printed.
    """
    from stubserver.cassettes.library import Library  # noqa: PLC0415  # --help needs none of it
    from stubserver.listing import problems  # noqa: PLC0415

    library = Library(paths)
    found = problems(library)
    for line in found:
        click.echo(plain(line))
    interactions = count(len(library.playlist), "interaction")
    if found:
        end(f"{count(len(found), 'problem')} in {count(len(library.files), 'cassette')}, {interactions}")
    click.echo(f"no problems in {count(len(library.files), 'cassette')}, {interactions}")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True, metavar="PATH...")
@click.option("--redact", multiple=True, metavar="PATTERN", help="Take out what matches, too; repeatable.")
@click.option("--keep-header", multiple=True, metavar="NAME", help="Keep this header field; repeatable.")
@click.option("--allow-headers-only", is_flag=True, help="Keep no header that no replay needs.")
def scrub(paths: tuple[Path, ...], redact: tuple[str, ...], keep_header: tuple[str, ...], **only: bool) -> None:
    """Rewrite cassettes without what looks like a secret; each old file is kept beside as NAME.before."""
    from stubserver.cassettes.library import Library  # noqa: PLC0415  # --help needs none of it
    from stubserver.rewriting import rewrite  # noqa: PLC0415
    from stubserver.scrubbing import Scrubber  # noqa: PLC0415

    scrubber = Scrubber(patterns=redact, keep_headers=keep_header, allow_headers_only=only["allow_headers_only"])
    failed = False
    for file in Library(paths).files:
        try:
            done = rewrite(file.path, scrubber)
        except (StubserverError, OSError) as error:
            click.echo(f"error: {plain(str(error))}", err=True)
            failed = True
        else:
            kept = (
                f"{count(done.items, 'item')} scrubbed, the old file is {done.kept}" if done.kept else "nothing to do"
            )
            click.echo(plain(f"{file.label}: {kept}"))
    if failed:
        sys.exit(1)
