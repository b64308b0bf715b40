"""What recordings are found by: all of it is there as soon as they are, piece by piece, before anything asks."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from cassette_texts import dump, read
from tapes import ask, recorded, request

from stubserver.canonical import Rules
from stubserver.cassettes import recordings
from stubserver.cassettes.catalogue import Catalogue, Entries
from stubserver.cassettes.library import Library
from stubserver.cassettes.recordings import ROW_SIZE, Reel
from stubserver.cassettes.tables import Tables

RULES = Rules()
ITEMS = [
    *(recorded(ask(f"question {n}"), {"n": n}) for n in range(7)),
    recorded({**ask("streamed"), "stream": True}, "data: 1\n\n"),
    recorded({"input": "x"}, path="/v1/embeddings"),
    recorded(ask("last"), {"n": 8}),
]


@pytest.fixture
def reel(tmp_path: Path) -> Reel:
    return read(tmp_path / "1", dump({"interactions": ITEMS}), RULES).recordings


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_all_is_made_in_pieces(reel: Reel, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(recordings, "_PIECE", rows * ROW_SIZE)
    tables = Tables([None, reel])
    steps = sum(1 for _ in tables.extend(1))
    assert steps == -(-len(reel) // rows)
    found = Catalogue((), tables)
    for row, recording in enumerate(reel):
        entry = (1 << 32) + row
        assert found.find(recording.key) == [entry]
        assert recording in found.find_second([recording.loose])
        assert entry in found.find_route(recording.key[:8])
        assert recording.key[:8] in found.routes(recording.normal)
        assert recording in found.of_size(recording.key[:8], recording.size, 1 + len(ITEMS))
    assert (len(tables.keys), len(tables.loose), len(tables.rows)) == (10, 1, 2)


def test_a_first_miss_finds_them_made(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(dump({"interactions": ITEMS, "version": 1}))
    library = Library([tmp_path])
    tables = library.playlist.tables
    sizes = [len(tables.keys), len(tables.loose), *map(len, (tables.rows, tables.routes, tables.sizes))]
    for drift in (True, False):
        asking = request(ask("something else"), "/v1/none" if drift else "/v1/chat/completions")
        library.playlist.play(RULES.key(asking), asking)
        library.playlist.similar(RULES.key(asking), asking, 3)
    after = [len(tables.keys), len(tables.loose), *map(len, (tables.rows, tables.routes, tables.sizes))]
    assert sizes == after == [10, 1, 2, 2, 2]
    assert library.playlist.tables is tables


def test_entries_of_several_files_are_one_sequence() -> None:
    parts = [array("Q", (1, 2)), array("Q"), memoryview(bytes(16)).cast("Q"), array("Q", (9,))]
    entries = Entries(parts)
    assert list(entries) == [1, 2, 0, 0, 9]
    assert (len(entries), entries[1:4], len(Entries([]))) == (5, [2, 0, 0], 0)
    with pytest.raises(IndexError):
        entries[5]
