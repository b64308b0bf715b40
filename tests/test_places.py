"""Where what was given leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from stubserver.errors import UsageError
from stubserver.places import Places, settle


def nothing(line: str) -> None:
    raise AssertionError(line)


def test_paths_are_played_and_the_first_is_recorded_to() -> None:
    found = settle(["a.yaml", Path("b")], records=True, rank=3, say=nothing)

    assert found == Places([Path("a.yaml"), Path("b")], [Path("a.yaml"), Path("b")])


def test_a_rank_plays_its_own_files_first(tmp_path: Path) -> None:
    for name in ("rank-00001.yaml", "rank-00002-2.yaml", "rank-00002.yaml", "rank-00002.txt"):
        (tmp_path / name).write_text("")

    found = settle([tmp_path], records=False, rank=2, say=nothing)

    assert found.played == [tmp_path / "rank-00002-2.yaml", tmp_path / "rank-00002.yaml", tmp_path]


def test_a_url_that_is_no_folder_is_not_recorded_to() -> None:
    with pytest.raises(UsageError, match="give its URL"):
        settle(["s3://bucket/a.yaml"], records=True, rank=None, say=nothing)
