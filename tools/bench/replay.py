"""Replay: what an answer from a cassette costs when there are 10, 1 000, 100 000 recordings.

*First* plays: a fresh server, every recording asked for once, in order, on one connection (ten recordings are over
too soon for more). Twenty other recordings are played before, so that ten first plays do not pay for what happens once
in a process. *Warm* plays: after that, all of them in the same order again and again, over 64 connections. No answer
may be an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import generate
import load_gen
import servers
from report import Part, Series
from servers import Cores, Server

WARM_UP = range(90_000_000, 90_000_200)


@dataclass
class Size:
    """A folder with so many recordings, and what was measured with it."""

    count: int
    folder: Path
    first: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    position: int = 0

    @property
    def bodies(self) -> Path:
        """The file of the request bodies."""
        return self.folder / "recordings.bodies"

    def write(self) -> None:
        """Write the cassettes."""
        self.folder.mkdir()
        generate.write(self.folder / "recordings.yaml", range(self.count))
        generate.write(self.folder / "warm-up.yaml", WARM_UP)

    def start(self, stack: ExitStack, cores: Cores) -> Server:
        """Serve it."""
        serving = servers.stubserver(self.folder, "--fallback", "error", pin=cores.server)
        server = stack.enter_context(serving)
        self.ready.append(server.ready)
        self.memory["ready"] = server.memory()
        return server

    def play_first(self, server: Server, cores: Cores) -> None:
        """Play every recording once, after those of the warm-up."""
        before = self.folder / "warm-up.bodies"
        seconds = load_gen.first_pass(server.chat_url, self.bodies, before, pin=cores.client)
        self.first.append(self.count / seconds)

    def play_warm(self, server: Server, seconds: int, cores: Cores) -> None:
        """Play them again, going on where the last time ended: the same ones again would be in every cache."""
        run = load_gen.cycle(server.chat_url, self.bodies, self.position, seconds, pin=cores.client)
        self.position = (self.position + run.count) % self.count
        self.warm.append(run.rate)
        self.notes += [f"{self.count:,} recordings, warm: {run}"] if run.troubles else []
        self.memory["played"] = server.memory()

    def figures(self) -> list[Series]:
        """Return what was measured."""
        name = f"{self.count:,} recordings"
        return [
            Series(f"{name}: first plays", self.first, "requests/s"),
            Series(f"{name}: warm", self.warm, "requests/s"),
            Series(f"{name}: ready after", self.ready, "s"),
            Series(f"{name}: memory when ready", [self.memory["ready"]], "MB"),
            Series(f"{name}: memory when played", [self.memory["played"]], "MB"),
        ]


def measure(counts: Sequence[tuple[int, int]], rounds: int, seconds: int, folder: Path, cores: Cores) -> Part:
    """Run all of it; *counts* are numbers of recordings, each with how many servers are started for its first plays."""
    part = Part(
        "replay", f"first plays over 1 connection, warm ones over {load_gen.CONNECTIONS}; costs against the least"
    )
    sizes = [Size(count, folder / str(count)) for count, _ in counts]
    with ExitStack() as stack:
        kept = [_played(size, starts, stack, cores) for size, (_, starts) in zip(sizes, counts, strict=True)]
        for number in range(rounds):
            print(f"replay: warm, round {number + 1} of {rounds}", flush=True)
            for size, server in zip(sizes, kept, strict=True):
                size.play_warm(server, seconds, cores)
    part.figures = [figure for size in sizes for figure in size.figures()]
    part.ratios = [ratio for size in sizes[1:] for ratio in _costs(size, sizes[0])]
    part.notes = [note for size in sizes for note in size.notes]
    return part


def _played(size: Size, starts: int, stack: ExitStack, cores: Cores) -> Server:
    """Measure the first plays on several servers; the last one is kept."""
    print(f"replay: {size.count:,} recordings, first plays", flush=True)
    size.write()
    for _ in range(starts - 1):
        with ExitStack() as once:
            size.play_first(size.start(once, cores), cores)
    server = size.start(stack, cores)
    size.play_first(server, cores)
    return server


def _costs(size: Size, least: Size) -> list[Series]:
    """Return how many times as long a request takes, which is the rates' ratio upside down."""
    pairs = (("first play", least.first, size.first), ("warm play", least.warm, size.warm))
    return [
        Series("", small).over(Series("", large), f"cost of a {kind} with {size.count:,} / with {least.count:,}")
        for kind, small, large in pairs
    ]
