"""What a record mode means for a cassette that several tests, in several processes, may share.

"There already" is what was there before this session: what a test recorded since is not put aside by the next one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from stubserver.keeper import cassettes_of
from stubserver.rewriting import put_aside

__all__ = ["put_back", "settled"]


def settled(mode: str, target: Path, since: float) -> tuple[str, list[Path]]:
    """Return the mode of StubServer that *mode* amounts to, and the old cassettes that were put aside for it.

    *since* is when the session began, in seconds since the epoch. What is recorded anew begins with an empty cassette,
    so that ``new_episodes`` asks the upstream everything; that mode may be used by several processes at a time.
    """
    if mode == "once":
        return "none" if any(_is_older(path, since) for path in cassettes_of(target)) else "new_episodes", []
    if mode not in {"all", "rewrite"}:
        return mode, []
    return "new_episodes", [aside for path in cassettes_of(target) if (aside := _put_aside(path, since))]


def put_back(asides: list[Path]) -> None:
    """Put cassettes back in whose place nothing was recorded."""
    for aside in asides:
        with suppress(FileExistsError, FileNotFoundError):
            os.link(aside, aside.with_name(aside.name.removesuffix(".before")))
            aside.unlink()


def _is_older(path: Path, since: float) -> bool:
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_size > 0 and status.st_mtime < since
    return False


def _put_aside(path: Path, since: float) -> Path | None:
    """Put one file aside, if it is still the old one: under the lock that writers take, who then look again."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        here, there = os.fstat(file.fileno()), path.stat()
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) and _is_older(path, since):
            return put_aside(path)
    return None
