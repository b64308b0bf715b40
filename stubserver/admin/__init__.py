"""The admin API under ``/__admin/``: what was asked, what is recorded, what the server is set to; and its page.

Names as WireMock has them where they exist. Only imported when somebody asks.
"""

from __future__ import annotations

from typing import Final

from stubserver.admin import routes
from stubserver.admin.calls import RefusedError
from stubserver.admin.context import Context
from stubserver.admin.guard import Guard
from stubserver.app import ADMIN
from stubserver.messages import Answer, Headers, Live, Request, Response

__all__ = ["Admin", "Context", "Guard"]

SAFE: Final[Headers] = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
)
_API_POLICY: Final = ("content-security-policy", "default-src 'none'; frame-ancestors 'none'")


class Admin:
    """Answers the calls of the admin API. Never raises for what a client sent."""

    def __init__(self, context: Context, guard: Guard) -> None:
        self._context = context
        self._guard = guard

    def end(self) -> None:
        """Let those go that follow the journal."""
        self._context.ended.set()

    def answer(self, request: Request) -> Answer:
        """Answer one call; neither it nor its answer is written into the journal."""
        try:
            found = self._found(request)
        except RefusedError as error:
            found = error.response()
        if isinstance(found, Response):
            return Answer(_safe(found), "admin")
        found.head = _safe(found.head)
        if request.method == "HEAD":  # of what may never end
            return Answer(found.head._replace(length=found.length, events=False), "admin")
        return Answer(found.head, "admin", live=found)

    def _found(self, request: Request) -> Response | Live:
        route, rest, refused = None, "", None
        try:
            route, rest = routes.find(request, request.path[len(ADMIN) :])
        except RefusedError as error:
            refused = error
        # Who may not ask hears nothing of what there is.
        self._guard.check(request, is_open=route is not None and route.is_open)
        if route is None:
            raise refused or AssertionError
        return routes.perform(self._context, route, rest, request)


def _safe(response: Response) -> Response:
    names = {name for name, _ in response.headers}
    policy = () if _API_POLICY[0] in names else (_API_POLICY,)
    return response._replace(headers=(*response.headers, *policy, *SAFE))
