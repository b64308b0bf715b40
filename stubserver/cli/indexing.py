"""``index``: read large cassettes ahead, in several processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from stubserver.canonical import DEFAULT_MATCH_ON
from stubserver.cli.printing import PATHS, count, plain

__all__ = ["index"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True, metavar="PATH...")
@click.option("--index", "path", type=PATHS, metavar="PATH", help="The index's file (in ~/.cache/stubserver).")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes to read in (as many as cores).")
@click.option("--match-on", default=",".join(DEFAULT_MATCH_ON), metavar="A,B,C", help="As serve will be told.")
@click.option("--ignore", multiple=True, metavar="FIELD", help="As serve will be told; repeatable.")
def index(paths: tuple[Path, ...], path: Path | None, jobs: int | None, match_on: str, ignore: tuple[str, ...]) -> None:
    """Read cassettes ahead, so that serving them starts at once: where everything is, and each answer as it is sent.

    What is known already is not read again, nor after this was interrupted. The exit status is 1 for damaged files.
    """
    from stubserver.building import Progress, build  # noqa: PLC0415  # --help needs none of it
    from stubserver.canonical import Rules  # noqa: PLC0415
    from stubserver.cassettes.index import Index  # noqa: PLC0415
    from stubserver.cassettes.library import Library, found  # noqa: PLC0415
    from stubserver.options import index_path  # noqa: PLC0415

    rules = Rules(tuple(match_on.split(",")), ignore)
    place = path or index_path(None)[0] or Path()
    notes: list[str] = []
    made = Index(place, rules, notes.append)
    files = [Path(file) for file, _ in found(paths)]
    try:
        if made.writable:
            with click.progressbar(length=1, file=sys.stderr, show_pos=False, width=0) as bar:

                def progress(done: Progress) -> None:
                    bar.length = max(done.size, 1)
                    bar.update(done.done - bar.pos)

                built = build(made, files, rules, jobs or os.cpu_count() or 1, progress)
            saved = made.compact()
    finally:
        made.close()
    if made.usable and not notes:  # as serving them begins: what they are found by is written
        library = Library(paths, rules, index=place)
        notes += library.tend()
        library.close()
    if notes or not made.usable:
        raise click.ClickException(plain(notes[0] if notes else f"{place}: it cannot be written to"))
    for problem in built.problems:
        click.echo(f"error: {plain(problem)}", err=True)
    size = place.stat().st_size / 1e6
    new = f"{count(built.files, 'file')} read, {count(built.items, 'interaction')}"
    click.echo(plain(f"{new}; {place} is up to date, {size:.0f} MB"))
    if saved:
        click.echo(f"{saved / 1e6:.0f} MB of answers that nothing leads to were taken out")
    if built.problems:
        sys.exit(1)
