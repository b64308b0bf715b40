"""``serve`` and ``record``: run the server until a signal comes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import click

from stubserver.canonical import DEFAULT_MATCH_ON
from stubserver.cli import EXAMPLES
from stubserver.cli.log import FORMATS, Log
from stubserver.cli.printing import PLACES, count
from stubserver.errors import UsageError
from stubserver.process import settle_down

__all__ = ["record", "serve"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def _recording_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of recording to a command."""
    options = (
        click.option("--upstream", envvar="STUBSERVER_UPSTREAM", metavar="URL", help="The API to record from."),
        click.option("--upstream-key-env", metavar="NAME", help="Variable that holds our key for the upstream."),
        click.option("--upstream-timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Silence (600)."),
        click.option("--ca-bundle", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust."),
        click.option("--record-status", multiple=True, type=int, metavar="N", help="Keep this status; repeatable."),
        click.option("--cassette-per", type=click.Choice(["run", "path", "model", "day"]), help="For a folder."),
        click.option(
            "--rank", type=click.IntRange(min=0), envvar="STUBSERVER_RANK", help="For a folder: record to rank-N."
        ),
        click.option(
            "--fsync", type=click.Choice(["always", "interval", "off"]), help="When the disk is told to keep it."
        ),
        click.option("--redact", multiple=True, metavar="PATTERN", help="Take out what matches, too; repeatable."),
        click.option("--keep-header", multiple=True, metavar="NAME", help="Keep this header field; repeatable."),
        click.option(
            "--allow-headers-only/--no-allow-headers-only", default=None, help="Keep no header that no replay needs."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _admin_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the admin API to a command."""
    options = (
        click.option("--journal/--no-journal", default=True, help="Keep the last 1000 requests to look at, or none."),
        click.option("--admin/--no-admin", default=True, help="Serve the page and the API under /__admin/, or not."),
        click.option("--admin-token", envvar="STUBSERVER_ADMIN_TOKEN", metavar="TOKEN", help="Asked for by both."),
        click.option("-v", "--verbose", is_flag=True, help="A line for each request."),
        click.option("--log-format", type=click.Choice(FORMATS), help="json: one object a line, for programs."),
        click.option("--allowed-host", multiple=True, metavar="NAME", help="Serve them under this name; repeatable."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _not_a_path(_context: click.Context, _option: click.Parameter, key: Any) -> Any:  # noqa: ANN401  # click's
    """Refuse a PATH that was taken for the KEY that may follow the option."""
    if isinstance(key, str) and Path(key).exists():
        msg = f"{key} was taken for its KEY, and is a file or folder: name the PATH first, or write --require-key=KEY"
        raise click.BadParameter(msg)
    return key


_KEY: Final = click.option(
    "--require-key",
    is_flag=False,
    flag_value=True,
    type=click.UNPROCESSED,
    callback=_not_a_path,
    metavar="[KEY]",
    help="Ask clients for a key: KEY, else that of the variable STUBSERVER_KEY, else any.",
)


@click.command(epilog=EXAMPLES)
@click.argument("paths", nargs=-1, type=PLACES, metavar="[PATH]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--cassettes", multiple=True, type=PLACES, metavar="PATH", help="The same as PATH; repeatable.")
@click.option(
    "--style",
    type=click.Choice(["openai", "datatrove"]),
    help="datatrove: plain answers, misses that a pipeline survives, always ready.",
)
@click.option(
    "--fallback",
    type=click.Choice(["dummy", "error", "forward"]),
    help="What answers a request that has no recording (dummy).",
)
@click.option(
    "--record-mode",
    type=click.Choice(["none", "once", "new_episodes", "all"]),
    help="vcrpy's record modes (none); what is recorded goes to the first PATH.",
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
@click.option("--error-status", type=int, metavar="N", help="Status of --fallback error (404).")
@click.option("--index", metavar="PATH|off", help="Where what was read is kept (~/.cache, from 32 MB on).")
@click.option("--dummy-text", metavar="TEXT", help="What the dummy says.")
@click.option("--dummy-tokens", type=click.IntRange(min=0), metavar="N", help="Completion tokens it reports (100).")
@click.option("--dummy-tools", type=click.Choice(["none", "auto"]), help="auto: call a tool where it may choose.")
@click.option("--model", "models", multiple=True, metavar="ID", help="Model that the dummy lists; repeatable.")
@click.option("--pace", metavar="recorded|none|FACTOR", help="How fast recordings play; 2: twice as fast.")
@click.option("--ttft", type=click.FloatRange(min=0), metavar="MS", help="Before the first token of all others.")
@click.option("--itl", type=click.FloatRange(min=0), metavar="MS", help="From one token to the next of all others.")
@click.option("--fault", multiple=True, metavar="SPEC", help="What goes wrong: see stubserver faults; repeatable.")
@click.option("--faults", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A YAML file of them.")
@click.option("--fault-seed", type=int, metavar="N", help="What is left to chance comes out the same for it (0).")
@click.option("--fault-triggers", is_flag=True, default=None, help="Prompts may ask for one: [[fault SPEC]].")
@click.option("--limit", multiple=True, metavar="rpm=N,tpm=N", help="Rate limits, for each key and model; repeatable.")
@click.option("--max-body", type=click.IntRange(min=1), metavar="BYTES", help="Largest request body (64 MB).")
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="For a request to arrive (10).")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes that share the port (1).")
@click.option("--max-connections", type=click.IntRange(min=1), metavar="N", help="Open at the same time (16384).")
@_KEY
@_admin_options
def serve(paths: tuple[Path | str, ...], cassettes: tuple[Path | str, ...], **options: Any) -> None:  # noqa: ANN401  # what click parsed
    """Serve the cassettes at PATH: files, or folders searched for .yaml, .yml and .json (each also .gz).

    Without PATH every answer is the dummy's.
    """
    _run((*paths, *cassettes), options)


@click.command(epilog=EXAMPLES)
@click.argument("path", type=PLACES, metavar="CASSETTE")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@_recording_options
@_KEY
@_admin_options
def record(path: Path | str, **options: Any) -> None:  # noqa: ANN401  # what click parsed
    """Pass requests on to the upstream and keep what is new in CASSETTE: a .yaml file, or a folder.

    Short for: serve CASSETTE --record-mode new_episodes.
    """
    _run((path,), {**options, "record_mode": "new_episodes"})


def _run(paths: tuple[Path | str, ...], options: dict[str, Any]) -> None:
    """Serve until a signal comes."""
    from stubserver.stub import StubServer  # noqa: PLC0415  # --help and --version need none of it

    verbose, log = options.pop("verbose"), Log(options.pop("log_format") or "text")
    if verbose and not options["journal"]:
        msg = "--verbose tells what the journal has: drop --no-journal"
        raise UsageError(msg)
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    _raise_descriptor_limit(given.get("max_connections", 16_384))
    # Blocked before any thread starts, so that every signal waits for sigwait in this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    stub = StubServer(paths, on_report=log.report, **given)
    log.report(stub.report)
    settle_down()
    with stub:
        _greet(stub, paths, log)
        with _watching(stub, log, verbose=verbose):
            signal.sigwait(_SIGNALS)
        # A second signal ends the process at once.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _watching(stub: Any, log: Log, *, verbose: bool) -> AbstractContextManager[Any]:  # noqa: ANN401  # imported late
    if not verbose and not log.live:
        return nullcontext()
    from stubserver.cli.watching import Watching  # noqa: PLC0415  # start-up: when piped, there is nothing to tell

    return Watching(stub, log, verbose=verbose)


def _greet(stub: Any, paths: tuple[Path | str, ...], log: Log) -> None:  # noqa: ANN401  # StubServer, imported late
    files = sum(bool(file.recordings or not file.problems) for file in stub.library.files)
    recordings = len(stub.library.playlist)
    serving = f"serving {count(recordings, 'interaction')} from {count(files, 'cassette')}"
    log.say("listening", f"stubserver listening on {stub.url}", url=stub.url)
    log.say(
        "serving", serving if paths else "serving no cassettes: every answer is the dummy's", interactions=recordings
    )
    if stub.upstream:
        where = f", recording to {paths[0]}" if stub.records else ""
        log.say("upstream", f"upstream {stub.upstream}{where}", url=stub.upstream)
    log.say("ready", "Application startup complete")


def _raise_descriptor_limit(connections: int) -> None:
    """Ask for as many file descriptors as the connections need."""
    import resource  # noqa: PLC0415  # not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 128
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
