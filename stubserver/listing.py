"""What ``show`` and ``check`` say of a library, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from stubserver.cassettes.library import Library
from stubserver.cassettes.recordings import Recording
from stubserver.errors import CassetteError
from stubserver.jsonvalue import json_value
from stubserver.redaction import clean_text, secrets_of

__all__ = ["problems", "row", "rows"]


def rows(library: Library) -> list[dict[str, Any]]:
    """Return one row for each interaction; ``repeats`` is how often its match key occurs, ``size`` in bytes."""
    repeats = Counter(recording.key for recording in library.playlist.recordings)
    listed = []
    for recording in library.playlist.recordings:
        try:
            listed.append(row(recording, repeats[recording.key]))
        except CassetteError:
            continue  # it was reported when the library was loaded, or changed since
    return listed


def row(recording: Recording, repeats: int) -> dict[str, Any]:
    """Return the row of one interaction. Raises CassetteError when it cannot be read."""
    interaction = recording.interaction()
    request, response = interaction.request, interaction.response
    body = json_value(request.body)
    model = body.get("model") if isinstance(body, dict) else None
    return {
        "file": recording.file.label,
        "name": recording.file.name,
        "number": recording.number,
        "method": request.method,
        "path": clean_text(request.target),
        "host": request.host,
        "status": response.status,
        "model": model if isinstance(model, str) else None,
        "stream": response.events,
        "size": len(response.body),
        "repeats": repeats,
    }


def problems(library: Library) -> list[str]:
    """Return a line for everything that is wrong with the files of *library*."""
    return [*library.report.warnings, *map(str, library.report.errors), *_secrets(library)]


def _secrets(library: Library) -> Iterator[str]:
    for recording in library.playlist.recordings:
        try:
            interaction = recording.interaction()
        except CassetteError as error:
            yield str(error)
            continue
        for line in secrets_of(interaction):
            yield f"{recording.file.label}, item {recording.number}: looks like a secret: {line}"
