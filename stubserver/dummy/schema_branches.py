"""The ways in which schemas can all be met at one place of the instance, one after the other.

Whatever is applied in place (``$ref``, ``allOf``, ``anyOf``, ``oneOf``, ``if``, ``not``, ``dependentSchemas``) is
unfolded; each way is the list of keywords that then hold together, and the kind of value to try. Only a check of the
finished value tells whether a way really works, so a branch may say less than its schema, never more.
"""

# ruff: noqa: ANN401  # JSON values are Any

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from stubserver.dummy.schema_check import identity
from stubserver.dummy.schema_negation import opposites
from stubserver.dummy.schema_reading import Keywords, Schemas

__all__ = ["Branch", "Branches", "literals"]

# Linked lists, which branches can share: (first, the rest), or () at the end.
Linked = tuple[Any, ...]
Blame = Callable[[str], None]

# What a schema without a type is taken to be about, by its keywords; a schema without any of them is met by a string.
_SPEAKS_OF: Final = {
    "object": frozenset(
        (
            *("properties", "required", "patternProperties", "additionalProperties", "minProperties", "maxProperties"),
            *("propertyNames", "dependentRequired", "unevaluatedProperties"),
        )
    ),
    "array": frozenset(("items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems", "unevaluatedItems")),
    "string": frozenset(("minLength", "maxLength", "pattern", "format", "contentMediaType")),
    "number": frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
}
_ORDER: Final = ("string", "number", "boolean", "null", "array", "object")
_NULL: Final[Keywords] = {"const": None}
_MOST_EXCLUDED: Final = 8
_DEEPEST: Final = 100


class Branch(NamedTuple):
    """One way: every instance of it has at least *size* values."""

    size: int
    kind: str
    parts: tuple[Keywords, ...]


class _State(NamedTuple):
    """What is still to be read, what is still to be chosen, and what was found.

    *pending*: (schema, the schemas that it was reached through); *choices*: lists of options, each an (unlikely?,
    schemas to add, the schemas that they were reached through); *wide*: whether an unlikely option was taken.
    """

    pending: Linked
    choices: Linked = ()
    parts: Linked = ()
    kinds: tuple[str, ...] | None = None
    wide: bool = False


class Branches:
    """Unfolds the schemas of one document."""

    def __init__(self, schemas: Schemas, spend: Callable[[int], None]) -> None:
        self._schemas = schemas
        self._spend = spend
        # What was made of a schema (known by its identity) is made once and kept: it is known by its identity, too.
        self._made: dict[tuple[object, ...], Any] = {}

    def of(self, together: Iterable[object], blame: Blame, *, wide: bool) -> Iterator[Branch]:
        """List the likely ways to meet all of *together*, as they are written; *wide*: the unlikely ones."""
        stack = [_State(_pushed((), list(together), frozenset()))]
        while stack:
            self._spend(3)
            state = stack.pop()
            if state.pending:
                stack.extend(self._read(state, blame))
            elif state.choices:
                stack.extend(reversed(list(self._options(state, wide=wide))))
            else:
                yield from self._finished(state, wide=wide)

    def _read(self, state: _State, blame: Blame) -> Iterator[_State]:
        """Read one schema; nothing comes back when it cannot be met."""
        (schema, above), rest = state.pending
        if schema is True:
            yield state._replace(pending=rest)
        elif schema is False:
            blame("nothing is allowed here")
        elif id(schema) in above:
            blame("a schema refers to itself without end")
        elif len(above) > _DEEPEST:
            blame(f"schemas are applied inside one another more than {_DEEPEST} times")
        else:
            keywords = self._schemas.keywords(schema)
            kinds = _meet(state.kinds, keywords.get("type"))
            if kinds == ():
                blame(f"no type is allowed by all of its schemas: {keywords['type']!r} excludes the others")
                return
            yield self._add(_State(rest, state.choices, state.parts, kinds, state.wide), keywords, above | {id(schema)})
            if keywords.get("nullable") is True:
                yield state._replace(pending=((_NULL, above), rest), wide=True)

    def _add(self, state: _State, keywords: Keywords, above: frozenset[int]) -> _State:
        inner = [*self._schemas.targets(keywords), *keywords.get("allOf", ())]
        pending, choices = _pushed(state.pending, inner, above), state.choices
        for options in self._groups(keywords):
            self._spend(len(options))
            choices = ([(unlikely, schemas, above) for unlikely, schemas in options], choices)
        return _State(pending, choices, (keywords, state.parts), state.kinds, state.wide)

    def _groups(self, keywords: Keywords) -> Iterator[list[tuple[bool, list[Any]]]]:
        """List the choices: of each group one option must be taken, as (unlikely?, schemas to add)."""
        if "anyOf" in keywords:
            yield [(False, [schema]) for schema in keywords["anyOf"]]
        if "oneOf" in keywords:
            yield self._one_of(keywords["oneOf"])
        if "not" in keywords:
            yield [(False, [schema]) for schema in self._negated(keywords["not"])]
        if "if" in keywords and ("then" in keywords or "else" in keywords):
            met = [keywords["if"], keywords.get("then", True)]
            unmet = [(False, [schema, keywords.get("else", True)]) for schema in self._negated(keywords["if"])]
            # The unmet ones first: of many conditions, as on a tag, one at most is met.
            yield [*unmet, (False, met)]
        for word in ("dependentSchemas", "dependencies"):
            for name, schema in keywords.get(word, {}).items():
                if not isinstance(schema, list):
                    asked = name in keywords.get("required", ())
                    yield [(False, [schema])] if asked else [(False, []), (True, [self._present(name), schema])]

    def _one_of(self, schemas: list[Any]) -> list[tuple[bool, list[Any]]]:
        """Take one and hope that it excludes the others; the unlikely options say so, unless they are too many."""
        plain = [(False, [schema]) for schema in schemas]
        others = range(len(schemas) if len(schemas) <= _MOST_EXCLUDED else 0)
        return [*plain, *((True, [schemas[i], self._none_but(schemas, i)]) for i in others)]

    def _none_but(self, schemas: list[Any], index: int) -> Any:
        rest = [{"not": schema} for i, schema in enumerate(schemas) if i != index]
        return self._made.setdefault(("none but", id(schemas), index), {"allOf": rest})

    def _present(self, name: str) -> Keywords:
        made: Keywords = self._made.setdefault(("present", name), {"type": "object", "required": [name]})
        return made

    def _negated(self, schema: object) -> list[Any]:
        if isinstance(schema, bool):
            return [not schema]
        key = ("not", id(schema))
        if key not in self._made:
            keywords = self._schemas.keywords(schema)
            self._made[key] = opposites(keywords, self._schemas.targets(keywords))
        found: list[Any] = self._made[key]
        return found

    def _options(self, state: _State, *, wide: bool) -> Iterator[_State]:
        options, rest = state.choices
        for unlikely, schemas, above in options:
            if wide or not unlikely:
                pending = _pushed(state.pending, schemas, above)
                yield _State(pending, rest, state.parts, state.kinds, state.wide or unlikely)

    def _finished(self, state: _State, *, wide: bool) -> Iterator[Branch]:
        """Say which kinds of value are to be tried."""
        parts = _listed(state.parts)
        self._spend(2 * len(parts))
        if any("const" in part or "enum" in part for part in parts):
            kinds = ["literal"] if state.wide == wide else []
        elif state.kinds is not None:
            kinds = list(state.kinds) if state.wide == wide else []
        else:
            likely = [k for k, words in _SPEAKS_OF.items() if any(not words.isdisjoint(part) for part in parts)]
            likely = likely or ["string"]
            kinds = [kind for kind in _ORDER if state.wide or kind not in likely] if wide else likely
        yield from (Branch(_size(kind, parts), kind, tuple(parts)) for kind in kinds)


def _listed(parts: Linked) -> list[Keywords]:
    listed: list[Keywords] = []
    while parts:
        part, parts = parts
        listed.append(part)
    return listed[::-1]


def _pushed(pending: Linked, schemas: list[Any], above: frozenset[int]) -> Linked:
    """Put *schemas*, reached through *above*, before what is pending."""
    for schema in reversed(schemas):
        pending = ((schema, above), pending)
    return pending


def _meet(kinds: tuple[str, ...] | None, types: str | list[str] | None) -> tuple[str, ...] | None:
    """Intersect two lists of types, in the order of the first; None is no list."""
    if types is None:
        return kinds
    named = (types,) if isinstance(types, str) else tuple(types)
    if kinds is None:
        return named
    met = ("integer" if kind == "number" and "number" not in named and "integer" in named else kind for kind in kinds)
    return tuple(dict.fromkeys(k for k in met if k in named or (k == "integer" and "number" in named)))


def literals(parts: Iterable[Keywords]) -> list[Any] | None:
    """List the values that every ``const`` and ``enum`` allows; None when there is neither."""
    lists = [part["enum"] for part in parts if "enum" in part] + [[part["const"]] for part in parts if "const" in part]
    if not lists:
        return None
    known = [set(map(identity, values)) for values in lists[1:]]
    return [value for value in lists[0] if all(identity(value) in values for values in known)]


def _size(kind: str, parts: list[Keywords]) -> int:
    """Count the values that an instance has at least."""
    if kind == "object":
        names = {name for part in parts for name in part.get("required", ())}
        return 1 + max(len(names), *(int(part.get("minProperties", 0)) for part in parts), 0)
    if kind == "array":
        return 1 + max((int(part.get("minItems", 0)) for part in parts), default=0)
    return 1
