"""The route of a recorded request without the path's prefix, under which a request with another base URL finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stubserver.canonical import Rules, route_key
from stubserver.messages import Request

__all__ = ["any_route", "normal_route", "normal_routes"]

_PLACEHOLDER_LENGTH: Final = 64


def normal_route(request: Request, rules: Rules) -> bytes:
    """Return what stands for the request's route without the path's prefix; a redacted URI stands for every path."""
    if _is_placeholder(request):
        return any_route(request.method)
    return route_key(rules.route(request, normal=True))


def normal_routes(rules: Rules) -> Callable[[bytes, Request], bytes]:
    """Return :func:`normal_route` with a memory: most recordings of a file share one route."""
    known: dict[bytes, bytes] = {}

    def normal(route: bytes, request: Request) -> bytes:
        found = known.get(route)
        if found is None:
            found = known[route] = normal_route(request, rules)
        return found

    return normal


def any_route(method: str) -> bytes:
    """Return what stands for every path."""
    return route_key(f"{method.upper()} *")


def _is_placeholder(request: Request) -> bool:
    """Tell a URI that a recorder replaced by a mark, such as ``**REDACTED**``, from a path."""
    mark = request.path[1:]
    return not request.scheme and "/" not in mark and len(mark) < _PLACEHOLDER_LENGTH and not mark.isalnum()
