"""Load: a large cassette, from the start of the process until everything is loaded, against vcrpy's Cassette.load.

Peak memory is VmHWM of /proc: ``ru_maxrss`` of a child would count what its parent held when it was forked.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import generate
import servers
from report import Part, Series

VCRPY = """
import signal, sys
from vcr.cassette import Cassette
print(len(Cassette.load(path=sys.argv[1])), "loaded", flush=True)
signal.pause()
"""


def measure(count: int, folder: Path) -> Part:
    """Run all of it."""
    cassette = folder / "large.yaml"
    generate.write(cassette, range(count), generate.LOAD)
    size = cassette.stat().st_size / 1_000_000
    print(f"load: {count:,} interactions, {size:.0f} MB", flush=True)
    seconds, peak = _stubserver(cassette)
    vcr_seconds, vcr_peak = _vcrpy(cassette, count)
    ready = Series("stubserver: ready after", [seconds], "s")
    memory = Series("stubserver: peak memory", [peak], "MB")
    vcr_ready = Series("vcrpy: Cassette.load done after", [vcr_seconds], "s")
    vcr_memory = Series("vcrpy: peak memory", [vcr_peak], "MB")
    ratios = [
        vcr_ready.over(ready, "time, vcrpy / stubserver"),
        vcr_memory.over(memory, "peak memory, vcrpy / stubserver"),
        Series("stubserver's peak memory / size of the file", [peak / size]),
    ]
    title = f"one cassette of {count:,} interactions, {size:.0f} MB"
    return Part("load", title, [ready, vcr_ready, memory, vcr_memory], ratios)


def _stubserver(cassette: Path) -> tuple[float, float]:
    with servers.stubserver(cassette) as server:
        return server.ready, servers.memory(server.process.pid, "VmHWM")


def _vcrpy(cassette: Path, count: int) -> tuple[float, float]:
    begun = time.perf_counter()
    with servers.running([sys.executable, "-c", VCRPY, cassette]) as process:
        servers.read_until(process, f"{count} loaded")
        return time.perf_counter() - begun, servers.memory(process.pid, "VmHWM")
