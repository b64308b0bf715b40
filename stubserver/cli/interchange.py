"""``import`` and ``export``: recordings from the files of other tools, and into them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from stubserver.cli.printing import PATHS, count, plain, print_report
from stubserver.errors import UsageError

__all__ = ["export", "import_"]

_SHOWN = 3


@click.command("import")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True, metavar="SOURCE...")
@click.argument("cassette", type=PATHS, metavar="CASSETTE")
@click.option(
    "--format",
    "name",
    type=click.Choice(["har", "mitmproxy", "wiremock", "hoverfly", "aimock", "jsonl", "batch"]),
    help="What SOURCE is; without it, that is seen from the file.",
)
@click.option(
    "--upstream",
    default="https://api.openai.com",
    show_default=True,
    metavar="URL",
    help="Where requests went, for files that do not say: batch, wiremock, hoverfly, aimock.",
)
@click.option(
    "--only", metavar="PATTERN", help="Take what has this in its URL, as a regular expression; pass over the rest."
)
@click.option("--record-status", multiple=True, type=int, metavar="N", help="Keep this status; repeatable.")
@click.option("--redact", multiple=True, metavar="PATTERN", help="Take out what matches, too; repeatable.")
@click.option("--keep-header", multiple=True, metavar="NAME", help="Keep this header field; repeatable.")
@click.option("--allow-headers-only", is_flag=True, help="Keep no header that no replay needs.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON, for programs.")
def import_(sources: tuple[Path, ...], cassette: Path, **options: Any) -> None:  # noqa: ANN401  # what click parsed
    """Append what other tools recorded to CASSETTE.

    HAR, mitmproxy flows, WireMock mappings, Hoverfly simulations, aimock fixtures, OpenAI batches, JSONL.
    It goes through the same as a recording does: secrets are taken out, answers that are not whole are not kept. The
    exit status is 1 if anything could not be carried over.
    """
    from stubserver.interchange import formats  # noqa: PLC0415  # --help needs none of it
    from stubserver.interchange.importing import bring_in  # noqa: PLC0415
    from stubserver.keeping import KEPT_STATUSES  # noqa: PLC0415

    found = formats.read(sources, _base(options["upstream"]), options["name"])
    statuses = KEPT_STATUSES | set(options["record_status"])
    try:
        done = bring_in(found, cassette, _scrubber(options), statuses=statuses, only=_pattern(options["only"]))
    except OSError as error:
        raise UsageError(f"{error.filename or cassette}: {error.strerror or error}") from error
    if options["as_json"]:
        click.echo(json.dumps(_as_data(done, imported=done.kept, passed_over=done.passed_over), indent=2))
    else:
        passed = f", {done.passed_over} passed over" if done.passed_over else ""
        click.echo(plain(f"{cassette}: {count(done.kept, 'interaction')} imported{passed}"))
        _print(done)
    sys.exit(1 if done.lost else 0)


@click.command()
@click.argument("paths", nargs=-1, type=PATHS, required=True, metavar="PATH...")
@click.argument("target", type=PATHS, metavar="TARGET")
@click.option(
    "--format",
    "name",
    type=click.Choice(["har", "wiremock", "jsonl"]),
    help="Without it, by the name: .har, .json (WireMock), .jsonl.",
)
@click.option("--redact", multiple=True, metavar="PATTERN", help="Take out what matches, too; repeatable.")
@click.option("--keep-header", multiple=True, metavar="NAME", help="Keep this header field; repeatable.")
@click.option("--allow-headers-only", is_flag=True, help="Keep no header that no replay needs.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON, for programs.")
def export(paths: tuple[Path, ...], target: Path, **options: Any) -> None:  # noqa: ANN401  # what click parsed
    """Write the cassettes at PATH to one file TARGET, for other tools: HAR, WireMock mappings, JSONL.

    What looks like a secret is left out. The exit status is 1 if anything could not be carried over.
    """
    from stubserver.cassettes.library import Library  # noqa: PLC0415  # --help needs none of it
    from stubserver.interchange.exporting import take_out  # noqa: PLC0415

    library = Library(paths)
    if not options["as_json"]:
        print_report(library.report)
    try:
        done = take_out(library, target, _scrubber(options), options["name"])
    except OSError as error:
        raise UsageError(f"{error.filename or target}: {error.strerror or error}") from error
    if options["as_json"]:
        click.echo(json.dumps(_as_data(done, exported=done.written), indent=2))
    else:
        click.echo(plain(f"{target}: {count(done.written, 'interaction')} exported"))
        _print(done)
    sys.exit(1 if done.lost else 0)


def _base(url: str) -> str:
    if not re.fullmatch(r"https?://[^/\s?#@]+(?:/[^\s?#]*)?", url):
        raise UsageError(f"{url}: where requests went is a URL such as https://api.openai.com")
    return url.rstrip("/")


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UsageError(f"the pattern {text!r} is no regular expression: {error}") from error


def _scrubber(options: dict[str, Any]) -> Any:  # noqa: ANN401  # Scrubber, imported late
    from stubserver.scrubbing import Scrubber  # noqa: PLC0415  # --help needs none of it

    return Scrubber(
        patterns=options["redact"],
        keep_headers=options["keep_header"],
        allow_headers_only=options["allow_headers_only"],
    )


def _as_data(done: Any, **counts: int) -> dict[str, Any]:  # noqa: ANN401  # Imported or Exported, imported late
    listed = {name: [each._asdict() for each in getattr(done, name)] for name in ("lost", "notes")}
    return {**counts, **listed}


def _print(done: Any) -> None:  # noqa: ANN401  # Imported or Exported, imported late
    _print_group("not carried over", done.lost)
    _print_group("carried over without a part", done.notes)


def _print_group(title: str, listed: Iterable[Any]) -> None:
    """Print each cause once, with how often it was there and where first."""
    causes: dict[str, list[str]] = {}
    for where, why in listed:
        causes.setdefault(why, []).append(where)
    if causes:
        click.echo(f"{title}:")
    for why, places in causes.items():
        more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        click.echo(plain(f"  {len(places)} x {why} ({', '.join(places[:_SHOWN])}{more})"))
