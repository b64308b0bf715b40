"""``diff``: ask the upstream what was recorded once more, and say what changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stubserver.cli.printing import PATHS, count, plain, print_report
from stubserver.errors import StubserverError

if TYPE_CHECKING:
    from stubserver.drift import Asked

__all__ = ["diff"]

_RESULTS: Final = {"": "as recorded", "text": "other text", "shape": "another shape"}


@click.command()
@click.argument("paths", nargs=-1, type=PATHS, required=True, metavar="PATH...")
@click.option("--upstream", envvar="STUBSERVER_UPSTREAM", required=True, metavar="URL", help="The API to ask.")
@click.option("--upstream-key-env", metavar="NAME", help="Variable that holds our key for the upstream.")
@click.option("--ca-bundle", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust.")
@click.option("--update", is_flag=True, help="Put the new answers in the place of those that changed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def diff(
    paths: tuple[Path, ...], upstream: str, upstream_key_env: str | None, ca_bundle: str | None, **flags: bool
) -> None:
    """Ask the upstream every recorded request again and say what changed: first the shape, last the text.

    Nothing is written without --update; with it, each old file is kept beside as NAME.before. The exit status is 1 if
    the shape of an answer changed, or one could not be had.
    """
    from stubserver.cassettes.library import Library  # noqa: PLC0415  # --help needs none of it
    from stubserver.drift import ask_again  # noqa: PLC0415
    from stubserver.recording import key_from  # noqa: PLC0415
    from stubserver.scrubbing import Scrubber  # noqa: PLC0415
    from stubserver.upstream import Upstream  # noqa: PLC0415

    library = Library(paths)
    print_report(library.report)
    key = key_from(upstream_key_env)
    to = Upstream(upstream, key=key, ca_bundle=ca_bundle)
    asking = ask_again(library, to, Scrubber(secrets=[key] if key else []))
    with click.progressbar(asking, length=len(library.playlist), label="asking", file=sys.stderr) as bar:
        asked = list(bar)
    to.close()
    rows = [each.row for each in asked]
    if flags["as_json"]:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    failed = flags["update"] and not _update(asked)
    if failed or any(row["changed"] == "shape" or row["error"] for row in rows):
        sys.exit(1)


def _update(asked: list[Asked]) -> bool:
    """Write what changed; False when a file could not be written. What is said of it goes to stderr."""
    from stubserver.drift import fresh_of  # noqa: PLC0415  # as above
    from stubserver.rewriting import replace_items  # noqa: PLC0415

    for each in asked:
        if each.row["changed"] and each.row["not_kept"]:
            label = f"{each.row['file']}#{each.row['number']}"
            click.echo(plain(f"{label}: the old answer stays: {each.row['not_kept']}"), err=True)
    done = True
    for path, fresh in fresh_of(asked).items():
        try:
            written = replace_items(path, fresh)
        except (StubserverError, OSError) as error:
            click.echo(f"error: {plain(str(error))}", err=True)
            done = False
        else:
            said = f"{path}: {count(written.items, 'answer')} replaced, the old file is {written.kept}"
            click.echo(plain(said), err=True)
    return done


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Print a line for each change, and one for each interaction without any."""
    from rich.console import Console  # noqa: PLC0415  # importing rich takes as long as starting the server
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("interaction", "result", "what", "where", "recorded", "received"):
        table.add_column(name, overflow="fold")
    for row in rows:
        first = (f"{row['file']}#{row['number']}", row["error"] or _RESULTS[row["changed"]])
        for place, change in enumerate(row["changes"] or [dict.fromkeys(("kind", "path", "recorded", "received"), "")]):
            cells = (*(first if place == 0 else ("", "")), *change.values())
            table.add_row(*(Text(plain(str(cell))) for cell in cells))
    console = Console() if sys.stdout.isatty() else Console(width=240)
    console.print(table)
