"""The page's own files, those and no others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from stubserver.admin.calls import Call, RefusedError
from stubserver.messages import Response

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["PAGE_POLICY", "asset", "page", "to_page"]

_FOLDER: Final = Path(__file__).resolve().parent.parent / "static"
_KINDS: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def to_page(_context: Context, _call: Call) -> Response:
    """``GET /__admin``: the page's links begin at its folder."""
    return Response(308, (("location", "/__admin/"),))


def page(_context: Context, _call: Call) -> Response:
    """``GET /__admin/``."""
    return _file("index.html")


def asset(_context: Context, call: Call) -> Response:
    """``GET static/{name}``."""
    return _file(call.rest)


def _file(name: str) -> Response:
    kind = _KINDS.get(name)
    try:
        body = (_FOLDER / name).read_bytes() if kind else None
    except OSError:
        body = None
    if kind is None or body is None:
        raise RefusedError(404, f"the page has no file {name[:40]!a}", "not_found")
    return Response(200, (("content-type", kind), ("content-security-policy", PAGE_POLICY)), body)
