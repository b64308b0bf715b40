"""Replay: what an answer from a cassette costs when there are 10, 1 000, 100 000 recordings.

*First* plays: recordings that were not asked for before, in order, on one connection (ten recordings are over too soon
for more). In each round the small cassettes are played whole by a fresh server, and of the largest one the next part.
A hundred other recordings are played before, so that ten first plays do not pay for what happens once in a process.

*Warm* plays: after that, all of them in the same order again and again, over 64 connections.

The rounds are interleaved, and ratios are taken round by round. No answer may be an error.
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

WARM_UP = range(90_000_000, 90_000_100)
LARGE = 5_000
"""From so many recordings on they are played in parts, by one server."""


@dataclass
class Size:
    """A folder with so many recordings, the server that plays them, and what was measured with it."""

    count: int
    folder: Path
    running: ExitStack
    server: Server | None = None
    first: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    position: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        generate.write(self.folder / "recordings.yaml", range(self.count))
        generate.write(self.folder / "warm-up.yaml", WARM_UP)

    @property
    def bodies(self) -> Path:
        """The file of the request bodies."""
        return self.folder / "recordings.bodies"

    def fresh(self, cores: Cores) -> Server:
        """Return a server that has played nothing yet, in place of the one before."""
        self.running.close()
        serving = servers.stubserver(self.folder, "--fallback", "error", pin=cores.server)
        self.server = server = self.running.enter_context(serving)
        self.ready.append(server.ready)
        self.memory["ready"] = server.memory()
        return server

    def play_first(self, number: int, rounds: int, cores: Cores) -> None:
        """Play what was not played before: all of it, or a part of the large ones."""
        numbers = range(self.count)
        server = self.server
        if self.count >= LARGE:
            numbers = range(self.count * number // rounds, self.count * (number + 1) // rounds)
        if self.count < LARGE or server is None:
            server = self.fresh(cores)
        before = self.folder / "warm-up.bodies"
        seconds = load_gen.first_plays(server.chat_url, self.bodies, numbers, before, pin=cores.client)
        self.first.append(len(numbers) / seconds)

    def play_warm(self, seconds: int, cores: Cores) -> None:
        """Play them again, going on where the last time ended: the same ones again would be in every cache."""
        server = self.server or self.fresh(cores)
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


@dataclass(frozen=True)
class Rounds:
    """How often first and warm plays are measured, and for how many seconds the warm ones."""

    first: int
    warm: int
    seconds: int


def measure(counts: Sequence[int], rounds: Rounds, folder: Path, cores: Cores) -> Part:
    """Run all of it for these numbers of recordings, the least of them first."""
    with ExitStack() as stack:
        sizes = [Size(count, folder / str(count), stack.enter_context(ExitStack())) for count in counts]
        for number in range(rounds.first):
            for size in sizes:
                print(f"replay: first plays, round {number + 1} of {rounds.first}, {size.count:,}", flush=True)
                size.play_first(number, rounds.first, cores)
        for number in range(rounds.warm):
            print(f"replay: warm, round {number + 1} of {rounds.warm}", flush=True)
            for size in sizes:
                size.play_warm(rounds.seconds, cores)
    return _part(sizes)


def _part(sizes: list[Size]) -> Part:
    title = f"first plays over 1 connection, warm ones over {load_gen.CONNECTIONS}"
    figures = [figure for size in sizes for figure in size.figures()]
    ratios = [ratio for size in sizes[1:] for ratio in _costs(size, sizes[0])]
    return Part("replay", title, figures, ratios, [note for size in sizes for note in size.notes])


def _costs(size: Size, least: Size) -> list[Series]:
    """Return how many times as long a request takes, which is the rates' ratio upside down."""
    pairs = (("first play", least.first, size.first), ("warm play", least.warm, size.warm))
    return [
        Series("", small).over(Series("", large), f"cost of a {kind} with {size.count:,} / with {least.count:,}")
        for kind, small, large in pairs
    ]
