"""Measure stubserver against nginx, the original dummy and vcrpy, and, asked to, against every peer that installs.

    python tools/bench/run.py                    what needs no peers
    python tools/bench/run.py --quick            the same with smaller numbers
    python tools/bench/run.py --full             everything; installs the peers below build/peers
    python tools/bench/run.py --only startup     one part; may be given several times

Needs wrk and nginx. What is measured, and what the figures mean, stands in tools/bench/README.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import connections
import latency
import load
import million
import proxy
import replay
import report
import servers
import startup
import steps
import streams
import throughput
from peers import matching, rounds, starts
from replay import Rounds
from report import Part
from servers import HERE, NGINX_PATH, BenchError, Cores

PARTS = ("throughput", "replay", "startup", "load", "proxy", "streams", "connections", "steps")
IN_FULL = ("latency", "peers", "starts", "matching", "million")

STEPPED = 1_000
LATENCY_SECONDS = 5


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds and their seconds, sizes of cassettes and libraries; streams, idle ones; passes."""

    throughput: int
    seconds: int
    replayed: tuple[int, ...]
    replays: Rounds
    startups: int
    loaded: int
    proxied: int
    streams: tuple[int, ...]
    idle: int
    peers: rounds.Scale
    started: int
    matched: int
    passes: int
    library: int
    million: tuple[million.Layout, ...]


# Warm rounds last three seconds: a server that stops to collect garbage for one is slow in them, and not silent.
FULL = Scale(
    8,
    1,
    (10, 1_000, 100_000),
    Rounds(first=5, warm=3, seconds=3),
    startups=11,
    loaded=10_000,
    proxied=1_000,
    streams=(500, 1_000, 2_000),
    idle=10_000,
    peers=rounds.Scale((1, 100, 10_000), (100_000,), rounds=5, seconds=1, warm_up=3, warm_up_java=8),
    started=5,
    matched=10_000,
    passes=30,
    library=100_000,
    million=(million.Layout(1_000, 1_000), million.Layout(1, 570_000), million.Layout(1, 570_000, packed=True)),
)
QUICK = Scale(
    3,
    1,
    (10, 1_000, 5_000),
    Rounds(first=3, warm=2, seconds=3),
    startups=5,
    loaded=1_000,
    proxied=300,
    streams=(100, 500),
    idle=1_000,
    peers=rounds.Scale((1, 100), (), rounds=2, seconds=1, warm_up=1, warm_up_java=3),
    started=2,
    matched=1_000,
    passes=10,
    library=10_000,
    million=(million.Layout(30, 1_000), million.Layout(1, 30_000), million.Layout(1, 60_000, packed=True)),
)


def main() -> int:
    """Run what was asked for; the exit status is 2 when something has to be installed first."""
    arguments = _arguments()
    missing = _missing()
    if missing:
        print(f"{' and '.join(missing)} not found: apt-get install wrk nginx-light", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    # What is installed has its byte code; without it, every start would compile all of it anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        names = arguments.only or ((*PARTS, *IN_FULL) if arguments.full else PARTS)
        _run(names, QUICK if arguments.quick else FULL, quick=arguments.quick)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller numbers")
    parser.add_argument("--full", action="store_true", help="the peers, too: installs them below build/peers")
    parser.add_argument(
        "--only", action="append", choices=(*PARTS, *IN_FULL), help="this part; may be given several times"
    )
    return parser.parse_args()


def _missing() -> list[str]:
    return [name for name in ("wrk", "nginx") if shutil.which(name, path=NGINX_PATH) is None]


def _interrupt(number: int, frame: object) -> NoReturn:
    """End in a way that everything that was started is stopped."""
    raise KeyboardInterrupt(number, frame)


def _run(names: list[str] | tuple[str, ...], scale: Scale, *, quick: bool) -> None:
    begun, before = time.monotonic(), report.machine()
    cores = servers.cores()
    print(report.describe(before))
    parts: list[Part] = []
    try:
        for name in filter(names.__contains__, (*PARTS, *IN_FULL)):
            with tempfile.TemporaryDirectory(prefix="stubserver-bench-") as folder:
                parts.append(_measure(name, scale, Path(folder), cores))
            parts[-1].show()
    finally:
        # What was measured before something failed is kept.
        if parts:
            path = report.save(HERE / "results", parts, before, quick=quick)
            print(f"\n{time.monotonic() - begun:.0f} s; written to {path}")


def _measure(name: str, scale: Scale, folder: Path, cores: Cores) -> Part:
    measures: dict[str, Callable[[], Part]] = {
        "throughput": lambda: throughput.measure(scale.throughput, scale.seconds, folder, cores),
        "replay": lambda: replay.measure(scale.replayed, scale.replays, folder, cores),
        "startup": lambda: startup.measure(scale.startups, folder),
        "load": lambda: load.measure(scale.loaded, folder),
        "proxy": lambda: proxy.measure(scale.proxied, folder, cores),
        "streams": lambda: streams.measure(scale.streams, (1, 2), folder, cores),
        "connections": lambda: connections.measure(scale.idle, scale.throughput, scale.seconds, cores),
        "steps": lambda: steps.measure(STEPPED, scale.passes, folder),
        "latency": lambda: latency.measure(scale.library, LATENCY_SECONDS, folder, cores),
        "peers": lambda: rounds.measure(scale.peers, folder, cores),
        "starts": lambda: starts.measure(scale.started, folder),
        "million": lambda: million.measure(scale.million, folder, cores),
        "matching": lambda: matching.measure(scale.matched, folder, cores),
    }
    return measures[name]()


if __name__ == "__main__":
    sys.exit(main())
