"""The answer when nothing was recorded: pure functions of the request, one small module for each endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stubserver.canonical import normal_path
from stubserver.dummy import chat, completions, models
from stubserver.dummy.errors import NOT_PARSED, APIError, envelope, json_response
from stubserver.dummy.settings import DEFAULT_TEXT, DummySettings
from stubserver.messages import Request, Response

__all__ = ["DEFAULT_TEXT", "DummySettings", "respond"]

_POSTS: Final[dict[str, Callable[[Request, DummySettings], Response]]] = {
    "/chat/completions": chat.complete,
    "/completions": completions.complete,
}


def respond(request: Request, settings: DummySettings) -> Response:
    """Answer *request* as the API would, as far as it is known here; never raises for anything a client sends."""
    if request.method == "OPTIONS":
        return Response(204, (("allow", "GET, HEAD, POST, OPTIONS"),))
    path = normal_path(request.path)
    try:
        if path in _POSTS:
            return _post(path, request, settings)
        return _get(path, request, settings)
    except APIError as error:
        return error.response()
    except RecursionError:  # JSON too deep to walk: the API does not parse it either
        return APIError(NOT_PARSED).response()


def _post(path: str, request: Request, settings: DummySettings) -> Response:
    if request.method != "POST":
        text = "Only POST requests are accepted."
        return envelope(405, text, code="method_not_supported", headers=(("allow", "POST"),))
    return _POSTS[path](request, settings)


def _get(path: str, request: Request, settings: DummySettings) -> Response:
    answer = _found(path, settings)
    if answer is None:
        return envelope(404, f"Invalid URL ({request.method} {request.path})")
    if request.method not in {"GET", "HEAD"}:
        hint = "(HINT: Perhaps you meant to use a different HTTP method?)"
        text = f"Not allowed to {request.method} on {request.path}. {hint}"
        return envelope(405, text, code="method_not_supported", headers=(("allow", "GET, HEAD"),))
    return answer


def _found(path: str, settings: DummySettings) -> Response | None:
    if path == "/models":
        return models.several(settings)
    if path.startswith("/models/") and path != "/models/":
        return models.one(path.removeprefix("/models/"))
    if path == "/health":
        return json_response({"status": "ok"})
    return None
