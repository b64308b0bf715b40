"""The one token splitter: counting, cutting and streaming all use its pieces; and the ids of tokens.

A token id is made of the text it stands for, so that turning it back needs no table and no memory: at most six
bytes of UTF-8 as a number, with one bit set above them (``"Hi"`` is ``0x1_48_69``). So ids stay below 2**49, which
every JSON reader holds exactly. A piece of the one splitter that is longer is several ids, cut between characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["UNKNOWN", "number_of", "parts", "split", "text_of"]

UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_ID_BYTES: Final = 6

# Within a few percent of the real tokenizers on English text; see the table of estimates that it was chosen from.
_TOKEN: Final = re.compile(r"\s*(?:[A-Za-z]{1,12}|\d{1,3}|[^\sA-Za-z\d])|\s+")


def split(text: str) -> list[str]:
    """Cut *text* into token-sized pieces; ``"".join(split(text)) == text``."""
    return _TOKEN.findall(text)


def parts(piece: str) -> Iterator[str]:
    """Cut *piece* between characters into parts of at most six bytes."""
    start = size = 0
    for index, character in enumerate(piece):
        length = len(character.encode("utf-8", "surrogatepass"))
        if size + length > _ID_BYTES:
            yield piece[start:index]
            start, size = index, 0
        size += length
    yield piece[start:]


def number_of(part: str) -> int:
    """Return the id of one of the ``parts``."""
    return int.from_bytes(b"\x01" + part.encode("utf-8", "surrogatepass"), "big")


def text_of(number: int) -> str:
    """Return the text of an id; a number that is no id is U+FFFD."""
    length = (number.bit_length() - 1) // 8
    if not 0 < length <= _ID_BYTES or number >> (8 * length) != 1:
        return UNKNOWN
    try:
        return number.to_bytes(length + 1, "big")[1:].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return UNKNOWN
