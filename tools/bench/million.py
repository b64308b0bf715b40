"""Million: what a million recordings cost, in a thousand files and in one of two gigabytes, packed and not.

For each layout: the time that ``stubserver index`` takes; the time from the start of a server to its first answer, of a
recording that no other start asked for; its memory then, and after every recording was played once, in order, on one
connection; and the longest time between two answers on one connection, while nothing happens and while a cassette is
written anew again and again (of the one file: while a recording is added to it; of one that is packed, when another
takes its place).
"""

from __future__ import annotations

import gzip
import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import generate
import load_gen
import servers
from report import Part, Series, Verdict
from servers import BenchError, Cores, Server

STARTS = 3
BEFORE = 10
PART = 100_000
"""So many requests are held by the load generator at a time."""
STALL_SECONDS = 15
REWRITE_SECONDS = 1.0
TAKEN_IN_SECONDS = 60
TAIL = b"version: 1\n"


@dataclass(frozen=True)
class Layout:
    """So many files with so many recordings each, packed or not."""

    files: int
    each: int
    packed: bool = False

    def __str__(self) -> str:
        """Name it."""
        name = f"{self.files:,} files" if self.files > 1 else f"one file of {self.each:,}"
        return f"{name}, packed" if self.packed else name


class Library:
    """The cassettes of a layout below *folder*, with their index, and what was measured with them."""

    def __init__(self, layout: Layout, folder: Path, cores: Cores) -> None:
        self.layout, self.cores = layout, cores
        self.tapes, self.index = folder / "tapes", folder / "index.sqlite"
        self.bodies, self.before = folder / "all.bodies", folder / "before.bodies"
        self.count = layout.files * layout.each
        self.generator = generate.Generator(generate.REPLAY)
        self.figures: list[Series] = []
        self.goals: list[Verdict] = []
        self.tapes.mkdir(parents=True)
        for number in range(layout.files):
            self.path(number).write_bytes(self.text(number))
        self.another = folder / "another"
        if layout.packed:
            self.another.write_bytes(self.text(0, 1))
        with self.bodies.open("w", encoding="utf-8") as file:
            file.writelines(f"{self.generator.body(number)}\n" for number in range(self.count))
        with self.before.open("w", encoding="utf-8") as file:
            file.writelines(f"{self.generator.body(number)}\n" for number in range(BEFORE))

    def path(self, number: int) -> Path:
        """Return where a cassette is."""
        return self.tapes / f"part-{number:04d}.yaml{'.gz' if self.layout.packed else ''}"

    def text(self, number: int, more: int = 0) -> bytes:
        """Return a cassette, with *more* recordings that no other has."""
        numbers = [*range(number * self.layout.each, (number + 1) * self.layout.each), *self.others(more)]
        text = b"interactions:\n" + b"".join(self.generator.item(n).encode() for n in numbers) + TAIL
        return gzip.compress(text, 1) if self.layout.packed else text

    def others(self, more: int) -> range:
        """Return the numbers of recordings that were not there at first."""
        return range(self.count, self.count + more)

    def note(self, name: str, values: Sequence[float], unit: str, most: float = 0.0) -> None:
        """Keep what was measured; *most* is how large it may be, where there is a goal."""
        series = Series(f"{self.layout}: {name}", values, unit)
        self.figures.append(series)
        if most:
            self.goals.append(Verdict(f"{series.name}, {unit}", most, series, most=True))

    def build(self) -> None:
        """Build the index."""
        begun = time.perf_counter()
        command = [sys.executable, "-m", "stubserver", "index", str(self.tapes), "--index", str(self.index)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"stubserver index: {done.stderr[-500:]}")
        self.note("index built", [time.perf_counter() - begun], "s", 300)

    @contextmanager
    def served(self) -> Iterator[Server]:
        """Serve it."""
        options = ("--index", self.index, "--fallback", "error")
        with servers.stubserver(self.tapes, *options, pin=self.cores.server) as server:
            yield server

    def start(self) -> None:
        """Start servers, each until it answered."""
        answered, memory = [], []
        for number in range(STARTS):
            begun = time.perf_counter()
            with self.served() as server:
                body = self.generator.body(self.count * (number + 1) // (STARTS + 1))
                servers.ask(server.port, "POST", "/v1/chat/completions", body)
                answered.append(time.perf_counter() - begun)
                memory.append(server.memory())
        self.note("first answer after", answered, "s", 1)
        self.note("memory then", memory, "MB")

    def play(self) -> None:
        """Play everything once, then see how long an answer has to wait for a reload."""
        rates = []
        with self.served() as server:
            for start in range(0, self.count, PART):
                numbers = range(start, min(start + PART, self.count))
                where = server.chat_url, self.bodies, numbers, self.before
                rates.append(len(numbers) / load_gen.first_plays(*where, pin=self.cores.client))
            self.note("first plays", rates, "requests/s")
            self.note("memory when all were played", [server.memory()], "MB", 250)
            self.note("longest gap, undisturbed", [self.longest_gap(server, lambda _: None)], "ms")
            change = self.exchange if self.layout.packed else self.rewrite if self.layout.files > 1 else self.extend
            self.note("longest gap while a cassette changes", [self.longest_gap(server, change)], "ms", 50)
            self.wait_for(server, self.others(1)[0])

    def wait_for(self, server: Server, number: int) -> None:
        """Wait until a recording was taken in."""
        until = time.monotonic() + TAKEN_IN_SECONDS
        while True:
            try:
                servers.ask(server.port, "POST", "/v1/chat/completions", self.generator.body(number))
            except BenchError:
                if time.monotonic() > until:
                    raise
                time.sleep(1)
            else:
                return

    def rewrite(self, turn: int) -> None:
        """Write a cassette anew."""
        path = self.path(self.layout.files // 2)
        new = path.with_suffix(".new")
        new.write_bytes(self.text(self.layout.files // 2, turn))
        new.replace(path)

    def extend(self, turn: int) -> None:
        """Add a recording to the last cassette, as a recorder does."""
        with self.path(self.layout.files - 1).open("r+b") as file:
            file.seek(-len(TAIL), 2)
            file.write(self.generator.item(self.others(turn)[-1]).encode() + TAIL)

    def exchange(self, turn: int) -> None:
        """Let another one take the place of the only cassette, once."""
        if turn == 1:
            self.another.replace(self.path(0))

    def longest_gap(self, server: Server, change: Callable[[int], None]) -> float:
        """Return the longest time between two answers in milliseconds, while *change* is called again and again."""
        ended = Event()

        def disturb() -> None:
            turn = 1
            while not ended.wait(REWRITE_SECONDS):
                change(turn)
                turn += 1

        thread = Thread(target=disturb)
        thread.start()
        try:
            return 1000 * self._gaps(server)
        finally:
            ended.set()
            thread.join()

    def _gaps(self, server: Server) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        begun = last = time.perf_counter()
        longest, number = 0.0, 0
        while last - begun < STALL_SECONDS:
            number = (number + 7919) % self.count
            body = self.generator.body(number)
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                raise BenchError(f"recording {number} was answered with {answer.status}")
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        connection.close()
        return longest


def measure(layouts: Sequence[Layout], folder: Path, cores: Cores) -> Part:
    """Run all of it for each layout."""
    part = Part("million", "recordings in many files and in one")
    for number, layout in enumerate(layouts):
        library = Library(layout, folder / str(number), cores)
        for step in (library.build, library.start, library.play):
            print(f"million: {layout}, {step.__name__}", flush=True)
            step()
        part.figures += library.figures
        part.goals += library.goals
    return part
