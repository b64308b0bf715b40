"""Settle what is recorded, from where, and how; only imported when something is recorded or forwarded."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict

from stubserver.app import App
from stubserver.cassettes.library import rank_name
from stubserver.cassettes.writer import Fsync
from stubserver.errors import UsageError
from stubserver.forwarder import Forwarder, Once, Recording
from stubserver.keeper import Keeper, Per, RecordMode, cassettes_of, prepare_target
from stubserver.keeping import KEPT_STATUSES
from stubserver.messages import Request
from stubserver.scrubbing import Hook, Scrubber
from stubserver.upstream import Timeouts, Upstream

__all__ = ["Plan", "RecordOptions", "key_from", "once"]


class RecordOptions(TypedDict, total=False):
    """What can be said about recording beside its mode and the upstream.

    ``upstream_key_env`` names the variable that holds our credential for the upstream; ``record_status`` are statuses
    to keep beside 2xx; ``fsync`` is always, interval or off; ``cassette_per`` is run, path, model or day, for a folder;
    ``rank`` makes a folder of the cassette, in which this server writes and reads the files of that rank of a pipeline
    alone; ``redact`` are patterns to take out beside the registry's; ``before_record`` are hooks. ``proof`` is what
    clients prove themselves with: the stub sets it, see ``require_key``.
    """

    upstream_key_env: str | None
    ca_bundle: str | None
    upstream_timeout: float
    record_status: Iterable[int]
    fsync: str
    cassette_per: str
    rank: int | None
    redact: Iterable[str]
    keep_header: Iterable[str]
    allow_headers_only: bool
    before_record: Iterable[Hook]
    proof: str | None


class Plan:
    """How requests without a recording reach the upstream, and what is kept of the answers.

    *say* hears in a line what was mended or put aside. Raises UsageError for what cannot be.
    """

    def __init__(
        self,
        paths: list[Path],
        mode: str,
        upstream: str | None,
        options: RecordOptions,
        say: Callable[[str], None],
    ) -> None:
        self._options = options
        self.finish_parts: Callable[[], None] = lambda: None
        """Lets the next answers begin new files."""
        if not upstream:
            msg = "recording and forwarding need the upstream: name it with --upstream or STUBSERVER_UPSTREAM"
            raise UsageError(msg)
        key = key_from(options.get("upstream_key_env"))
        timeout = options.get("upstream_timeout")
        timeouts = Timeouts(read=timeout) if timeout else Timeouts()
        self.upstream = Upstream(upstream, key=key, ca_bundle=options.get("ca_bundle"), timeouts=timeouts)
        self._scrubber = Scrubber(
            patterns=options.get("redact", ()),
            keep_headers=options.get("keep_header", ()),
            allow_headers_only=options.get("allow_headers_only", False),
            secrets=[secret for secret in (key, options.get("proof")) if secret],
            hooks=options.get("before_record", ()),
        )
        self._target = paths[0] if paths else None
        self._keeper: Keeper | None = None
        self._mode = RecordMode(mode)
        self._rank = options.get("rank")
        if self._mode is not RecordMode.NONE:
            if self._target is None:
                msg = "recording needs a cassette to write to: name a .yaml file, or a folder"
                raise UsageError(msg)
            if self._rank is not None:
                _make_folder(self._target)
            self._mode = prepare_target(self._target, self._mode, say, self.file_prefix)

    @property
    def records(self) -> bool:
        """Whether anything is written."""
        return self._mode is not RecordMode.NONE

    @property
    def parts(self) -> list[Path]:
        """The further parts of the one cassette that is recorded to: what is in them was recorded, too."""
        if not self.records or self._target is None or self._target.is_dir():
            return []
        return cassettes_of(self._target)[1:]

    @property
    def file_prefix(self) -> str:
        """How the names of the files begin that are ours while recording; empty: all are."""
        return rank_name(self._rank) if self.records and self._rank is not None else ""

    def scrub(self, request: Request) -> Request:
        """Take out of *request* what would be taken out before it is kept."""
        return self._scrubber.request(request)

    def connect(self, app: App) -> None:
        """Let *app* ask the upstream."""
        app.forwarder = self.forwarder(app)

    def forwarder(self, app: App) -> Forwarder:
        """Make what asks the upstream for *app*."""
        recording = None
        if self.records and self._target is not None:
            statuses = self._options.get("record_status")
            keeper = self._keeper = Keeper(
                self._target,
                app.library,
                self._scrubber,
                per=Per(self._options.get("cassette_per", "run")),
                rank=self._rank,
                statuses=KEPT_STATUSES if statuses is None else frozenset(statuses),
                fsync=Fsync(self._options.get("fsync", "off")),
            )
            recording = Recording(self._mode, keeper)
            self.finish_parts = keeper.finish_parts
        return Forwarder(self.upstream, self._scrubber, app.journal, recording)

    def close(self) -> None:
        """Finish what was left for later, and let go of idle connections; recording may go on afterwards."""
        if self._keeper is not None:
            self._keeper.close()
        self.upstream.close()

    def refuse_loop(self, host: str, port: int) -> None:
        """Raise UsageError when the upstream is the server at *host* and *port* itself."""
        name, upstream_port = self.upstream.address
        if upstream_port == port and _addresses(name) & (_addresses(host) | {host}):
            msg = f"the upstream {self.upstream.url} is this server itself: name the real API"
            raise UsageError(msg)


def once(app: App, paths: list[Path], upstream: str | None, options: RecordOptions) -> Once:
    """Make what records single requests for *app*, into the first of *paths*. Raises UsageError."""
    plan = Plan(paths, RecordMode.NEW_EPISODES, upstream, options, _nothing)
    return Once(plan.forwarder(app))


def _nothing(line: str) -> None:
    del line


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{path}: each rank records to a file in a folder, and this can be none: {error.strerror or error}"
        raise UsageError(msg) from error


def key_from(variable: str | None) -> str | None:
    """Return the credential that the environment's *variable* holds; None when none is named."""
    if not variable:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        msg = f"the variable {variable} that should hold the upstream's key is not set"
        raise UsageError(msg)
    return key


def _addresses(name: str) -> set[str]:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except OSError:
        return set()
    return found | {everywhere[address] for address in found & everywhere.keys()}
