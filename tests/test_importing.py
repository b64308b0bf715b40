from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stubserver.cassettes.library import Library
from stubserver.errors import CassetteError, UsageError
from stubserver.interchange import Carried, Lost, har
from stubserver.interchange.importing import bring_in
from stubserver.messages import Interaction, Request, Response
from stubserver.scrubbing import Scrubber

DATA = Path(__file__).parent / "data" / "interchange"
CHAT = "https://api.openai.com/v1/chat/completions"


def carried(body: bytes = b"{}", status: int = 200, uri: str = CHAT, notes: tuple[str, ...] = ()) -> Carried:
    request = Request.from_uri("POST", uri, (("Authorization", "Bearer sk-madeup0123456789abcdef"),), b'{"a":1}')
    response = Response(status, (("content-type", "application/json"), ("content-length", "999")), body, "OK")
    return Carried("somewhere", Interaction(request, response), notes)


def test_what_is_imported_is_vcrpys_own_layout(tmp_path: Path) -> None:
    target = tmp_path / "a.yaml"

    bring_in(har.read(DATA / "mitmproxy.har"), target, Scrubber())

    document = yaml.safe_load(target.read_text())
    assert target.read_text() == yaml.dump(document, Dumper=yaml.CDumper)
    assert len(document["interactions"]) == 10
    script = "import sys; from vcr.persisters.filesystem import FilesystemPersister as F\n"
    script += "from vcr.serializers import yamlserializer as s\nprint(len(F.load_cassette(sys.argv[1], s)[0]))"
    done = subprocess.run([sys.executable, "-c", script, target], capture_output=True, text=True, check=True)
    assert done.stdout == "10\n"


def test_no_secret_is_imported(tmp_path: Path) -> None:
    target = tmp_path / "a.yaml"
    assert (DATA / "mitmproxy.har").read_text().count("madeup") > 10

    bring_in(har.read(DATA / "mitmproxy.har"), target, Scrubber())

    assert "madeup" not in target.read_text()


def test_the_rules_of_recording_hold(tmp_path: Path) -> None:
    found = [carried(), carried(b"{", notes=("x",)), carried(status=429), Lost("there", "why")]

    done = bring_in(found, tmp_path / "a.yaml", Scrubber())
    more = bring_in(found, tmp_path / "b.yaml", Scrubber(), statuses=frozenset({429}))

    assert (done.kept, more.kept) == (1, 2)
    assert done.lost == [
        Lost("somewhere", "the answer is no whole JSON"),
        Lost("somewhere", "status 429 is not kept (see --record-status)"),
        Lost("there", "why"),
    ]
    assert done.notes == []
    assert "'2'" in (tmp_path / "a.yaml").read_text()


def test_it_goes_behind_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "a.yaml"
    bring_in([carried()], target, Scrubber())
    target.write_bytes(target.read_bytes().removesuffix(b"version: 1\n") + b"- request:\n    bo")  # a kill

    done = bring_in([carried(notes=("left",))], target, Scrubber())

    assert len(Library([target]).playlist.recordings) == 2
    assert [note.why for note in done.notes][1:] == ["left"]
    assert "its end was torn" in done.notes[0].why


def test_only_what_is_wanted(tmp_path: Path) -> None:
    found = [carried(), carried(uri="https://a.test/logo.png")]

    done = bring_in(found, tmp_path / "a.yaml", Scrubber(), only=re.compile("/v1/"))

    assert (done.kept, done.passed_over, done.lost) == (1, 1, [])


def test_what_yaml_cannot_hold_is_lost(tmp_path: Path) -> None:
    found = Interaction(Request("GET", "/\ud800"), Response(200, (("a", "\ud800"),)))

    done = bring_in([Carried("x", found)], tmp_path / "a.yaml", Scrubber())

    assert (done.kept, len(done.lost)) == (0, 1)
    assert "YAML cannot hold it" in done.lost[0].why


@pytest.mark.parametrize("name", ["a.json", "a.har", ""])
def test_the_target_is_yaml(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"give a name that ends in \.yaml"):
        bring_in([], tmp_path / name, Scrubber())


def test_a_target_in_another_layout_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.yaml"
    target.write_text("hello: there\n")

    with pytest.raises(CassetteError, match="nothing can be appended"):
        bring_in([carried()], target, Scrubber())
    assert target.read_text() == "hello: there\n"
