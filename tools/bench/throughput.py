"""Throughput: how many small chat completions a second, against nginx and against the original dummy.

Each server has one core, wrk another. The rounds are interleaved, so that whatever else the machine does meets all of
them alike, and ratios are taken round by round.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import load_gen
import servers
from load_gen import Run
from report import Part, Series
from servers import Cores, Server

BODY = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"What is the capital of France?"}]}'


@dataclass
class Contestant:
    """One server under one kind of load. ``fragile``: errors are expected, and reported."""

    name: str
    server: Server
    close: bool = False
    fragile: bool = False
    rates: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def warm_up(self, pin: Sequence[str]) -> None:
        """Load it uncounted; the fragile ones long enough for wrk to notice late answers."""
        self._run(3 if self.fragile else 1, pin, "warming up")

    def measure(self, seconds: int, pin: Sequence[str]) -> None:
        """Load it for some seconds."""
        self.rates.append(self._run(seconds, pin, f"round {len(self.rates) + 1}").rate)

    def _run(self, seconds: int, pin: Sequence[str], name: str) -> Run:
        run = load_gen.steady(self.server.chat_url, BODY, seconds, pin=pin, close=self.close)
        if not self.fragile or not run.count:
            load_gen.clean(run)
        self.notes += [f"{self.name}, {name}: {run}"] if run.troubles else []
        return run

    def figure(self) -> Series:
        """Return what was measured."""
        return Series(self.name, self.rates, "requests/s")


def measure(rounds: int, seconds: int, folder: Path, cores: Cores) -> Part:
    """Run all of it."""
    part = Part("throughput", f"the same small chat completion, {load_gen.CONNECTIONS} connections, one core each")
    with ExitStack() as stack:
        contestants = _start(stack, folder, cores)
        for contestant in contestants:
            contestant.warm_up(cores.client)
        for number in range(rounds):
            print(f"throughput: round {number + 1} of {rounds}", flush=True)
            for contestant in contestants:
                contestant.measure(seconds, cores.client)
    part.figures = [contestant.figure() for contestant in contestants]
    part.ratios = _ratios(part.figures)
    part.notes = [note for contestant in contestants for note in contestant.notes]
    return part


def _start(stack: ExitStack, folder: Path, cores: Cores) -> list[Contestant]:
    stub = stack.enter_context(servers.stubserver(pin=cores.server))
    size = len(servers.ask(stub.port, "POST", "/v1/chat/completions", BODY))
    nginx = stack.enter_context(servers.nginx(folder, size, pin=cores.server))
    original = stack.enter_context(servers.original(pin=cores.server))
    silent = stack.enter_context(servers.stubserver("--no-journal", pin=cores.server))
    watched = stack.enter_context(servers.stubserver(pin=cores.server))
    stack.enter_context(_following(watched.port))
    return [
        Contestant("stubserver, dummy mode", stub),
        Contestant("stubserver, --no-journal", silent),
        Contestant("stubserver, its journal followed", watched),
        Contestant(f"nginx, 1 worker, fixed {size} bytes", nginx),
        Contestant("original dummy (closes each connection)", original, fragile=True),
        Contestant("stubserver, new connection each", stub, close=True),
        Contestant("original dummy, Connection: close", original, close=True, fragile=True),
    ]


@contextmanager
def _following(port: int) -> Iterator[None]:
    """Read the live feed of the journal, as the page does, and drop it."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /__admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reading = threading.Thread(target=_drop, args=(sock,), daemon=True)
        reading.start()
        yield
        sock.shutdown(socket.SHUT_RDWR)
        reading.join()


def _drop(sock: socket.socket) -> None:
    while sock.recv(65_536):
        pass


def _ratios(figures: Sequence[Series]) -> list[Series]:
    """Compare them, in the order in which they were started."""
    stub, silent, watched, nginx, original, stub_close, original_close = figures
    return [
        stub.over(nginx, "stubserver / nginx"),
        stub.over(original, "stubserver / original"),
        stub_close.over(original_close, "stubserver / original, new connections"),
        stub.over(silent, "with the journal / without"),
        watched.over(stub, "the journal followed / not"),
    ]
