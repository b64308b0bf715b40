"""Faults that a request itself asks for: in a header field, or by a phrase in its prompt."""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock
from typing import Final

from stubserver.errors import UsageError
from stubserver.faults.choosing import Chooser
from stubserver.faults.spec import Rule, parsed
from stubserver.messages import Request

__all__ = ["HEADER", "Wishes", "said_in_prompt"]

HEADER: Final = "x-stubserver-fault"
_PHRASE: Final = re.compile(rb" ?\[\[fault:? ([^\[\]\"\\]{1,300})\]\]")
_SEVERAL: Final = re.compile(r"\s*\|\s*")
_MOST: Final = 1000


def said_in_prompt(request: Request) -> tuple[Request, tuple[str, ...]]:
    """Return *request* without the phrases ``[[fault SPEC]]`` in its body, so that it matches; and what they say."""
    if b"[[fault" not in request.body:
        return request, ()
    said = tuple(found.decode("utf-8", "replace") for found in _PHRASE.findall(request.body))
    return request._replace(body=_PHRASE.sub(b"", request.body)), said


class Wishes:
    """What was asked for, counted for each request by itself: ``429,first=2`` is for its first two attempts."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._choosers: OrderedDict[tuple[bytes, tuple[str, ...]], Chooser] = OrderedDict()
        self._lock = Lock()

    def chooser(self, key: bytes, said: tuple[str, ...]) -> Chooser:
        """Return what counts the attempts of the request with this *key*. Raises UsageError for what is no fault."""
        place = (key, said)
        with self._lock:
            found = self._choosers.get(place)
            if found is None:
                rules = [_rule(spec) for text in said for spec in _SEVERAL.split(text) if spec]
                found = self._choosers[place] = Chooser(rules, self._seed, f"{key.hex()}/")
                if len(self._choosers) > _MOST:
                    self._choosers.popitem(last=False)
            self._choosers.move_to_end(place)
        return found


def _rule(spec: str) -> Rule:
    rule = parsed(spec)
    if rule.kind.family == "server" or rule.kind.name == "hang-up":
        raise UsageError(f"{rule.kind.name} is for all clients: a request cannot ask for it")
    # It was asked for by the request itself, whatever that is.
    return rule._replace(match=rule.match._replace(method=rule.match.method or "ANY"))
