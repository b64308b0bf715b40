"""Startup: from the start of the process to its first answer, beside what Python and vcrpy take to start at all."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import generate
import servers
from report import Part, Series


def measure(runs: int, folder: Path) -> Part:
    """Run all of it, interleaved."""
    cassette = folder / "ten.yaml"
    generate.write(cassette, range(10))
    measured: dict[str, Callable[[], float]] = {
        "stubserver, dummy mode": lambda: _until_answer(servers.stubserver_command),
        "stubserver, a cassette of 10": lambda: _until_answer(lambda port: servers.stubserver_command(port, cassette)),
        "original dummy": lambda: _until_answer(servers.original_command),
        "python -c pass": lambda: _until_end("pass"),
        "python -c 'import vcr'": lambda: _until_end("import vcr"),
    }
    times: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(-1, runs):
        print(f"startup: run {number + 1} of {runs}" if number >= 0 else "startup: warming up", flush=True)
        for name, run in measured.items():
            times[name] += [run() * 1000][: number + 1]
    return _part([Series(name, values, "ms") for name, values in times.items()])


def _part(figures: list[Series]) -> Part:
    dummy, cassette, original, python, vcr = figures
    ratios = [
        dummy.over(python, "stubserver / python -c pass"),
        dummy.over(original, "stubserver / original dummy"),
        dummy.over(vcr, "stubserver / import vcr"),
        cassette.over(dummy, "with a cassette of 10 / without"),
    ]
    return Part("startup", "process start to first answer (GET /v1/models), or to the end", figures, ratios)


def _until_answer(command: Callable[[int], list[str | Path]]) -> float:
    port = servers.free_port()
    with servers.answering(command(port), port) as server:
        return server.ready


def _until_end(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun
