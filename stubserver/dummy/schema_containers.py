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

__all__ = ["Place", "arrays", "objects"]

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


def objects(parts: Sequence[Keywords], place: Place, values: Values, spend: Spend) -> Iterator[dict[str, Any]]:
    """List objects for *parts*: the required members only, then other values for them, then more members.

    *values* finds what goes into them; *spend* counts the steps.
    """
    return _Objects(parts, place, values, spend).all()


def arrays(parts: Sequence[Keywords], place: Place, values: Values, spend: Spend) -> Iterator[list[Any]]:
    """List arrays for *parts*: as short as can be, then with other items, then longer ones."""
    return _Arrays(parts, place, values, spend).all()


class _Objects:
    def __init__(self, parts: Sequence[Keywords], place: Place, values: Values, spend: Spend) -> None:
        self._parts = parts
        self._place = place
        self._values = values
        self._spend = spend
        self._streams: dict[tuple[int, ...], _Stream] = {}
        self._groups: dict[str, list[Any]] = {}

    def all(self) -> Iterator[dict[str, Any]]:
        if self._limit("minProperties", 0, max) > self._limit("maxProperties", math.inf, min):
            return
        names, optional = self._names()
        plainest = list(self._variants(names, 1))
        if not plainest:
            return
        yield from plainest
        more = [self._with_dependents([*names, name]) for name in optional]
        more += [self._with_dependents([*names, *optional])] if len(optional) > 1 else []
        yield from islice(self._variants(names, 2), 1, None)
        yield from chain.from_iterable(self._variants(larger, 1) for larger in more)
        yield from chain.from_iterable(self._variants(larger, _VARIANTS) for larger in [names, *more])

    def _names(self) -> tuple[list[str], list[str]]:
        """Choose the members, in the order of the properties, and list the others that are described."""
        declared = list(dict.fromkeys(name for part in self._parts for name in part.get("properties", ())))
        asked = {name: None for part in self._parts for name in part.get("required", ())}
        required = dict.fromkeys(self._with_dependents([*(name for name in declared if name in asked), *asked]))
        optional = [name for name in declared if name not in required]
        names = dict.fromkeys(self._filled_up(list(required), chain(optional, self._invented())))
        return list(names), [name for name in optional if name not in names]

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
            yield from islice(patterns.read(pattern).strings(0, self._spend), 50)
        if not rules:
            yield from plain(1)


class _Arrays:
    def __init__(self, parts: Sequence[Keywords], place: Place, values: Values, spend: Spend) -> None:
        self._parts = parts
        self._place = place
        self._values = values
        self._spend = spend
        self._unique = any(part.get("uniqueItems") for part in parts)
        self._streams: dict[tuple[int, ...], _Stream] = {}

    def all(self) -> Iterator[list[Any]]:
        low = int(max((part.get("minItems", 0) for part in self._parts), default=0))
        if low > min((part.get("maxItems", _MOST_ITEMS) for part in self._parts), default=_MOST_ITEMS):
            return
        plans = list(self._plans(low))
        if not plans:
            return
        yield from chain.from_iterable(self._variants(plan, 1) for plan in plans)
        yield from chain.from_iterable(islice(self._variants(plan, _VARIANTS), 1, None) for plan in plans)
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
        """Give every item its first value, of those not taken by others where items must differ."""
        streams = [self._stream(schemas, at) for at, schemas in enumerate(plan)]
        found: dict[int, Any] = {}
        taken: set[object] = set()
        starts: dict[int, int] = {}
        for at in self._order(streams):
            stream = streams[at]
            index = self._untaken(stream, starts.get(id(stream), 0), taken) if self._unique else 0
            starts[id(stream)] = index + 1
            values = stream.at(index)
            if not values:
                return None
            found[at] = values[0]
        return [found[at] for at in range(len(plan))]

    def _order(self, streams: list[_Stream]) -> list[int]:
        """Put the items that have but one value first, where items must differ."""
        positions = range(len(streams))
        return sorted(positions, key=lambda at: bool(streams[at].at(1))) if self._unique else list(positions)

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
