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
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NUMBER_START: Final = frozenset("-+.0123456789")
_INT: Final = re.compile(r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)\Z")
_FLOAT: Final = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|\.(?:inf|Inf|INF))\Z"
    r"|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?\Z|\.(?:nan|NaN|NAN)\Z"
)
_LONGEST_NUMBER: Final = 4000

_BLANKS: Final = " \t"
_BREAKS: Final = re.compile(r"[ \t]*\n(?P<more>(?:[ \t]*\n)*)[ \t]*")
# Between double quotes, a backslash keeps the blank behind it; and of a break behind it, nothing is left.
_ESCAPABLE_BREAKS: Final = re.compile(
    r"\\\n(?P<escaped>(?:[ \t]*\n)*)[ \t]*|(?:(?<!\\)[ \t])*\n(?P<more>(?:[ \t]*\n)*)[ \t]*"
)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_NOT_IN_PYTHON: Final = re.compile(r"\\[^xuUrt]")
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


class UnreadableError(ValueError):
    """A scalar that needs the full parser."""


def typed(text: str) -> Any:  # noqa: ANN401  # any YAML scalar
    """Return the value of plain text: None, a boolean, a number, or the text itself (dates too)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_START and len(text) < _LONGEST_NUMBER:
        if _INT.match(text):
            return _integer(text)
        if _FLOAT.match(text):
            return _real(text.replace("_", "").lower())
    return text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "").lstrip("+-")
    try:
        if ":" in digits:
            value = _sexagesimal([int(part) for part in digits.split(":")])
        elif digits.startswith(("0b", "0x")):
            value = int(digits, 0)
        else:
            value = int(digits, 8 if digits.startswith("0") else 10)
    except ValueError:  # no digit but underscores
        return text
    return -int(value) if text.startswith("-") else int(value)


def _real(text: str) -> float:
    digits = text.lstrip("+-")
    if ":" in digits:
        value = float(_sexagesimal([float(part) for part in digits.split(":")]))
    else:
        value = float(digits.replace(".inf", "inf").replace(".nan", "nan"))
    return -value if text.startswith("-") else value


def _sexagesimal(parts: list[int] | list[float]) -> float:
    """Add up from the last part on, as PyYAML does, so that both round alike."""
    total, unit = parts[-1], 60
    for part in reversed(parts[:-1]):
        total += part * unit
        unit *= 60
    return total


def single_quoted(text: str) -> str:
    """Return the value of what stands between single quotes."""
    if "\n" in text:
        joined = _stripped(text)
        text = _BREAKS.sub(_fold, text) if "\n\n" in joined else joined.replace("\n", " ")
    return text.replace("''", "'")


def double_quoted(text: str) -> str:
    """Return the value of what stands between double quotes. Raises UnreadableError for an unknown escape."""
    # After a cut at every escaped backslash, each backslash that is left begins an escape: plain replacing is safe.
    return "\\".join([_unescaped(part) for part in text.split("\\\\")])


def _unescaped(part: str) -> str:
    if "\n" in part:
        joined = _stripped(part)
        difficult = "\n\n" in joined or "\\\n" in joined
        part = _ESCAPABLE_BREAKS.sub(_fold, part) if difficult else joined.replace("\n", " ")
    if "\\" not in part:
        return part
    part = part.replace('\\"', '"').replace("\\n", "\n").replace("\\ ", " ")
    return _rarer_escapes(part) if "\\" in part else part


def _rarer_escapes(part: str) -> str:
    """Replace what is left; Python's own decoder is much the fastest, for what it reads as YAML does."""
    try:
        if part.isascii() and not _NOT_IN_PYTHON.search(part):
            part = part.encode("ascii").decode("unicode_escape")
        else:
            part = _ESCAPE.sub(_escape, part)
        part.encode("utf-8")  # fails for half a surrogate pair, which YAML does not have
    except (ValueError, OverflowError) as error:
        raise UnreadableError(str(error)) from error
    return part


def _stripped(text: str) -> str:
    """Take the blanks off both sides of each line break."""
    first, *others, last = text.split("\n")
    return "\n".join([first.rstrip(_BLANKS), *[line.strip(_BLANKS) for line in others], last.lstrip(_BLANKS)])


def _fold(found: re.Match[str]) -> str:
    """One line break is a space; of several, the first is dropped."""
    more = found["more"]
    if more is None:
        return "\n" * found["escaped"].count("\n")
    return "\n" * more.count("\n") or " "


def _escape(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code:
        return chr(int(code, 16))
    try:
        return _ESCAPES[found[4]]
    except KeyError as error:
        raise UnreadableError(found[0]) from error


def binary(text: bytes) -> bytes:
    """Return the bytes of a ``!!binary |`` block."""
    return base64.b64decode(text)
