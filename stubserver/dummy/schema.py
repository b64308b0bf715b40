"""The smallest instance that is valid for a JSON schema, draft 2020-12 or 7, as clients of OpenAI's API send them.

Smallest is what has the fewest values; among equals, the branch or type that is written first. Members that are not
required are left out, strings and arrays are as short as can be, numbers as near to zero, booleans false. What has no
type is taken to be what its keywords speak of; ``{}`` and ``true`` are met by ``""``.

Every candidate is checked by a validator before it is given out, and every step is counted: no schema, however it is
built, takes long.
"""

# ruff: noqa: ANN401  # JSON values are Any

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain, islice
from typing import Any, Final

from stubserver.dummy.pattern_match import PatternError
from stubserver.dummy.schema_branches import Branch, Branches, literals
from stubserver.dummy.schema_check import Checker
from stubserver.dummy.schema_containers import Place, arrays, objects
from stubserver.dummy.schema_reading import Budget, Keywords, Schemas, UnsatisfiableError, quoted
from stubserver.dummy.schema_values import numbers, strings

__all__ = ["UnsatisfiableError", "smallest"]

_STEPS: Final = 200_000
_DEEPEST: Final = 48  # of the instance; OpenAI itself allows ten
_LONGEST_PATH: Final = 200
_MISSES: Final = 200  # candidates in a row that fail the check
_AT_ONCE: Final = 256  # branches that are compared with each other

# The keywords that an error quotes: those without schemas in them.
_SAID: Final = frozenset(
    (
        *("const", "enum", "required", "dependentRequired", "format", "pattern", "uniqueItems", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"),
        *("minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties"),
    )
)

Path = tuple[str | int, ...]


def smallest(schema: object) -> Any:
    """Return the smallest instance of *schema*; it may share its parts with *schema*, and with itself.

    Raises UnsatisfiableError, with the JSON path of the place and the reason, when there is none, when the schema is no
    JSON schema, or when the search for an instance is given up.
    """
    search = _Search(schema)
    try:
        for value in search.values([schema], Place()):
            return value
    except (UnsatisfiableError, PatternError) as error:
        raise UnsatisfiableError(f"{_written(search.at)}: {error}") from None
    except RecursionError:
        raise UnsatisfiableError(f"{_written(search.at)}: the schema is nested too deeply") from None
    path, why = search.blamed or ((), "no value is allowed")
    raise UnsatisfiableError(f"{_written(path)}: {why}")


class _Search:
    """Looks for the values of one schema document."""

    def __init__(self, root: object) -> None:
        self._spend = Budget(_STEPS).spend
        schemas = Schemas(root, self._spend)
        self._branches = Branches(schemas, self._spend)
        self._checker = Checker(schemas, self._spend)
        self.at: Path = ()
        self.blamed: tuple[Path, str] | None = None

    def values(self, schemas: Sequence[object], place: Place) -> Iterator[Any]:
        """List values that all of *schemas* are met by, the smallest of the likely ones first."""
        self.at = place.path
        group = frozenset(id(schema) for schema in schemas if schema is not True)
        self._spend(15)
        if group in place.above:
            self._blame(place, "required inside itself without end")
            return
        if len(place.path) > _DEEPEST:
            self._blame(place, f"required more than {_DEEPEST} levels deep")
            return
        inner = place._replace(above=place.above | {group})
        for wide in (False, True):
            branches = self._branches.of(schemas, lambda why: self._blame(place, why), wide=wide)
            while together := list(islice(branches, _AT_ONCE)):
                yield from self._merged(together, schemas, inner)

    def _merged(self, branches: list[Branch], schemas: Sequence[object], place: Place) -> Iterator[Any]:
        """Merge the branches' values by size; a branch is looked into when its least size has its turn, not before."""
        heap: list[tuple[int, int, bool, Any]] = [
            (branch.size, index, True, self._checked(branch, schemas, place)) for index, branch in enumerate(branches)
        ]
        heapify(heap)
        while heap:
            size, index, is_source, thing = heappop(heap)
            if not is_source:
                yield thing
                continue
            for value in islice(thing, 1):
                found = self._size(value)
                heappush(heap, (found, index, False, value))
                heappush(heap, (max(size, found), index, True, thing))

    def _checked(self, branch: Branch, schemas: Sequence[object], place: Place) -> Iterator[Any]:
        misses, found = 0, False
        for value in self._candidates(branch, place):
            self._spend(1)
            if all(self._checker.valid(schema, value) for schema in schemas):
                misses, found = 0, True
                yield value
            else:
                misses += 1
                if misses > _MISSES:
                    break
        if not found:
            self._blame(place, f"no {branch.kind} was found that meets {_summary(branch.parts)}")

    def _candidates(self, branch: Branch, place: Place) -> Iterable[Any]:
        parts = branch.parts
        match branch.kind:
            case "literal":
                return sorted(literals(parts) or (), key=self._size)
            case "object":
                return objects(parts, place, self.values, self._spend)
            case "array":
                return arrays(parts, place, self.values, self._spend)
            case "string":
                return chain(self._embedded(parts, place), strings(parts, self._spend))
            case "integer" | "number":
                return numbers(parts, integral=branch.kind == "integer")
        return (False, True) if branch.kind == "boolean" else (None,)

    def _embedded(self, parts: Sequence[Keywords], place: Place) -> Iterator[str]:
        """Write JSON in a string, where that is what it is to hold."""
        for part in parts:
            if part.get("contentMediaType") == "application/json":
                yield from map(json.dumps, islice(self.values([part.get("contentSchema", True)], place), 1))

    def _size(self, value: Any) -> int:
        """Count the values in *value*, itself included."""
        self._spend(1)
        if isinstance(value, dict):
            return 1 + sum(map(self._size, value.values()))
        return 1 + sum(map(self._size, value)) if isinstance(value, list) else 1

    def _blame(self, place: Place, why: str) -> None:
        """Keep the reason that lies deepest, and of these the first."""
        if self.blamed is None or len(place.path) > len(self.blamed[0]):
            self.blamed = (place.path, why)


def _written(path: Path) -> str:
    steps = "".join(f".{step}" if str(step).isidentifier() else f"[{json.dumps(step)}]" for step in path)
    return f"${steps if len(steps) <= _LONGEST_PATH else steps[:_LONGEST_PATH] + '…'}"


def _summary(parts: Sequence[Keywords]) -> str:
    said = [f"{word} {quoted(value)}" for part in parts for word, value in part.items() if word in _SAID]
    return ", ".join(dict.fromkeys(said))[:400] or "the whole schema"
