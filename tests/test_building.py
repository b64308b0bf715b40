"""Building the index of many files, in one process and in several; interrupted, and gone on with."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cassette_texts import dump, in_json
from click.testing import CliRunner
from tapes import ask, recorded

from stubserver.building import Progress, build
from stubserver.canonical import Rules
from stubserver.cassettes import indexing
from stubserver.cassettes.index import Index
from stubserver.cassettes.library import Library, found
from stubserver.cli import main

RULES = Rules()


def text(*names: str) -> bytes:
    return dump({"interactions": [recorded(ask(name), {"n": name}) for name in names], "version": 1}).encode()


@pytest.fixture
def tapes(tmp_path: Path) -> Path:
    folder = tmp_path / "tapes"
    folder.mkdir()
    for n in range(5):
        (folder / f"{n}.yaml").write_bytes(text(*(f"{n}.{k}" for k in range(30))))
    (folder / "packed.yaml.gz").write_bytes(gzip.compress(text("g")))
    (folder / "whole.json").write_bytes(in_json().encode())
    (folder / "none.yaml").write_text("a: 1\n")
    (folder / "bad.yaml").write_bytes(text("1", "2", "3").replace(b"code: 200", b"code: x", 1))
    (folder / "broken.json").write_text('{"interactions": [')
    return folder


def paths(folder: Path) -> list[Path]:
    return [Path(place) for place, _ in found([folder])]


@pytest.mark.parametrize("jobs", [1, 2])
def test_everything_is_built_once(tapes: Path, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "_STEP", 5000)
    path, seen = tmp_path / "index.sqlite", list[Progress]()
    index = Index(path, RULES, pytest.fail)
    built = build(index, paths(tapes), RULES, jobs, seen.append)
    assert built.items >= 150 + 1 + 3 + 3
    assert [problem.rpartition("/")[2].partition(":")[0] for problem in sorted(built.problems)] == [
        "bad.yaml, item 1",
        "broken.json",
    ]
    assert seen[0].done == 0
    assert seen[-1].done == seen[-1].size > 0
    index.close()
    plain, served = Library([tapes]), Library([tapes], index=path)
    assert [r[1:10] for r in served.playlist] == [r[1:10] for r in plain.playlist]
    assert sum(recording.stored() is not None for recording in served.playlist) == len(plain.playlist)
    assert list(map(str, served.report.errors)) == list(map(str, plain.report.errors))
    served.close()
    index = Index(path, RULES, pytest.fail)
    assert build(index, [p for p in paths(tapes) if p.name[0].isdigit()], RULES, jobs).files == 0
    (tapes / "3.yaml").write_bytes(text("new"))
    again = build(index, [p for p in paths(tapes) if p.name[0].isdigit()], RULES, jobs)
    assert (again.files, again.items) == (1, 1)
    index.close()


def test_a_file_that_went_away_is_told(tapes: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite", RULES, pytest.fail)
    assert "No such file" in build(index, [tapes / "gone.yaml"], RULES, 1).problems[0]
    index.close()


def test_the_command_says_what_it_did(tapes: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "index.sqlite"
    arguments = ["index", *map(str, (tapes / "0.yaml", tapes / "1.yaml")), "--index", str(path), "--jobs", "2"]
    runner = CliRunner()
    first, second = runner.invoke(main, arguments), runner.invoke(main, arguments)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "2 files read, 60 interactions; " in first.output
    assert "0 files read, 0 interactions; " in second.output
    damaged = runner.invoke(main, ["index", str(tapes), "--index", str(path), "--jobs", "1"])
    assert damaged.exit_code == 1
    assert "bad.yaml, item 1" in damaged.output


def test_the_command_refuses_what_is_no_index(tapes: Path) -> None:
    result = CliRunner().invoke(main, ["index", str(tapes), "--index", str(tapes / "none.yaml")])
    assert result.exit_code == 1
    assert "it is no index of stubserver's" in result.output
    assert (tapes / "none.yaml").read_text() == "a: 1\n"


def test_after_a_kill_it_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n:02}.yaml").write_bytes(text(*(f"{n}.{k}" for k in range(60))))
    path = tmp_path / "index.sqlite"
    command = [sys.executable, "-m", "stubserver", "index", str(folder), "--index", str(path), "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    answers = Path(f"{path}.answers")
    until = time.monotonic() + 30
    while time.monotonic() < until and not (answers.exists() and answers.stat().st_size > 50_000):
        time.sleep(0.005)
    process.kill()
    process.communicate()
    index = Index(path, RULES, pytest.fail)
    built = build(index, paths(folder), RULES, 1)
    index.close()
    assert built.files < 40
    served = Library([folder], index=path)
    assert len(served.playlist) == 2400
    assert all(recording.stored() is not None for recording in served.playlist)
    served.close()
