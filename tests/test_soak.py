"""All kinds of load at once, for as long as ``SOAK_SECONDS`` says: seconds here, a quarter of an hour in ``make soak``.

Nothing may grow: no memory, threads or descriptors; and the journal explains every request.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzzing import memory
from raw import Raw, chat, eventually, post
from tapes import ask, recorded, tape

from stubserver import StubServer

SECONDS = float(os.environ.get("SOAK_SECONDS", "4"))
WORKERS = 4
# Journal and caches are filled to their bounds in the first minutes.
MOST_GROWTH = 30_000_000 if SECONDS >= 300 else 150_000_000
SOURCES = {"replayed", "recorded", "forwarded", "dummy", "unmatched", "fault", "refused"}
CHAT = "/v1/chat/completions"
FAULTS = (
    *("503", "rate-limit", "delay=5", "bandwidth=100000", "reset", "close", "reset,after-bytes=100", "length-long=10"),
    *("no-done", "bad-event=1", "repeat-event", "split-utf8", "truncate=1", "crlf", "html", "empty", "garbage=50"),
)


class Load:
    """What the clients do, and what they counted: the answers that they read, and the requests that they left."""

    def __init__(self, served: StubServer, recording: StubServer, folder: Path) -> None:
        self.served = served
        self.recording = recording
        self.folder = folder
        self.answered: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._files = count()

    def work(self, number: int) -> None:
        """Do one thing after the other, each picked by chance, until the end."""
        random = Random(number)
        client, recorder = (self._client(stub) for stub in (self.served, self.recording))
        things: dict[str, Callable[[], object]] = {
            "replay": lambda: self._ask(client, "served", ask(f"known {random.randrange(20)}")),
            "dummy": lambda: self._ask(client, "served", ask(f"unknown {random.random()}", max_tokens=30)),
            "stream": lambda: self._ask(client, "served", ask("unknown", stream=True)),
            "wrong": lambda: self._ask(client, "served", {"model": 1, "messages": "x"}, wanted=400),
            "record": lambda: self._ask(recorder, "recording", ask(f"kept {random.randrange(200)}")),
            "record a stream": lambda: self._ask(recorder, "recording", ask(f"k {random.randrange(50)}", stream=True)),
            "admin": lambda: self._administer(client, random),
            "reload": lambda: self._change(random),
            "leave": lambda: self._leave(random),
            "garbage": lambda: self._garbage(random),
            "fault": lambda: self._fault(random),
            "forget": lambda: self._forget(recorder),
        }
        names = random.choices(list(things), weights=(20, 20, 10, 5, 15, 5, 10, 1, 8, 6, 8, 2), k=1000)
        for name in iter(lambda: random.choice(names), None):
            if self.ended.is_set():
                break
            try:
                things[name]()
            except Exception as error:  # noqa: BLE001  # whatever goes wrong is what we look for
                self.errors.append(f"{name}: {type(error).__name__}: {error}")
                self.ended.set()
            self._count(self.done, name)
        client.close()
        recorder.close()

    def _count(self, counter: Counter[str], name: str) -> None:
        with self._lock:
            counter[name] += 1

    @staticmethod
    def _client(stub: StubServer) -> http.client.HTTPConnection:
        host, port = stub.url.removeprefix("http://").split(":")
        return http.client.HTTPConnection(host, int(port), timeout=60)

    def _ask(self, client: http.client.HTTPConnection, name: str, body: Any, wanted: int = 200) -> None:
        client.request("POST", CHAT, json.dumps(body), {"content-type": "application/json"})
        answer = client.getresponse()
        content = answer.read()
        assert answer.status == wanted, (answer.status, content[:200])
        assert content.endswith((b"}", b"data: [DONE]\n\n"))
        self._count(self.answered, name)

    def _administer(self, client: http.client.HTTPConnection, random: Random) -> None:
        calls = (
            ("GET", "/requests?limit=5", None),
            ("GET", "/interactions?q=known&limit=3", None),
            ("GET", "/cassettes", None),
            ("GET", "/settings", None),
            ("PUT", "/settings", {"fallback": "dummy"}),
        )
        method, path, body = random.choice(calls)
        fields = {"content-type": "application/json"}
        client.request(method, f"/__admin{path}", None if body is None else json.dumps(body), fields)
        answer = client.getresponse()
        content = answer.read()
        assert answer.status == 200, (path, answer.status, content[:200])

    def _change(self, random: Random) -> None:
        """Write a cassette anew, as an editor does; now and then it is damaged for a while, or gone."""
        path, kind = self.folder / f"more-{random.randrange(3)}.yaml", random.random()
        if kind < 0.2:
            path.unlink(missing_ok=True)
            return
        fresh = path.with_name(f".{next(self._files)}.tmp")
        tape(fresh, *(recorded(ask(f"more {n}")) for n in range(random.randrange(1, 5))))
        if kind < 0.4:
            fresh.write_bytes(fresh.read_bytes()[:-30])
        fresh.replace(path)

    def _leave(self, random: Random) -> None:
        """Go away: within the request, or within the answer, politely or not."""
        with self._raw() as client:
            text = chat(f"unknown {random.random()}", stream=True)
            if random.random() < 0.5:
                client.send(text[: random.randrange(1, len(text) - 1)])
            else:
                self._count(self.left, "served")
                client.send(text)
                if random.random() < 0.5:
                    client.head()
            if random.random() < 0.5:
                client.reset()

    def _garbage(self, random: Random) -> None:
        with self._raw() as client, suppress(OSError):
            client.send(random.randbytes(random.randrange(1, 200)) + b"\r\n\r\n").half_close()
            assert b" 5" not in client.rest()[:12]

    def _fault(self, random: Random) -> None:
        """Ask for a fault, and take what comes."""
        wish = random.choice(FAULTS)
        stream = random.random() < 0.5
        body = json.dumps(ask(f"known {random.randrange(20)}", stream=stream)).encode()
        self._count(self.left, "served")
        with self._raw() as client:
            client.send(post(body, "Connection: close", f"x-stubserver-fault: {wish}"))
            assert client.rest() or wish in {"reset", "hang-up", "close"}

    def _forget(self, client: http.client.HTTPConnection) -> None:
        """Play the recordings from the beginning: else each that was played would be recorded once more."""
        client.request("POST", "/__admin/reset")
        answer = client.getresponse()
        answer.read()
        assert answer.status == 204

    def _raw(self) -> Raw:
        host, port = self.served.url.removeprefix("http://").split(":")
        return Raw((host, int(port)))


@contextmanager
def loaded(tmp_path: Path) -> Iterator[Load]:
    """Serve a folder that changes, record into another from a third stub, and let the clients loose."""
    played, kept = tmp_path / "played", tmp_path / "kept"
    tape(played / "known.yaml", *(recorded(ask(f"known {n}")) for n in range(20)))
    kept.mkdir()
    with (
        StubServer(played) as served,
        StubServer() as upstream,
        StubServer(kept, record_mode="new_episodes", upstream=upstream.url) as recording,
    ):
        load = Load(served, recording, played)
        threads = [threading.Thread(target=load.work, args=(number,)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            load.ended.set()
            for thread in threads:
                thread.join()


def report(line: str) -> None:
    """Say it where ``make soak`` shows it."""
    sys.stdout.write(f"\n{line}\n")


def _used() -> tuple[int, int, int]:
    """Return what this process has: bytes of memory, threads, descriptors."""
    return memory(), threading.active_count(), len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process has is read from Linux's /proc")
def test_mixed_load(tmp_path: Path) -> None:
    before = _used()
    with loaded(tmp_path) as load:
        load.ended.wait(SECONDS / 3)
        early = _used()
        load.ended.wait(SECONDS * 2 / 3)
        late = _used()
        load.ended.set()
        # The last ones to leave may still be on their way through.
        assert eventually(lambda: load.served.journal.total >= load.answered["served"])
        time.sleep(0.1)
        total = load.served.journal.total
        entries = list(load.served.journal)
        recorded_entries = load.recording.journal.total

    report(f"{sum(load.done.values())} things in {SECONDS:.0f} s: {dict(load.done)}")
    report(f"memory, threads, descriptors: {before} at first, {early} after a third, {late} at the end")
    assert load.errors == []
    assert set(load.done) >= {"replay", "dummy", "record", "admin", "leave", "garbage"}
    # Every request that was answered is in the journal, and nothing that was not sent.
    assert load.answered["served"] <= total <= load.answered["served"] + load.left["served"]
    assert recorded_entries == load.answered["recording"]
    assert {entry.source for entry in entries} <= SOURCES
    assert late[0] - early[0] < MOST_GROWTH
    assert late[1] - early[1] < 20
    assert late[2] - early[2] < 20
    assert eventually(lambda: _used()[1:] <= before[1:])
