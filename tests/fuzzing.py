"""Inputs that are nearly right: seeds with a few things wrong, each made again from its number alone.

``FUZZ_INPUTS`` says how many each target gets; ``make fuzz`` says 20 000.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

INPUTS = int(os.environ.get("FUZZ_INPUTS", "300"))
HARDER = int(os.environ.get("HARDER", "1"))
"""How many times as much the tests do that may do more; ``make soak`` says 30."""
PATIENCE = 120.0
"""Seconds after which a hundred inputs hang: the process ends with the stack of every thread."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_BYTES = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\r\n",
    b"\n",
    b"\n\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b",",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
)
_WORDS = (
    *(
        b"-1",
        b"0",
        b"99999999999999999999",
        b"1e999",
        b"NaN",
        b"null",
        b"true",
        b"''",
        b'""',
        b"\\ud800",
        b"\xed\xa0\x80",
    ),
    *(
        b"!!python/object/apply:os.system ['true']",
        b"!!binary ",
        b"<<: ",
        b"&a ",
        b"*a",
        b"- ",
        b"? ",
        b"%41",
        b"../",
        b"//",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n",
        b"HTTP/0.9",
        b"data: ",
        b"data: [DONE]\n\n",
        b"event: x\n",
    ),
)


def mutated(seeds: Sequence[bytes], target: str, number: int) -> bytes:
    """Make the *number*-th input of *target*: one of the *seeds* with one to eight things wrong."""
    random = Random(f"{target} {number}")
    text = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        text = random.choice(_WAYS)(text, random, seeds)
    return text


def _cut(text: bytes, random: Random) -> tuple[int, int]:
    """Return two places, mostly near each other."""
    start = random.randrange(len(text) + 1)
    return start, min(len(text), start + int(random.expovariate(1 / 12)))


def _without(text: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    start, end = _cut(text, random)
    return text[:start] + text[end:]


def _twice(text: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    start, end = _cut(text, random)
    times = random.choice((2, 2, 3, 40))
    return text[:start] + text[start:end] * times + text[end:]


def _flipped(text: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    if not text:
        return text
    place = random.randrange(len(text))
    return text[:place] + bytes([text[place] ^ 1 << random.randrange(8)]) + text[place + 1 :]


def _with(text: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    start, end = _cut(text, random)
    put = random.choice(random.choice((_BYTES, _WORDS)))
    return text[:start] + put + text[start if random.random() < 0.5 else end :]


def _moved(text: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    start, end = _cut(text, random)
    rest = text[:start] + text[end:]
    place = random.randrange(len(rest) + 1)
    return rest[:place] + text[start:end] + rest[place:]


def _crossed(text: bytes, random: Random, seeds: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    return text[: random.randrange(len(text) + 1)] + other[random.randrange(len(other) + 1) :]


def _ended(text: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    return text[: random.randrange(len(text) + 1)]


_WAYS = (_without, _twice, _flipped, _flipped, _with, _with, _with, _moved, _crossed, _ended)


def memory() -> int:
    """Return how many bytes of memory this process has now; 0 where that cannot be known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


@contextmanager
def _guarded(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        msg = f"{what}: {type(error).__name__}: {error}"
        raise AssertionError(msg) from error


def fuzz(target: str, seeds: Sequence[bytes], check: Callable[[bytes], object], inputs: int = INPUTS) -> None:
    """Give *check* so many inputs. It raises for one that does harm; then the target and the number are named."""
    warm = 0
    for number in range(inputs):
        if number % 100 == 0:
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
        if number == inputs // 4:
            warm = memory()
        with _guarded(f"input {number} of {target}"):
            check(mutated(seeds, target, number))
    faulthandler.cancel_dump_traceback_later()
    assert memory() - warm < 50_000_000
