"""YAML -> plain data, bounded and safe: built from libyaml's events, so that nothing is ever constructed or unfolded.

Depth, nodes, what aliases would expand to, and tags are checked event by event, before anything grows: the bombs that
stop or crash the usual loaders (merge keys, nested aliases, 100 000 brackets) are refused within milliseconds. The
tags that vcrpy wrote over the years are rebuilt as plain data; any other is refused by its name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

import yaml

from stubserver.cassettes.scalars import typed

__all__ = ["YamlError", "load"]

_DEEPEST: Final = 200
_MOST_NODES: Final = 5_000_000
_MOST_EXPANDED: Final = 2_000_000
_NODE_LENGTH: Final = 64
_LONGEST_KEY: Final = 16_384

_TEXTS: Final = frozenset({"str", "timestamp", "python/str", "python/unicode"})
_TYPED: Final = frozenset(
    {"int", "float", "bool", "null", "python/int", "python/long", "python/float", "python/bool", "python/none"}
)
_CORE: Final = "tag:yaml.org,2002:"
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """Why a text is not taken, with its line where one is known."""

    def __init__(self, cause: str, line: int | None = None) -> None:
        super().__init__(cause if line is None else f"line {line + 1}: {cause}")


def load(text: bytes, first_line: int = 0) -> Any:  # noqa: ANN401  # any YAML value
    """Return the one document in *text* as dicts, lists, text, bytes, numbers, booleans and None.

    *first_line* is where *text* begins in its file, for the messages. Raises YamlError.
    """
    builder = _Builder(first_line)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(error.problem or "not YAML", mark.line + first_line if mark else None) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"not YAML: {str(error).splitlines()[0]}") from error
    return builder.document()


class _Open:
    """A collection whose end has not come yet."""

    __slots__ = ("anchor", "is_map", "items", "size", "tag")

    def __init__(self, event: Any, *, is_map: bool) -> None:  # noqa: ANN401  # a yaml event
        self.is_map = is_map
        self.tag = event.tag
        self.anchor = event.anchor
        self.items: list[Any] = []
        self.size = 1


class _Builder:
    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._documents: list[Any] = []
        self._nodes = 0
        self._expanded = 0
        self._line = 0
        self._takes: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: lambda event: self._open(_Open(event, is_map=True)),
            yaml.SequenceStartEvent: lambda event: self._open(_Open(event, is_map=False)),
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
        }

    def take(self, event: Any) -> None:  # noqa: ANN401  # a yaml event
        take = self._takes.get(type(event))
        if take is not None:
            self._line = event.start_mark.line
            take(event)

    def document(self) -> Any:  # noqa: ANN401  # any YAML value
        return self._documents[0] if self._documents else None

    def _error(self, cause: str) -> YamlError:
        return YamlError(cause, self._line + self._first_line)

    def _open(self, opened: _Open) -> None:
        if len(self._stack) >= _DEEPEST:
            raise self._error(f"nested deeper than {_DEEPEST} levels")
        self._stack.append(opened)

    def _scalar(self, event: Any) -> None:  # noqa: ANN401  # a yaml event
        value: Any = event.value
        tag = event.tag
        if tag is None or tag == "!":
            if event.implicit[0]:
                if value == "<<" and self._in_key():
                    raise self._error("the merge key << is refused")
                value = typed(value)
        else:
            value = self._tagged_scalar(tag, value)
        self._add(value, event.anchor, 1 + len(event.value) // _NODE_LENGTH)

    def _in_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_map and len(self._stack[-1].items) % 2 == 0

    def _tagged_scalar(self, tag: str, value: str) -> Any:  # noqa: ANN401  # any YAML value
        name = tag.removeprefix(_CORE)
        if name in {"binary", "python/bytes"}:
            try:
                return base64.b64decode(value.encode("ascii"))
            except (binascii.Error, UnicodeEncodeError) as error:
                raise self._error(f"!!binary does not decode: {error}") from error
        if name in _TEXTS:
            return value
        if name in _TYPED:
            return typed(value)
        raise self._error(f"the tag {_shown(tag)} is refused: cassettes are data, never objects")

    def _end(self, event: Any) -> None:  # noqa: ANN401  # a yaml event
        del event
        done = self._stack.pop()
        value = self._mapping(done) if done.is_map else done.items
        self._add(self._tagged(done.tag, value), done.anchor, done.size)

    def _mapping(self, done: _Open) -> dict[Any, Any]:
        keys = done.items[::2]
        for key in keys:
            if isinstance(key, (dict, list)):
                raise self._error("a mapping has a collection for a key")
            if isinstance(key, str) and len(key) > _LONGEST_KEY:
                raise self._error(f"a mapping has a key longer than {_LONGEST_KEY} characters")
        return dict(zip(keys, done.items[1::2], strict=True))

    def _tagged(self, tag: str | None, value: Any) -> Any:  # noqa: ANN401  # any YAML value
        """Rebuild what vcrpy and its users' libraries left in cassettes, as data."""
        if tag is None or tag in {"!", f"{_CORE}map", f"{_CORE}seq"}:
            return value
        name = tag.removeprefix(_CORE)
        args: Any = value.get("args", value.get("state")) if isinstance(value, dict) else value
        if name in {"python/tuple", "python/list"}:
            return value
        if name == "python/object/new:_io.BytesIO" and isinstance(args, (list, type(None))):
            return args[0] if args else b""
        if name == "python/object/apply:builtins.iter" and isinstance(args, list) and args:
            return _joined(args[0])
        maker, _, kind = name.partition(":")
        made = maker in {"python/object/new", "python/object/apply"} and isinstance(args, list) and args
        if made and kind.startswith("multidict.") and isinstance(args[0], str):
            return args[0]
        raise self._error(f"the tag {_shown(tag)} is refused: cassettes are data, never objects")

    def _alias(self, event: Any) -> None:  # noqa: ANN401  # a yaml event
        if event.anchor not in self._anchors:
            raise self._error(f"the alias *{_shown(event.anchor)} stands inside its own anchor, or has none")
        value, size = self._anchors[event.anchor]
        self._expanded += size
        self._add(value, None, size)

    def _add(self, value: Any, anchor: str | None, size: int) -> None:  # noqa: ANN401  # any YAML value
        self._nodes += 1
        if self._nodes > _MOST_NODES or self._expanded > _MOST_EXPANDED:
            raise self._error("too many nodes, or aliases that would expand to too many")
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if self._stack:
            self._stack[-1].items.append(value)
            self._stack[-1].size += size
        elif self._documents:
            raise self._error("more than one YAML document")
        else:
            self._documents.append(value)


def _joined(parts: Any) -> Any:  # noqa: ANN401  # any YAML value
    """Join what an upload's iterator gave."""
    if not isinstance(parts, list):
        return parts
    return b"".join(p if isinstance(p, bytes) else str(p).encode() for p in parts)


def _shown(text: str) -> str:
    return text.removeprefix(_CORE).encode("unicode_escape").decode("ascii")[:100]
