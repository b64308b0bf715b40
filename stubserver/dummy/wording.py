"""What an answer says: the fixed text as far as limits and stops let it, or longer where a length is asked for."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from stubserver.dummy import body as read
from stubserver.dummy import tokens
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import DEFAULT_TEXT, DummySettings

__all__ = ["Limits", "Wording", "limits", "plain", "whole"]

_MOST_STOPS: Final = 4
_MOST_PADDED: Final = 131_072  # tokens, all choices together: what is padded grows with a number in the request


class Wording(NamedTuple):
    """The text, the completion tokens reported for it, and the finish reason."""

    text: str
    tokens: int
    reason: str


class Limits(NamedTuple):
    """How long a text may be, in tokens; ``padded`` to as many as it may have; ``stops`` are what ends it."""

    most: int | None
    least: int
    padded: bool
    stops: tuple[str, ...]


def limits(body: dict[str, Any], name: str, most: int | None, choices: int) -> Limits:
    """Read what limits the text of each of the *choices*; *most* is the limit that the member *name* gave."""
    stops = read.strings(body, "stop", _MOST_STOPS)
    least = read.integer(body, "min_tokens", 0) or 0
    if most is not None and least > most:
        text = f"min_tokens must be less than or equal to max_tokens={most}, got {least}."  # vLLM's: OpenAI has none
        raise APIError(text, "min_tokens")
    found = Limits(most, least, bool(body.get("ignore_eos") or least), stops)
    most_padded, length = _MOST_PADDED // choices, (least if most is None else most)
    if found.padded and length > most_padded:
        text = (
            f"{name} is too large: {length}. This model supports at most {most_padded} completion tokens, "
            f"whereas you provided {length}."
        )
        raise APIError(text, name)
    return found


def plain(asked: Limits, settings: DummySettings) -> Wording:
    """Word the plain answer: the text of *settings*, which counts as the tokens of *settings*, unless it is shaped."""
    made = _padded(asked, settings) if asked.padded else _cut(asked.most, settings)
    return _stopped(made, asked) if asked.stops else made


def whole(text: str, most: int | None) -> Wording:
    """Word an answer that is never cut, as half of it would be of no use: JSON."""
    count = len(tokens.split(text))
    return Wording(text, count if most is None else min(count, most), "stop")


def _cut(most: int | None, settings: DummySettings) -> Wording:
    text, count = settings.text, settings.tokens
    if most is None or most >= max(len(text), count):  # a token has a character at least: nothing to cut
        return Wording(text, count, "stop")
    pieces = tokens.split(text)
    if most < len(pieces):
        return Wording("".join(pieces[:most]), most, "length")
    return Wording(text, min(most, count), "length" if most < count else "stop")


def _padded(asked: Limits, settings: DummySettings) -> Wording:
    """Repeat the text until it has as many tokens as it may have; without a limit, as many as it must have."""
    if asked.most is None and asked.least <= settings.tokens:
        return _cut(None, settings)
    length = asked.least if asked.most is None else asked.most
    text = settings.text if settings.text.strip() else DEFAULT_TEXT
    each = len(tokens.split(text.strip()))
    pieces = tokens.split(" ".join([text] * (length // each + 1)))
    return Wording("".join(pieces[:length]), length, "stop" if asked.most is None else "length")


def _stopped(made: Wording, asked: Limits) -> Wording:
    """Cut before the first stop that comes after the tokens that must be there."""
    start = len("".join(tokens.split(made.text)[: asked.least])) if asked.least else 0
    places = [place for stop in asked.stops if (place := made.text.find(stop, start)) >= 0]
    if not places:
        return made
    text = made.text[: min(places)]
    return Wording(text, len(tokens.split(text)), "stop")
