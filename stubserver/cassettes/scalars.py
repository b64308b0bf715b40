"""YAML 1.1 scalars as PyYAML reads and writes them: types of plain text, quotes, folds and escapes.

Used for every plain scalar, and for the quoted ones of vcrpy's own layout, which are most of what there is to read;
written apart from PyYAML because importing that takes as long as starting the server.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Final

__all__ = ["UnreadableError", "binary", "double_quoted", "single_quoted", "typed"]

# The implicit types of YAML 1.1 (yaml.org/type), in the form PyYAML resolves them; dates stay text here.
_BOOL: Final = re.compile(r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)\Z")
_INT: Final = re.compile(r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)\Z")
_FLOAT: Final = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
)
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TYPED_START: Final = frozenset("-+.0123456789~yYnNtTfFoO")

_BREAKS: Final = re.compile(r"[ \t]*\n(?:[ \t]*\n)*[ \t]*")
_ESCAPED_BREAK: Final = re.compile(r"\\\n[ \t]*")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPES: Final = {
    "0": "\0",
    "a": "\x07",
    "b": "\x08",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\x0b",
    "f": "\x0c",
    "r": "\r",
    "e": "\x1b",
    " ": " ",
    '"': '"',
    "/": "/",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}
_LONGEST_NUMBER: Final = 4000


class UnreadableError(ValueError):
    """A scalar that needs the full parser."""


def typed(text: str) -> Any:  # noqa: ANN401  # any YAML scalar
    """Return the value of plain text: None, a boolean, a number, or the text itself (dates too)."""
    if text[:1] not in _TYPED_START and text:
        return text
    if text in _NULLS:
        return None
    if _BOOL.match(text):
        return text.lower() in {"yes", "true", "on"}
    if len(text) < _LONGEST_NUMBER:
        if _INT.match(text):
            return _integer(text.replace("_", ""))
        if _FLOAT.match(text):
            return _real(text.replace("_", "").lower())
    return text


def _integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if ":" in digits:
        return sign * int(_sexagesimal(digits))
    if digits.startswith(("0b", "0x")):
        return sign * int(digits, 0)
    return sign * int(digits, 8 if digits.startswith("0") else 10)


def _real(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    digits = text.lstrip("+-")
    if ":" in digits:
        return sign * _sexagesimal(digits)
    return sign * float(digits.replace(".inf", "inf").replace(".nan", "nan"))


def _sexagesimal(digits: str) -> float:
    total = 0.0
    for part in digits.split(":"):
        total = total * 60 + float(part)
    return total


def single_quoted(text: str) -> str:
    """Return the value of what stands between single quotes."""
    if "\n" in text:
        text = _BREAKS.sub(_fold, text)
    return text.replace("''", "'")


def double_quoted(text: str) -> str:
    """Return the value of what stands between double quotes. Raises UnreadableError for an unknown escape."""
    if "\\" not in text:
        return _BREAKS.sub(_fold, text) if "\n" in text else text
    # After a cut at every escaped backslash, each backslash that is left begins an escape: plain replacing is safe.
    return "\\".join(_unescaped(part) for part in text.split("\\\\"))


def _unescaped(part: str) -> str:
    if "\n" in part:
        part = _BREAKS.sub(_fold, _ESCAPED_BREAK.sub("", part))
    if "\\" not in part:
        return part
    part = part.replace('\\"', '"')
    return _ESCAPE.sub(_escape, part) if "\\" in part else part


def _fold(found: re.Match[str]) -> str:
    """One line break is a space; of several, the first is dropped."""
    breaks = found[0].count("\n")
    return " " if breaks == 1 else "\n" * (breaks - 1)


def _escape(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code:
        try:
            return chr(int(code, 16))
        except (ValueError, OverflowError) as error:
            raise UnreadableError(found[0]) from error
    try:
        return _ESCAPES[found[4]]
    except KeyError as error:
        raise UnreadableError(found[0]) from error


def binary(text: bytes) -> bytes:
    """Return the bytes of a ``!!binary |`` block."""
    return base64.b64decode(text)
