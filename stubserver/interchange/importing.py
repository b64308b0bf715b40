"""From the files of other tools into a cassette: by the same cleaning, rules and writer as what is recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from stubserver.cassettes.writer import Writer, item_text
from stubserver.errors import UsageError
from stubserver.interchange import Carried, Lost
from stubserver.keeper import RecordMode, prepare_target, storable
from stubserver.keeping import KEPT_STATUSES
from stubserver.scrubbing import Scrubber

__all__ = ["Imported", "bring_in"]


@dataclass(slots=True, eq=False)
class Imported:
    """What became of it: how many were kept and passed over; what was lost, and what of the kept ones was left out."""

    kept: int = 0
    passed_over: int = 0
    lost: list[Lost] = field(default_factory=list)
    notes: list[Lost] = field(default_factory=list)


def bring_in(
    found: Iterable[Carried | Lost],
    target: Path,
    scrubber: Scrubber,
    *,
    statuses: frozenset[int] = KEPT_STATUSES,
    only: re.Pattern[str] | None = None,
) -> Imported:
    """Append what is *found* to the cassette at *target*, one at a time; *only* is looked for in each URI.

    Raises UsageError for a target that is no YAML, OSError and CassetteError for one that cannot be appended to.
    """
    if target.suffix not in {".yaml", ".yml"} or target.is_dir():
        raise UsageError(f"{target}: cassettes are written as YAML; give a name that ends in .yaml")
    done = Imported()
    if target.exists():
        prepare_target(target, RecordMode.NEW_EPISODES, lambda line: done.notes.append(Lost(str(target), line)))
    writer = Writer(target)
    for each in found:
        if isinstance(each, Lost):
            done.lost.append(each)
        elif only is not None and not only.search(each.interaction.request.uri):
            done.passed_over += 1
        else:
            _keep(each, writer, scrubber, statuses, done)
    return done


def _keep(each: Carried, writer: Writer, scrubber: Scrubber, statuses: frozenset[int], done: Imported) -> None:
    kept = storable(each.interaction, scrubber, statuses)
    if isinstance(kept, str):
        done.lost.append(Lost(each.where, kept))
        return
    try:
        item = item_text(kept)
    except ValueError as error:
        done.lost.append(Lost(each.where, f"YAML cannot hold it: {error}"))
        return
    writer.append(item)
    done.kept += 1
    done.notes += [Lost(each.where, note) for note in each.notes]
