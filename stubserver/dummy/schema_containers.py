"""Objects and arrays for what a schema's keywords say of them, made of the values found for their members and items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from stubserver.dummy import patterns
from stubserver.dummy.schema_check import identity
from stubserver.dummy.schema_reading import Keywords, item_schemas, member_schemas
from stubserver.dummy.schema_values import plain

__all__ = ["Containers", "Place"]

_VARIANTS: Final = 4  # other values tried for one member or item when the plainest do not go together
_MOST_ITEMS: Final = 10_000
_MOST_FAILED: Final = 200  # names tried in vain
_STRING: Final[Keywords] = {"type": "string"}


class Place(NamedTuple):
    """Where in the instance a value is looked for: its path, and the groups of schemas that its parents must meet."""

    path: tuple[str | int, ...] = ()
    above: frozenset[frozenset[object]] = frozenset()

    def inside(self, step: str | int) -> Place:
        """Go to a member or an item."""
        return self._replace(path=(*self.path, step))


Values = Callable[[Sequence[object], Place], Iterator[Any]]
Spend = Callable[[int], None]


class _Stream:
    """The values for one place, kept as they are found."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._taken: list[Any] = []

    def at(self, index: int) -> list[Any]:
        """Return the value *index*, in a list; an empty list when there are fewer."""
        self._taken.extend(islice(self._source, max(0, index + 1 - len(self._taken))))
        return self._taken[index : index + 1]


class Containers:
    """Makes objects and arrays; *values* finds what goes into them."""

    def __init__(self, values: Values, spend: Spend) -> None:
        self._values = values
        self._spend = spend

    def objects(self, parts: Sequence[Keywords], place: Place) -> Iterator[dict[str, Any]]:
        """List objects for *parts*: the required members only, then others for their values, then more members."""
        return _Objects(self._values, self._spend, parts, place).all()

    def arrays(self, parts: Sequence[Keywords], place: Place) -> Iterator[list[Any]]:
        """List arrays for *parts*: as short as can be, then other items, then longer ones."""
        return _Arrays(self._values, self._spend, parts, place).all()


class _Objects:
    def __init__(self, values: Values, spend: Spend, parts: Sequence[Keywords], place: Place) -> None:
        self._values = values
        self._spend = spend
        self._parts = parts
        self._place = place
        self._streams: dict[tuple[int, ...], _Stream] = {}
        self._groups: dict[str, list[Any]] = {}

    def all(self) -> Iterator[dict[str, Any]]:
        if self._limit("minProperties", 0, max) > self._limit("maxProperties", math.inf, min):
            return
        declared = list(dict.fromkeys(name for part in self._parts for name in part.get("properties", ())))
        asked = {name: None for part in self._parts for name in part.get("required", ())}
        names = self._with_dependents([*(name for name in declared if name in asked), *asked])
        given = set(names)
        optional = [name for name in declared if name not in given]
        names = self._filled_up(names, chain(optional, self._invented()))
        base = list(self._variants(names, 1))
        if not base:
            return
        yield base[0]
        more = [self._with_dependents([*names, name]) for name in optional if name not in names]
        if optional:
            more.append(self._with_dependents([*names, *optional]))
        yield from islice(self._variants(names, 2), 1, None)
        yield from chain.from_iterable(self._variants(larger, 1) for larger in more)
        yield from chain.from_iterable(self._variants(larger, _VARIANTS) for larger in [names, *more])

    def _variants(self, names: list[str], rounds: int) -> Iterator[dict[str, Any]]:
        """Give every member its plainest value, then one member after the other its next ones."""
        self._spend(1 + len(names))
        plainest = {}
        for name in names:
            values = self._stream(name).at(0)
            if not values:
                return
            plainest[name] = values[0]
        yield plainest
        for index in range(1, rounds):
            for name in names:
                for value in self._stream(name).at(index):
                    self._spend(1 + len(names) // 16)
                    yield {**plainest, name: value}

    def _stream(self, name: str) -> _Stream:
        """Find the values for the member *name*; members of which the same is said share them."""
        if name not in self._groups:
            self._groups[name] = self._schemas(name)
        schemas = self._groups[name]
        key = tuple(map(id, schemas))
        if key not in self._streams:
            self._streams[key] = _Stream(self._values(schemas, self._place.inside(name)))
        return self._streams[key]

    def _schemas(self, name: str) -> list[Any]:
        found = [schema for part in self._parts for schema in member_schemas(part, name, self._spend)]
        return found or [part["unevaluatedProperties"] for part in self._parts if "unevaluatedProperties" in part]

    def _limit(self, word: str, default: float, choose: Callable[..., float]) -> float:
        return choose([part.get(word, default) for part in self._parts], default=default)

    def _with_dependents(self, names: Iterable[str]) -> list[str]:
        """Add the members that these members ask for."""
        found = dict.fromkeys(names)
        pending = list(found)
        while pending:
            name = pending.pop()
            self._spend(1)
            for needs in (part.get(w, {}) for part in self._parts for w in ("dependentRequired", "dependencies")):
                wanted = needs.get(name, ())
                new = [need for need in wanted if need not in found] if isinstance(wanted, list) else []
                found.update(dict.fromkeys(new))
                pending.extend(new)
        return list(found)

    def _filled_up(self, names: list[str], spare: Iterator[str]) -> list[str]:
        """Add members, as far as values are found for them, until there are as many as there must be."""
        least = self._limit("minProperties", 0, max)
        found, failed = dict.fromkeys(names), 0
        for name in spare:
            if len(found) >= least or failed > _MOST_FAILED:
                break
            if name not in found:
                usable = bool(self._stream(name).at(0))
                failed += not usable
                found.update(dict.fromkeys(self._with_dependents([name]) if usable else ()))
        return list(found)

    def _invented(self) -> Iterator[str]:
        rules = [part["propertyNames"] for part in self._parts if "propertyNames" in part]
        if rules:
            yield from self._values([*rules, _STRING], self._place)
        for pattern in dict.fromkeys(p for part in self._parts for p in part.get("patternProperties", ())):
            try:
                yield from islice(patterns.read(pattern).strings(0, self._spend), 50)
            except patterns.PatternError:
                continue
        if not rules:
            yield from plain(1)


class _Arrays:
    def __init__(self, values: Values, spend: Spend, parts: Sequence[Keywords], place: Place) -> None:
        self._values = values
        self._spend = spend
        self._parts = parts
        self._place = place
        self._unique = any(part.get("uniqueItems") for part in parts)
        self._streams: dict[tuple[int, ...], _Stream] = {}

    def all(self) -> Iterator[list[Any]]:
        low = int(max((part.get("minItems", 0) for part in self._parts), default=0))
        if low > min((part.get("maxItems", _MOST_ITEMS) for part in self._parts), default=_MOST_ITEMS):
            return
        plans = list(self._plans(low))
        for plan in plans:
            yield from self._variants(plan, 1)
        for plan in plans:
            yield from self._variants(plan, _VARIANTS)
        prefix = self._prefix()
        for length in dict.fromkeys((low + 1, low + 2, max(low, prefix), max(low, prefix) + 1)):
            yield from self._variants([self._item(index) for index in range(length)], 2)

    def _prefix(self) -> int:
        lists = (part.get(word) for part in self._parts for word in ("prefixItems", "items"))
        return max((len(items) for items in lists if isinstance(items, list)), default=0)

    def _item(self, index: int) -> tuple[object, ...]:
        found = [schema for part in self._parts for schema in item_schemas(part, index)]
        return tuple(found or [p["unevaluatedItems"] for p in self._parts if "unevaluatedItems" in p])

    def _plans(self, low: int) -> Iterator[list[tuple[object, ...]]]:
        """List what each item must meet: first each ``contains`` is met by the same items, then each by its own."""
        wanted = [(part["contains"], int(part.get("minContains", 1))) for part in self._parts if "contains" in part]
        if sum(number for _, number in wanted) > _MOST_ITEMS:
            return
        most = max((number for _, number in wanted), default=0)
        shared = [tuple(schema for schema, number in wanted if number > index) for index in range(most)]
        apart = [(schema,) for schema, number in wanted for _ in range(number)]
        for extras in (shared, apart)[: 1 + (len(wanted) > 1)]:
            for start in dict.fromkeys((0, self._prefix())) if extras else (0,):
                length = max(low, start + len(extras))
                items = [self._item(index) for index in range(length)]
                items[start : start + len(extras)] = [
                    (*items[start + index], *extra) for index, extra in enumerate(extras)
                ]
                yield items

    def _variants(self, plan: list[tuple[object, ...]], rounds: int) -> Iterator[list[Any]]:
        """Give every item its plainest value, then one item after the other its next ones."""
        self._spend(1 + len(plan))
        plainest = self._plainest(plan)
        if plainest is None:
            return
        yield plainest
        for index in range(1, rounds):
            for at, schemas in enumerate(plan):
                for value in self._stream(schemas, at).at(index):
                    self._spend(1 + len(plan) // 16)
                    yield [*plainest[:at], value, *plainest[at + 1 :]]

    def _plainest(self, plan: list[tuple[object, ...]]) -> list[Any] | None:
        found: list[Any] = []
        taken: set[object] = set()
        starts: dict[int, int] = {}
        for at, schemas in enumerate(plan):
            stream = self._stream(schemas, at)
            index = self._untaken(stream, starts.get(id(stream), 0), taken) if self._unique else 0
            starts[id(stream)] = index + 1
            found.extend(stream.at(index))
            if len(found) == at:
                return None
        return found

    def _untaken(self, stream: _Stream, start: int, taken: set[object]) -> int:
        """Find the first value from *start* on that is not taken yet, and take it."""
        index = start
        while (found := stream.at(index)) and identity(found[0]) in taken:
            self._spend(1)
            index += 1
        taken.update(map(identity, found))
        return index

    def _stream(self, schemas: tuple[object, ...], at: int) -> _Stream:
        key = tuple(map(id, schemas))
        if key not in self._streams:
            self._streams[key] = _Stream(self._values(schemas, self._place.inside(at)))
        return self._streams[key]
