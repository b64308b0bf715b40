"""Connections: thousands that are idle, what they take and what they leave; and a new one for every request."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import load_gen
import servers
from report import Part, Series
from servers import Cores, Server
from streams import raise_limit

GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"What is the capital of France?"}]}'
REST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
AT_ONCE = 1_000


def measure(idle: int, rounds: int, seconds: int, cores: Cores) -> Part:
    """Open so many connections and leave them idle, twice; then ask on a new one each time, 1 000 at once."""
    raise_limit(idle + 256)
    part = Part(
        "connections", f"{idle} idle ones, closed together; and {AT_ONCE} new ones at once, one for each request"
    )
    with servers.stubserver(pin=cores.server) as server:
        for name in ("closed at once", "at rest"):
            print(f"connections: {idle} idle ones, {name}", flush=True)
            _idle(part, server, idle, name)
        rates, slowest = [], []
        for number in range(rounds):
            print(f"connections: new ones, round {number + 1} of {rounds}", flush=True)
            run = load_gen.clean(load_gen.fresh(server.chat_url, BODY, seconds, AT_ONCE, pin=cores.client))
            rates.append(run.rate)
            slowest.append(run.slowest)
        part.figures += [
            Series(f"a new connection for each request, {AT_ONCE} at once", rates, "requests/s"),
            Series("answered within, 99 %", slowest, "ms"),
        ]
    return part


def _idle(part: Part, server: Server, count: int, name: str) -> None:
    _ask(server).close()
    time.sleep(REST_SECONDS)
    threads, files, before = _count(server, "task"), _count(server, "fd"), server.memory()
    with ExitStack() as stack:
        begun = time.perf_counter()
        for _ in range(count):
            stack.enter_context(_ask(server))
        opened = time.perf_counter() - begun
        if name == "at rest":
            time.sleep(REST_SECONDS)
        held, each = _count(server, "task"), (server.memory() - before) * 1024 / count
    begun = time.perf_counter()
    closed = _until(lambda: _count(server, "fd") <= files + count // 100, begun)
    gone = _until(lambda: _count(server, "task") <= threads + 2, begun)
    part.figures += [
        Series(f"idle, {name}: opened and answered, each", [opened / count * 1000], "ms"),
        Series(f"idle, {name}: memory for each", [each], "kB"),
        Series(f"idle, {name}: threads meanwhile", [held - threads], "threads"),
        Series(f"idle, {name}: descriptors closed after", [closed], "s"),
        Series(f"idle, {name}: threads gone after", [gone], "s"),
    ]


def _ask(server: Server) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST_SECONDS)
    sock.sendall(GET)
    if not sock.recv(65_536).startswith(b"HTTP/1.1 200"):
        raise servers.BenchError("a connection was not answered with 200")
    return sock


def _count(server: Server, what: str) -> int:
    """Count the threads (``task``) or the descriptors (``fd``) of the server."""
    return len(list(Path(f"/proc/{server.process.pid}/{what}").iterdir()))


def _until(reached: Callable[[], bool], begun: float) -> float:
    """Return after how many seconds it was so. Raises BenchError."""
    while not reached():
        if time.perf_counter() - begun > LONGEST_SECONDS:
            raise servers.BenchError(f"something was left behind for {LONGEST_SECONDS:.0f} s")
        time.sleep(0.02)
    return time.perf_counter() - begun
