"""What the other tests do not show: whole scenes of SECURITY.md, with processes, sockets and files as they are."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from faulty_upstream import JSON, STREAM, WHOLE, Upstream, answer, sending, upstream
from fuzzing import HARDER, memory
from raw import GET, PATIENCE, Raw, address_of, chat, eventually, post, serving
from tapes import ask, recorded, tape

from stubserver import StubServer
from stubserver.cassettes.library import Library
from stubserver.cassettes.writer import cassette_text
from stubserver.connection import ServerSettings
from stubserver.interchange.exporting import take_out
from stubserver.journal import Journal
from stubserver.keeping import decoded
from stubserver.messages import Answer, Interaction, Request, Response
from stubserver.rewriting import rewrite
from stubserver.scrubbing import Scrubber

KEY = "sk-proj-9a8b7c6d5e4f3g2h1i0j9k8l7m6n5o4p"
OURS = "sk-ours-0a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p"


@pytest.fixture
def up() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@contextmanager
def command(*arguments: str | Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command until its end is asked for; give the process and where it listens."""
    started = subprocess.Popen(
        [sys.executable, "-m", "stubserver", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert started.stdout is not None
    try:
        first = started.stdout.readline()
        for line in started.stdout:
            if "complete" in line:
                break
        yield started, first.removeprefix("stubserver listening on ").strip()
    finally:
        started.kill()
        started.communicate()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as found:
        content: bytes = found.read()
        return content


def asking(question: str) -> bytes:
    """Write the request of what ``recorded(ask(question))`` recorded."""
    return post(json.dumps(ask(question)).encode())


def raw(url: str) -> Raw:
    host, port = url.removeprefix("http://").split(":")
    return Raw((host, int(port)))


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized"])
def test_no_key_is_found_anywhere_after_a_recording(status: str, up: Upstream, tmp_path: Path) -> None:
    """Cassettes, journal, archive, log, what is printed, the command line: the whole machine but the upstream."""
    echo = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}, {OURS}."}, "id": "x"}).encode()
    up.otherwise = sending(answer(echo, JSON, f"Set-Cookie: session={KEY}", f"X-Echo: {OURS}", status=status))
    tape_path = tmp_path / "tape.yaml"
    options = ("--upstream", up.url, "--upstream-key-env", "OUR_KEY", "--record-status", "401", "-v")
    with command("record", tape_path, *options, OUR_KEY=OURS) as (process, url):
        with raw(url) as client:
            for secret in (f"Authorization: Bearer {KEY}", f"api-key: {KEY}", f"Cookie: a={KEY}"):
                client.ask(post(json.dumps(ask(f"my key is {KEY}")).encode(), secret, target=f"/v1/x?key={KEY}"))
        shown = [get(f"{url}/__admin/{part}") for part in ("requests", "requests/1", "requests.har", "interactions")]
        shown += [get(f"{url}/__admin/{part}") for part in ("settings", "metrics", "cassettes", "cassettes/tape/file")]
        arguments = Path(f"/proc/{process.pid}/cmdline")
        shown.append(arguments.read_bytes() if arguments.exists() else b"")
        process.send_signal(signal.SIGINT)
        printed = "".join(process.communicate(timeout=PATIENCE))

    shown += [printed.encode(), *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())]
    assert tape_path.exists()
    assert len(shown[0]) > 100
    for text in shown:
        for secret in (KEY, OURS):
            assert secret.encode() not in text
            assert secret.encode().hex().encode() not in text


# --- hostile cassettes --------------------------------------------------------------------------------------------


def test_a_hostile_cassette_is_named_and_the_others_are_served(tmp_path: Path) -> None:
    tape(tmp_path / "good.yaml", recorded(ask("hi"), {"answer": "yes"}))
    done = tmp_path / "done"
    item = (
        (tmp_path / "good.yaml")
        .read_text()
        .replace("method: POST", f"method: !!python/object/apply:os.mkdir ['{done}']")
    )
    (tmp_path / "evil.yaml").write_text(item)

    with StubServer(tmp_path) as stub, raw(stub.url) as client:
        status, body = client.ask(asking("hi"))

    (error,) = stub.report.errors
    assert (status, json.loads(body)) == (200, {"answer": "yes"})
    assert error.path.endswith("evil.yaml")
    assert "python/object/apply:os.mkdir" in error.cause
    assert not done.exists()


def test_a_packed_bomb_of_the_upstream_takes_no_memory_to_speak_of() -> None:
    bomb = gzip.compress(bytes(300_000_000), 1)
    tracemalloc.start()
    try:
        assert decoded((("content-encoding", "gzip"),), bomb) is None
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()


# --- many at once -------------------------------------------------------------------------------------------------


def test_idle_connections_up_to_the_cap_and_beyond() -> None:
    wanted = 200 * min(HARDER, 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 3 * wanted + 100), hard), hard))
    try:
        with serving(settings=ServerSettings(connections=wanted)) as server, ExitStack() as stack:
            for _ in range(wanted - 1):
                stack.enter_context(socket.create_connection(address_of(server), PATIENCE))
            assert eventually(lambda: server.connections == wanted - 1)
            assert threading.active_count() < wanted + 20
            with Raw(address_of(server)) as client:
                assert client.ask(GET)[0] == 200
                with Raw(address_of(server)) as one_too_many:
                    assert one_too_many.status() == 503
            stack.close()
            assert eventually(lambda: server.connections == 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_answer_waits_for_the_next_packet() -> None:
    """Nagle's algorithm would hold a second small packet back for 40 ms on every answer."""
    with serving() as server, Raw(address_of(server)) as client:
        assert client.ask(GET)[0] == 200
        (connection,) = server._connections
        assert connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_journal_forgets_before_it_takes_the_memory() -> None:
    with StubServer() as stub, raw(stub.url) as client:
        before = memory()
        for number in range(150 * HARDER):
            assert client.ask(chat(f"{number} " + "x" * 1_000_000))[0] == 200
        assert memory() - before < 300_000_000
        assert stub.journal.total == 150 * HARDER


# --- the disk -----------------------------------------------------------------------------------------------------


class Refuses:
    """Stands for a function of the system that fails at its *number*-th call, and counts."""

    def __init__(self, real: Any, number: int) -> None:
        self.real = real
        self.left = number

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise OSError(5, "Input/output error")
        return self.real(*args, **options)


@pytest.mark.parametrize("what", ["scrub", "export"])
def test_a_file_is_the_old_one_or_the_new_one_wherever_the_disk_fails(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLite's tests do: fail at the first call, at the second, ... until nothing fails any more."""
    dirty = Interaction(Request.from_uri("GET", f"https://a/x?key={KEY}"), Response(200, (), b"ok"))
    source, target = tmp_path / "tape.yaml", tmp_path / ("tape.yaml" if what == "scrub" else "out.har")
    source.write_bytes(cassette_text([dirty]))
    library = Library([source])

    def work() -> None:
        rewrite(source, Scrubber()) if what == "scrub" else take_out(library, target, Scrubber())

    if what == "export":
        target.write_bytes(b"old")
    old = target.read_bytes()
    for number in count(1):
        refusing = [Refuses(real, number) for real in (os.fsync, os.replace, os.link)]
        with monkeypatch.context() as patch:
            for name, fake in zip(("fsync", "replace", "link"), refusing, strict=True):
                patch.setattr(os, name, fake)
            try:
                work()
            except OSError:
                assert target.read_bytes() == old
                assert [file.path.name for file in Library([tmp_path]).files] == ["tape.yaml"]
                continue
        break
    assert number > 1
    assert target.read_bytes() != old
    assert KEY.encode() not in target.read_bytes()


def test_a_clock_that_jumps_back_disturbs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    times = iter([1_800_000_000.0, 1_700_000_000.0, 0.0, -5.0])
    journal = Journal()
    monkeypatch.setattr("time.time", lambda: next(times, 0.0))
    for _ in range(4):
        journal.add(Request("GET", "/"), Answer(Response(200), "dummy"))
    monkeypatch.undo()
    assert [entry.number for entry in journal] == [1, 2, 3, 4]

    path = tape(tmp_path / "a.yaml", recorded(ask("hi"), {"answer": "old"}))
    with StubServer(path) as stub, raw(stub.url) as client:
        assert b"old" in client.ask(asking("hi"))[1]
        tape(path, recorded(ask("other"), {"answer": "new"}))
        os.utime(path, (0, 0))  # what is newer has the older time
        assert eventually(lambda: b"new" in client.ask(asking("other"))[1])


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(number: int) -> None:
    with command("serve", "--ttft", "60000") as (process, url), raw(url) as client:
        client.send(chat("hi", stream=True))
        assert eventually(lambda: json.loads(get(f"{url}/__admin/health"))["status"] == "healthy")
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(number)
        assert process.wait(PATIENCE) == -number


ENDS_IN_THE_MIDDLE = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from raw import Raw, chat
from stubserver import StubServer

stub = StubServer(ttft=0, itl=1).start()
host, port = stub.url.removeprefix("http://").split(":")
clients = [Raw((host, int(port))) for _ in range(8)]
for client in clients:
    client.send(chat("x" * 100, stream=True, max_tokens=100))
    client.head()
"""


def test_a_process_may_end_while_answers_are_written() -> None:
    for _ in range(2 * HARDER):
        done = subprocess.run(
            [sys.executable, "-c", ENDS_IN_THE_MIDDLE, str(Path(__file__).parent)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


# --- faults on purpose --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["503", "reset,after-bytes=20", "bad-json", "truncate=1", "no-done", "length-short=5"]
)
def test_a_fault_is_never_recorded(fault: str, up: Upstream, tmp_path: Path) -> None:
    """What the client got was broken; what is kept is what the upstream sent, or nothing."""
    path = tmp_path / "tape.yaml"
    with StubServer(path, record_mode="new_episodes", upstream=up.url, fault=fault) as stub:
        for stream in (False, True):
            with raw(stub.url) as client:
                client.send(post(json.dumps(ask("hi", stream=stream)).encode(), "Connection: close")).rest()
    with StubServer(path if path.exists() else (), fallback="error") as stub:
        assert stub.report.errors == []
        kept = [recording.interaction().response for recording in stub.library.playlist]
    assert {response.status for response in kept} <= {200}
    assert all(response.body in {WHOLE, b"".join(STREAM)} for response in kept)


@pytest.mark.parametrize(
    "fault", ["black-hole", "delay=3600000", "stall=3600000,after-events=1", "event-delay=3600000"]
)
@pytest.mark.parametrize("who", ["the client leaves", "the server stops"])
def test_a_fault_never_leaves_a_thread(fault: str, who: str) -> None:
    before = threading.active_count()
    with StubServer(fault=fault) as stub:
        with raw(stub.url) as client:
            client.send(chat("hi", stream=True))
            assert eventually(lambda: stub._server is not None and stub._server.connections == 1)
            if who == "the server stops":
                stub.stop(grace=0.1)
        assert eventually(lambda: stub._server is None or stub._server.connections == 0)
    assert eventually(lambda: threading.active_count() <= before)


@pytest.mark.parametrize(
    ("fault", "seen", "reset"),
    [
        ("reset", 0, True),
        ("close", 0, False),
        ("reset,after-bytes=20", 20, True),
        ("close,after-bytes=20", 20, False),
        ("reset,in-head", None, True),
        ("close,in-head", None, False),
    ],
)
def test_a_reset_and_an_end_are_told_apart(fault: str, seen: int | None, reset: bool) -> None:  # noqa: FBT001
    with StubServer(fault=fault) as stub, raw(stub.url) as client:
        client.send(chat("hi"))
        found, was_reset = b"", False
        try:
            while data := client.sock.recv(65_536):
                found += data
        except ConnectionResetError:
            was_reset = True
    head, end, body = found.partition(b"\r\n\r\n")
    assert was_reset == reset
    assert len(body) == (seen or 0)
    assert bool(end) == bool(seen)
    assert bool(head) == (seen != 0)
