"""A file in pieces is the same as in one."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pytest
from cassette_texts import ITEMS, WHOLE, dump, in_json, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tapes import ask, recorded

from stubserver.canonical import Rules
from stubserver.cassettes import pieces
from stubserver.cassettes.pieces import checksum, first_item, read_range, read_whole
from stubserver.errors import CassetteError, NotACassetteError
from stubserver.messages import Response

RULES = Rules()
MANY = dump({"interactions": [recorded(ask("x" * n), {"n": n}) for n in range(40)], "version": 1}).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tape.yaml"
    made.write_bytes(MANY)
    return made


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(15, len(MANY) + 50), max_size=6), st.sampled_from([7, 100, 10**6]))
def test_pieces_join_to_the_whole(path: Path, cuts: list[int], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_BLOCK", block)
        start = first_item(path) or 0
        bounds = [start, *sorted(cut for cut in cuts if cut > start)]
        found = [read_range(path, RULES, a, b) for a, b in zip(bounds, [*bounds[1:], None], strict=True)]
    found = [piece for piece in found if piece.items]
    whole = read_range(path, RULES, start, None)
    assert b"".join(piece.rows for piece in found)[:24] == whole.rows[:24]
    assert sum(piece.items for piece in found) == whole.items == 40
    assert [a.end for a in found[:-1]] == [b.start for b in found[1:]]
    assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
    assert (found[0].start, found[-1].end) == (start, MANY.index(b"version:"))
    assert all(checksum(path, piece.start, piece.end) == piece.check for piece in found)


def test_a_piece_says_what_the_reader_says(path: Path) -> None:
    reel = read(path, MANY, RULES).recordings
    assert read_range(path, RULES, first_item(path) or 0, None).rows == bytes(reel.data)
    assert read_whole(path, RULES).rows == bytes(reel.data)


def test_answers_are_made_of_the_responses(path: Path) -> None:
    def seal(response: Response) -> bytes | None:
        n = json.loads(response.body)["n"]
        return b"%d" % n if n % 2 else None

    reel = read(path, MANY, RULES).recordings
    for piece in (read_range(path, RULES, first_item(path) or 0, None, seal), read_whole(path, RULES, seal)):
        assert piece.answers == tuple((reel[n].offset, b"%d" % n) for n in range(1, 40, 2))


def test_damaged_items_are_counted_and_named(path: Path) -> None:
    path.write_bytes(MANY.replace(b"interactions:\n", b"interactions:\n- kind: websocket\n- kind: grpc\n"))
    piece = read_range(path, RULES, first_item(path) or 0, None, lambda _: b"")
    assert (piece.items, len(piece.problems), piece.skipped, len(piece.answers)) == (42, 0, 2, 40)
    path.write_bytes(MANY.replace(b"code: 200", b"code: x", 3).replace(b"method: POST", b"method: [", 1))
    problems = read_range(path, RULES, first_item(path) or 0, None).problems
    assert [number for number, _ in problems] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.yaml", WHOLE.encode(), "parts"),
        ("a.yaml.gz", gzip.compress(WHOLE.encode()), "packed"),
        ("a.json", in_json().encode(), "whole"),
        ("a.json.gz", gzip.compress(in_json().encode()), "whole"),
    ],
)
def test_other_layouts_are_one_piece(tmp_path: Path, name: str, text: bytes, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(text)
    piece = read_whole(path, RULES, lambda response: response.body)
    assert (piece.start, piece.end, piece.kind, piece.items, piece.last) == (0, len(text), kind, len(ITEMS), True)
    assert piece.check == zlib.crc32(text)
    assert len({offset for offset, _ in piece.answers}) == len(ITEMS)
    assert first_item(path) == (14 if kind == "parts" else None)


def test_what_is_no_cassette_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    assert first_item(path) is None
    with pytest.raises(NotACassetteError):
        read_whole(path, RULES)


def test_holes_and_endless_items_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(MANY[:-12] + b"\0" * 100)
    with pytest.raises(CassetteError, match="NUL"):
        read_range(path, RULES, first_item(path) or 0, None)
    path.write_bytes(MANY)
    monkeypatch.setattr(pieces, "_LONGEST_ITEM", 100)
    monkeypatch.setattr(pieces, "_BLOCK", 50)
    with pytest.raises(CassetteError, match="an item in it is larger"):
        read_range(path, RULES, first_item(path) or 0, None)


def test_a_file_that_ends_earlier_has_another_checksum(path: Path) -> None:
    assert checksum(path, 0, len(MANY) + 1) == -1
