"""The cassettes over HTTP: files, interactions, what was played of them, and the files themselves."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from stubserver.admin.bodies import request_shown, response_shown
from stubserver.admin.calls import Call, RefusedError
from stubserver.cassettes.recordings import CassetteFile, Recording
from stubserver.dummy.errors import json_response
from stubserver.errors import CassetteError, UpstreamError
from stubserver.listing import row
from stubserver.messages import Response

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["FileBody", "cassettes", "download", "interaction", "interactions", "unplayed"]

_MOST_LISTED: Final = 10_000
_LISTED: Final = 1000
_PIECE: Final = 256 * 1024


def cassettes(context: Context, _call: Call) -> Response:
    """``GET cassettes``: the files in the order they are served in; ``played`` counts interactions, not times."""
    rows = [_file(file, context.app.library.played) for file in context.app.library.files]
    return json_response({"cassettes": rows, "meta": {"total": len(rows)}})


def _file(file: CassetteFile, played: Callable[[Recording], int]) -> dict[str, Any]:
    return {
        "file": file.label,
        "name": file.name,
        "interactions": len(file.recordings),
        "played": sum(map(bool, map(played, file.recordings))),
        "size": file.stamp[0],
        "skipped": file.skipped,
        "problems": [str(problem) for problem in file.problems],
    }


def download(context: Context, call: Call) -> FileBody:
    """``GET cassettes/{name}/file``: by a name that is served, never by a path."""
    name = unquote(call.rest)
    file = next((file for file in context.app.library.files if file.name == name), None)
    if file is None:
        raise RefusedError(404, "no cassette of that name is served; GET cassettes lists them", "no_cassette")
    try:
        return FileBody(file.path)
    except OSError as error:
        raise RefusedError(410, f"the file cannot be read: {error.strerror}", "file_gone") from error


class FileBody:
    """A file on its way to a client, piece by piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:  # whether it can be, before anything is sent
            self.length: int | None = file.seek(0, 2)
        name = quote(path.name, safe="")
        fields = (
            ("content-type", "application/octet-stream"),
            ("content-disposition", f"attachment; filename*=UTF-8''{name}"),
        )
        self.head = Response(200, fields)

    def pieces(self) -> Generator[bytes]:
        """Yield the file as it was long when it was looked at; at first nothing, when it is the head's turn."""
        yield b""
        left = self.length or 0
        with self._path.open("rb") as file:
            while left > 0:
                piece = file.read(min(left, _PIECE))
                if not piece:
                    raise UpstreamError(502, "the file became shorter")
                left -= len(piece)
                yield piece


def interactions(context: Context, call: Call) -> Response:
    """``GET interactions``: as they are served; ``total`` counts what the filters let through."""
    return _listed(context, call, call.flag("played"))


def unplayed(context: Context, call: Call) -> Response:
    """``GET interactions/unplayed``: those that nothing asked for yet."""
    return _listed(context, call, played=False)


def _listed(context: Context, call: Call, played: bool | None) -> Response:  # noqa: FBT001  # None: both
    playlist = context.app.library.playlist
    offset, limit = call.number("offset", 0), call.number("limit", _LISTED, most=_MOST_LISTED)
    wants = _wanted(context, call, played)
    if wants is None:
        total, found = len(playlist), islice(playlist, offset, offset + limit)
        return json_response({"interactions": list(_rows(context, found)), "meta": {"total": total}})
    total, kept = 0, []
    for recording in filter(wants, playlist):
        if offset <= total < offset + limit:
            kept.append(recording)
        total += 1
    return json_response({"interactions": list(_rows(context, kept)), "meta": {"total": total}})


def _wanted(context: Context, call: Call, played: bool | None) -> Callable[[Recording], bool] | None:  # noqa: FBT001
    """Make a filter of the parameters ``file`` and ``q``; None when everything is wanted."""
    library, named, text = context.app.library, call.text("file"), call.text("q").lower()
    if not named and not text and played is None:
        return None

    def wants(recording: Recording) -> bool:
        if named and named not in (recording.file.label, recording.file.name):
            return False
        if played is not None and bool(library.played(recording)) != played:
            return False
        return not text or _holds(recording, text)

    return wants


def _rows(context: Context, recordings: Iterable[Recording]) -> Iterator[dict[str, Any]]:
    for recording in recordings:
        try:
            yield _row(context, recording)
        except CassetteError:
            continue  # it was reported when the library was loaded, or changed since


def _row(context: Context, recording: Recording) -> dict[str, Any]:
    library = context.app.library
    repeats, played = library.playlist.repeats(recording.key), library.played(recording)
    return {"id": recording.label, **row(recording, repeats), "played": played}


def _holds(recording: Recording, text: str) -> bool:
    """Tell whether any part of what is shown of *recording* holds *text*, in any case."""
    try:
        found = recording.interaction()
    except CassetteError:
        return False
    request, response = request_shown(found.request), response_shown(found.response)
    parts = (recording.label, found.request.target, request["body"], response["body"])
    return any(text in part.lower() for part in parts)


def interaction(context: Context, call: Call) -> Response:
    """``GET interactions/{id}``: request and response as ``requests/{id}`` has them."""
    recording = _named(context, unquote(call.rest))
    if recording is None:
        raise RefusedError(404, "there is no such interaction; its id is <file>#<n>", "no_such_interaction")
    try:
        found, shown = recording.interaction(), _row(context, recording)
    except CassetteError as error:
        raise RefusedError(410, f"the recording cannot be read: {error}", "damaged_recording") from error
    shown |= {"request": request_shown(found.request), "response": response_shown(found.response)}
    return json_response(shown)


def _named(context: Context, label: str) -> Recording | None:
    place, _, number = label.rpartition("#")
    files = (file for file in context.app.library.files if file.label == place)
    return next((r for file in files for r in file.recordings if str(r.number) == number), None)
