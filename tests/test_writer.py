"""Appending to cassettes: vcrpy's own bytes, nothing lost by kills, cuts, full disks and other processes."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import vcr.request
from fuzzing import HARDER
from hypothesis import given, settings
from hypothesis import strategies as st
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serialize import serialize
from vcr.serializers import yamlserializer

from stubserver.canonical import Rules
from stubserver.cassettes import writer as module
from stubserver.cassettes.items import read_item
from stubserver.cassettes.library import Library
from stubserver.cassettes.playlist import Played
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.writer import Fsync, Place, Writer, item_text, repair
from stubserver.errors import CassetteError
from stubserver.messages import Interaction, Request, Response

URI = "https://api.openai.com/v1/chat/completions"
JSON = (("content-type", "application/json"),)
PROCESS = """
import sys
from pathlib import Path
from stubserver.cassettes.writer import Writer, item_text
from stubserver.messages import Interaction, Request, Response

writer, name, count, size = Writer(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for number in range(count):
    body = f"{name}-{number}-" + "x" * (size * (number % 5))
    asked = Request.from_uri("POST", "https://a/v1/x", (), body.encode())
    writer.append(item_text(Interaction(asked, Response(200, (), body.encode()))))
    print(body[:20].rstrip("x"), flush=True)
"""


def made(body: bytes = b"{}", answer: bytes = b'{"a": 1}', uri: str = URI, **more: Any) -> Interaction:
    return Interaction(Request.from_uri("POST", uri, JSON, body), Response(200, JSON, answer, "OK", **more))


def written(path: Path, *found: Interaction) -> Path:
    writer = Writer(path)
    for interaction in found:
        writer.append(item_text(interaction))
    return path


def bodies(path: Path) -> list[bytes]:
    """Read a cassette as we do: what was asked; it has to be whole."""
    file = read_file(path, path.name, "tape", Rules())
    assert file.problems == []
    return [recording.interaction().request.body for recording in file.recordings]


def by_vcrpy(*found: Interaction) -> bytes:
    """Write what vcrpy writes of the same."""
    requests, responses = [], []
    for request, response in found:
        headers = dict(request.headers)
        requests.append(vcr.request.Request(request.method, request.uri, request.body or None, headers))
        fields: dict[str, list[str]] = {}
        for name, value in response.headers:
            fields.setdefault(name, []).append(value)
        status = {"code": response.status, "message": response.reason}
        responses.append({"status": status, "headers": fields, "body": {"string": response.body}})
    text: str = serialize({"requests": requests, "responses": responses}, yamlserializer)
    return text.encode()


KINDS = {
    "json": made(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'),
    "long": made(b'{"text": "' + b"many words " * 90 + b'"}', b'it\'s said "so"\n' * 40),
    "not ascii": made("Grüße ✓ 🙂 \u2028 \x85 \ufeff".encode(), "ü\x7f\x80\xa0".encode()),
    "binary": made(bytes(range(256)), os.urandom(5000)),
    "no body": Interaction(Request.from_uri("GET", URI, JSON), Response(200, JSON, b"", "OK")),
    "stream": made(b"{}", b'data: {"a": 1}\n\ndata: [DONE]\n\n', events=True),
    "looks like others": made(b"null", b"12:30:45"),
    "like yaml": made(b"- request:\n- a: *b\n", b"\n- request:\nversion: 1\n"),
    "control": made(b"\0\x01\x1f\r\n\r\t", b"\r\r\n\x0b\x0c"),
    "query": made(uri=f"{URI}?api-version=1&x=%20'\""),
    "headers": Interaction(
        Request.from_uri("POST", URI, (("X-Empty", ""), ("X-Number", "12"), ("x-text", "a: b #c"))),
        Response(404, (("set-a", "1"), ("set-a", "2"), ("x-é", "ü")), b"{}", "Not Found"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_vcrpys_own_byte_for_byte(kind: str, tmp_path: Path) -> None:
    found = (KINDS[kind], KINDS["json"], KINDS[kind])

    assert written(tmp_path / "tape.yaml", *found).read_bytes() == by_vcrpy(*found)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_as_it_was(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    item = item_text(KINDS[kind])
    Writer(path).append(item_text(KINDS["json"]))
    place = Writer(path).append(item)

    assert path.read_bytes()[place.offset :][: place.length] == item
    request, response = read_item(item)
    assert (request.body, request.uri) == (KINDS[kind].request.body, KINDS[kind].request.uri)
    assert (response.status, response.body) == (KINDS[kind].response.status, KINDS[kind].response.body)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_beside_is_ignored_by_vcrpy_and_by_us(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    request, response = KINDS[kind]
    Writer(path).append(item_text(Interaction(request, response._replace(times=(1, 2)))))

    (asked,), (answered,) = FilesystemPersister.load_cassette(path, yamlserializer)

    assert (asked.body or b"", answered["body"]["string"]) == (request.body, response.body)
    assert answered["x_stubserver"] == {"events_ms": "1,2"}
    assert bodies(path) == [KINDS[kind].request.body]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(value=JSON_VALUES, ascii_only=st.booleans(), answer=st.binary(max_size=300) | st.text().map(str.encode))
def test_any_json_and_any_bytes_come_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, value: Any, *, ascii_only: bool, answer: bytes
) -> None:
    import json  # noqa: PLC0415  # the parameters of the headers above are called JSON

    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    path = tmp_path_factory.mktemp("any") / "tape.yaml"
    asked = made(body, answer)
    written(path, KINDS["json"], asked, KINDS["json"])
    library = Library([path])
    played = library.playlist.play(library.rules.key(asked.request), asked.request)

    assert isinstance(played, Played)
    assert bodies(path)[1] == body
    assert library.playlist.recordings[1].interaction().response.body == answer
    assert played.recording.number == 2


# Which files are appended to


WHOLE = by_vcrpy(KINDS["long"], KINDS["binary"])
ITEMS = WHOLE.removeprefix(b"interactions:\n").removesuffix(b"version: 1\n")


@pytest.mark.parametrize("text", [WHOLE, b"version: 1\ninteractions:\n" + ITEMS, b""], ids=["last", "first", "empty"])
def test_files_of_vcrpys_layouts_are_appended_to(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    path.write_bytes(text)
    written(path, KINDS["json"], KINDS["control"])

    assert bodies(path)[-2:] == [KINDS["json"].request.body, KINDS["control"].request.body]
    assert len(FilesystemPersister.load_cassette(path, yamlserializer)[0]) == (4 if text else 2)


@pytest.mark.parametrize(
    "text",
    [
        b"interactions: []\nversion: 1\n",
        b"interactions:\nversion: 1\n",
        b"interactions:\n" + ITEMS,
        b"interactions:\n" + ITEMS + b"conversion: 1\n",
        b"interactions:\n" + ITEMS + b"metadata:\n  a: 1\nversion: 1\n",
        b"interactions:\n" + ITEMS + b"version: 2\n",
        b"interactions:\n" + ITEMS + b"version: 1",
        b"interactions:\r\n" + ITEMS + b"version: 1\r\n",
        b"interactions:\n  " + ITEMS.replace(b"\n", b"\n  ").rstrip(b" ") + b"version: 1\n",
        b"version: 1\ninteractions:\n" + ITEMS.rstrip(b"\n"),
        b"version: 1\ninteractions:\n",
        b"version: 1\ninteractions:\n" + ITEMS + b"metadata: {}\n",
        b"# a comment\n" + WHOLE,
        b"{}",
        b"x",
    ],
)
def test_any_other_file_is_refused_and_left_as_it_is(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    path.write_bytes(text)

    with pytest.raises(CassetteError, match="nothing can be appended"):
        Writer(path).append(item_text(KINDS["json"]))

    assert path.read_bytes() == text


def test_a_last_item_larger_than_one_look_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "tape.yaml", KINDS["json"], made(b"x" * 700_000), made(b"a b " * 200_000))

    written(path, KINDS["json"])

    assert len(bodies(path)) == 4


def test_folders_are_made_and_a_file_that_vanished_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "tape.yaml"
    writer = Writer(path, Fsync.ALWAYS)
    writer.append(item_text(made(b"one")))
    path.unlink()
    path.parent.rmdir()
    writer.append(item_text(made(b"two")))

    assert bodies(path) == [b"two"]


def test_a_file_replaced_while_waiting_for_it_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "tape.yaml", made(b"one"))
    real = module.fcntl.flock
    replaced: list[bool] = []

    def slow(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        if not replaced:
            replaced.append(True)
            written(tmp_path / "new", made(b"new")).replace(path)

    monkeypatch.setattr(module.fcntl, "flock", slow)
    written(path, made(b"two"))

    assert bodies(path) == [b"new", b"two"]


# A disk that does not take it


def test_a_write_that_is_cut_short_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "tape.yaml", made(b"one"))
    before, writer, real = path.read_bytes(), Writer(path), os.pwrite
    for size in (0, 1, 10, 11, 12, 60):
        with monkeypatch.context() as patch:
            fake = iter([lambda d, data, at, size=size: real(d, data[:size], at)])
            patch.setattr(module.os, "pwrite", lambda *args, fake=fake: next(fake, real)(*args))
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                writer.append(item_text(made(b"lost")))
        assert path.read_bytes() == before
    writer.append(item_text(made(b"two")))

    assert bodies(path) == [b"one", b"two"]


def test_a_file_size_limit_of_the_system_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    code = PROCESS.replace(
        "import sys", "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))", 1
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, "a", "90", "100"], capture_output=True, text=True, check=False
    )

    kept = [body.rstrip(b"x").decode() for body in bodies(path)]
    assert "File too large" in done.stderr or os.strerror(errno.ENOSPC) in done.stderr
    assert kept == done.stdout.split()
    assert 0 < len(kept) < 90
    assert path.stat().st_size <= 9000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_at_the_sync_keeps_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "tape.yaml", made(b"one"))
    before = path.read_bytes()

    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number), str(descriptor))

    monkeypatch.setattr(module.os, "fdatasync", fails)
    with pytest.raises(OSError, match=os.strerror(number)):
        Writer(path, Fsync.ALWAYS).append(item_text(made(b"lost")))

    assert path.read_bytes() == before


def test_at_intervals_the_first_is_synced_at_once_and_the_others_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(module, "_INTERVAL", 3600.0)
    monkeypatch.setattr(module.os, "fdatasync", synced.append)
    writer = Writer(tmp_path / "tape.yaml", Fsync.INTERVAL)
    for text in (b"one", b"two", b"three"):
        writer.append(item_text(made(text)))
    assert len(synced) == 1
    writer.sync()
    writer.sync()
    assert len(synced) == 2
    writer.append(item_text(made(b"four")))
    assert len(synced) == 2
    writer.sync()

    assert len(synced) == 3
    assert bodies(writer.path) == [b"one", b"two", b"three", b"four"]


def test_what_is_left_for_later_is_synced_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Semaphore(0)
    monkeypatch.setattr(module, "_INTERVAL", 0.2)
    monkeypatch.setattr(module.os, "fdatasync", lambda _: synced.release())
    writer = Writer(tmp_path / "tape.yaml", Fsync.INTERVAL)
    for _ in range(2):
        writer.append(item_text(made()))

    assert synced.acquire(timeout=60)
    assert synced.acquire(timeout=60)


def test_a_sync_that_failed_later_is_tried_and_told_by_the_next_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(module, "_INTERVAL", 3600.0)
    writer = Writer(tmp_path / "tape.yaml", Fsync.INTERVAL)
    writer.append(item_text(made(b"one")))
    writer.append(item_text(made(b"two")))
    with monkeypatch.context() as broken:
        broken.setattr(module.os, "fdatasync", fails)
        writer.sync()
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            writer.append(item_text(made(b"lost")))
    writer.append(item_text(made(b"three")))

    assert bodies(writer.path) == [b"one", b"two", b"three"]


# Torn ends


def cuts() -> Iterator[int]:
    last = len(by_vcrpy(KINDS["headers"], KINDS["stream"])) - len(b"version: 1\n")
    yield from range(last, len(by_vcrpy(KINDS["headers"], KINDS["stream"], KINDS["query"])))


def test_cut_at_every_byte_of_the_last_item_nothing_else_is_lost(tmp_path: Path) -> None:
    whole = by_vcrpy(KINDS["headers"], KINDS["stream"], KINDS["query"])
    path, torn = tmp_path / "tape.yaml", tmp_path / "tape.yaml.torn"
    for cut in cuts():
        path.write_bytes(whole[:cut])
        torn.unlink(missing_ok=True)
        said = repair(path)
        kept = bodies(path)
        assert kept[:2] == [KINDS["headers"].request.body, KINDS["stream"].request.body], cut
        end = path.read_bytes().removesuffix(b"version: 1\n")
        assert whole.startswith(end)
        assert end + torn.read_bytes() == whole[:cut]
        assert said is not None
        assert torn.name in said
        assert repair(path) is None
        Writer(path).append(item_text(KINDS["json"]))
        assert bodies(path) == [*kept, KINDS["json"].request.body]


def test_cut_at_every_byte_of_the_only_item_the_file_can_be_begun_anew(tmp_path: Path) -> None:
    whole = by_vcrpy(KINDS["query"])
    path = tmp_path / "tape.yaml"
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        repair(path)
        Writer(path).append(item_text(KINDS["json"]))
        assert bodies(path)[-1] == KINDS["json"].request.body


def test_a_torn_item_behind_a_version_first_head_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    head = b"version: 1\ninteractions:\n" + item_text(KINDS["stream"])
    item = item_text(KINDS["query"])
    for cut in range(1, len(item)):
        path.write_bytes(head + item[:cut])
        repair(path)
        kept = bodies(path)
        assert kept[0] == KINDS["stream"].request.body
        assert path.read_bytes().startswith(head)
        Writer(path).append(item)
        assert bodies(path) == [*kept, KINDS["query"].request.body]


def test_every_torn_part_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    for part in (b"- request:\n    one", b"- request:\n    two"):
        path.write_bytes(WHOLE.removesuffix(b"version: 1\n") + part)
        repair(path)

    assert (tmp_path / "tape.yaml.torn").read_bytes() == b"- request:\n    one- request:\n    two"


@pytest.mark.parametrize(
    "text",
    [b"", WHOLE, b"version: 1\ninteractions:\n" + ITEMS, b"interactions: []\n", b"{}", b"# interactions:\n" + ITEMS],
)
def test_what_is_whole_or_none_of_ours_is_not_mended(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    path.write_bytes(text)

    assert repair(path) is None
    assert path.read_bytes() == text
    assert [p.name for p in tmp_path.iterdir()] == ["tape.yaml"]


# Other processes


def start(path: Path, name: str, count: int, size: int) -> subprocess.Popen[str]:
    args = [sys.executable, "-c", PROCESS, path, name, str(count), str(size)]
    return subprocess.Popen(args, stdout=subprocess.PIPE, text=True)


def test_four_processes_write_into_one_cassette(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    processes = [start(path, name, 50, 8_000) for name in "abcd"]
    said = [line for process in processes for line in process.communicate()[0].split()]

    kept = [body.rstrip(b"x").decode() for body in bodies(path)]
    assert len(kept) == 200
    assert sorted(kept) == sorted(said)
    for name in "abcd":
        assert [k for k in kept if k.startswith(name)] == [f"{name}-{n}-" for n in range(50)]


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    chance, said = random.Random(4), []
    for number in range(6 * HARDER):
        process = start(path, f"k{number}", 100_000, 40_000)
        assert process.stdout is not None
        with process, contextlib.suppress(ProcessLookupError):
            said += [process.stdout.readline().strip() for _ in range(chance.randrange(1, 12))]
            process.send_signal(signal.SIGKILL)
            said += process.stdout.read().split()
        repair(path)
        assert set(said) <= {body.rstrip(b"x").decode() for body in bodies(path)}

    assert len(said) >= 6 * HARDER
    assert Writer(path).append(item_text(KINDS["json"])) > Place(0, 0)
