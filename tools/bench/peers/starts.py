"""From the start of a process to its first right answer, for every peer and for ours, interleaved; on both cores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import servers
from report import Part, Series
from servers import BenchError

from peers import goals, rounds, stubs
from peers.install import Installed
from peers.process import launched, until
from peers.roster import Peer, Words

LONGEST_SECONDS = 60.0


@dataclass
class Starter:
    """What is started: a command for a port, what a right answer is; and how long it took."""

    name: str
    command: Callable[[int], Words]
    right: Callable[[int], bool]
    java: bool = False
    times: list[float] = field(default_factory=list)
    error: str = ""

    def run(self, log: Path) -> float:
        """Start it once."""
        port = servers.free_port()
        with launched(self.command(port), log) as program:
            return until(program, lambda: self.right(port), LONGEST_SECONDS)


def measure(runs: int, folder: Path) -> Part:
    """Run all of it."""
    there, absent = rounds.available()
    recordings = stubs.recorded(folder / "recordings", 1)
    right = rounds.wanted(recordings, fixed=False)
    words = rounds.ours(recordings, folder)
    starters = [Starter(goals.OURS, lambda port: [*words[:-1], str(port)], right)]
    starters.append(Starter(goals.ORIGINAL, servers.original_command, rounds.any_answer))
    for number, (peer, installed) in enumerate(there):
        starters.append(_starter(peer, installed, recordings, folder / str(number)))
    for number in range(-1, runs):
        print(f"starts: run {number + 1} of {runs}" if number >= 0 else "starts: warming up", flush=True)
        for starter in starters:
            _once(starter, folder / "log", counted=number >= 0)
    absent.update({starter.name: starter.error for starter in starters if starter.error})
    part = _part([starter for starter in starters if not starter.error])
    part.absent, part.versions = absent, {peer.name: installed.version for peer, installed in there}
    return part


def _starter(peer: Peer, installed: Installed, recordings: stubs.Recorded, folder: Path) -> Starter:
    folder.mkdir()
    right = rounds.wanted(recordings, peer.fixed)
    return Starter(peer.name, lambda port: peer.start(installed, recordings, folder, port), right, peer.java)


def _once(starter: Starter, log: Path, *, counted: bool) -> None:
    if starter.error:
        return
    with suppress(BenchError):
        took = starter.run(log)
        if counted:
            starter.times.append(took * 1000)
        return
    starter.error = "it did not start"


def _part(starters: list[Starter]) -> Part:
    figures = [Series(starter.name, starter.times, "ms", goals.START) for starter in starters]
    verdicts = goals.of_starts(figures, [starter.name for starter in starters if starter.java])
    part = Part("starts", "start of the process to its first right answer, with one stub", figures)
    part.goals = verdicts
    part.ratios = [verdict.measured for verdict in verdicts if verdict.measured is not None]
    return part
