"""A cassette file -> recordings: split at the items, the requests read, the responses left for later.

A file in vcrpy's own layout is cut at the ``- `` in column 0, and of each item only the request is decoded up front.
Whatever is not in that layout is parsed as YAML, item by item or as a whole. Files are only ever read.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from stubserver.canonical import Rules
from stubserver.cassettes import format as dialect
from stubserver.cassettes.items import read_item_request
from stubserver.cassettes.packed import is_packed, unpack
from stubserver.cassettes.recordings import CassetteFile, Reel, recording_of, stamp_of
from stubserver.cassettes.routes import normal_routes
from stubserver.errors import CassetteError, NotACassetteError
from stubserver.messages import Interaction, Request

__all__ = ["end_of_items", "read_file", "start_of_items"]

_LARGEST: Final = 4 * 1024**3
_LARGEST_WHOLE: Final = 256 * 1024**2
_LARGEST_AGAIN: Final = 8 * 1024**2

_BOM: Final = rb"(?:\xef\xbb\xbf)?"
_START: Final = re.compile(rb"^" + _BOM + rb"interactions:[ \t]*\r?\n(?=- )", re.MULTILINE)
_ANY_START: Final = re.compile(
    rb"^" + _BOM + rb"[\"']?(?:interactions|requests?|responses?)[\"']?[ \t]*:", re.MULTILINE
)
_TEXT: Final = re.compile(rb"\S")
_FIRST: Final = re.compile(_BOM + rb"(?:\s|#.*\n|---(?=\s))*+([{\[]|- (?=request:|response:))")
_ROOT_KEY: Final = re.compile(rb"\n(?=[^\s#-])")


def read_file(path: Path, label: str, name: str, rules: Rules, *, keep_below: int = 0) -> CassetteFile:
    """Read the requests of a cassette; its text is kept in memory when it is at most *keep_below* bytes long.

    Raises CassetteError for a file that is damaged as a whole, NotACassetteError for one that holds something else;
    single damaged items are listed in ``problems``.
    """
    try:
        stamp = stamp_of(path)
        if stamp[0] > _LARGEST_WHOLE:
            return _read_large(CassetteFile(path, label, name, stamp), rules)
        text = path.read_bytes()
    except OSError as error:
        raise CassetteError(label, error.strerror or str(error)) from error
    packed = is_packed(text)
    if packed:
        text = unpack(io.BytesIO(text), label)
    if not _TEXT.search(text):
        raise NotACassetteError(label, "the file is empty")
    file = CassetteFile(path, label, name, stamp)
    _Reading(file, text, rules, kept=packed or len(text) <= keep_below).run()
    return file


def _read_large(file: CassetteFile, rules: Rules) -> CassetteFile:
    """Read a very large file piece by piece: none of its text stays in memory."""
    from stubserver.cassettes import pieces  # noqa: PLC0415  # start-up: few are so large

    if file.stamp[0] > _LARGEST:
        raise CassetteError(file.label, f"larger than {_LARGEST >> 30} GB")
    start = pieces.first_item(file.path)
    if start is None:
        raise CassetteError(file.label, _too_large())
    piece = pieces.read_range(file.path, rules, start, None)
    file.recordings = Reel(file, piece.rows)
    file.problems = [CassetteError(file.label, cause, number) for number, cause in piece.problems]
    file.skipped = piece.skipped
    return file


def _too_large() -> str:
    return f"larger than {_LARGEST_WHOLE >> 20} MB and not in the layout vcrpy writes"


class _Reading:
    """The reading of one file."""

    def __init__(self, file: CassetteFile, text: bytes, rules: Rules, *, kept: bool) -> None:
        self._file = file
        self._text = text
        self._rules = rules
        self._headers = "headers" in rules.match_on
        self._normal = normal_routes(rules)
        self._lines = self._counted = 0
        if kept:
            file.text = text

    def run(self) -> None:
        first = _FIRST.match(self._text)
        start = _START.search(self._text)
        if first and first[1] != b"- ":
            self._read_whole(self._json())
        elif first:
            raise CassetteError(self._file.label, dialect.TOO_OLD)
        elif start:
            self._read_parts(start.end())
            if self._file.problems:
                self._read_again()
        elif _ANY_START.search(self._text):
            self._read_whole(self._yaml())
        else:
            raise self._no_cassette()

    def _no_cassette(self, cause: str = "no recorded interactions in it") -> NotACassetteError:
        return NotACassetteError(self._file.label, cause)

    def _json(self) -> Any:  # noqa: ANN401  # any JSON value
        if b"interactions" not in self._text and b"request" not in self._text:
            raise self._no_cassette()
        self._bound_whole()
        try:
            return orjson.loads(self._text)
        except ValueError:
            pass  # flow YAML, constants and surrogates are not orjson's
        try:
            return json.loads(self._text)
        except (ValueError, RecursionError) as error:
            cause = str(error) or "nested too deep"
        if not re.search(rb"[\"'{,\s](?:interactions|requests?)[\"']?\s*:", self._text):
            raise self._no_cassette(f"not JSON: {cause}")
        if self._file.path.name.removesuffix(".gz").endswith(".json"):
            raise CassetteError(self._file.label, f"not JSON: {cause}")
        return self._yaml()

    def _yaml(self) -> Any:  # noqa: ANN401  # any YAML value
        self._bound_whole()
        from stubserver.cassettes import safe_yaml  # noqa: PLC0415  # importing yaml takes as long as starting

        try:
            return safe_yaml.load(self._text)
        except safe_yaml.YamlError as error:
            raise CassetteError(self._file.label, str(error)) from error

    def _bound_whole(self) -> None:
        if len(self._text) > _LARGEST_WHOLE:
            raise CassetteError(self._file.label, _too_large())

    def _read_whole(self, document: object) -> None:
        """Take the items of a parsed document; they stay in memory."""
        label = self._file.label
        try:
            items = dialect.items_of(document)
        except dialect.FormatError as error:
            raise CassetteError(label, str(error)) from error
        if items is None:
            raise self._no_cassette()
        self._file.text = None
        for number, item in enumerate(items, 1):
            if not dialect.is_http(item):
                self._file.skipped += 1
                continue
            try:
                kept = dialect.read_interaction(item)
                self._add(kept.request, number, number, kept=kept)
            except ValueError as error:
                self._file.problems.append(CassetteError(label, str(error), number))

    def _read_parts(self, start: int) -> None:
        """Take the file item by item."""
        for number, (offset, length) in enumerate(_cut(self._text, start, _end_of_all(self._text, start)), 1):
            raw = self._text[offset : offset + length]
            try:
                request = read_item_request(raw, self._line_of(offset), headers=self._headers)
                if request is None:
                    self._file.skipped += 1
                else:
                    self._add(request, number, offset, raw)
            except ValueError as error:
                self._file.problems.append(CassetteError(self._file.label, str(error), number))

    def _read_again(self) -> None:
        """Read as a whole what failed in parts: an item may refer to one before it, or text may look like an item."""
        file = self._file
        linked = any("alias" in problem.cause for problem in file.problems)
        if len(self._text) > (_LARGEST_WHOLE if linked else _LARGEST_AGAIN):
            return
        parts = file.recordings, file.problems, file.skipped, file.text
        file.recordings, file.problems, file.skipped = Reel(file), [], 0
        try:
            self._read_whole(self._yaml())
        except CassetteError:
            file.recordings, file.problems, file.skipped, file.text = parts

    def _line_of(self, offset: int) -> int:
        """Count the lines before *offset*, going on from the last one asked for."""
        self._lines += self._text.count(b"\n", self._counted, offset)
        self._counted = offset
        return self._lines

    def _add(
        self, request: Request, number: int, offset: int = 0, raw: bytes = b"", kept: Interaction | None = None
    ) -> None:
        file, normal = self._file, self._normal
        file.recordings.append(
            recording_of(file, number, request, self._rules, normal=normal, offset=offset, raw=raw, kept=kept)
        )


def start_of_items(head: bytes) -> int | None:
    """Return where the first item begins, by the file's beginning; None for another layout than vcrpy's."""
    start = _START.search(head)
    return start.end() if start and not _FIRST.match(head) else None


def end_of_items(text: bytes, last: int) -> int:
    """Return where the last item, which begins at *last*, ends: at the next key in column 0, or at the end."""
    found = _ROOT_KEY.search(text, last)
    return found.end() if found else len(text)


def _end_of_all(text: bytes, start: int) -> int:
    return end_of_items(text, max(text.rfind(b"\n- ", start), start))


def _cut(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each item between *start* and *end*."""
    position = start
    while position < end:
        following = text.find(b"\n- ", position, end)
        stop = end if following < 0 else following + 1
        yield position, stop - position
        position = stop
