from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tapes import ask, recorded, tape

from stubserver.cassettes.library import Library
from stubserver.errors import UsageError
from stubserver.interchange import Carried, formats
from stubserver.interchange.exporting import ENDINGS, take_out
from stubserver.interchange.importing import bring_in
from stubserver.messages import Headers, without_headers
from stubserver.scrubbing import Scrubber

ROOT = Path(__file__).parent.parent
BASE = "https://api.openai.com"


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Every kind of thing that a cassette may hold."""
    stream = 'data: {"object": "chat.completion.chunk"}\n\ndata: [DONE]\n\n'
    return tape(
        tmp_path / "tape.yaml",
        recorded(ask("one")),
        recorded(ask("two", stream=True), stream),
        recorded(ask("one"), {"second": True}),
        recorded(b"\xff\xfe", b"\x00\xff", headers={"content-type": ["application/octet-stream"]}),
        recorded(None, {"object": "list"}, method="GET", path="/v1/models?a=%20b"),
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_round_trip_keeps_everything_that_the_format_holds(tmp_path: Path, cassette: Path, ending: str) -> None:
    first, target = tmp_path / "first.yaml", tmp_path / f"out{ending}"
    bring_in(_carried(cassette, tmp_path), first, Scrubber())

    done = take_out(Library([first]), target, Scrubber())
    bring_in(formats.read([target], BASE), tmp_path / "again.yaml", Scrubber(), statuses=frozenset(range(600)))

    assert (done.written, done.lost) == (5, [])
    was, now = (_values(path) for path in (first, tmp_path / "again.yaml"))
    if ending == ".json":  # a mapping holds no headers of the request; a scenario comes last
        assert [value[:3] + value[4:] for value in now] == [was[n][:3] + was[n][4:] for n in (1, 3, 4, 0, 2)]
    else:
        assert now == was


def _carried(cassette: Path, tmp_path: Path) -> list[Carried]:
    take_out(Library([cassette]), tmp_path / "all.jsonl", Scrubber())
    return [each for each in formats.read([tmp_path / "all.jsonl"], BASE) if isinstance(each, Carried)]


def _values(path: Path) -> list[tuple[Any, ...]]:
    found = [recording.interaction() for recording in Library([path]).playlist.recordings]
    return [
        (
            q.method,
            q.uri,
            q.body,
            _without_length(q.headers),
            a.status,
            sorted(_without_length(a.headers)),
            a.body,
            a.events,
        )
        for q, a in found
    ]


def _without_length(headers: Headers) -> Headers:
    return without_headers(headers, frozenset({"content-length"}))  # an archive says it, also where no recording did


def test_the_bundled_cassettes_come_back_as_they_were(tmp_path: Path) -> None:
    library = Library([ROOT / "cassettes"])
    take_out(library, tmp_path / "all.har", Scrubber())

    found = [each.interaction for each in formats.read([tmp_path / "all.har"], BASE) if isinstance(each, Carried)]

    was = [recording.interaction() for recording in library.playlist.recordings]
    assert [i.response.body for i in found] == [i.response.body for i in was]
    assert [i.response.times for i in found] == [i.response.times for i in was]
    assert [i.request.body for i in found] == [i.request.body for i in was]


def test_packed_bodies_are_unpacked(tmp_path: Path) -> None:
    packed = recorded(None, gzip.compress(b'{"a": 1}'), headers={"content-encoding": ["gzip"]})
    take_out(Library([tape(tmp_path / "a.yaml", packed)]), tmp_path / "a.jsonl", Scrubber())

    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()

    response = json.loads(line)["response"]
    assert response["body"] == '{"a": 1}'
    assert "content-encoding" not in dict(response["headers"])


def test_secrets_stay_where_they_are(tmp_path: Path) -> None:
    item = recorded(ask("hi"), headers={"set-cookie": ["session=madeup0123456789abcdef"]})
    item["request"]["headers"]["authorization"] = ["Bearer sk-madeup0123456789abcdef"]
    library = Library([tape(tmp_path / "a.yaml", item)])

    for ending in ENDINGS:
        take_out(library, tmp_path / f"a{ending}", Scrubber())
        assert "madeup" not in (tmp_path / f"a{ending}").read_text()


def test_what_cannot_be_carried_says_why(tmp_path: Path, cassette: Path) -> None:
    form = recorded(b"--x--", {"id": "file"}, path="/v1/files")
    form["request"]["headers"]["content-type"] = ["multipart/form-data; boundary=x"]
    files = [cassette, tape(tmp_path / "form.yaml", form)]
    library = Library([*files, _damaged(tmp_path / "damaged.yaml", cassette)])

    done = take_out(library, tmp_path / "a.json", Scrubber())
    of_har = take_out(Library(files), tmp_path / "a.har", Scrubber())

    assert [note.why for note in done.notes if note.where.startswith(("tape", str(cassette)))] == [
        "WireMock sends a stream in one piece"
    ]
    assert "WireMock compares the boundary of a form too, which a client makes anew each time" in [
        note.why for note in done.notes
    ]
    assert len(done.lost) == 1
    assert ["it is in base64" in note.why for note in of_har.notes] == [True]


def _damaged(path: Path, like: Path) -> Path:
    path.write_text(like.read_text().replace("code: 200", "code: no", 1))
    return path


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, cassette: Path) -> None:
    library = Library([cassette])
    (tmp_path / "a.har").mkdir()

    with pytest.raises(UsageError, match=r"give a name that ends in \.har"):
        take_out(library, tmp_path / "a.txt", Scrubber())
    with pytest.raises(OSError, match="directory"):
        take_out(library, tmp_path / "a.har", Scrubber())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.har", "tape.yaml"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_half_a_pair_is_written_and_read_again(tmp_path: Path, ending: str) -> None:
    cassette = tmp_path / "a.json"
    item = recorded(ask("\ud800"), headers={"x": ["\udce1"]}, path="/v1/x?\ud800")
    cassette.write_text(json.dumps({"interactions": [item, item], "version": 1}))

    done = take_out(Library([cassette]), tmp_path / f"b{ending}", Scrubber())

    found = [each.interaction for each in formats.read([tmp_path / f"b{ending}"], BASE) if isinstance(each, Carried)]
    assert (done.written, done.lost) == (2, [])
    assert [dict(i.response.headers)["x"] for i in found] == ["\udce1"] * 2
