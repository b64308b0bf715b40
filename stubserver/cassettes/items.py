"""The text of one item -> Interaction: by the layout when it has it, else by the YAML parser."""

from __future__ import annotations

from typing import Any

from stubserver.cassettes import format as dialect
from stubserver.cassettes import layout
from stubserver.cassettes.scalars import UnreadableError
from stubserver.messages import Interaction, Request, Response

__all__ = ["read_item", "read_item_request", "read_item_response"]


def read_item(raw: bytes) -> Interaction:
    """Read one item whole. Raises ValueError."""
    found = layout.match(_one_line_end(raw))
    if found is not None:
        try:
            return Interaction(_request(found, headers=True), _response(found))
        except UnreadableError:
            pass
    return dialect.read_interaction(_parsed(raw, 0))


def read_item_request(raw: bytes, line: int = 0, *, headers: bool = True) -> Request | None:
    """Read the request of one item, None when it is no HTTP; an item outside the layout is checked as a whole.

    *line* is where the item begins in its file, for the messages; without *headers*, they may be left unread. Raises
    ValueError.
    """
    found = layout.match(_one_line_end(raw))
    if found is not None:
        try:
            return _request(found, headers=headers)
        except UnreadableError:
            pass
    item = _parsed(raw, line)
    return dialect.read_interaction(item).request if dialect.is_http(item) else None


def read_item_response(raw: bytes) -> Response:
    """Read the response of one item. Raises ValueError."""
    found = layout.match(_one_line_end(raw))
    if found is not None:
        try:
            return _response(found)
        except UnreadableError:
            pass
    return dialect.read_interaction(_parsed(raw, 0)).response


def _request(found: layout.Layout, *, headers: bool) -> Request:
    pairs = found.headers("sent") if headers else []
    return dialect.request_of(found.value("method"), found.value("uri"), pairs, found.value("body"))


def _response(found: layout.Layout) -> Response:
    status, reason = found.value("code"), found.value("message")
    return dialect.response_of(status, reason, found.headers("got"), found.value("string"), found.times())


def _one_line_end(raw: bytes) -> bytes:
    """Take CRLF for LF, as YAML does everywhere."""
    return raw.replace(b"\r\n", b"\n") if b"\r" in raw else raw


def _parsed(raw: bytes, line: int) -> Any:  # noqa: ANN401  # plain data from a file
    from stubserver.cassettes import safe_yaml  # noqa: PLC0415  # importing yaml takes as long as starting

    items = safe_yaml.load(raw, line)
    if not isinstance(items, list) or len(items) != 1:
        raise dialect.FormatError("not one list item")
    return items[0]
