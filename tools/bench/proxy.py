"""Proxy: how much later the first byte of an answer comes through stubserver, recording, than straight from the API."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import servers
from report import Part, Series
from servers import BenchError, Cores

WARM = 30


@dataclass(frozen=True)
class Way:
    """One way to the same API: straight, or through a proxy."""

    name: str
    connection: http.client.HTTPConnection

    def first_byte(self, number: int, *, stream: bool) -> float:
        """Ask something new, and return the milliseconds until the first byte of the answer's body is here."""
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": f"{self.name} {number}"}]}
        begun = time.perf_counter()
        self.connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        answer.read(1)
        took = time.perf_counter() - begun
        answer.read()
        if answer.status != 200:
            raise BenchError(f"{self.name}: answered with {answer.status}")
        return took * 1000


def measure(rounds: int, folder: Path, cores: Cores) -> Part:
    """Ask by each way in turn; the API is a stubserver too, whose answers all come from its dummy."""
    with ExitStack() as stack:
        api = stack.enter_context(servers.stubserver(pin=cores.server))
        upstream = ("--upstream", f"http://127.0.0.1:{api.port}")
        recording = (folder / "new.yaml", "--record-mode", "new_episodes", *upstream)
        forwarding = ("--fallback", "forward", *upstream)
        ports = {"direct": api.port}
        for name, arguments in (("forwarding", forwarding), ("recording", recording)):
            ports[name] = stack.enter_context(servers.stubserver(*arguments, pin=cores.server)).port
        ways = [Way(name, http.client.HTTPConnection("127.0.0.1", port)) for name, port in ports.items()]
        for way in ways:
            stack.callback(way.connection.close)
        figures = [series for stream in (False, True) for series in _asked(ways, rounds, stream=stream)]
    return _part(figures)


def _asked(ways: Sequence[Way], rounds: int, *, stream: bool) -> list[Series]:
    kind = "a stream" if stream else "a whole answer"
    print(f"proxy: {kind}, {rounds} times", flush=True)
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(-WARM, rounds):
        for way in ways:
            took = way.first_byte(number, stream=stream)
            if number >= 0:
                times[way.name].append(took)
    return [Series(f"{name}, {kind}", values, "ms") for name, values in times.items()]


def _part(figures: list[Series]) -> Part:
    added = []
    for direct, *others in (figures[:3], figures[3:]):
        for other in others:
            more = [its - straight for its, straight in zip(other.values, direct.values, strict=True)]
            added.append(Series(f"added by {other.name}", more, "ms"))
    return Part("proxy", "request to the first byte of the answer's body, each one new", [*figures, *added], [])
