"""Why requests found no recording, and what would answer one; and what to record when it comes again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from stubserver.admin.calls import Call, RefusedError, json_body
from stubserver.admin.entries import summary
from stubserver.admin.journal_calls import entry_of
from stubserver.admin.near import near_misses_of, would
from stubserver.app import NAMED
from stubserver.dummy.errors import json_response
from stubserver.errors import UsageError
from stubserver.messages import Request, Response

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["dry_run", "of_unmatched", "record_next"]

_LISTED: Final = 1000
_MOST_LISTED: Final = 10_000
_MEMBERS: Final = ("method", "path", "headers", "body", "json")
_LONGEST_PATH: Final = 16_384


def of_unmatched(context: Context, call: Call) -> Response:
    """``GET requests/unmatched/near-misses``: each unmatched request with the recordings that come nearest to it."""
    limit = call.number("limit", _LISTED, most=_MOST_LISTED)
    unmatched = [entry for entry in reversed(list(context.app.journal)) if entry.source == "unmatched"]
    found = [{"request": summary(entry), "near_misses": near_misses_of(context, entry)} for entry in unmatched[:limit]]
    return json_response({"near_misses": found, "meta": {"total": len(unmatched)}})


def dry_run(context: Context, call: Call) -> Response:
    """``POST near-misses/request``: what would answer this request, and how the nearest recordings differ from it.

    Nothing is played by it, asked of an upstream, or written down.
    """
    request = _request(json_body(call.request, _MEMBERS))
    found = would(context, request)
    answer = {
        "source": found.source,
        "cassette": found.cassette,
        "other_stream_mode": found.other_mode,
        "drift": list(found.drift),
    }
    near = [one.as_json() for one in found.near]
    return json_response({"answer": answer, "note": found.note, "near_misses": near})


def _request(asked: dict[str, Any]) -> Request:
    """Make a request of its JSON: ``method``, ``path``, ``headers`` (an object), ``body`` (a text) or ``json``."""
    method, path = asked.get("method", "POST"), asked.get("path")
    if not isinstance(method, str) or not method.isascii() or not method.isalpha():
        raise RefusedError(400, "method has to be one such as POST", "bad_parameter")
    if not isinstance(path, str) or not path.startswith("/") or len(path) > _LONGEST_PATH or not _is_visible(path):
        raise RefusedError(400, "path has to be one such as /v1/chat/completions", "bad_parameter")
    return Request(method.upper(), path, _headers(asked.get("headers", {})), _body(asked), "http", "localhost")


def _is_visible(path: str) -> bool:
    return path.isascii() and path.isprintable() and " " not in path and "#" not in path


def _headers(fields: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise RefusedError(400, "headers has to be an object of texts", "bad_parameter")
    return tuple(fields.items())


def _body(asked: dict[str, Any]) -> bytes:
    if "json" in asked:
        if "body" in asked:
            raise RefusedError(400, "give the body as json or as a text, not both", "bad_parameter")
        return json.dumps(asked["json"]).encode("ascii")
    body = asked.get("body", "")
    if not isinstance(body, str):
        raise RefusedError(400, "body has to be a text; give JSON as json", "bad_parameter")
    return body.encode("utf-8", "surrogatepass")


def record_next(context: Context, call: Call) -> Response:
    """``POST requests/{id}/record-next``: when this request comes again, ask the upstream, and keep what it says."""
    json_body(call.request, (), needed=False)
    entry = entry_of(context, call)
    request, _ = entry.raw()
    if request.target.startswith(NAMED):
        raise RefusedError(409, "it was asked of one cassette by its name, which is not recorded to", "not_recordable")
    try:
        context.record_next(request)
    except UsageError as error:
        raise RefusedError(409, f"nothing can be recorded: {error}", "no_upstream") from error
    return json_response({"id": entry.number, "record_next": True}, 202)
