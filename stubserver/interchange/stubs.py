"""What the formats of other stub servers have in common: bodies in base64 or in files, and texts in a URL."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

from stubserver.cassettes.format import FormatError
from stubserver.interchange.elements import LARGEST
from stubserver.keeping import decoded
from stubserver.messages import Response, without_headers

__all__ = ["file_body", "from_base64", "quoted", "unpacked"]


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
