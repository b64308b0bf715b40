"""Write a cassette again without what looks like a secret; the old one is kept beside it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import NamedTuple

from stubserver.canonical import Rules
from stubserver.cassettes.library import name_of
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.writer import cassette_text
from stubserver.errors import CassetteError
from stubserver.redaction import secrets_of
from stubserver.scrubbing import Scrubber

__all__ = ["Rewritten", "rewrite"]


class Rewritten(NamedTuple):
    """What was done to a file: how many items held a secret; ``kept`` is where the old file is, None if untouched."""

    items: int
    kept: Path | None


def rewrite(path: Path, scrubber: Scrubber) -> Rewritten:
    """Scrub the cassette at *path* in one step: afterwards it is either as it was, or whole and clean.

    It is written in vcrpy's own layout, whatever dialect it was in. Raises CassetteError for one that is damaged, or
    holds items that are no HTTP, which would be lost; OSError when it cannot be written.
    """
    label = str(path)
    file = read_file(path, label, name_of(path.name), Rules(), keep_below=1 << 62)
    if file.problems:
        raise file.problems[0]
    if file.skipped:
        raise CassetteError(label, f"{file.skipped} items are no HTTP interactions and would be lost: not rewritten")
    if path.name.removesuffix(".gz").endswith(".json"):
        raise CassetteError(label, "JSON cassettes are not rewritten: save it as YAML with vcrpy first")
    found = [recording.interaction() for recording in file.recordings]
    dirty = sum(bool(secrets_of(interaction)) for interaction in found)
    if not dirty:
        return Rewritten(0, None)
    clean = [cleaned for cleaned in map(scrubber.interaction, found) if cleaned is not None]
    text = cassette_text(clean)
    return Rewritten(dirty, _replace(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text))


def _replace(path: Path, data: bytes) -> Path:
    """Put *data* in the place of the file, which is kept under another name."""
    path = path.resolve()
    fresh, kept = path.with_name(f".{path.name}.new"), path.with_name(f"{path.name}.before")
    with fresh.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.chmod(path.stat().st_mode & 0o777)
    kept.unlink(missing_ok=True)
    os.link(path, kept)
    fresh.replace(path)
    return kept
