"""Where cassettes are read from and recorded to: files, folders, and URLs by way of a local copy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stubserver.cassettes.library import rank_name
from stubserver.errors import UsageError

if TYPE_CHECKING:
    from stubserver.remote import Outbox

__all__ = ["Places", "settle"]

StrPath = str | os.PathLike[str]


class Places(NamedTuple):
    """``played`` are searched for cassettes, the first of ``recorded`` is recorded to; ``outbox`` sends what was."""

    played: list[Path]
    recorded: list[Path]
    outbox: Outbox | None = None


def settle(given: list[StrPath], *, records: bool, rank: int | None, say: Callable[[str], None]) -> Places:
    """Find the local places for what was *given*; *say* hears what was sent of an earlier run. Raises UsageError."""
    from_afar = [place for place in given if isinstance(place, str) and "://" in place]
    if not from_afar:
        paths = [Path(place) for place in given]
        return Places(paths if records else [*_own_first(paths, rank), *paths], paths)
    if records:
        return _recorded_afar(given, rank, say)
    paths = [_local(place) for place in given]
    return Places([*_own_first(paths, rank), *paths], [])


def _recorded_afar(given: list[StrPath], rank: int | None, say: Callable[[str], None]) -> Places:
    from stubserver import remote  # noqa: PLC0415  # start-up: only URLs need it

    url = str(given[0])
    if not remote.is_url(url):
        return Places([_local(place) for place in given], [Path(given[0])])
    if url.endswith((".yaml", ".yml", ".json", ".gz")):
        msg = f"{url}: parts are recorded to a folder; give its URL"
        raise UsageError(msg)
    outbox = remote.Outbox(url, say)
    prefix = "" if rank is None else rank_name(rank)
    before = remote.fetch(url, prefix, to_come=True)
    return Places([before, outbox.folder, *(_local(place) for place in given[1:])], [outbox.folder], outbox)


def _local(place: StrPath) -> Path:
    from stubserver import remote  # noqa: PLC0415  # as above

    return remote.fetch(str(place)) if remote.is_url(place) else Path(place)


def _own_first(paths: list[Path], rank: int | None) -> list[Path]:
    """List what this *rank* recorded itself: played first, so that equal requests get the answers they had then."""
    if rank is None:
        return []
    return sorted(path for folder in paths if folder.is_dir() for path in folder.rglob(f"{rank_name(rank)}*.y*ml"))
