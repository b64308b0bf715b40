"""The admin API's description of itself: OpenAPI 3.1, made of the same table that answers the calls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stubserver import __version__
from stubserver.admin.schemas import PARAMETERS, SCHEMAS, ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stubserver.admin.routes import Route

__all__ = ["document"]

_JSON: Final = "application/json"


class _Told(NamedTuple):
    """What the table does not say of a route: what it is, what it takes and gives, how it may be refused."""

    summary: str
    gives: str = ""
    takes: str = ""
    statuses: tuple[int, ...] = ()
    kind: str = _JSON
    rest: str = "id"
    good: int = 200
    may_be_empty: bool = False


_TOLD: Final = {
    "GET /": _Told("The page.", kind="text/html"),
    "GET /static/{name}": _Told("One of the page's files.", kind="*/*", rest="name", statuses=(404,)),
    "GET /openapi.json": _Told("This description.", "Description"),
    "GET /health": _Told("Is the server well? Needs no token.", "Health"),
    "GET /requests": _Told("What was asked, the newest first.", "Requests"),
    "DELETE /requests": _Told("Forget all requests.", good=204),
    "GET /requests/unmatched": _Told("What found no recording.", "Requests"),
    "GET /requests/unmatched/near-misses": _Told("The same, with the nearest recordings.", "Misses"),
    "GET /requests.har": _Told("The journal as an HTTP archive, the oldest first.", "Archive"),
    "POST /requests/count": _Told("How many requests fit?", "Count", "Pattern", may_be_empty=True),
    "POST /requests/find": _Told("Which requests fit?", "Requests", "Find", may_be_empty=True),
    "POST /requests/wait": _Told("Wait until so many answers that fit have left.", "Waited", "Wait", may_be_empty=True),
    "GET /requests/{id}": _Told("One request with its answer.", "Request", statuses=(404,)),
    "DELETE /requests/{id}": _Told("Forget one request.", good=204, statuses=(404,)),
    "POST /requests/{id}/record-next": _Told(
        "When it comes again, ask the upstream, and keep the answer.",
        "RecordNext",
        "Nothing",
        (404, 409),
        good=202,
        may_be_empty=True,
    ),
    "POST /near-misses/request": _Told("What would answer this request, and why not the others?", "Would", "DryRun"),
    "GET /events": _Told(
        "The journal as it grows: `request` for each answer that has left, `stats` each second. Last-Event-ID resumes.",
        kind="text/event-stream",
        statuses=(503,),
    ),
    "GET /metrics": _Told("Prometheus' text format, or OpenMetrics.", kind="*/*"),
    "GET /interactions": _Told("What is recorded.", "Interactions"),
    "GET /interactions/unplayed": _Told("What nothing asked for yet.", "Interactions"),
    "GET /interactions/{id}": _Told("One interaction; its id is percent-encoded.", "Interaction", statuses=(404, 410)),
    "GET /cassettes": _Told("The files.", "Cassettes"),
    "GET /cassettes/{name}/file": _Told(
        "One file as it is.", kind="application/octet-stream", rest="name", statuses=(404, 410)
    ),
    "GET /verdict": _Told("What the client did when something went wrong, judged.", "Verdict"),
    "POST /reset": _Told("Forget what was played, and the journal.", "", "Nothing", good=204, may_be_empty=True),
    "GET /settings": _Told("What the server is set to.", "Settings"),
    "PUT /settings": _Told("Change settings: all that are named, or none.", "Settings", "Changes", (409,)),
}
_FREE_FORM: Final = {"Description", "Archive"}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe *routes*."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path, told = _path(route)
        if told is not None:
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, told)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stubserver admin API",
            "version": __version__,
            "description": "Errors come in one envelope. Only asked under a name of the server, from no other page.",
        },
        "servers": [{"url": "/__admin"}],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **{name: {"type": "object"} for name in sorted(_FREE_FORM)}},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _path(route: Route) -> tuple[str, _Told | None]:
    """Return the path with a name for what varies in it, and what is told of it; None: nothing."""
    for name in ("id", "name"):
        path = re.sub(r"\([^)]*\)", f"{{{name}}}", route.path).replace("\\", "")
        told = _TOLD.get(f"{route.method} {path}")
        if told is not None and (told.rest == name or "{" not in path):
            return path, told
    return route.path, None


def _operation(route: Route, told: _Told) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "schema": PARAMETERS[name], "required": False} for name in route.takes
    ]
    if "(" in route.path:
        parameters.append({"name": told.rest, "in": "path", "required": True, "schema": {"type": "string"}})
    statuses = {400, 403, *told.statuses} | ({413, 415} if told.takes else set()) | (set() if route.is_open else {401})
    errors = {str(s): _content("Refused.", _JSON, ref("Error")) for s in sorted(statuses)}
    found: dict[str, Any] = {
        "summary": told.summary,
        "operationId": f"{route.method.lower()}_{route.function.__name__}",
        "parameters": parameters,
        "responses": {str(told.good): _good(told), **errors},
    }
    if told.takes:
        schema = {"schema": ref(told.takes)}
        found["requestBody"] = {"required": not told.may_be_empty, "content": {_JSON: schema}}
    return found if route.is_open else {**found, "security": [{}, {"bearer": []}, {"basic": []}]}


def _good(told: _Told) -> dict[str, Any]:
    if told.good == 204:  # noqa: PLR2004  # HTTP's
        return {"description": "Done."}
    return _content("The answer.", told.kind, ref(told.gives) if told.gives else {})


def _content(text: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {kind: {"schema": schema}}}
