"""Why a request found no recording: the ones that came nearest, and how they differ. Worked out only when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stubserver.canonical import Rules
from stubserver.cassettes.playlist import Playlist
from stubserver.cassettes.recordings import Recording
from stubserver.errors import CassetteError
from stubserver.matchers import NearMiss, differences
from stubserver.messages import Request
from stubserver.redaction import clean_text

__all__ = ["miss", "near_misses"]

_NEAR: Final = 3
_COMPARED: Final = 32


def miss(
    playlist: Playlist, key: bytes, request: Request, rules: Rules, *, used_up: Recording | None
) -> tuple[str, list[NearMiss]]:
    """Say in one sentence why *request* found nothing; with the nearest recordings. *used_up*: the one it would be."""
    near = near_misses(playlist, key, request, rules)
    if used_up is not None:
        what = f"every recording of this request was played; the last one is {used_up.label}"
    elif playlist:
        what = f"none of the {len(playlist)} recordings matches"
    else:
        what = "no cassettes are loaded"
    return f"no recording for {request.method} {clean_text(request.target)[:200]}: {what}{_closest(near)}", near


def near_misses(playlist: Playlist, key: bytes, request: Request, rules: Rules) -> list[NearMiss]:
    """Return the three recordings that come nearest to *request*, the nearest first."""
    compared = sorted(_compared(playlist, key, request, rules), key=lambda miss: len(miss.differences))
    return compared[:_NEAR]


def _compared(playlist: Playlist, key: bytes, request: Request, rules: Rules) -> Iterator[NearMiss]:
    for recording in playlist.similar(key, request, _COMPARED):
        try:
            recorded = recording.interaction().request
        except CassetteError:
            continue
        yield NearMiss(recording.label, tuple(differences(recorded, request, rules)))


def _closest(near: list[NearMiss]) -> str:
    if not near:
        return ""
    first = near[0]
    if not first.differences:
        return f" (closest: {first.cassette}, which is equal)"
    paths = ", ".join(d.path for d in first.differences[:_NEAR])
    more = f" and {len(first.differences) - _NEAR} more" if len(first.differences) > _NEAR else ""
    return f" (closest: {first.cassette}, which differs at {paths}{more})"
