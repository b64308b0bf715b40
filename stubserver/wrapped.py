"""Text that stands in a text in another form: base64, percent escapes, hexadecimal digits, the escapes of JSON.

What is changed in it is changed there, in its form; all else stays as it was written. Only what is text inside is
looked at: a picture in base64 holds anything by chance.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import quote, quote_plus, unquote_plus

__all__ = ["clean_wrapped", "unwrapped"]

_Change = Callable[[str], str]

_DEEPEST: Final = 3
_LEAST: Final = 20
_MOST_SEGMENTS: Final = 16
# Runs begin where none of their characters stands in front. Lines of base64 may be folded, as in mail, then in JSON.
_FOLD: Final = r"(?:\r?\n|\\r\\n|\\n)"
_BASE64: Final = re.compile(
    rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{_LEAST},}}+(?:{_FOLD}[A-Za-z0-9+/_-]{{4,}}+)*+={{0,2}}"
)
_HEX: Final = re.compile(rf"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{{2}}){{{_LEAST},}}+(?![0-9A-Za-z])")
_PERCENT: Final = re.compile(r"(?<![\w.~%+-])[\w.~%+-]++")
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")
_ESCAPED: Final = re.compile(r"(?:[^\"\\\s]++|\\(?:u[0-9A-Fa-f]{4}|/))++")
_FOLDS: Final = re.compile(_FOLD)
_NO_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def clean_wrapped(text: str, clean: _Change, depth: int = _DEEPEST) -> str:
    """Return *text* in which *clean* was applied to all that stands in it in another form, one in another too."""
    if not depth:
        return text

    def inner(plain: str) -> str:
        return clean_wrapped(clean(plain), clean, depth - 1)

    for pattern, rewrite in _kinds(text):
        text = pattern.sub(lambda found, rewrite=rewrite: rewrite(found[0], inner), text)  # type: ignore[misc]
    return text


def unwrapped(text: str) -> list[str]:
    """Return what stands in *text* in another form, as the plain text it is."""
    seen: list[str] = []

    def note(plain: str) -> str:
        seen.append(plain)
        return plain

    clean_wrapped(text, note)
    return seen


def _kinds(text: str) -> Iterator[tuple[re.Pattern[str], Callable[[str, _Change], str]]]:
    """Yield the forms that may be there at all: many texts are long, and hold none."""
    if "%" in text:
        yield _PERCENT, _in_percent
    if "\\u" in text or "\\/" in text:
        yield _ESCAPED, _in_escapes
    yield _HEX, _in_hex
    yield _BASE64, _in_base64


def _in_percent(run: str, clean: _Change) -> str:
    if not _ESCAPE.search(run):
        return run
    with suppress(UnicodeDecodeError):
        plain = unquote_plus(run, errors="strict")
        cleaned = clean(plain)
        if cleaned != plain:
            return (quote_plus if "+" in run else quote)(cleaned, safe="", errors="surrogatepass")
    return run


def _in_escapes(run: str, clean: _Change) -> str:
    if "\\" not in run:
        return run
    plain = json.loads(f'"{run}"', strict=False)
    cleaned = clean(plain)
    return run if cleaned == plain else json.dumps(cleaned)[1:-1]


def _in_hex(run: str, clean: _Change) -> str:
    plain = _text(bytes.fromhex(run))
    cleaned = clean(plain) if plain else plain
    if cleaned == plain:
        return run
    written = cleaned.encode().hex()
    return written if run == run.lower() else written.upper()


def _in_base64(run: str, clean: _Change) -> str:
    digits = _FOLDS.sub("", run)
    plain = _text(_decoded(digits))
    if not plain:
        return _in_path(run, clean) if 0 < run.count("/") <= _MOST_SEGMENTS else run
    cleaned = clean(plain)
    return run if cleaned == plain else _encoded(cleaned, digits, padded=len(digits) % 4 == 0)


def _in_path(path: str, clean: _Change) -> str:
    """Look into the segments of a path, where nothing is padded."""

    def segment(part: str) -> str:
        plain = _text(_decoded(part)) if len(part) >= _LEAST else ""
        cleaned = clean(plain) if plain else plain
        return part if cleaned == plain else _encoded(cleaned, part, padded=False)

    return "/".join(map(segment, path.split("/")))


def _encoded(text: str, like: str, *, padded: bool) -> str:
    written = base64.b64encode(text.encode()).decode("ascii")
    if "-" in like or "_" in like:
        written = written.replace("+", "-").replace("/", "_")
    return written if padded else written.rstrip("=")


def _decoded(digits: str) -> bytes:
    """Decode either alphabet; what is left over when it was cut is dropped."""
    digits = digits.rstrip("=")
    whole = digits[: len(digits) - (len(digits) % 4 == 1)]
    return base64.b64decode(whole + "=" * (-len(whole) % 4), altchars=b"-_")


def _text(raw: bytes) -> str:
    """Return *raw* as text; empty when it is none."""
    with suppress(UnicodeDecodeError):
        text = raw.decode("utf-8")
        return "" if _NO_TEXT.search(text) else text
    return ""
