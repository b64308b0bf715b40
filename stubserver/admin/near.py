"""What would answer a request, found without playing anything; and the recordings that come nearest to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from stubserver.app import NAMED
from stubserver.cassettes.playlist import Exhausted, Played, Playlist
from stubserver.errors import CassetteError
from stubserver.journal import Entry
from stubserver.jsonvalue import json_value
from stubserver.matchers import NearMiss, differences
from stubserver.messages import Request
from stubserver.misses import miss, near_misses
from stubserver.recorder import Fallbacks

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["Would", "near_misses_of", "would"]


class Would(NamedTuple):
    """The answer that a request would have: as an Answer says it, with why it has no recording (``note``)."""

    source: str
    near: list[NearMiss]
    cassette: str = ""
    other_mode: bool = False
    drift: tuple[str, ...] = ()
    note: str = ""


def would(context: Context, request: Request) -> Would:
    """Look up *request* as if it came now."""
    app = context.app
    place = _place(context, request)
    if place is None:
        return Would("unmatched", [], note="no cassette of that name is served")
    playlist, request = place
    rules = app.library.rules
    key = rules.key(request)
    played = playlist.rehearsal().play(key, request)
    if isinstance(played, Played) and not (app.forwarder is not None and app.forwarder.always):
        return _played(context, played, request, near_misses(playlist, key, request, rules))
    used_up = played.recording if isinstance(played, Exhausted) else None
    note, near = miss(playlist, key, request, rules, used_up=used_up)
    return Would(_otherwise(context), near, note="" if isinstance(played, Played) else note)


def _played(context: Context, played: Played, request: Request, near: list[NearMiss]) -> Would:
    label = played.recording.label
    paths: tuple[str, ...] = ()
    try:
        recorded = played.recording.interaction().request
    except CassetteError as error:
        return Would("unmatched", near, note=f"the recording cannot be read: {error}")
    if played.drifted:
        paths = tuple(one.path for one in differences(recorded, request, context.app.library.rules))
    others = [one for one in near if one.cassette != label]
    return Would("replayed", others, label, played.other_mode, paths)


def _otherwise(context: Context) -> str:
    """Name the source of an answer that no recording gives."""
    forwarder = context.app.forwarder
    if context.app.otherwise is Fallbacks.FORWARD:
        return "recorded" if forwarder is not None and forwarder.records else "forwarded"
    return "unmatched" if context.app.otherwise is Fallbacks.ERROR else "dummy"


def _place(context: Context, request: Request) -> tuple[Playlist, Request] | None:
    """Return the playlist that *request* is looked up in, and the request as it is there."""
    library = context.app.library
    if not request.target.startswith(NAMED):
        return library.playlist, request
    path, mark, query = request.target[len(NAMED) :].partition("?")
    found = library.named(path)
    return None if found is None else (found[0], request._replace(target=found[1] + mark + query))


def near_misses_of(context: Context, entry: Entry) -> list[Any]:
    """Return the recordings that came nearest to what was asked: as the client was told, or else as it is now."""
    request, answer = entry.raw()
    if entry.source == "unmatched":
        value = json_value(answer.response.body)
        error = value.get("error") if isinstance(value, dict) else None
        near = error.get("near_misses") if isinstance(error, dict) else None
        return near if isinstance(near, list) else []
    place = _place(context, request)
    if place is None:
        return []
    rules = context.app.library.rules
    return [one.as_json() for one in near_misses(place[0], rules.key(place[1]), place[1], rules)]
