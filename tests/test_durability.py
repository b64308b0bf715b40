"""Whole recorders in processes of their own: killed in the middle of it, and with a disk that has no room left."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from faulty_upstream import JSON, STREAM, Upstream, answer, stream, upstream
from fuzzing import HARDER
from raw import Raw, chat
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from stubserver.stub import StubServer

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from stubserver.cli import main
main()
"""


@pytest.fixture
def up() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@contextmanager
def recorder(tape: Path, up: Upstream, *program: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, *(program or ("-m", "stubserver")), "record", str(tape), "--upstream", up.url]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


class Client(threading.Thread):
    """Asks one new thing after the other until the server is gone; ``acknowledged`` are those it has an answer to."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(name=name)
        self._port = port
        self.acknowledged: list[str] = []

    def run(self) -> None:
        with suppress(OSError, EOFError), Raw(("127.0.0.1", self._port)) as client:
            for number in range(100_000):
                text = f"{self.name}-{number}"
                client.ask(chat(text, stream=number % 2 == 0, filler="x" * (number % 7) * 1000))
                self.acknowledged.append(text)


def asked(tape: Path) -> list[str]:
    requests, _ = FilesystemPersister.load_cassette(tape, yamlserializer)
    return [json.loads(request.body)["messages"][0]["content"] for request in requests]


def test_kills_at_any_moment_lose_nothing_that_was_acknowledged(up: Upstream, tmp_path: Path) -> None:
    """Eight clients record into one cassette; each round goes on with the file that the kill before it left."""
    tape = tmp_path / "tape.yaml"
    up.otherwise = stream(*STREAM)
    acknowledged: list[str] = []
    for round_ in range(2 * HARDER):
        with recorder(tape, up) as (process, port):
            clients = [Client(port, f"{round_}-{number}") for number in range(8)]
            for client in clients:
                client.start()
            enough = random.Random(round_).randint(5, 60)
            while sum(len(client.acknowledged) for client in clients) < enough:
                clients[0].join(0.01)
            process.send_signal(signal.SIGKILL)
            for client in clients:
                client.join()
        acknowledged += [text for client in clients for text in client.acknowledged]
        with StubServer(tape, record_mode="new_episodes", upstream=up.url) as stub:  # mends what was torn
            assert stub.report.errors == []
        there = asked(tape)
        assert set(acknowledged) <= set(there)
        assert len(there) == len(set(there))


def test_without_room_on_the_disk_clients_have_their_answers_and_recording_goes_on_later(
    up: Upstream, tmp_path: Path
) -> None:
    tape = tmp_path / "tape.yaml"
    body = b'{"text": "%b"}' % (b"y" * 3000)
    up.otherwise = answer(body, JSON)
    with recorder(tape, up, "-c", LIMITED, "20000") as (_, port), Raw(("127.0.0.1", port)) as client:
        assert [client.ask(chat(str(number))) for number in range(12)] == [(200, body)] * 12
        up.otherwise = answer(b"{}", JSON)
        assert client.ask(chat("small")) == (200, b"{}")
        listed = client.ask(b"GET /__admin/requests HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")[1]
    texts = asked(tape)

    assert 1 < len(texts) < 12
    assert texts[:2] == ["0", "1"]
    assert len(set(texts)) == len(texts)
    notes = [row["note"] for row in json.loads(listed)["requests"] if row["path"] == "/v1/chat/completions"]
    assert "not recorded: it could not be written: No space left on device" in notes
    assert len([note for note in notes if not note]) == len(texts)
    with StubServer(tape, record_mode="new_episodes", upstream=up.url) as stub, Raw(("127.0.0.1", stub.port)) as client:
        client.ask(chat("later"))
    assert asked(tape) == [*texts, "later"]
