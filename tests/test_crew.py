"""Several processes behind one port, asked and counted as one. (test_worker.py has the same from inside.)"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from cassette_texts import dump
from tapes import ask, recorded

from stubserver import StubServer
from stubserver.errors import UsageError

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tapes") / "chat.yaml"
    items = [recorded(ask("again"), {"n": n}) for n in range(60)] + [
        recorded(ask(f"q{n}"), {"n": n}) for n in range(20)
    ]
    path.write_text(dump({"interactions": items, "version": 1}))
    return path


@pytest.fixture
def stub(tape: Path) -> Iterator[StubServer]:
    with StubServer(tape, workers=3, on_exhausted="error", fallback="error") as started:
        yield started


def send(stub: StubServer, question: str) -> Any:
    """Ask on a connection of its own: any worker may take it."""
    answer = httpx.post(stub.url + CHAT, json=ask(question), timeout=20)
    return answer.json().get("n", answer.status_code)


def admin(stub: StubServer, method: str, path: str, **more: Any) -> Any:
    answer = httpx.request(method, f"{stub.url}/__admin{path}", timeout=20, **more)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def workers(stub: StubServer) -> list[int]:
    return [worker.process.pid for worker in stub._staff._workers.values()]  # type: ignore[attr-defined]


def test_repeats_are_played_in_turn_whoever_answers(stub: StubServer) -> None:
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: send(stub, "again"), range(61)))
    assert Counter(answers) == Counter([*range(60), 404])
    assert stub.unplayed == [f"{stub.library.files[0].label}#{n}" for n in range(61, 81)]
    stub.reset()
    assert len(stub.unplayed) == 80
    assert send(stub, "again") == 0


def test_the_journal_has_what_all_of_them_answered(stub: StubServer) -> None:
    asked = [f"q{n % 20}" for n in range(30)] + ["unknown"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda question: send(stub, question), asked))
    seen = Counter(json.loads(entry.request.body)["messages"][0]["content"] for entry in stub.journal)
    assert seen == Counter(asked)
    assert [entry.number for entry in stub.journal] == list(range(1, 32))
    assert Counter(entry.source for entry in stub.journal) == {"replayed": 20, "unmatched": 11}
    assert sum(cell.count for cell in stub.tally.cells().values()) == 31
    assert stub.journal.total == 31
    stub.reset()
    assert len(stub.journal) == 0
    assert send(stub, "q1") == 1
    assert len(stub.journal) == 1


def test_the_admin_api_answers_for_all(stub: StubServer) -> None:
    for n in range(12):
        send(stub, f"q{n}")
    for _ in range(6):  # whichever worker is asked
        assert len(admin(stub, "GET", "/requests")["requests"]) == 12
    listed = admin(stub, "GET", "/interactions/unplayed")
    assert len(listed["interactions"]) == 68
    assert admin(stub, "POST", "/requests/count", json={})["count"] == 12
    admin(stub, "PUT", "/settings", json={"fallback": "dummy"})
    for _ in range(9):
        assert send(stub, "unknown") == 200
    admin(stub, "POST", "/reset")
    assert admin(stub, "GET", "/requests")["requests"] == []
    assert send(stub, "again") == 0


def test_the_feed_tells_of_all(stub: StubServer) -> None:
    with httpx.stream("GET", f"{stub.url}/__admin/events", timeout=20) as feed:
        lines = feed.iter_lines()
        next(lines)
        for n in range(4):
            send(stub, f"q{n}")
        told = 0
        for line in lines:
            told += line.startswith("event: request")
            if told == 4:
                break
    assert told == 4


def test_a_worker_that_dies_is_replaced(stub: StubServer) -> None:
    assert send(stub, "again") == 0
    before = workers(stub)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 60
    while set(workers(stub)) & set(before) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(workers(stub)) == 3
    assert send(stub, "again") == 1
    assert len(stub.unplayed) == 78


def test_the_port_is_free_and_nobody_is_left_at_the_end(tape: Path) -> None:
    stub = StubServer(tape, workers=2).start()
    port, pids = stub.port, workers(stub)
    held = socket.create_connection(("127.0.0.1", port))
    stub.stop()
    held.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_when_the_parent_is_killed_the_workers_go(tape: Path) -> None:
    command = [sys.executable, "-m", "stubserver", "serve", str(tape), "--workers", "2", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().rsplit(":", 1)[1]
        until = time.monotonic() + 60
        while "complete" not in process.stdout.readline() and time.monotonic() < until:
            pass
        process.kill()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", int(address))).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    pytest.fail("somebody still listens")


def test_localhost_is_both_addresses(tape: Path) -> None:
    with StubServer(tape, workers=2, host="localhost") as stub:
        for host in ["127.0.0.1", "[::1]"][: len(stub._server.listeners)]:  # type: ignore[union-attr]
            assert httpx.get(f"http://{host}:{stub.port}/v1/models", timeout=20).status_code == 200


def test_recording_is_for_one_process(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one process"):
        StubServer(tmp_path / "a.yaml", workers=2, record_mode="once", upstream="http://127.0.0.1:9")
