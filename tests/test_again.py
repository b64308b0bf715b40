"""Recordings of packed files and of JSON, when all there is of them is what the index knows."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cassette_texts import ITEMS, WHOLE, in_json

from stubserver.cassettes import again
from stubserver.cassettes.library import Library
from stubserver.errors import CassetteError

FILES = {
    "a.yaml.gz": gzip.compress(WHOLE.encode()),
    "b.json": in_json().encode(),
    "c.json.gz": gzip.compress(in_json().encode()),
}


@pytest.fixture(autouse=True)
def forget() -> None:
    again._last.clear()


@pytest.mark.parametrize("name", FILES)
def test_they_are_read_once_more(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    plain = [recording.interaction() for recording in Library([path]).playlist]
    for _ in range(2):
        library = Library([path], index=tmp_path / "index.sqlite")
        (file,) = library.files
        assert file.index is not None
        assert (file.text, [r.kept for r in file.recordings]) == (None, [None] * len(ITEMS))
        assert [recording.interaction() for recording in library.playlist] == plain
        assert [recording.response() for recording in library.playlist] == [found.response for found in plain]
        library.close()
    assert len(again._last) == 1


@pytest.mark.parametrize("name", FILES)
def test_what_changed_meanwhile_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    library = Library([path], index=tmp_path / "index.sqlite")
    other = FILES[name]
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(gzip.decompress(other).replace(b"quoted", b"QUOTED")))
    else:
        path.write_bytes(other.replace(b"quoted", b"QUOTED"))
    with pytest.raises(CassetteError, match="changed while it was served"):
        library.playlist.recordings[0].interaction()
    path.unlink()
    again._last.clear()
    with pytest.raises(CassetteError):
        library.playlist.recordings[1].response()
    library.close()
