"""Streams: many paced ones at the same time, and how late each event is."""

from __future__ import annotations

import json
import resource
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

import servers
from report import Part, Series

PACE_MS = 20
TTFT_MS = 500
LONGEST_SECONDS = 120


class _Stream:
    """One stream: when each of its chunks came, in seconds."""

    def __init__(self, port: int, request: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.sendall(request)
        self.sock.settimeout(0)
        self.came: list[float] = []
        self._tail = b""

    def receive(self, now: float) -> bool:
        """Take in what is there; False at the end."""
        with suppress(BlockingIOError):
            data = self.sock.recv(65_536)
            found = (self._tail + data).count(b"\ndata: ") - self._tail.count(b"\ndata: ")
            self.came += [now] * found
            self._tail = (self._tail + data)[-16:]
            return bool(data) and not self._tail.endswith(b"0\r\n\r\n")
        return True


def measure(counts: Sequence[int]) -> Part:
    """Open so many streams at once, each with an event every 20 ms; the whole machine is theirs."""
    _raise_limit(max(counts) + 256)
    figures, notes = [], []
    for count in counts:
        print(f"streams: {count} at the same time", flush=True)
        with servers.stubserver("--ttft", str(TTFT_MS), "--itl", str(PACE_MS)) as server:
            before = server.memory()
            late, peak, events = _lateness(server, count)
        late.sort()
        name = f"{count} streams"
        figures += [
            Series(f"{name}, an event late by, median", [_at(late, 0.5)], "ms"),
            Series(f"{name}, an event late by, 99 %", [_at(late, 0.99)], "ms"),
            Series(f"{name}, memory for each", [(peak - before) * 1024 / count], "kB"),
        ]
        notes.append(f"{count} streams: {events} events, {count * 1000 // PACE_MS} a second at most")
    title = f"an event each {PACE_MS} ms in each of many streams; late: against its stream's own first one"
    return Part("streams", title, figures, [], notes)


def _lateness(server: servers.Server, count: int) -> tuple[list[float], float, int]:
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    streams = []
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            stream = _Stream(server.port, head + body)
            streams.append(stream)
            selector.register(stream.sock, selectors.EVENT_READ, stream)
        peak, left, until = 0.0, count, time.monotonic() + LONGEST_SECONDS
        while left and time.monotonic() < until:
            for key, _ in selector.select(1.0):
                if not key.data.receive(time.monotonic()):
                    selector.unregister(key.fileobj)
                    key.data.sock.close()
                    left -= 1
                    if left == count // 2:
                        peak = server.memory()
    if left:
        msg = f"{left} of {count} paced streams did not end in {LONGEST_SECONDS} s"
        raise servers.BenchError(msg)
    late = [
        max(0.0, (when - stream.came[0]) * 1000 - PACE_MS * n)
        for stream in streams
        for n, when in enumerate(stream.came[:-2])  # the finish and [DONE] come with the last token
    ]
    return late, peak or server.memory(), len(late)


def _at(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))]


def _raise_limit(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
