"""What the formats of other stub servers have in common: a request with its answer, bodies in base64 or in files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stubserver.cassettes.format import FormatError
from stubserver.interchange import Carried, Lost
from stubserver.interchange.elements import LARGEST
from stubserver.keeping import decoded
from stubserver.messages import Interaction, Response, without_headers

__all__ = ["Parts", "file_body", "from_base64", "kept_of", "quoted", "unpacked"]

Parts = dict[str, Any]
"""A JSON object: a stub, or what it says of the request, or of the answer."""


def kept_of(
    stub: Parts | None,
    where: str,
    made: Callable[[Parts, Parts], Interaction],
    notes: Callable[[Parts, Parts], Iterable[str]],
) -> Carried | Lost:
    """Return what is kept of a *stub*: the interaction *made* of its request and its response, with *notes* on them.

    *stub* is None for what could not be read; *made* may raise FormatError or OSError, which say why it is lost.
    """
    if stub is None:
        return Lost(where, "it is no sound JSON object, or was cut off")
    asked, answer = stub.get("request"), stub.get("response")
    if not isinstance(asked, dict) or not isinstance(answer, dict):
        return Lost(where, "it has no request or no response")
    try:
        interaction = made(asked, answer)
    except (FormatError, OSError) as error:
        return Lost(where, getattr(error, "strerror", None) or str(error))
    return Carried(where, interaction, tuple(notes(asked, answer)))


def quoted(text: str, safe: str = "/") -> str:
    """Return *text* as it stands in a URL; what is no Unicode character, too."""
    return quote(text.encode("utf-8", "surrogatepass"), safe)


def from_base64(value: object) -> bytes:
    """Return the bytes that *value* stands for. Raises FormatError."""
    try:
        return base64.b64decode(str(value), validate=True)
    except ValueError as error:
        raise FormatError("what should be base64 is not") from error


def file_body(name: str, bodies: Path) -> bytes:
    """Read a body's file. A stub may come from anywhere: it names no file outside of the folder *bodies*.

    Raises FormatError for any other file, and for one that is too large; OSError.
    """
    try:
        root, file = bodies.resolve(), (bodies / name).resolve()
        inside = file.is_relative_to(root) and file.is_file()
    except ValueError:  # no name of a file has such characters
        inside = False
    if not inside:
        raise FormatError(f"the file of its body, {name[:100]}, is not in {bodies.name or bodies}")
    if file.stat().st_size > LARGEST:
        raise FormatError(f"the file of its body is larger than {LARGEST >> 20} MB")
    return file.read_bytes()


def unpacked(response: Response) -> Response:
    """Take away a content-encoding that the body is not in: the tool packs it when it is asked for."""
    if decoded(response.headers, response.body) is not None:
        return response
    return response._replace(headers=without_headers(response.headers, frozenset({"content-encoding"})))
