"""Write what the upstream answered into a cassette: complete, decoded, without secrets; and play it from then on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from stubserver.canonical import normal_path
from stubserver.cassettes.library import Library, rank_name
from stubserver.cassettes.serializer import serializer
from stubserver.cassettes.writer import Fsync, Writer, item_text, repair
from stubserver.errors import CassetteError, UsageError
from stubserver.jsonvalue import json_value
from stubserver.keeping import KEPT_STATUSES, decoded, why_not
from stubserver.messages import Headers, Interaction, Request, Response, without_headers
from stubserver.relay import Relayed
from stubserver.scrubbing import Scrubber
from stubserver.wire import HOP_BY_HOP

__all__ = ["Keeper", "Kept", "Per", "RecordMode", "cassettes_of", "prepare_target", "storable"]

_PART_BYTES: Final = 50_000_000
_NOT_STORED: Final = HOP_BY_HOP | {"content-encoding", "content-length"}
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")


class RecordMode(StrEnum):
    """vcrpy's words with vcrpy's meaning."""

    NONE = "none"
    ONCE = "once"
    NEW_EPISODES = "new_episodes"
    ALL = "all"


class Per(StrEnum):
    """What a recording is divided into files by."""

    RUN = "run"
    PATH = "path"
    MODEL = "model"
    DAY = "day"


class Kept(NamedTuple):
    """What became of an answer: where it was kept, and as what; or why it was not."""

    label: str
    why_not: str
    interaction: Interaction | None = None


class Keeper:
    """Keeps interactions in the cassette at *target*; or, when that is a folder, in files below it.

    Raises UsageError for a target that cannot be recorded to.
    """

    def __init__(  # noqa: PLR0913  # the options of the command line
        self,
        target: Path,
        library: Library,
        scrubber: Scrubber,
        *,
        per: Per = Per.RUN,
        rank: int | None = None,
        statuses: frozenset[int] = KEPT_STATUSES,
        fsync: Fsync = Fsync.OFF,
    ) -> None:
        self._target = target
        self._in_folder = target.is_dir()
        self._library = library
        self._scrubber = scrubber
        self._per = per
        self._rank = rank
        self._statuses = statuses
        self._fsync = fsync
        self._writers: dict[Path, Writer] = {}
        self._parts: dict[Path, int] = {}
        self._lock = Lock()
        self._run = time.strftime("%Y%m%d-%H%M%S")
        serializer()  # now: the first answer that is kept would wait for PyYAML
        if not self._in_folder and target.suffix not in {".yaml", ".yml"}:
            msg = f"{target}: cassettes are recorded as YAML; give a name that ends in .yaml, or a folder that exists"
            raise UsageError(msg)
        if per is not Per.RUN and not self._in_folder:
            msg = f"{target}: what is divided by {per} needs a folder to be written to, and this is one file"
            raise UsageError(msg)

    def keep(self, request: Request, head: Response, relayed: Relayed) -> Kept:
        """Keep one answer, or say why not; never raises for what a client or an upstream sent."""
        if relayed.cut:
            return Kept("", relayed.cut)
        if relayed.body is None:
            return Kept("", "the answer is too large to keep")
        found = Interaction(request, head._replace(body=relayed.body, times=relayed.times))
        kept = storable(found, self._scrubber, self._statuses)
        if isinstance(kept, str):
            return Kept("", kept)
        return self._write(kept)

    def _write(self, interaction: Interaction) -> Kept:
        path = self._path(interaction.request)
        try:
            item = item_text(interaction)
            if len(item) > _PART_BYTES:
                return Kept("", "the answer is too large to keep")
            with self._lock:
                path = self._part(path, len(item))
                writer = self._writers.setdefault(path, Writer(path, self._fsync))
            place = writer.append(item)
        except (OSError, CassetteError, ValueError) as error:
            return Kept("", f"it could not be written: {getattr(error, 'strerror', None) or error}")
        return Kept(self._library.add(path, place.offset, item, interaction), "", interaction)

    def close(self) -> None:
        """Tell the disk what was left for later."""
        with self._lock:
            writers = list(self._writers.values())
        for writer in writers:
            writer.sync()

    def _path(self, request: Request) -> Path:
        """Return the file for a request."""
        if not self._in_folder:
            return self._target
        name = f"recording-{self._run}"
        if self._rank is not None:
            name = rank_name(self._rank)
        elif self._per is Per.DAY:
            name = time.strftime("%Y-%m-%d")
        elif self._per is Per.PATH:
            name = normal_path(request.path)
        elif self._per is Per.MODEL:
            body = json_value(request.body)
            model = body.get("model") if isinstance(body, dict) else None
            name = model if isinstance(model, str) else "no-model"
        return self._target / f"{_UNFIT.sub('-', name).strip('.-')[:100] or 'root'}.yaml"

    def finish_parts(self) -> None:
        """Let the next answers begin new files; what was written until now may be taken away as it is."""
        with self._lock:
            for path, number in self._parts.items():
                self._parts[path] = number + (_part_of(path, number).exists())

    def _part(self, path: Path, size: int) -> Path:
        """Return the part of *path* that still has room: ``name.yaml``, ``name-2.yaml``, ..."""
        number = self._parts.get(path, 1)
        while True:
            part = _part_of(path, number)
            if not part.exists() or part.stat().st_size + size <= _PART_BYTES:
                self._parts[path] = number
                return part
            number += 1


def _part_of(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def storable(found: Interaction, scrubber: Scrubber, statuses: frozenset[int] = KEPT_STATUSES) -> Interaction | str:
    """Return *found* as it is kept: decoded, without secrets, its lengths corrected; or say why it is not kept."""
    request, response = found
    body = decoded(response.headers, response.body)
    if body is None:
        return "the answer's compression does not unpack, or to too much"
    reason = why_not(response.status, response.headers, body, statuses)
    if reason is not None:
        return reason
    try:
        scrubbed = scrubber.interaction(Interaction(request, _stored(response, body)))
    except Exception as error:  # noqa: BLE001  # a hook may raise anything, and the client is to have its answer
        return f"a hook failed: {type(error).__name__}"
    return "a hook refused it" if scrubbed is None else _with_lengths(scrubbed)


def _stored(head: Response, body: bytes) -> Response:
    """Return the response as it is kept: decoded, nothing of the connection, nothing of ours."""
    headers = tuple(pair for pair in head.headers if not pair[0].lower().startswith("x-stubserver-"))
    return head._replace(headers=without_headers(headers, _NOT_STORED), body=body)


def _with_lengths(found: Interaction) -> Interaction:
    """Make the lengths in the heads those of the bodies as they are kept."""
    request, response = found
    length = str(len(request.body))
    sent: Headers = tuple((n, length if n.lower() == "content-length" else v) for n, v in request.headers)
    stated = response.length if request.method == "HEAD" else None
    got: Headers = (*response.headers, ("content-length", str(len(response.body) if stated is None else stated)))
    return Interaction(request._replace(headers=sent), response._replace(headers=got))


def prepare_target(target: Path, mode: RecordMode, say: Callable[[str], None], prefix: str = "") -> RecordMode:
    """Mend a torn cassette, and settle what *mode* means for a *target* that is or is not there yet.

    In a folder only files whose names begin with *prefix* are touched: others may be another process's.
    ``once`` becomes ``none`` for a cassette that exists; ``all`` puts an existing one aside and begins anew.
    """
    there = cassettes_of(target, prefix)
    if mode is RecordMode.ONCE:
        mode = RecordMode.NONE if there else RecordMode.NEW_EPISODES
        if there:
            return mode
    for path in there:
        _mend(path, say)
        if mode is RecordMode.ALL and path.stat().st_size:
            aside = path.with_name(f"{path.name}.before")
            path.replace(aside)
            say(f"{path}: recorded anew; the old cassette is kept as {aside.name}")
    return mode


def cassettes_of(target: Path, prefix: str = "") -> list[Path]:
    """Return the files that were recorded to *target*: those in a folder, or the one file with its further parts."""
    if target.is_dir():
        return sorted([*target.glob(f"{prefix}*.yaml"), *target.glob(f"{prefix}*.yml")])
    found: list[Path] = []
    while (part := _part_of(target, len(found) + 1)).exists():
        found.append(part)
    return found


def _mend(path: Path, say: Callable[[str], None]) -> None:
    try:
        done = repair(path)
    except OSError as error:
        done = f"{path}: it cannot be recorded to: {error.strerror or error}"
    if done:
        say(done)
