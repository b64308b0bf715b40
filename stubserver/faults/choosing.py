"""Which faults a request gets: from the request alone, and in the order in which requests come."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from threading import Lock
from typing import Any, Final, NamedTuple

from stubserver.canonical import normal_path
from stubserver.faults.draws import rng
from stubserver.faults.spec import Match, Rule, When
from stubserver.jsonvalue import json_value
from stubserver.messages import Request

__all__ = ["Asked", "Chooser", "Chosen"]

_STREAMED: Final = "events"


class Chosen(NamedTuple):
    """A fault that a request gets, with the source of what is drawn for it."""

    rule: Rule
    chance: random.Random


class Asked:
    """A request as rules look at it; its JSON is read when one asks for it."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @cached_property
    def json(self) -> dict[str, Any]:
        """The members of the body, none when it is no JSON object."""
        value = json_value(self.request.body)
        return value if isinstance(value, dict) else {}

    @cached_property
    def model(self) -> str:
        """The model that is asked for; empty for none."""
        model = self.json.get("model")
        return model if isinstance(model, str) else ""

    def fits(self, match: Match) -> bool:
        """Tell whether a rule looks at this request at all."""
        request = self.request
        if (match.method or "POST") not in (request.method, "ANY"):
            return False
        if match.path and not fnmatchcase(normal_path(request.path), normal_path(match.path)):
            return False
        if match.model and not fnmatchcase(self.model, match.model):
            return False
        return match.body in request.body

    def may_have(self, rule: Rule) -> bool:
        """Tell whether the answer could have this fault: there is no last event where no stream is asked for."""
        if rule.kind.family == _STREAMED or rule.kind.name == "split-utf8" or rule.place.events is not None:
            return self.json.get("stream") is True
        if rule.kind.name == "bad-json":
            return self.json.get("stream") is not True
        if rule.kind.family == "tools":
            return any(self.json.get(name) for name in ("tools", "functions"))
        return True


class _Counted:
    """A rule with how many requests it has counted, and how often it came."""

    __slots__ = ("came", "place", "rule", "seen")

    def __init__(self, rule: Rule, place: int) -> None:
        self.rule = rule
        self.place = place
        self.seen = 0
        self.came = 0


class Chooser:
    """Counts requests for a list of rules. Thread-safe, and the same again for the same seed and order.

    Rules are asked in their order: all that are about time come, of the others the first. A rule counts only the
    requests that it was asked about, so ``429,first=2`` before ``500,once`` is 429, 429, 500.
    """

    def __init__(self, rules: Iterable[Rule], seed: int = 0, name: str = "") -> None:
        self._seed = seed
        self._name = name
        self._counted: tuple[_Counted, ...] = ()
        self._lock = Lock()
        self._places = 0
        self.add(rules)

    def add(self, rules: Iterable[Rule], *, first: bool = False) -> None:
        """Add rules behind those that are there, or before them; what was counted stays."""
        with self._lock:
            added = tuple(_Counted(rule, place) for place, rule in enumerate(rules, self._places))
            self._places += len(added)
            self._counted = (*added, *self._counted) if first else (*self._counted, *added)

    def choose(self, asked: Asked) -> list[Chosen]:
        """Return the faults that this request gets."""
        chosen: list[Chosen] = []
        settled = False
        with self._lock:
            for counted in self._counted:
                rule = counted.rule
                timing = rule.kind.family == "timing"
                if rule.kind.name == "hang-up" or (settled and not timing) or not _is_for(rule, asked):
                    continue
                chance = self._next(counted)
                if chance is not None:
                    chosen.append(Chosen(rule, chance))
                    settled = settled or not timing
        return chosen

    def hangs_up(self) -> Rule | None:
        """Return the rule that closes a connection which was just accepted, None when it is served."""
        with self._lock:
            for counted in self._counted:
                if counted.rule.kind.name == "hang-up" and self._next(counted) is not None:
                    return counted.rule
        return None

    def _next(self, counted: _Counted) -> random.Random | None:
        """Count one request; return what is drawn from when the fault comes."""
        when = counted.rule.when
        if when.times and counted.came >= when.times:
            return None
        counted.seen += 1
        if not _is_due(when, counted.seen):
            return None
        chance = rng(self._seed, f"{self._name}{counted.place}", counted.seen)
        if when.p < 1.0 and chance.random() >= when.p:
            return None
        counted.came += 1
        return chance

    def __bool__(self) -> bool:
        """Whether there are any rules."""
        return bool(self._counted)

    @property
    def counts(self) -> Sequence[tuple[Rule, int, int]]:
        """Each rule, with how many requests it has counted and how often it came."""
        with self._lock:
            return [(counted.rule, counted.seen, counted.came) for counted in self._counted]


def _is_for(rule: Rule, asked: Asked) -> bool:
    return asked.fits(rule.match) and asked.may_have(rule)


def _is_due(when: When, seen: int) -> bool:
    """Tell whether the fault may come for the request that was counted as the number *seen*."""
    number = seen - when.skip
    if number < 1 or (when.first and number > when.first):
        return False
    return not when.every or number % when.every == 0
