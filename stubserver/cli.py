"""The command line. The only door to click and rich."""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from stubserver import __version__
from stubserver.canonical import DEFAULT_MATCH_ON
from stubserver.errors import StubserverError

__all__ = ["main"]

_PATHS: Final = click.Path(path_type=Path)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_EXAMPLES: Final = """
\b
Examples:
  stubserver serve                              answer everything with the dummy
  stubserver serve cassettes/                   recorded answers first, then the dummy
  stubserver serve chat.yaml --fallback error   recorded answers only: a miss is an error
  stubserver record --upstream URL new.yaml     pass requests on, and keep the answers
  stubserver show cassettes/                    what is in the cassettes
  stubserver check cassettes/                   what is damaged, unsafe or secret in them

Then point a client at it: OPENAI_BASE_URL=http://127.0.0.1:8080/v1
"""


class _Commands(click.Group):
    """Turns our errors into one line and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # click's
        try:
            return super().invoke(ctx)
        except StubserverError as error:
            raise click.UsageError(str(error)) from error


@click.group(cls=_Commands, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stubserver")
def main() -> None:
    """Stand in for an OpenAI-style model API: replay recorded answers, and make up the rest."""


def _recording_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of recording to a command."""
    options = (
        click.option("--upstream", envvar="STUBSERVER_UPSTREAM", metavar="URL", help="The API to record from."),
        click.option("--upstream-key-env", metavar="NAME", help="Variable that holds our key for the upstream."),
        click.option("--upstream-timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Silence (600)."),
        click.option("--ca-bundle", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust."),
        click.option("--record-status", multiple=True, type=int, metavar="N", help="Keep this status; repeatable."),
        click.option("--cassette-per", type=click.Choice(["run", "path", "model", "day"]), help="For a folder."),
        click.option("--fsync", type=click.Choice(["always", "off"]), help="When the disk is told to keep it."),
        click.option("--redact", multiple=True, metavar="PATTERN", help="Take out what matches, too; repeatable."),
        click.option("--keep-header", multiple=True, metavar="NAME", help="Keep this header field; repeatable."),
        click.option("--allow-headers-only", is_flag=True, default=None, help="Keep no header that no replay needs."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command(epilog=_EXAMPLES)
@click.argument("paths", nargs=-1, type=_PATHS, metavar="[PATH]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option(
    "--fallback",
    type=click.Choice(["dummy", "error", "forward"]),
    default="dummy",
    show_default=True,
    help="What answers a request that has no recording.",
)
@click.option(
    "--record-mode",
    type=click.Choice(["none", "once", "new_episodes", "all"]),
    default="none",
    show_default=True,
    help="vcrpy's record modes; what is recorded goes to the first PATH.",
)
@_recording_options
@click.option(
    "--match-on",
    default=",".join(DEFAULT_MATCH_ON),
    show_default=True,
    metavar="A,B,C",
    help="vcrpy's matcher names. 'method,path,query' plays in recorded order, as vcrpy does by default.",
)
@click.option("--ignore", multiple=True, metavar="FIELD", help="JSON field to leave out of the match; repeatable.")
@click.option(
    "--drift",
    type=click.Choice(["refuse", "allow"]),
    default="refuse",
    show_default=True,
    help="allow: a request that matches nothing gets the next unplayed recording of its path.",
)
@click.option(
    "--on-exhausted",
    type=click.Choice(["last", "cycle", "error"]),
    default="last",
    show_default=True,
    help="What is played when every recording of a request was.",
)
@click.option("--error-status", default=404, show_default=True, help="Status of --fallback error.")
@click.option("--dummy-text", metavar="TEXT", help="What the dummy says.")
@click.option("--dummy-tokens", type=click.IntRange(min=0), metavar="N", help="Completion tokens it reports (100).")
@click.option("--dummy-tools", type=click.Choice(["none", "auto"]), help="auto: call a tool where it may choose.")
@click.option("--model", "models", multiple=True, metavar="ID", help="Model that the dummy lists; repeatable.")
@click.option("--max-body", type=click.IntRange(min=1), metavar="BYTES", help="Largest request body (64 MB).")
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="For a request to arrive (10).")
@click.option("--max-connections", type=click.IntRange(min=1), metavar="N", help="Open at the same time (16384).")
def serve(paths: tuple[Path, ...], **options: Any) -> None:  # noqa: ANN401  # what click parsed
    """Serve the cassettes at PATH: files, or folders searched for .yaml, .yml and .json (each also .gz).

    Without PATH every answer is the dummy's.
    """
    _run(paths, options)


@main.command(epilog=_EXAMPLES)
@click.argument("path", type=_PATHS, metavar="CASSETTE")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@_recording_options
def record(path: Path, **options: Any) -> None:  # noqa: ANN401  # what click parsed
    """Pass requests on to the upstream and keep what is new in CASSETTE: a .yaml file, or a folder.

    Short for: serve CASSETTE --record-mode new_episodes.
    """
    _run((path,), {**options, "record_mode": "new_episodes"})


def _run(paths: tuple[Path, ...], options: dict[str, Any]) -> None:
    """Serve until a signal comes."""
    from stubserver.stub import StubServer  # noqa: PLC0415  # --help and --version need none of it

    given = {name: value for name, value in options.items() if value is not None and value != ()}
    _raise_descriptor_limit(given.get("max_connections", 16_384))
    # Blocked before any thread starts, so that every signal waits for sigwait in this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    stub = StubServer(paths, on_report=_print_report, **given)
    _print_report(stub.report)
    # What was loaded stays: without this, each full collection would walk over all of it and hold every answer up.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    with stub:
        _greet(stub, paths)
        signal.sigwait(_SIGNALS)
        # A second signal ends the process at once.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _greet(stub: Any, paths: tuple[Path, ...]) -> None:  # noqa: ANN401  # StubServer, imported late
    files = sum(bool(file.recordings or not file.problems) for file in stub.library.files)
    recordings = len(stub.library.playlist.recordings)
    serving = f"serving {_count(recordings, 'interaction')} from {_count(files, 'cassette')}"
    _say(f"stubserver listening on {stub.url}")
    _say(serving if paths else "serving no cassettes: every answer is the dummy's")
    if stub.upstream:
        _say(f"upstream {stub.upstream}, recording to {paths[0]}" if stub.records else f"upstream {stub.upstream}")
    _say("Application startup complete")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _say(line: str) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _print_report(report: Any) -> None:  # noqa: ANN401  # Report, imported late
    for line in report.warnings:
        click.echo(f"warning: {_plain(line)}", err=True)
    for error in report.errors:
        click.echo(f"error: {_plain(str(error))}", err=True)


def _plain(line: str) -> str:
    """Keep control characters out of the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _raise_descriptor_limit(connections: int) -> None:
    """Ask for as many file descriptors as the connections need."""
    import resource  # noqa: PLC0415  # not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 128
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@main.command()
@click.argument("paths", nargs=-1, type=_PATHS, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
@click.option("--match-on", default=",".join(DEFAULT_MATCH_ON), metavar="A,B,C", help="For the column of repeats.")
@click.option("--ignore", multiple=True, metavar="FIELD", help="JSON field to leave out of the match; repeatable.")
def show(paths: tuple[Path, ...], match_on: str, ignore: tuple[str, ...], *, as_json: bool) -> None:
    """Show what is in the cassettes: one line for each interaction."""
    from stubserver.canonical import Rules  # noqa: PLC0415  # --help needs none of it
    from stubserver.cassettes.library import Library  # noqa: PLC0415
    from stubserver.listing import rows  # noqa: PLC0415

    library = Library(paths, Rules(tuple(match_on.split(",")), ignore))
    _print_report(library.report)
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
        table.add_row(*(Text(_plain("" if cell is None else str(cell))) for cell in cells))
    console.print(table)
    console.print(_count(len(listed), "interaction"))


@main.command()
@click.argument("paths", nargs=-1, type=_PATHS, required=True, metavar="PATH...")
def check(paths: tuple[Path, ...]) -> None:
    """Load every cassette whole; name what is damaged, unsafe, no cassette, or looks like a secret.

    The exit status is 1 if anything was named. A secret itself is never printed.
    """
    from stubserver.cassettes.library import Library  # noqa: PLC0415  # --help needs none of it
    from stubserver.listing import problems  # noqa: PLC0415

    library = Library(paths)
    found = problems(library)
    for line in found:
        click.echo(_plain(line))
    count = _count(len(library.playlist.recordings), "interaction")
    if found:
        _end(f"{_count(len(found), 'problem')} in {_count(len(library.files), 'cassette')}, {count}")
    click.echo(f"no problems in {_count(len(library.files), 'cassette')}, {count}")


@main.command()
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
            click.echo(f"error: {_plain(str(error))}", err=True)
            failed = True
        else:
            kept = (
                f"{_count(done.items, 'item')} scrubbed, the old file is {done.kept}" if done.kept else "nothing to do"
            )
            click.echo(_plain(f"{file.label}: {kept}"))
    if failed:
        sys.exit(1)


@main.command()
@click.argument("paths", nargs=-1, type=_PATHS, required=True, metavar="PATH...")
@click.option("--upstream", envvar="STUBSERVER_UPSTREAM", required=True, metavar="URL", help="The API to ask.")
@click.option("--upstream-key-env", metavar="NAME", help="Variable that holds our key for the upstream.")
@click.option("--ca-bundle", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def diff(
    paths: tuple[Path, ...], upstream: str, upstream_key_env: str | None, ca_bundle: str | None, *, as_json: bool
) -> None:
    """Ask the upstream every recorded request again and say what changed: first the shape, last the text.

    Nothing is written. The exit status is 1 if the shape of an answer changed, or one could not be had.
    """
    from stubserver.cassettes.library import Library  # noqa: PLC0415  # --help needs none of it
    from stubserver.drift import rows  # noqa: PLC0415
    from stubserver.recording import key_from  # noqa: PLC0415
    from stubserver.upstream import Upstream  # noqa: PLC0415

    library = Library(paths)
    _print_report(library.report)
    asked = rows(library, Upstream(upstream, key=key_from(upstream_key_env), ca_bundle=ca_bundle))
    listed = []
    with click.progressbar(asked, length=len(library.playlist.recordings), file=sys.stderr) as bar:
        for row in bar:
            listed.append(row)
            if not as_json:
                _print_changes(row)
    if as_json:
        click.echo(json.dumps(listed, indent=2))
    if any(row["changed"] == "shape" or row["error"] for row in listed):
        sys.exit(1)


def _print_changes(row: dict[str, Any]) -> None:
    what = row["error"] or {"": "as recorded", "text": "other text", "shape": "another shape"}[row["changed"]]
    click.echo(_plain(f"{row['file']}#{row['number']}: {what}"))
    for change in row["changes"]:
        values = ", ".join(f"{name} {change[name]}" for name in ("recorded", "received") if change[name])
        click.echo(_plain(f"  {change['kind']} {change['path']}: {values}"))


def _end(line: str) -> NoReturn:
    click.echo(line)
    sys.exit(1)
