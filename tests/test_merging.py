"""Many cassettes into one and back: nothing is lost, nothing is reordered, memory stays flat."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cassette_texts import dump
from click.testing import CliRunner, Result
from tapes import ask, completion, recorded, request, tape

from stubserver import merging
from stubserver.cassettes import packed
from stubserver.cassettes.items import read_item
from stubserver.cassettes.layout import match
from stubserver.cassettes.library import Library
from stubserver.cassettes.writer import item_text, with_rank
from stubserver.cli import main
from stubserver.errors import CassetteError
from stubserver.merging import merge
from stubserver.messages import Interaction, Response


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def questions(path: Path) -> list[str]:
    """List what was asked, by our own reader and by YAML's."""
    ours = [
        json.loads(r.interaction().request.body)["messages"][0]["content"] for r in Library([path]).playlist.recordings
    ]
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    theirs = [
        json.loads(item["request"]["body"])["messages"][0]["content"] for item in yaml.safe_load(text)["interactions"]
    ]
    assert ours == theirs
    return ours


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for rank, asked in ((0, "ab"), (1, "cb"), (12, "d")):
        items = [recorded(ask(text), completion(f"{text}{rank}")) for text in asked]
        tape(tmp_path / "tapes" / f"rank-{rank:05d}.yaml", *items)
    return tmp_path / "tapes"


@pytest.mark.parametrize("name", ["all.yaml", "all.yaml.gz"])
def test_merged_in_the_order_of_the_files(name: str, folder: Path, tmp_path: Path) -> None:
    done = run("merge", folder, "-o", tmp_path / name)

    assert (done.exit_code, "5 interactions" in done.output) == (0, True)
    assert questions(tmp_path / name) == ["a", "b", "c", "b", "d"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "tapes"]


def test_split_by_rank_gives_back_what_was_merged(folder: Path, tmp_path: Path) -> None:
    run("merge", folder, "-o", tmp_path / "all.yaml")

    done = run("split", tmp_path / "all.yaml", "--by", "rank")

    assert (done.exit_code, "3 files" in done.output) == (0, True)
    for path in folder.iterdir():
        assert questions(tmp_path / "all" / path.name) == questions(path)
    again = run("merge", tmp_path / "all", "-o", tmp_path / "again.yaml")
    assert again.exit_code == 0
    assert (tmp_path / "again.yaml").read_bytes() == (tmp_path / "all.yaml").read_bytes()


def test_split_among_other_ranks_keeps_equal_requests_together(folder: Path, tmp_path: Path) -> None:
    run("merge", folder, "-o", tmp_path / "all.yaml")

    done = run("split", tmp_path / "all.yaml", "--by", "rank", "--ranks", 2, "-o", tmp_path / "two")

    assert done.exit_code == 0
    found = [questions(path) for path in sorted((tmp_path / "two").iterdir())]
    assert sorted(sum(found, start=[])) == ["a", "b", "b", "c", "d"]  # noqa: RUF017  # two short lists
    assert sum("b" in part for part in found) == 1


def test_split_by_size(folder: Path, tmp_path: Path) -> None:
    run("merge", folder, "-o", tmp_path / "all.yaml")

    done = run("split", tmp_path / "all.yaml", "--by", "size", "--size", "2KB", "-o", tmp_path / "parts")

    assert done.exit_code == 0
    parts = sorted((tmp_path / "parts").iterdir())
    assert [text for part in parts for text in questions(part)] == ["a", "b", "c", "b", "d"]
    assert len(parts) > 1
    assert all(part.stat().st_size < 2_100 for part in parts)


def test_json_and_items_without_a_rank(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({"interactions": [recorded(ask("json"))], "version": 1}))
    run("merge", tmp_path / "one.json", "-o", tmp_path / "all.yaml")

    assert run("split", tmp_path / "all.yaml", "--by", "rank").exit_code == 0
    assert questions(tmp_path / "all" / "no-rank.yaml") == ["json"]


def test_what_cannot_be_read_is_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    path = folder / "rank-00001.yaml"
    path.write_bytes(path.read_bytes().replace(b"method: POST", b"method: [", 1))

    done = run("merge", folder, "-o", tmp_path / "all.yaml")

    assert done.exit_code == 1
    assert "rank-00001.yaml, item 1" in done.output
    assert questions(tmp_path / "all.yaml") == ["a", "b", "b", "d"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("merge", "{folder}", "-o", "{folder}/rank-00000.yaml"), "it is there already"),
        (("merge", "{folder}", "-o", "{folder}/all.json"), "ends in .yaml"),
        (("merge", "{folder}/none.yaml", "-o", "{folder}/all.yaml"), "nothing to merge"),
        (("split", "{folder}/rank-00000.yaml", "--by", "size", "-o", "{folder}"), "there is something in it"),
        (("split", "{folder}/rank-00000.yaml", "--by", "size", "--size", "big"), "is no size"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], said: str, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}

    done = run(*(argument.format(folder=folder) for argument in arguments))

    assert (done.exit_code, said in done.output) == (2, True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_rank_leaves_an_item_in_the_layout() -> None:
    item = item_text(Interaction(request(ask("x")), Response(200, (("content-type", "text/plain"),), b"yes")))
    timed = item + b"    x_stubserver:\n      events_ms: '3'\n"
    for text in (item, timed):
        ranked = with_rank(text, 7)
        assert ranked.endswith(b"\n      rank: 7\n")
        assert with_rank(ranked, 8) == ranked
        assert match(ranked) is not None
        assert read_item(ranked)[0] == read_item(text)[0]


MEASURED = """
import resource, sys
from pathlib import Path
from stubserver import merging
done = merging.merge([Path(sys.argv[1])] * int(sys.argv[3]), Path(sys.argv[2]), lambda size: None)
print(done.items, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_what_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tape(tmp_path / "rank-00003.yaml", recorded(ask("x" * 100_000)))
    text = path.read_bytes()
    head, _, rest = text.partition(b"- request:")
    item = b"- request:" + rest.removesuffix(b"version: 1\n")
    path.write_bytes(head + item * 200 + b"version: 1\n")
    monkeypatch.chdir(tmp_path)

    def measured(times: int) -> tuple[int, int]:
        command = [sys.executable, "-c", MEASURED, path.name, f"{times}.yaml", str(times)]
        items, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return int(items), int(megabytes)

    assert path.stat().st_size > merging._WHOLE_BELOW
    (_, few), (items, many) = measured(1), measured(8)
    assert items == 1_600
    assert many < few + 20


@pytest.mark.parametrize("damage", ["", "cut", "JSON"])
def test_what_is_packed_may_be_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(packed, "_IN_MEMORY", 1000)
    items = [recorded(ask(str(n)), {"n": n}) for n in range(30)]
    text = (json.dumps({"interactions": items}) if damage == "JSON" else dump({"interactions": items})).encode()
    path, out, done = tmp_path / "large.yaml.gz", tmp_path / "all.yaml", list[int]()
    path.write_bytes(gzip.compress(text)[: -9 if damage == "cut" else None])
    if damage:
        with pytest.raises(CassetteError, match="not a whole gzip file" if damage == "cut" else "not in the layout"):
            merge([path], out, done.append)
        assert not out.exists()
        return
    assert merge([path], out, done.append) == (30, 1, [])
    assert out.read_bytes() == text + b"version: 1\n"
    assert sum(done) == path.stat().st_size
