"""Latency: how late answers are at half load, in quiet, while a file is reloaded again and again, while we record.

First wrk finds the rate at which the server saturates; half of it is then offered at constant intervals by
``paced.py``, which counts from the moment a request was due. The journal is on. nginx at the same rate, beside the same
things, shows what is the client's own, and the machine's: what disturbs runs on the client's core, with less priority.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import generate
import load_gen
import servers
from report import Part, Series
from servers import HERE, BenchError, Cores, Server

CONNECTIONS = 16
SATURATING_SECONDS = 2
FILES = 100
CHANGED = range(80_000_000, 80_001_000)
"""The recordings of the file that changes: as many as are in one file of a library of 100 000."""
NICE = 10
EVERY_SECONDS = 0.5
SERVED_WITHIN_SECONDS = 30
RECORDED_EVERY_SECONDS = 0.02


@dataclass
class Library:
    """A folder with so many recordings in a hundred files, the bodies of all requests, and one file that changes."""

    folder: Path
    count: int

    @property
    def tapes(self) -> Path:
        """The folder that is served."""
        return self.folder / "tapes"

    @property
    def bodies(self) -> Path:
        """All request bodies, one a line."""
        return self.folder / "all.bodies"

    def write(self) -> None:
        """Write everything."""
        self.tapes.mkdir()
        each = self.count // FILES
        with self.bodies.open("w", encoding="utf-8") as bodies:
            for number in range(FILES):
                path = self.tapes / f"{number:03}.yaml"
                generate.write(path, range(number * each, (number + 1) * each))
                part = path.with_suffix(".bodies")
                bodies.write(part.read_text(encoding="utf-8"))
                part.unlink()
        generate.write(self.tapes / "changing.yaml", CHANGED)
        (self.tapes / "changing.bodies").unlink()

    def read_ahead(self) -> None:
        """Build the index, with every answer in it."""
        command = [sys.executable, "-m", "stubserver", "index", str(self.tapes), "--index", str(self.folder / "index")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def served(self, *more: str | Path, cores: Cores) -> AbstractContextManager[Server]:
        """Serve it; the index is beside it."""
        index = ("--index", self.folder / "index")
        return servers.stubserver(*more, self.tapes, "--fallback", "error", *index, pin=cores.server)


class Changes:
    """The same file in two versions, written by turns; each is asked for until it is served."""

    def __init__(self, library: Library, server: Server) -> None:
        self._path = library.tapes / "changing.yaml"
        self._server = server
        text = self._path.read_text(encoding="utf-8")
        self._versions = cycle((text.replace("Answer 80000000", "Answer 8000000X", 1), text))
        self._marks = cycle(("Answer 8000000X", "Answer 80000000"))
        self._body = generate.Generator(generate.REPLAY).body(CHANGED[0])
        self.seen: list[float] = []
        self.between = 0
        """Answers that were errors, of recordings whose file had changed and was not read again yet."""

    def step(self) -> None:
        """Change the file, and wait until the change is served."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(next(self._versions), encoding="utf-8")
        fresh.replace(self._path)
        begun, mark = time.monotonic(), next(self._marks)
        while mark not in self._answer():
            if time.monotonic() - begun > SERVED_WITHIN_SECONDS:
                raise BenchError(f"a changed file was not served within {SERVED_WITHIN_SECONDS} s")
            time.sleep(0.1)
        self.seen.append(time.monotonic() - begun)
        time.sleep(EVERY_SECONDS)

    def _answer(self) -> str:
        try:
            return servers.ask(self._server.port, "POST", "/v1/chat/completions", self._body).decode()
        except BenchError:
            self.between += 1
            return ""


class News:
    """Requests that were never recorded, one after the other."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port)
        self.asked = 0
        self.close = self._connection.close

    def step(self) -> None:
        """Ask something new, which is recorded."""
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": f"news {self.asked}"}]})
        self._connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.headers["x-stubserver-source"] != "recorded":
            raise BenchError(f"a new request was not recorded, but {answer.headers['x-stubserver-source']}")
        self.asked += 1
        time.sleep(RECORDED_EVERY_SECONDS)


@contextmanager
def again(step: Callable[[], None], cores: Cores) -> Iterator[None]:
    """Take *step* over and over in a thread that takes only what the client leaves. Its error is raised at the end."""
    ended, errors = threading.Event(), list[Exception]()

    def run() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        if cores.client:
            os.sched_setaffinity(0, {int(cores.client[-1])})
        try:
            while not ended.is_set():
                step()
        except Exception as error:  # noqa: BLE001  # whatever it is, the measurement is none
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise BenchError(f"what should have disturbed ended: {errors[0]}")


@dataclass
class Meter:
    """Measures servers at half of the rate at which they saturate, and *other* beside them; fills in *part*."""

    part: Part
    library: Library
    seconds: int
    cores: Cores
    other: Server
    position: int = 0

    def take(self, name: str, server: Server, beside: Callable[[], None] | None = None, *, once: bool = False) -> None:
        """Measure under this name; *beside* is done over and over meanwhile; *once*: the same request each time."""
        print(f"latency: {name}", flush=True)
        bodies = self._one() if once else self.library.bodies
        most = self._saturation(server, bodies)
        with again(beside, self.cores) if beside else nullcontext():
            found = self._at(most / 2, server, bodies)
            floor = self._at(most / 2, self.other, bodies)
        self.part.figures.append(Series("saturates at", [most], "requests/s", name))
        for percent in ("p50", "p99", "p99.9", "p100"):
            self.part.figures.append(Series(percent, [found[percent]], "us", name))
        for percent in ("p50", "p99"):
            self.part.figures.append(Series(f"nginx: {percent}", [floor[percent]], "us", name))
        kept = 100 * found["kept"] / found["count"]
        told = f"{found['count']:,} requests at {found['rate']:,.0f} a second, {kept:.1f} % sent late"
        self.part.notes.append(f"{name}: {told}")

    def _one(self) -> Path:
        path = self.library.folder / "one.bodies"
        path.write_text(generate.Generator(generate.REPLAY).body(0) + "\n", encoding="utf-8")
        return path

    def _saturation(self, server: Server, bodies: Path) -> float:
        """Return how many requests a second are answered at most."""
        start, pin = self._start(bodies), self.cores.client
        run = load_gen.turns(server.chat_url, bodies, start, SATURATING_SECONDS, CONNECTIONS, pin=pin)
        self.position = (self.position + run.count) % self.library.count
        return load_gen.clean(run).rate

    def _start(self, bodies: Path) -> int:
        return self.position if bodies == self.library.bodies else 0

    def _at(self, rate: float, server: Server, bodies: Path) -> dict[str, float]:
        """Return what paced.py found at that rate. Raises BenchError for an answer that is an error."""
        numbers = (server.port, bodies, self._start(bodies), rate, self.seconds, CONNECTIONS)
        command: list[str | Path] = [*self.cores.client, sys.executable, HERE / "paced.py", *map(str, numbers)]
        with servers.running(command) as process:
            found: dict[str, float] = json.loads(servers.read_until(process, "rate"))
        if bodies == self.library.bodies:
            self.position = (self.position + int(found["count"])) % self.library.count
        if found["errors"]:
            raise BenchError(f"{found['errors']} of {found['count']} answers were errors")
        return found


def measure(count: int, seconds: int, folder: Path, cores: Cores) -> Part:
    """Run all of it."""
    part = Part("latency", f"at half load for {seconds} s, {CONNECTIONS} connections, {count:,} recordings, journal on")
    library = Library(folder, count)
    print(f"latency: writing {count:,} recordings", flush=True)
    library.write()
    library.read_ahead()
    (folder / "nginx").mkdir()
    with servers.nginx(folder / "nginx", 1_000, pin=cores.server) as other:
        meter = Meter(part, library, seconds, cores, other)
        with library.served(cores=cores) as server:
            meter.take("one request", server, once=True)
            meter.take("all in turn", server)
            changes = Changes(library, server)
            meter.take("all in turn, reloading", server, changes.step)
        part.figures.append(Series("a changed file is served after", changes.seen or [float("nan")], "s"))
        if changes.between:
            part.notes.append(f"{changes.between} answers of the changed file were errors, before it was read again")
        _while_recording(meter, folder)
    return part


def _while_recording(meter: Meter, folder: Path) -> None:
    cores = meter.cores
    with ExitStack() as stack:
        api = stack.enter_context(servers.stubserver(pin=(*cores.client, "nice", "-n", str(NICE))))
        options = ("--record-mode", "new_episodes", "--upstream", f"http://127.0.0.1:{api.port}")
        server = stack.enter_context(meter.library.served(folder / "new.yaml", *options, cores=cores))
        news = News(server)
        stack.callback(news.close)
        meter.take("all in turn, recording", server, news.step)
        meter.part.notes.append(f"{news.asked} new requests were recorded meanwhile")
