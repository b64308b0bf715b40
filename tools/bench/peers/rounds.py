"""Throughput beside the peers: 1, 100 and 10 000 stubs, every distinct request in turn, five interleaved rounds.

Each server has one core to itself and wrk the other; while one is measured, all others are frozen. Ours keeps its
journal, the peers' are off.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import load_gen
import servers
from report import Part, Series
from servers import BenchError, Cores

from peers import goals, install, roster, stubs
from peers.goals import DUMMY, NGINX, ORIGINAL, OURS, title
from peers.install import Absent, Installed
from peers.process import Others, Program, launched, until
from peers.roster import Peer, Words
from peers.stubs import Recorded

CONNECTIONS = 16
"""Not 64: the slowest of them would keep the 64th waiting for some seconds."""
START_SECONDS = 240.0
INDEXED_BYTES = 32 << 20


DISTURBED = 0.25
"""A round in which others took more of the machine than this part of a core is measured again..."""
AGAIN = 40
"""... until so many were: on a machine that is never quiet, it cannot be helped."""
WARM_UPS = 8
RISING = 1.05
"""Warm-ups go on, not more often than that, while each brings so many times the answers of the one before."""
SLOW = 100.0
"""Requests a second, below which a round takes longer: a server may take seconds for the first sixteen answers."""
SLOW_SECONDS = 4


@dataclass(frozen=True)
class Scale:
    """Stubs for all; for us alone; rounds and their seconds; warm-up, and that of what compiles while it runs."""

    counts: tuple[int, ...]
    ours: tuple[int, ...]
    rounds: int
    seconds: int
    warm_up: int
    warm_up_java: int


@dataclass
class Contestant:
    """One server with its stubs, frozen but while it is measured. ``error``: why it is measured no more."""

    name: str
    group: str
    program: Program
    port: int
    bodies: Path
    count: int
    warm_up: int
    loaded: float
    rates: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    error: str = ""
    position: int = 0
    slow: bool = False

    def warm(self, pin: Sequence[str]) -> None:
        """Load it uncounted until it gets no faster: what compiles while it runs takes long on one core.

        Ours once with everything that is recorded: what it makes of a recording, it keeps.
        """
        last = asked = self._turn(self.warm_up, pin, counted=False)
        self.slow = asked < SLOW * self.warm_up
        for _ in range(WARM_UPS - 1):
            now = self._turn(self.warm_up, pin, counted=False) if not self.error else 0
            asked += now
            if now < RISING * last and (self.name != OURS or asked >= self.count):
                return
            last = now

    def turn(self, seconds: int, pin: Sequence[str]) -> None:
        """Load it for some seconds, longer where it is slow. A server that gives no answer is out of the race."""
        if not self.error:
            self._turn(max(seconds, SLOW_SECONDS) if self.slow else seconds, pin, counted=True)

    def forget(self) -> bool:
        """Take the last round back if it was disturbed, and say so."""
        if self.error or not self.others or self.others[-1] <= DISTURBED:
            return False
        self.others.pop()
        self.rates.pop()
        self.sizes.pop()
        return True

    def _turn(self, seconds: int, pin: Sequence[str], *, counted: bool) -> int:
        """Load it, and freeze it when it has done what it was asked; return how many answers came."""
        self.program.thaw()
        try:
            return self._run(seconds, pin, counted=counted)
        except BenchError as error:
            self.error = str(error)
            return 0
        finally:
            if not self.program.drain():
                self.notes.append(f"{self.group}, {self.name}: still busy some seconds after a round")
            self.program.freeze()

    def _run(self, seconds: int, pin: Sequence[str], *, counted: bool) -> int:
        url = f"http://127.0.0.1:{self.port}{stubs.PATH}"
        others = Others(self.program)
        run = load_gen.turns(url, self.bodies, self.position, seconds, CONNECTIONS, pin=pin)
        self.position = (self.position + run.count) % self.count
        if run.troubles and counted:
            self.notes.append(f"{self.group}, {self.name}, round {len(self.rates) + 1}: {run}")
        if not run.count and counted:
            raise BenchError(f"no answer came in a round of {seconds} s ({str(run) or 'and no error'})")
        if counted:
            self.rates.append(run.rate)
            self.sizes.append(run.read / run.count)
            self.others.append(others.part())
        return run.count

    def figure(self) -> Series:
        """Return what was measured."""
        return Series(self.name, self.rates, "requests/s", self.group)


@dataclass
class Field:
    """All who take part, and what is needed to start one more."""

    stack: ExitStack
    folder: Path
    cores: Cores
    scale: Scale
    contestants: list[Contestant] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def ours(self, group: str, recordings: Recorded) -> None:
        """Start ours, with every recording, or with none."""
        folder = self._place(group, OURS)
        index = index_of(recordings, folder)
        if index:
            command = [sys.executable, "-m", "stubserver", "index", recordings.cassette, *index]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        words = ours(recordings, folder) if group != DUMMY else servers.stubserver_command(0)
        self._start(OURS, group, lambda port: [*words[:-1], str(port)], recordings, wanted(recordings, group == DUMMY))

    def nginx(self, group: str, recordings: Recorded, size: int) -> None:
        """Start nginx with an answer of *size* bytes."""
        folder = self._place(group, "nginx")
        self._start(NGINX, group, lambda port: servers.nginx_command(folder, size, port), recordings, any_answer)

    def original(self, recordings: Recorded) -> None:
        """Start the original dummy, which knows one answer."""
        self._start(ORIGINAL, DUMMY, servers.original_command, recordings, any_answer)

    def peer(self, peer: Peer, group: str, recordings: Recorded, installed: Installed) -> None:
        """Start a peer with the stubs that it can have."""
        folder = self._place(group, peer.name)
        try:
            self._start(
                peer.name,
                group,
                lambda port: peer.start(installed, recordings, folder, port),
                recordings,
                wanted(recordings, peer.fixed),
                self.scale.warm_up_java if peer.java else self.scale.warm_up,
            )
        except BenchError as error:
            self.absent[f"{peer.name}, {group}"] = str(error)

    def _start(  # noqa: PLR0913, PLR0917  # what a contestant is made of
        self,
        name: str,
        group: str,
        command: Callable[[int], Words],
        recordings: Recorded,
        right: Callable[[int], bool],
        warm_up: int = 0,
    ) -> None:
        print(f"peers: {group}: starting {name}", flush=True)
        port = servers.free_port()
        words = command(port)
        log = self._place(group, name) / "log"
        with ExitStack() as starting:
            program = starting.enter_context(launched([*self.cores.server, *words], log))
            loaded = until(program, lambda: right(port), START_SECONDS)
            program.drain()
            program.freeze()
            self.stack.enter_context(starting.pop_all())
        count = len(recordings.numbers)
        seconds = warm_up or self.scale.warm_up
        bodies = recordings.bodies
        self.contestants.append(Contestant(name, group, program, port, bodies, count, seconds, loaded))

    def _place(self, group: str, name: str) -> Path:
        folder = self.folder / f"{group} {name}".replace(",", "").replace(" ", "-").replace("'", "").lower()
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def ours(recordings: Recorded, folder: Path) -> Words:
    """Return the command that serves *recordings*; the port is its last word."""
    return servers.stubserver_command(0, recordings.cassette, "--fallback", "error", *index_of(recordings, folder))


def index_of(recordings: Recorded, folder: Path) -> Words:
    """Return the option that puts the index below *folder*, for a library that is large enough to get one unasked."""
    return ["--index", folder / "index"] if recordings.cassette.stat().st_size >= INDEXED_BYTES else []


def wanted(recordings: Recorded, fixed: bool) -> Callable[[int], bool]:  # noqa: FBT001  # a kind of answer
    """Return what tells whether the server at a port gives the right answers: the recorded texts, or any completion."""
    samples = recordings.samples()

    def right(port: int) -> bool:
        for body, answer in samples:
            text = said(port, body)
            if not text or (not fixed and text != content(answer)):
                return False
        return True

    return right


def any_answer(port: int) -> bool:
    """Tell whether a request is answered."""
    return said(port, "{}", whole=True) != ""


def said(port: int, body: str, *, whole: bool = False) -> str:
    """Ask for a chat completion; return its text (or the *whole* body), empty when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        connection.request("POST", stubs.PATH, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    if answer.status != 200:
        return ""
    return found if whole else content(found)


def content(answer: str) -> str:
    """Return the text of a chat completion, empty when it is none."""
    try:
        return str(json.loads(answer)["choices"][0]["message"]["content"])
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def available() -> tuple[list[tuple[Peer, Installed]], dict[str, str]]:
    """Install what is not there; return the peers that there are, and why others are not."""
    there, absent = [], dict(roster.NOT_TRIED)
    for peer in roster.PEERS:
        found = roster.lacks(peer) or install.ensure(peer.package)
        if isinstance(found, Absent):
            absent[peer.name] = found.why
        else:
            there.append((peer, found))
    return there, absent


def measure(scale: Scale, folder: Path, cores: Cores) -> Part:
    """Run all of it."""
    there, absent = available()
    with ExitStack() as stack:
        field_ = Field(stack, folder, cores, scale, absent=absent)
        _enter(field_, there, folder)
        for contestant in field_.contestants:
            print(f"peers: warming up {contestant.name}, {contestant.group}", flush=True)
            contestant.warm(cores.client)
        again = AGAIN
        for number in range(scale.rounds):
            print(f"peers: round {number + 1} of {scale.rounds}", flush=True)
            for contestant in field_.contestants:
                contestant.turn(scale.seconds, cores.client)
                while again and contestant.forget():
                    again -= 1
                    contestant.turn(scale.seconds, cores.client)
        memory = _memory(field_.contestants)
    part = _part(field_, {peer.name: installed.version for peer, installed in there}, memory)
    part.notes.append(f"{AGAIN - again} rounds were measured again, as others took more than {DISTURBED} of a core")
    return part


def _enter(field_: Field, there: Sequence[tuple[Peer, Installed]], folder: Path) -> None:
    one = stubs.recorded(folder / "recordings-1", 1)
    field_.ours(DUMMY, one)
    dummy = field_.contestants[-1]
    dummy.program.thaw()
    size = len(said(dummy.port, one.samples()[0][0], whole=True))
    dummy.program.freeze()
    field_.nginx(DUMMY, one, size)
    field_.original(one)
    for peer, installed in there:
        if peer.fixed:
            field_.peer(peer, DUMMY, one, installed)
    for count in sorted({*field_.scale.counts, *field_.scale.ours}):
        recordings = one if count == 1 else stubs.recorded(folder / f"recordings-{count}", count)
        field_.ours(title(count), recordings)
        field_.nginx(title(count), recordings, recordings.mean_size())
        for peer, installed in there:
            if count in field_.scale.counts and not peer.fixed:
                field_.peer(peer, title(count), recordings, installed)


def _memory(contestants: Sequence[Contestant]) -> list[Series]:
    return [Series(f"{c.name}: memory", [c.program.memory()], "MB", c.group) for c in contestants if not c.error]


def _part(field_: Field, versions: dict[str, str], memory: list[Series]) -> Part:
    done = [contestant for contestant in field_.contestants if not contestant.error]
    failed = {f"{c.name}, {c.group}": c.error for c in field_.contestants if c.error}
    figures = [contestant.figure() for contestant in done]
    sizes = [Series(f"{c.name}: bytes of an answer", c.sizes, "bytes", c.group) for c in done]
    loaded = [Series(f"{c.name}: first right answer after", [c.loaded], "s", c.group) for c in done]
    text = f"chat completions over {CONNECTIONS} connections, a core for each server; all distinct requests in turn"
    others = Series("taken by others in a round", [part for c in done for part in c.others], "cores")
    part = Part("peers", text, [*figures, *sizes, *loaded, *memory, others])
    part.goals = goals.of_throughput(figures)
    part.ratios = [goal.measured for goal in part.goals if goal.measured is not None]
    part.notes = [note for contestant in field_.contestants for note in contestant.notes]
    part.notes += [f"{peer.name}: {peer.note}" for peer in roster.PEERS if peer.note and peer.name in versions]
    part.absent, part.versions = {**field_.absent, **failed}, versions
    return part
