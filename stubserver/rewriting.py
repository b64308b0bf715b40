"""Write a cassette again, without what looks like a secret, or with newer answers; the old one is kept beside it."""

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
from stubserver.messages import Interaction
from stubserver.redaction import secrets_of
from stubserver.scrubbing import Scrubber

__all__ = ["Rewritten", "drop_items", "put_aside", "replace_items", "rewrite"]


class Rewritten(NamedTuple):
    """What was done to a file: how many items were written anew; ``kept`` is the old file, None if it is untouched."""

    items: int
    kept: Path | None


def rewrite(path: Path, scrubber: Scrubber) -> Rewritten:
    """Scrub the cassette at *path* in one step: afterwards it is either as it was, or whole and clean.

    It is written in vcrpy's own layout, whatever dialect it was in. Raises CassetteError for one that is damaged, or
    holds items that are no HTTP, which would be lost; OSError when it cannot be written.
    """
    found = _interactions(path)
    dirty = sum(bool(secrets_of(interaction)) for interaction in found)
    if not dirty:
        return Rewritten(0, None)
    clean = [cleaned for cleaned in map(scrubber.interaction, found) if cleaned is not None]
    return Rewritten(dirty, _write(path, clean))


def replace_items(path: Path, fresh: dict[int, Interaction]) -> Rewritten:
    """Put each of *fresh* in the place of the item of its number, which counts from 1; as :func:`rewrite` does."""
    found = _interactions(path)
    return Rewritten(len(fresh), _write(path, [fresh.get(n, old) for n, old in enumerate(found, 1)]))


def drop_items(path: Path, numbers: set[int]) -> Rewritten:
    """Leave the items of these *numbers* out, which count from 1, as :func:`rewrite` does; or put the file aside."""
    found = _interactions(path)
    left = [interaction for n, interaction in enumerate(found, 1) if n not in numbers]
    return Rewritten(len(found) - len(left), _write(path, left) if left else put_aside(path))


def put_aside(path: Path) -> Path:
    """Take the file away from where it is served, and keep it as ``NAME.before``; return that."""
    return path.replace(path.with_name(f"{path.name}.before"))


def _interactions(path: Path) -> list[Interaction]:
    label = str(path)
    file = read_file(path, label, name_of(path.name), Rules(), keep_below=1 << 62)
    if file.problems:
        raise file.problems[0]
    if file.skipped:
        raise CassetteError(label, f"{file.skipped} items are no HTTP interactions and would be lost: not rewritten")
    if path.name.removesuffix(".gz").endswith(".json"):
        raise CassetteError(label, "JSON cassettes are not rewritten: save it as YAML with vcrpy first")
    return [recording.interaction() for recording in file.recordings]


def _write(path: Path, interactions: list[Interaction]) -> Path:
    text = cassette_text(interactions)
    return _replace(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


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
