"""The answer when nothing was recorded: pure functions of the request, one small module for each endpoint.

Only what was created by ``/responses`` is remembered, in a store that whoever answers owns. Modules are imported when
their endpoint is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from stubserver.canonical import normal_path
from stubserver.dummy.api_headers import api_headers
from stubserver.dummy.errors import NOT_PARSED, APIError, envelope, json_response
from stubserver.dummy.settings import DEFAULT_TEXT, DummySettings
from stubserver.messages import Request, Response

if TYPE_CHECKING:
    from stubserver.dummy.response_store import ResponseStore

__all__ = ["DEFAULT_TEXT", "DummySettings", "asks_whether_ready", "is_pure", "respond"]

_POSTS: Final = {
    "/chat/completions": "chat:complete",
    "/completions": "completions:complete",
    "/embeddings": "embeddings:create",
    "/moderations": "moderations:create",
    "/tokenize": "probes:tokenize",
    "/detokenize": "probes:detokenize",
    "/responses/input_tokens": "responses:count_input",
}
_PLAIN_POSTS: Final = {"/chat/completions": "plain:chat", "/completions": "plain:completion"}
"""What is answered otherwise in datatrove's style."""
_GETS: Final = {
    "/models": "models:several",
    "/metrics": "probes:metrics",
    "/server_info": "probes:server_info",
    "/get_server_info": "probes:server_info",
    "/props": "probes:props",
}
_RESPONSES: Final = "/responses"
_READINESS: Final = frozenset({"/models", "/health"})


def is_pure(request: Request) -> bool:
    """Tell whether the answer follows from the request alone, so that it may be given again."""
    return not normal_path(request.path).startswith(_RESPONSES)


def asks_whether_ready(request: Request) -> bool:
    """Tell whether *request* is what clients wait with until a server is up; it says nothing of what they are for."""
    return request.method in {"GET", "HEAD"} and normal_path(request.path) in _READINESS


def respond(request: Request, settings: DummySettings, store: ResponseStore | None = None) -> Response:
    """Answer *request* as the API would, as far as it is known here; never raises for anything a client sends.

    *store* remembers what ``/responses`` created; without one, nothing created can be asked for again.
    """
    if request.method == "OPTIONS":
        return Response(204, (("allow", "GET, HEAD, POST, OPTIONS"),))
    path = normal_path(request.path)
    response = _answered(path, request, settings, store)
    return response._replace(headers=(*response.headers, *api_headers(request, path, response.status)))


def _answered(path: str, request: Request, settings: DummySettings, store: ResponseStore | None) -> Response:
    try:
        return _routed(path, request, settings, store)
    except APIError as error:
        return error.response()
    except RecursionError:  # JSON too deep to walk: the API does not parse it either
        return APIError(NOT_PARSED).response()


def _routed(path: str, request: Request, settings: DummySettings, store: ResponseStore | None) -> Response:
    if path in _POSTS:
        if request.method != "POST":
            return _only_post()
        plain = _PLAIN_POSTS.get(path) if settings.style == "datatrove" else None
        answer: Response = _load(plain or _POSTS[path])(request, settings)
        return answer
    if path == _RESPONSES or path.startswith(f"{_RESPONSES}/"):
        return _responses(path.removeprefix(_RESPONSES).strip("/"), request, settings, store)
    return _get(path, request, settings)


def _load(place: str) -> Callable[..., Response]:
    module, _, name = place.partition(":")
    function: Callable[..., Response] = getattr(import_module(f"{__name__}.{module}"), name)
    return function


def _only_post() -> Response:
    text = "Only POST requests are accepted."
    return envelope(405, text, code="method_not_supported", headers=(("allow", "POST"),))


def _wrong_method(request: Request, allowed: str) -> Response:
    hint = "(HINT: Perhaps you meant to use a different HTTP method?)"
    text = f"Not allowed to {request.method} on {request.path}. {hint}"
    return envelope(405, text, code="method_not_supported", headers=(("allow", allowed),))


def _get(path: str, request: Request, settings: DummySettings) -> Response:
    answer = _found(path, settings)
    if answer is None:
        return envelope(404, f"Invalid URL ({request.method} {request.path})")
    if request.method not in {"GET", "HEAD"} and not (path == "/ping" and request.method == "POST"):
        return _wrong_method(request, "GET, HEAD")
    return answer


def _found(path: str, settings: DummySettings) -> Response | None:
    if path in _GETS:
        return _load(_GETS[path])(settings)
    if path.startswith("/models/") and path != "/models/":
        return _load("models:one")(path.removeprefix("/models/"))
    if path == "/health":
        return json_response({"status": "ok"})
    if path in {"/ping", "/version"}:
        return _load(f"probes{path.replace('/', ':')}")()
    return None


def _responses(rest: str, request: Request, settings: DummySettings, store: ResponseStore | None) -> Response:
    """Create a response, or do something with one that was created."""
    from stubserver.dummy import response_store as stored  # noqa: PLC0415  # start-up: only this endpoint needs it

    if not rest:
        if request.method != "POST":
            return _only_post()
        answer = _load("responses:create")(request, settings)
        if store is not None:
            stored.keep(request, answer, store)
        return answer
    name, _, action = rest.partition("/")
    actions: dict[str, dict[str, Callable[[Request, DummySettings, ResponseStore, str], Response]]] = {
        "": {"GET": stored.retrieve, "HEAD": stored.retrieve, "DELETE": stored.delete},
        "cancel": {"POST": stored.cancel},
        "input_items": {"GET": stored.input_items, "HEAD": stored.input_items},
    }
    allowed = actions.get(action)
    if allowed is None:
        return envelope(404, f"Invalid URL ({request.method} {request.path})")
    if request.method not in allowed:
        return _wrong_method(request, ", ".join(allowed))
    return allowed[request.method](request, settings, store or stored.ResponseStore(), name)
