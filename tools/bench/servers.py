"""Programs under test: started, waited for, measured while they run, and stopped whatever happens."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
NGINX_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
START_SECONDS = 600.0
STOP_SECONDS = 10.0
RETRY_SECONDS = 0.0005

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder};
  proxy_temp_path {folder};
  fastcgi_temp_path {folder};
  uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}
}}
"""


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


@dataclass(frozen=True)
class Cores:
    """How commands are begun so that the server has one core to itself and the load generator another."""

    server: tuple[str, ...] = ()
    client: tuple[str, ...] = ()


def cores() -> Cores:
    """Choose the first two cores we may use; without two of them, or without taskset, nothing is pinned."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2 or shutil.which("taskset") is None:
        print("not pinned: this needs taskset and two cores; server and load generator disturb each other")
        return Cores()
    return Cores(("taskset", "-c", str(allowed[0])), ("taskset", "-c", str(allowed[1])))


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass
class Server:
    """A server that runs; ``ready`` is how many seconds that took from its start."""

    process: subprocess.Popen[str]
    port: int
    ready: float

    @property
    def chat_url(self) -> str:
        """Where chat completions are asked for."""
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def memory(self) -> float:
        """Return the memory it holds now, in MB."""
        return memory(self.process.pid, "VmRSS")


def memory(pid: int, field: str) -> float:
    """Return a figure of /proc/PID/status in MB: VmRSS is now, VmHWM the most it ever was."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise BenchError(f"process {pid} ended while it was measured")
    return int(found[1]) / 1024


@contextmanager
def running(command: Sequence[str | Path], *, quiet: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run a program with its output in a pipe; it is stopped at the end. *quiet*: its errors are not shown."""
    errors = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process: asked first, then made to."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def stubserver(*arguments: str | Path, pin: Sequence[str] = ()) -> Iterator[Server]:
    """Run ``stubserver serve`` until it says that it is ready."""
    begun = time.perf_counter()
    with running([*pin, sys.executable, "-m", "stubserver", "serve", *arguments, "--port", "0"]) as process:
        greeting = read_until(process, "startup complete")
        ready = time.perf_counter() - begun
        found = re.search(r"http://[^\s:]+:(\d+)", greeting)
        if found is None:
            raise BenchError(f"stubserver did not say where it listens: {greeting!r}")
        yield Server(process, int(found[1]), ready)


def read_until(process: subprocess.Popen[str], mark: str) -> str:
    """Return what a program prints, up to the line with *mark* in it."""
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if mark in line:
            return "".join(lines)
    raise BenchError(f"{process.args!r} ended before it printed {mark!r}; it said: {''.join(lines)!r}")


def stubserver_command(port: int, *arguments: str | Path) -> list[str | Path]:
    """Return the command that serves at *port*."""
    return [sys.executable, "-m", "stubserver", "serve", *arguments, "--port", str(port)]


def original_command(port: int) -> list[str | Path]:
    """Return the command that runs the original dummy at *port*."""
    return [sys.executable, HERE / "original.py", str(port)]


@contextmanager
def answering(command: Sequence[str | Path], port: int, *, quiet: bool = False) -> Iterator[Server]:
    """Run a server until it answered its first request."""
    begun = time.perf_counter()
    with running(command, quiet=quiet) as process:
        first_answer(process, port)
        yield Server(process, port, time.perf_counter() - begun)


def first_answer(process: subprocess.Popen[str], port: int) -> None:
    """Ask for the models until an answer comes."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise BenchError(f"{process.args!r} ended with status {process.returncode}")
        with suppress(OSError, http.client.HTTPException):
            ask(port, "GET", "/v1/models")
            return
        time.sleep(RETRY_SECONDS)
    raise BenchError(f"{process.args!r} did not answer within {START_SECONDS:.0f} s")


def ask(port: int, method: str, path: str, body: str | None = None) -> bytes:
    """Send one request on a connection of its own, and return the answer's body. Raises BenchError unless it is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"{method} {path} was answered with {answer.status}: {content[:300]!r}")
    return content


@contextmanager
def original(pin: Sequence[str] = ()) -> Iterator[Server]:
    """Run the original dummy; clients that give up make it print tracebacks, which are not shown."""
    port = free_port()
    with answering([*pin, *original_command(port)], port, quiet=True) as server:
        yield server


@contextmanager
def nginx(folder: Path, size: int, pin: Sequence[str] = ()) -> Iterator[Server]:
    """Run nginx with one worker, answering everything with *size* bytes; *folder* is for its own files."""
    port = free_port()
    with answering([*pin, *nginx_command(folder, size, port)], port) as server:
        yield server


def nginx_command(folder: Path, size: int, port: int) -> list[str | Path]:
    """Write nginx's configuration; return the command that answers at *port* with *size* bytes."""
    path = folder / "nginx.conf"
    path.write_text(NGINX.format(folder=folder, port=port, body="x" * size), encoding="utf-8")
    return [shutil.which("nginx", path=NGINX_PATH) or "nginx", "-e", "stderr", "-p", folder, "-c", path]
