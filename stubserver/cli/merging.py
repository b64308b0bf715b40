"""``merge`` and ``split``: cassettes of many ranks as one, and one as many."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stubserver.cli.printing import PLACES, count, plain

__all__ = ["merge", "split"]


class _Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic since click 8.4
    """A number of bytes: 500000, 64KB, 50MB, 2GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401  # click's
        found = re.fullmatch(r"([1-9][0-9]{0,17})(|KB|MB|GB)", str(value).upper())
        if found is None:
            self.fail(f"{value!r} is no size: give bytes, or 64KB, 50MB, 2GB", param, ctx)
        size: int = int(found[1]) * 1000 ** ("", "KB", "MB", "GB").index(found[2])
        return size


@click.command()
@click.argument("paths", nargs=-1, type=PLACES, required=True, metavar="PATH...")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), required=True, help="The new cassette.")
def merge(paths: tuple[Path | str, ...], out: Path) -> None:
    """Write everything that is in PATH, files or folders, into one new cassette; also packed (.yaml.gz).

    Items stay as they are, in the order of the files. Those from rank-N.yaml remember their rank, for `split`. The exit
    status is 1 if something could not be read and was left out.
    """
    from stubserver.cassettes.library import found  # noqa: PLC0415  # --help needs none of it
    from stubserver.merging import merge as run  # noqa: PLC0415
    from stubserver.places import settle  # noqa: PLC0415

    files = [Path(place) for place, _ in found(settle(list(paths), records=False, rank=None, say=click.echo).played)]
    _report(_with_bar(sum(path.stat().st_size for path in files), lambda progress: run(files, out, progress)), out)


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE")
@click.option("--by", type=click.Choice(["rank", "size"]), required=True, help="What it is divided by.")
@click.option("--ranks", type=click.IntRange(1), metavar="N", help="Not the ranks that recorded it, but so many.")
@click.option("--size", type=_Size(), default="50MB", show_default=True, help="At most, for each file.")
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), help="The new folder (FILE's name).")
def split(path: Path, by: str, ranks: int | None, size: int, folder: Path | None) -> None:
    """Write the cassette FILE into a new folder: a file for each rank that recorded it, or files of a size.

    With --ranks N it is divided among N ranks anew; equal requests stay in one file, in their order.
    """
    from stubserver import merging  # noqa: PLC0415  # --help needs none of it
    from stubserver.cassettes.library import name_of  # noqa: PLC0415

    where = folder or path.with_name(name_of(path.name))
    name = merging.by_size(size)
    if by == "rank":
        name = merging.by_rank if ranks is None else merging.by_new_rank(ranks)
    _report(
        _with_bar(path.stat().st_size, lambda progress: merging.split(path, where, name, progress)),
        where,
    )


def _with_bar(length: int, work: Callable[[Callable[[int], None]], Any]) -> Any:  # noqa: ANN401  # Done, imported late
    with click.progressbar(length=length, file=sys.stderr) as bar:
        return work(bar.update)


def _report(done: Any, where: Path) -> None:  # noqa: ANN401  # Done, imported late
    for problem in done.problems:
        click.echo(f"error: {plain(str(problem))}", err=True)
    files = "" if done.files == 1 else f", {count(done.files, 'file')}"
    click.echo(plain(f"{where}: {count(done.items, 'interaction')}{files}"))
    if done.problems:
        sys.exit(1)
