"""Log probabilities of tokens: numbers made of the token's text, the same for the same text.

The token that is said is always the likeliest (0.5 to 0.99); what is left is halved from one alternative to the next,
so that the probabilities of a place never add up to more than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

__all__ = ["chat", "legacy", "responses", "shortened"]

_STEPS: Final = 490
_WORDS: Final = (
    *(" the", " of", " and", " to", " in", " a", " is", " that", " for", " it", " as"),
    *(" was", " with", " be", " by", " on", " not", " he", " this", " are", " or"),
)
"""The alternatives: one more than the API gives, as one may be the token itself."""


def chat(pieces: Sequence[str], top: int) -> dict[str, Any]:
    """Return the ``logprobs`` of a chat choice that says *pieces*, with *top* alternatives to each (0 to 20)."""
    known: dict[str, dict[str, Any]] = {}
    for piece in pieces:
        if piece not in known:
            shown = [_entry(token, number) for token, number in _likeliest(piece, top).items()]
            known[piece] = _entry(piece, _logprob(piece)) | {"top_logprobs": shown}
    return {"content": [known[piece] for piece in pieces], "refusal": None}


def responses(pieces: Sequence[str], top: int) -> list[dict[str, Any]]:
    """Return the ``logprobs`` of a text that a response says in *pieces*, with *top* alternatives to each (0 to 20)."""
    content: list[dict[str, Any]] = chat(pieces, top)["content"]
    return content


def shortened(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``logprobs`` as the events of a response have them: without bytes."""
    return [
        {
            "token": each["token"],
            "logprob": each["logprob"],
            "top_logprobs": [{"token": e["token"], "logprob": e["logprob"]} for e in each["top_logprobs"]],
        }
        for each in listed
    ]


def legacy(pieces: Sequence[str], top: int, *, echoed: bool = False, start: int = 0) -> dict[str, list[Any]]:
    """Return the ``logprobs`` of a completions choice; *start* is where in the choice's text the first piece begins.

    Each place has its own token in ``top_logprobs``, also for a *top* of 0. When *echoed*, the first piece begins the
    prompt: nothing comes before it, so that it has no probability.
    """
    offsets = [start]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    numbers: list[float | None] = [_logprob(piece) for piece in pieces]
    likeliest: list[dict[str, float] | None] = [_likeliest(piece, max(top, 1)) for piece in pieces]
    if echoed and pieces:
        numbers[0] = likeliest[0] = None
    return {
        "tokens": list(pieces),
        "token_logprobs": numbers,
        "top_logprobs": likeliest,
        "text_offset": offsets[:-1],
    }


def _probability(piece: str) -> float:
    return 0.99 - crc32(piece.encode("utf-8", "surrogatepass")) % _STEPS / 1000


def _logprob(piece: str) -> float:
    return round(math.log(_probability(piece)), 6)


def _likeliest(piece: str, top: int) -> dict[str, float]:
    """Return *top* tokens and their logarithms, the likeliest first: *piece* itself, then others."""
    rest = math.log(1 - _probability(piece))
    others = [word for word in _WORDS if word != piece][: max(top - 1, 0)]
    numbers = {word: round(rest - math.log(2) * place, 6) for place, word in enumerate(others, 1)}
    return {piece: _logprob(piece), **numbers} if top else {}


def _entry(token: str, number: float) -> dict[str, Any]:
    return {"token": token, "logprob": number, "bytes": list(token.encode("utf-8", "surrogatepass"))}
