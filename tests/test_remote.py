"""URLs: the local copy, the outbox, and what happens when either cannot be. With fsspec's own file systems."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from faulty_upstream import upstream
from raw import Raw, chat
from tapes import ask, completion, recorded, tape

from stubserver import StubServer, remote
from stubserver.errors import CassetteError, UsageError
from stubserver.remote import Outbox, fetch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stubserver"


@pytest.fixture
def url() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    yield "memory://tapes"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(url: str, name: str, *questions: str) -> None:
    with fsspec.open(f"{url}/{name}", "wb") as file:
        file.write(text(*questions))


def text(*questions: str) -> bytes:
    path = Path(os.environ["XDG_CACHE_HOME"]).parent / "one.yaml"
    return tape(path, *(recorded(ask(question), completion(f"to {question}")) for question in questions)).read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))


def answered(stub: StubServer, question: str) -> str:
    with Raw(("127.0.0.1", stub.port)) as client:
        _, headers = client.send(chat(question, model="gpt-4o-mini")).head()
        client.exactly(int(headers["content-length"]))
    return headers["x-stubserver-source"]


# ------------------------------------------------------------------------------------------- to play


def test_only_cassettes_are_fetched_and_only_what_changed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.yaml", "below/b.yaml", "notes.txt", ".hidden/c.yaml"):
        put(url, name, "one")
    folder = fetch(url)
    assert names(folder) == ["a.yaml", "below/b.yaml"]
    read: list[str] = []
    download = remote._download

    def watched(system: Any, path: str, target: Path) -> None:
        read.append(path)
        download(system, path, target)

    monkeypatch.setattr(remote, "_download", watched)
    put(url, "a.yaml", "two")
    fsspec.filesystem("memory").rm(f"{url}/below/b.yaml")
    put(url, "new.yaml", "three")

    assert fetch(url) == folder
    assert names(folder) == ["a.yaml", "new.yaml"]
    assert read == ["/tapes/a.yaml", "/tapes/new.yaml"]


def test_a_prefix_leaves_the_others_as_they_are(url: str) -> None:
    put(url, "rank-00001.yaml", "one")
    put(url, "rank-00002.yaml", "two")

    assert names(fetch(url, "rank-00001")) == ["rank-00001.yaml"]
    assert names(fetch(url)) == ["rank-00001.yaml", "rank-00002.yaml"]
    assert names(fetch(url, "rank-00002")) == ["rank-00001.yaml", "rank-00002.yaml"]


def test_one_file(url: str) -> None:
    put(url, "a.yaml", "one")

    assert names(fetch(f"{url}/a.yaml")) == ["a.yaml"]


def test_a_damaged_index_is_only_an_index(url: str, cache: Path) -> None:
    put(url, "a.yaml", "one")
    folder = fetch(url)
    next(cache.rglob(".index.json")).write_text("{")

    assert names(fetch(url)) == names(folder) == ["a.yaml"]


@pytest.mark.parametrize(
    ("url", "cause"),
    [("nothing://x", "pip install"), ("http://127.0.0.1:1/x", r"cannot be read|pip install|no cassettes")],
)
def test_what_cannot_be_read_is_said(url: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        fetch(url)


def test_a_url_is_served_like_a_folder(url: str) -> None:
    put(url, "a.yaml", "one")

    with StubServer(url, fallback="error") as stub:
        assert [answered(stub, question) for question in ("one", "two")] == ["replayed", "unmatched"]


# ------------------------------------------------------------------------------------------- to record


def there(url: str) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in fsspec.filesystem("memory").find(url))


def test_what_is_recorded_is_sent_in_finished_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_SEND_SECONDS", 0.01)
    with upstream() as up, StubServer(url, upstream=up.url, record_mode="new_episodes", rank=7) as stub:
        assert answered(stub, "one") == "recorded"
        while not there(url):
            threading.Event().wait(0.01)
        assert answered(stub, "two") == "recorded"

    first, second = there(url)
    assert first.startswith("rank-00007-2")
    assert second.startswith("rank-00007")
    with StubServer(url, fallback="error") as stub:
        assert [answered(stub, question) for question in ("one", "two")] == ["replayed"] * 2


def test_a_rank_that_comes_again_plays_what_it_sent(url: str) -> None:
    with upstream() as up:
        for expected in (["recorded", "recorded"], ["replayed", "replayed"]):
            with StubServer(url, upstream=up.url, record_mode="new_episodes", rank=7) as stub:
                assert [answered(stub, question) for question in ("one", "two")] == expected

    assert len(there(url)) == 1


def test_a_stub_may_be_started_again(url: str) -> None:
    with upstream() as up:
        stub = StubServer(url, upstream=up.url, record_mode="new_episodes")
        for question in ("one", "two"):
            with stub:
                assert answered(stub, question) == "recorded"

    with StubServer(url, fallback="error") as stub:
        assert [answered(stub, question) for question in ("one", "two")] == ["replayed"] * 2


def test_what_cannot_be_sent_is_an_error_and_is_sent_by_the_next(
    url: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    system = type(fsspec.filesystem("memory"))
    put_file = system.put_file

    def fails(*_args: Any, **_more: Any) -> None:
        raise OSError(5, "no route")

    monkeypatch.setattr(system, "put_file", fails)
    with upstream() as up:
        stub = StubServer(url, upstream=up.url, record_mode="new_episodes")
        with pytest.raises(CassetteError, match="stays there"), stub:
            answered(stub, "one")
    monkeypatch.setattr(system, "put_file", put_file)
    assert stub._outbox is not None
    assert stub._outbox._let_go is not None
    stub._outbox._let_go()  # as if the process had ended
    lines: list[str] = []

    box = Outbox(url, lines.append)

    assert len(lines) == len(there(url)) == 1
    assert [path.name for path in next(cache.iterdir()).glob("new-*")] == [box.folder.name]
    box.close()


KILLED = """
import sys, time
from faulty_upstream import upstream
from stubserver import StubServer
with upstream() as up, StubServer(sys.argv[1], upstream=up.url, record_mode="new_episodes", rank=1) as stub:
    print(stub.port, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_had_not_sent_is_sent_by_the_next(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'shared'}"
    command = [sys.executable, "-c", KILLED, url]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout:
        port = int(process.stdout.readline())
        with Raw(("127.0.0.1", port)) as client:
            client.ask(chat("one", model="gpt-4o-mini"))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not list(tmp_path.glob("shared/*.yaml"))

    with upstream() as up, StubServer(url, upstream=up.url, record_mode="new_episodes", rank=1) as stub:
        assert "had not sent, was sent" in stub.report.warnings[0]
        assert answered(stub, "one") == "replayed"
    assert len(list(tmp_path.glob("shared/*.yaml"))) == 1
