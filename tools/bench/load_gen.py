"""wrk, the load generator: run it, read its report, and refuse what is no clean measurement."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import HERE, BenchError, running

CONNECTIONS = 64
LONGEST = 3600  # seconds; runs that are stopped from here never last so long

_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_REFUSED = re.compile(r"^\s*Non-2xx or 3xx responses: (\d+)", re.MULTILINE)
_SOCKET_ERRORS = re.compile(r"^\s*Socket errors: (.+)", re.MULTILINE)
_PASS = re.compile(r"^pass \d+ ([\d.]+)")


@dataclass(frozen=True)
class Run:
    """What wrk reports: answers a second, how many were no 2xx or 3xx, and its line of socket errors."""

    rate: float
    refused: int
    errors: str

    @property
    def trouble(self) -> str:
        """What went wrong; empty for a clean run."""
        refused = f"{self.refused} answers were no 2xx" if self.refused else ""
        return "; ".join(filter(None, (refused, self.errors)))


def steady(url: str, body: str, seconds: int, *, pin: Sequence[str] = (), close: bool = False) -> Run:
    """Send the same request over 64 connections; *close*: a new connection for every request."""
    headers = ("-H", "Connection: close") if close else ()
    return _finished([*_command(pin, CONNECTIONS, seconds, "chat.lua"), *headers, url, "--", body], seconds)


def cycle(url: str, bodies: Path, seconds: int, *, pin: Sequence[str] = ()) -> Run:
    """Send the bodies of a file in turn, over 64 connections. Raises BenchError unless every answer was good."""
    return clean(_finished([*_command(pin, CONNECTIONS, seconds, "replay.lua"), url, "--", str(bodies)], seconds))


def first_pass(url: str, bodies: Path, *, pin: Sequence[str] = ()) -> float:
    """Send every body of a file once, one after the other on one connection; return the seconds that took."""
    command = [*_command(pin, 1, LONGEST, "replay.lua"), url, "--", str(bodies)]
    with _wrk(command) as process:
        seconds = _next_pass(process)
        process.send_signal(signal.SIGINT)
        clean(_parsed(_rest(process)))
    return seconds


def _command(pin: Sequence[str], connections: int, seconds: int, script: str) -> list[str]:
    return [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script)]


@contextmanager
def _wrk(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with running(command) as process:
        yield process


def _finished(command: list[str], seconds: int) -> Run:
    with _wrk(command) as process:
        try:
            report, _ = process.communicate(timeout=seconds + 60)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"wrk did not end: {' '.join(command)}") from error
    return _parsed(report)


def _next_pass(process: subprocess.Popen[str]) -> float:
    for line in process.stdout or ():
        found = _PASS.match(line)
        if found:
            return float(found[1])
    raise BenchError("wrk ended before every request was sent once")


def _rest(process: subprocess.Popen[str]) -> str:
    return process.stdout.read() if process.stdout else ""


def _parsed(report: str) -> Run:
    rate, refused, errors = _RATE.search(report), _REFUSED.search(report), _SOCKET_ERRORS.search(report)
    if rate is None:
        raise BenchError(f"wrk reported no rate; it said: {report!r}")
    return Run(float(rate[1]), int(refused[1]) if refused else 0, f"socket errors: {errors[1]}" if errors else "")


def clean(run: Run) -> Run:
    """Return *run* when nothing went wrong in it. Raises BenchError."""
    if run.trouble:
        raise BenchError(f"no clean measurement: {run.trouble}")
    return run
