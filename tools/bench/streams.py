"""Streams: many paced ones at the same time, and how late each event is."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import generate
import servers
from report import Part, Series
from servers import HERE, Cores

PACE_MS = 20
TTFT_MS = 500
EVENTS = 300
LONGEST_SECONDS = 200
REQUEST = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
NAMES = {"p50": "median", "p99": "99 %", "max": "the latest"}


def measure(counts: Sequence[int], workers: Sequence[int], folder: Path, cores: Cores) -> Part:
    """Play a recorded stream to so many clients at once, an event every 20 ms, with so many processes each."""
    raise_limit(2 * max(counts) + 256)
    tape = folder / "stream.yaml"
    tape.write_text("interactions:\n" + generate.dump(_recorded()) + "version: 1\n", encoding="utf-8")
    part = Part("streams", f"an event each {PACE_MS} ms in each of many streams; late: behind its time, as asked for")
    for count in counts:
        for number in workers:
            # One process has a core to itself, and the client the other; several have what there is, like the client.
            _measure(part, count, number, tape, cores if number == 1 else Cores())
    return part


def _measure(part: Part, count: int, workers: int, tape: Path, cores: Cores) -> None:
    name = f"{count} streams" + (f", {workers} processes" if workers > 1 else "")
    print(f"streams: {name} at the same time", flush=True)
    pace = ("--ttft", str(TTFT_MS), "--itl", str(PACE_MS), "--workers", str(workers))
    with servers.stubserver(tape, "--fallback", "error", *pace, pin=cores.server) as server:
        before = server.memory()
        found = _read(server.port, count, cores)
        each = (servers.memory(server.process.pid, "VmHWM") - before) * 1024 / count
    part.figures += [Series(f"{name}, late, {NAMES[at]}", [value], "ms") for at, value in found["late"].items()]
    part.figures += [
        Series(f"{name}, behind its stream's first, {NAMES[at]}", [found["late_after_first"][at]], "ms")
        for at in ("p50", "p99")
    ]
    part.figures += [Series(f"{name}, memory for each", [each], "kB")] if workers == 1 else []
    part.notes.append(
        f"{name}: {found['events']} events, {count * 1000 // PACE_MS} a second at most; "
        f"{found['together']:.0%} came together with the one before; the client worked {found['busy']:.1f} s"
    )


def _read(port: int, count: int, cores: Cores) -> dict[str, Any]:
    arguments = (str(port), str(count), str(TTFT_MS), str(PACE_MS), json.dumps(REQUEST))
    command = [*cores.client, sys.executable, str(HERE / "stream_client.py"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)
    if ran.returncode:
        msg = f"the client of {count} paced streams failed: {ran.stderr[-300:]}"
        raise servers.BenchError(msg)
    found: dict[str, Any] = json.loads(ran.stdout)
    if found["events"] != count * EVENTS:
        msg = f"{found['events']} events of {count} streams came, not {EVENTS} of each"
        raise servers.BenchError(msg)
    return found


def _recorded() -> dict[str, Any]:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": f"word{n} "}, None) for n in range(EVENTS - 2)]
    datas = [
        json.dumps({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
        for delta, end in [*deltas, ({}, "stop")]
    ]
    body = "".join(f"data: {data}\n\n" for data in [*datas, "[DONE]"])
    headers = {"content-type": ["text/event-stream"]}
    uri = "https://api.openai.com/v1/chat/completions"
    return {
        "request": {"method": "POST", "uri": uri, "headers": {}, "body": json.dumps(REQUEST)},
        "response": {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}},
    }


def raise_limit(files: int) -> None:
    """Let this process, and those that it starts, open so many files. Raises BenchError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files <= hard or hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, soft), hard))
    elif soft < files:
        msg = f"only {hard} files may be open at once: this needs {files} (ulimit -n)"
        raise servers.BenchError(msg)
