"""Which call is answered by which function. A plain table, the first path that fits counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from stubserver.admin import cassette_calls, control, fault_calls, feed, journal_calls, misses_calls, static
from stubserver.admin.calls import Call, RefusedError, call_of
from stubserver.admin.context import Context
from stubserver.admin.patterns import FIELDS
from stubserver.dummy.errors import json_response
from stubserver.messages import Live, Request, Response

__all__ = ["ROUTES", "Route", "find"]

Function = Callable[[Context, Call], Response | Live]
_LISTED: Final = ("offset", "limit", "file", "q")


def metrics(context: Context, call: Call) -> Response:
    """``GET metrics``."""
    from stubserver.admin import metrics as numbers  # noqa: PLC0415  # prometheus_client takes as long as all else

    return numbers.metrics(context, call)


def description(_context: Context, _call: Call) -> Response:
    """``GET openapi.json``."""
    from stubserver.admin.openapi import document  # noqa: PLC0415  # hardly anybody asks for it

    return json_response(document(ROUTES))


class Route(NamedTuple):
    """``path`` is matched whole, after ``/__admin``; its group, if it has one, becomes ``Call.rest``.

    ``takes`` are the parameters of its query; ``is_open``: it needs no token.
    """

    method: str
    path: str
    function: Function
    takes: tuple[str, ...] = ()
    is_open: bool = False


ROUTES: Final = (
    Route("GET", "", static.to_page),
    Route("GET", "/", static.page),
    Route("GET", "/static/([^/]+)", static.asset),
    Route("GET", "/health", control.health, is_open=True),
    Route("GET", r"/openapi\.json", description),
    Route("GET", "/requests", journal_calls.listed, journal_calls.FILTERS),
    Route("DELETE", "/requests", journal_calls.clear),
    Route("GET", "/requests/unmatched", journal_calls.unmatched, ("limit",)),
    Route("GET", r"/requests\.har", journal_calls.archive, tuple(FIELDS)),
    Route("POST", "/requests/count", journal_calls.count),
    Route("POST", "/requests/find", journal_calls.find),
    Route("POST", "/requests/wait", journal_calls.wait),
    Route("GET", "/requests/unmatched/near-misses", misses_calls.of_unmatched, ("limit",)),
    Route("POST", "/near-misses/request", misses_calls.dry_run),
    Route("GET", "/requests/([^/]+)", journal_calls.one),
    Route("DELETE", "/requests/([^/]+)", journal_calls.forget),
    Route("GET", "/metrics", metrics),
    Route("POST", "/requests/([^/]+)/record-next", misses_calls.record_next),
    Route("GET", "/events", feed.follow, ("since",)),
    Route("GET", "/interactions", cassette_calls.interactions, (*_LISTED, "played")),
    Route("GET", "/interactions/unplayed", cassette_calls.unplayed, _LISTED),
    Route("GET", "/interactions/(.+)", cassette_calls.interaction),
    Route("GET", "/cassettes", cassette_calls.cassettes),
    Route("GET", "/cassettes/(.+)/file", cassette_calls.download),
    Route("GET", "/verdict", fault_calls.verdict),
    Route("POST", "/reset", control.reset),
    Route("GET", "/settings", control.settings),
    Route("PUT", "/settings", control.change),
)
_BY_PATH: Final[dict[str, dict[str, Route]]] = {}
for _route in ROUTES:
    _BY_PATH.setdefault(_route.path, {})[_route.method] = _route
_COMPILED: Final = [(re.compile(path), routes) for path, routes in _BY_PATH.items()]


def find(request: Request, path: str) -> tuple[Route, str]:
    """Return the route for *path*, with what stands in its group. Raises RefusedError: 404, or 405 with Allow."""
    for pattern, routes in _COMPILED:
        found = pattern.fullmatch(path)
        if found is not None:
            route = routes.get("GET" if request.method == "HEAD" else request.method)
            if route is None:
                allowed = ", ".join(sorted({*routes, *(("HEAD",) if "GET" in routes else ())}))
                raise RefusedError(405, f"only {allowed} here", "method_not_allowed", (("allow", allowed),))
            return route, found[1] if pattern.groups else ""
    raise RefusedError(404, f"the admin API has nothing at {path[:80]!a}", "not_found")


def perform(context: Context, route: Route, rest: str, request: Request) -> Response | Live:
    """Call the function of *route*."""
    return route.function(context, call_of(request, rest, route.takes))
