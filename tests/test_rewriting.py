from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import vcr
from click.testing import CliRunner
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from stubserver.cassettes.library import Library
from stubserver.cassettes.writer import cassette_text
from stubserver.cli import main
from stubserver.errors import CassetteError
from stubserver.messages import Interaction, Request, Response
from stubserver.redaction import secrets_of
from stubserver.rewriting import rewrite
from stubserver.scrubbing import Scrubber

KEY = "sk-proj-9a8b7c6d5e4f3g2h1i0j9k8l"
TEXT = (("content-type", "text/plain"),)
DIRTY = Interaction(
    Request.from_uri(
        "POST",
        f"https://user:{KEY}@api.example.com/v1/chat?key={KEY}",
        (("Authorization", f"Bearer {KEY}"), ("content-type", "application/json")),
        json.dumps({"model": "m", "note": f"use {KEY}"}).encode(),
    ),
    Response(
        200, (("set-cookie", "__cf_bm=9fJ3kd02mLsPq8vXyZ"), ("content-type", "text/plain")), f"got {KEY}".encode()
    ),
)
CLEAN = Interaction(
    Request.from_uri("GET", "https://api.example.com/v1/models"),
    Response(200, (("content-type", "text/plain"),), b"ok"),
)


def test_afterwards_nothing_is_found_and_the_rest_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(cassette_text([DIRTY, CLEAN]))
    before = path.read_bytes()

    done = rewrite(path, Scrubber())

    assert done.items == 1
    assert done.kept is not None
    assert done.kept.read_bytes() == before
    assert KEY.encode() not in path.read_bytes()
    found = [recording.interaction() for recording in Library([path]).playlist.recordings]
    assert [secrets_of(interaction) for interaction in found] == [[], []]
    assert found[1] == CLEAN._replace(response=found[1].response)
    assert found[1].response.body == b"ok"
    requests, _ = FilesystemPersister.load_cassette(path, yamlserializer)[:2]
    assert [request.method for request in requests] == ["POST", "GET"]
    assert vcr.__version__


def test_a_clean_cassette_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(cassette_text([CLEAN]))
    before = path.stat()

    assert rewrite(path, Scrubber()) == (0, None)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_packed_cassette_stays_packed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml.gz"
    path.write_bytes(gzip.compress(cassette_text([DIRTY])))

    rewrite(path, Scrubber())

    assert KEY.encode() not in gzip.decompress(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("a.yaml", "interactions:\n- request: [\n", "item 1|flow|expected"),
        ("a.yaml", "interactions:\n- websocket: 1\nversion: 1\n", "no HTTP interactions"),
        ("a.json", json.dumps({"interactions": [], "version": 1}), "JSON cassettes are not rewritten"),
    ],
)
def test_what_would_lose_something_is_refused(tmp_path: Path, name: str, text: str, cause: str) -> None:
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(CassetteError, match=cause):
        rewrite(path, Scrubber())

    assert path.read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(cassette_text([DIRTY]))
    (tmp_path / "b.yaml").write_bytes(cassette_text([CLEAN]))

    result = CliRunner().invoke(main, ["scrub", str(tmp_path)])

    assert result.exit_code == 0
    assert "a.yaml: 1 item scrubbed, the old file is " in result.stdout
    assert "b.yaml: nothing to do" in result.stdout
    assert KEY not in result.output
    assert CliRunner().invoke(main, ["check", str(tmp_path / "a.yaml")]).exit_code == 0


def test_the_command_fails_when_a_file_could_not_be_done(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"request": {"method": "GET", "url": "http://a/"}, "response": {"status": 200}})
    )

    result = CliRunner().invoke(main, ["scrub", str(tmp_path)])

    assert result.exit_code == 1
    assert "save it as YAML" in result.stderr
