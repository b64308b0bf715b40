"""Numbers and strings for what a schema's keywords say of them: the plainest first."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, count, islice, permutations, product
from string import ascii_lowercase
from typing import Final

from stubserver.dummy import patterns
from stubserver.dummy.schema_check import exact
from stubserver.dummy.schema_reading import Keywords

__all__ = ["numbers", "plain", "strings"]

_MOST: Final = 2_000  # values for one place: more are only asked for by arrays of unique items
_LONGEST: Final = 100_000
_EXAMPLES: Final = 100
_EXACT: Final = 2**53  # the largest whole numbers that floats hold exactly

# Format -> examples. {n} counts from 1, {z} from 0, {y} counts years from 1970, {h} is a number of twelve hexadecimal
# digits; {w} is a word of any length, at first none. The domain is the one that RFC 2606 keeps for examples.
_FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "date-time": ("{y}-01-01T00:00:00Z", "{y}-01-01T00:00:00"),
    "date": ("{y}-01-01",),
    "time": ("00:00:{s}Z", "00:00:{s}"),
    "duration": ("PT{z}S",),
    "email": ("user{w}@example.com",),
    "idn-email": ("user{w}@example.com",),
    "name-email": ("user{w} <user{w}@example.com>",),
    "hostname": ("{w}example.com",),
    "idn-hostname": ("{w}example.com",),
    "ipv4": ("127.0.0.{n}",),
    "ipv6": ("::{n}",),
    "ipvanyaddress": ("127.0.0.{n}",),
    "ipvanyinterface": ("127.0.0.{n}",),
    "ipvanynetwork": ("127.0.0.{n}/32",),
    "ipv4interface": ("127.0.0.{n}",),
    "ipv4network": ("127.0.0.{n}/32",),
    "ipv6interface": ("::{n}",),
    "ipv6network": ("::{n}/128",),
    "uri": ("https://example.com/{w}",),
    "url": ("https://example.com/{w}",),
    "iri": ("https://example.com/{w}",),
    "multi-host-uri": ("https://example.com/{w}",),
    "uri-reference": ("{w}",),
    "iri-reference": ("{w}",),
    "uri-template": ("{w}",),
    "json-pointer": ("", "/{w}"),
    "relative-json-pointer": ("{z}", "{z}/{w}"),
    "regex": ("{w}",),
    "json-string": ("{z}",),
    "jwt": ("eyJhbGciOiJub25lIn0.e30.{w}",),  # {"alg":"none"} . {} . no signature
    "uuid": ("00000000-0000-4000-8000-{h}",),
    **{f"uuid{version}": (f"00000000-0000-{version}000-8000-{{h}}",) for version in range(1, 9)},
}


def numbers(parts: Sequence[Keywords], *, integral: bool) -> Iterator[float]:
    """Write numbers within the bounds, the nearest to zero first; multiples exactly, as far as floats can hold them."""
    low, high = _bounds(parts)
    steps = [exact(part["multipleOf"]) for part in parts if "multipleOf" in part]
    step = _common([*steps, Fraction(1)] if integral else steps)
    found = islice(_near_zero(low, high, step or Fraction(1)), _MOST)
    return chain.from_iterable(map(_written, found if step else _with_fractions(low, high, found)))


def _bounds(parts: Sequence[Keywords]) -> tuple[Fraction | float, Fraction | float]:
    """Find the bounds; that a bound is exclusive is left to the check."""
    low: Fraction | float = -math.inf
    high: Fraction | float = math.inf
    for part in parts:
        low = max([low, *(exact(part[w]) for w in ("minimum", "exclusiveMinimum") if _is_bound(part, w))])
        high = min([high, *(exact(part[w]) for w in ("maximum", "exclusiveMaximum") if _is_bound(part, w))])
    return low, high


def _is_bound(part: Keywords, word: str) -> bool:
    return word in part and not isinstance(part[word], bool)


def _common(steps: list[Fraction]) -> Fraction | None:
    """Find the least number that is a multiple of every step; None without steps."""
    if not steps:
        return None
    whole = math.lcm(*(step.denominator for step in steps))
    return Fraction(math.lcm(*(int(step * whole) for step in steps)), whole)


def _near_zero(low: Fraction | float, high: Fraction | float, step: Fraction) -> Iterator[Fraction]:
    """List the multiples of *step* between the bounds, from zero outwards."""
    if low > 0:
        first, signs = math.ceil(low / step), [1]
    elif high < 0:
        first, signs = math.floor(high / step), [-1]
    else:
        first, signs = 0, [1, -1]
    for distance in count():
        near = [step * (first + sign * distance) for sign in signs[: distance + 1]]
        inside = [value for value in near if low <= value <= high]
        yield from inside
        if not inside and distance:
            return


def _with_fractions(low: Fraction | float, high: Fraction | float, whole: Iterator[Fraction]) -> Iterator[Fraction]:
    """Mix the numbers between the whole ones in: the bound nearest to zero first, then parts of what is between."""
    nearest = low if low > 0 else high
    if isinstance(nearest, Fraction) and (low > 0 or high < 0):
        yield nearest
    yield from islice(whole, 3)
    start = low if isinstance(low, Fraction) else (high - 1 if isinstance(high, Fraction) else Fraction(0))
    width = high - start if isinstance(high, Fraction) else Fraction(1)
    if width > 0:
        yield from (start + width * Fraction(part, parts) for parts in range(2, 33) for part in range(1, parts))
    yield from (bound for bound in (low, high) if isinstance(bound, Fraction))
    yield from whole


def _written(value: Fraction) -> Iterator[float]:
    """Write a number as JSON would: whole ones without a point; what only a float can hold, as the float next to it."""
    if abs(value) > sys.float_info.max:
        return
    if value.denominator == 1:
        yield int(value)
    if value.denominator > 1 or abs(value) > _EXACT:
        yield int(float(value)) if value.denominator == 1 else float(value)


def strings(parts: Sequence[Keywords], spend: Callable[[int], None]) -> Iterator[str]:
    """Write strings of the lengths, patterns and formats asked for; without any of these, the shortest."""
    low = int(max((part.get("minLength", 0) for part in parts), default=0))
    high = min((part.get("maxLength", math.inf) for part in parts), default=math.inf)
    found = _of_patterns_and_formats(parts, low, spend) if low <= min(high, _LONGEST) else iter(())
    seen = set()
    for text in found:
        spend(1)
        if low <= len(text) <= high and text not in seen:
            seen.add(text)
            yield text


def _of_patterns_and_formats(parts: Sequence[Keywords], low: int, spend: Callable[[int], None]) -> Iterator[str]:
    formats = [part["format"] for part in parts if part.get("format") in _FORMATS]
    written = dict.fromkeys(part["pattern"] for part in parts if "pattern" in part)
    if not formats and not written:
        return plain(low)
    read = [patterns.read(pattern) for pattern in written]
    # Plain strings come last: a format is an annotation, and one that the other keywords exclude says nothing.
    found = chain(*(_formatted(name, low) for name in formats), _patterned(read, low, spend), _given(parts), plain(low))
    return (text for text in found if all(pattern.matches(text, spend) for pattern in read))


def plain(low: int) -> Iterator[str]:
    """Write short strings of at least *low* characters, in alphabetical order."""
    return islice(_words(low), _MOST)


def _words(low: int) -> Iterator[str]:
    for length in count(low):
        for tail in product(ascii_lowercase, repeat=min(length, 3)):
            yield "a" * (length - len(tail)) + "".join(tail)


def _formatted(name: str, low: int) -> Iterator[str]:
    for template in _FORMATS[name]:
        for index, word in enumerate(islice(_words(0), _EXAMPLES)):
            text = _filled(template, index, word)
            yield text if len(text) >= low else _filled(template, index, "a" * (low - len(text)) + word)


def _filled(template: str, index: int, word: str) -> str:
    return template.format(n=index + 1, z=index, s=f"{index % 60:02}", y=1970 + index, h=f"{index:012x}", w=word)


def _patterned(read: Sequence[patterns.Pattern], low: int, spend: Callable[[int], None]) -> Iterator[str]:
    """Write strings for each pattern, then for all of them, one after the other."""
    for pattern in read:
        yield from islice(pattern.strings(low, spend), _MOST)
    firsts = [text for pattern in read for text in islice(pattern.strings(0, spend), 1)]
    yield from ("".join(order) for order in islice(permutations(firsts), _EXAMPLES))


def _given(parts: Sequence[Keywords]) -> Iterator[str]:
    """List the schema's own examples: they may know what we cannot work out."""
    for part in parts:
        examples = part.get("examples")
        for value in [part.get("default"), part.get("example"), *(examples if isinstance(examples, list) else [])]:
            if isinstance(value, str):
                yield value
