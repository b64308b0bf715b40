"""wrk, the load generator: run it, read its report, and refuse what is no clean measurement."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servers import HERE, BenchError, running

CONNECTIONS = 64
LATE = "answers later than 2 s"
TROUBLES = ("connect errors", "read errors", "write errors", LATE)
LONGEST = 900  # seconds; runs that are stopped from here last as long only when something hangs

_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_COUNT = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_REFUSED = re.compile(r"^\s*Non-2xx or 3xx responses: (\d+)", re.MULTILINE)
_ERRORS = re.compile(r"^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", re.MULTILINE)
_READ = re.compile(r"^\s*\d+ requests in [^,]+, ([\d.]+)([KMGT]?)B read", re.MULTILINE)
_SCALES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SLOWEST = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s)\b", re.MULTILINE)
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_TOOK = re.compile(r"^took ([\d.]+)")


@dataclass(frozen=True)
class Run:
    """What wrk reports: answers a second, answers in all, how often what went wrong; bytes that were read in all.

    ``slowest``: within how many ms 99 % were answered, where it was asked for that.
    """

    rate: float
    count: int
    troubles: dict[str, int]
    read: float = 0.0
    slowest: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether no answer was an error and no connection failed; an answer may have been late."""
        return not self.troubles.keys() - {LATE}

    def __str__(self) -> str:
        """Name what went wrong; empty when nothing did."""
        return ", ".join(f"{name}: {count}" for name, count in self.troubles.items())


def steady(url: str, body: str, seconds: int, *, pin: Sequence[str] = (), close: bool = False) -> Run:
    """Send the same request over 64 connections; *close*: a new connection for every request."""
    headers = ("-H", "Connection: close") if close else ()
    return _finished([*_command(pin, CONNECTIONS, seconds, "chat.lua"), *headers, url, "--", body], seconds)


def fresh(url: str, body: str, seconds: int, connections: int, *, pin: Sequence[str] = ()) -> Run:
    """Send the same request on a new connection each time, so many at once."""
    command = _command(pin, connections, seconds, "chat.lua")
    return _finished([*command, "--latency", "-H", "Connection: close", url, "--", body], seconds)


def cycle(url: str, bodies: Path, start: int, seconds: int, *, pin: Sequence[str] = ()) -> Run:
    """Send the bodies of a file in turn, from number *start* on, over 64 connections.

    Raises BenchError when an answer was an error.
    """
    return clean(turns(url, bodies, start, seconds, CONNECTIONS, pin=pin))


def turns(url: str, bodies: Path, start: int, seconds: int, connections: int, *, pin: Sequence[str] = ()) -> Run:  # noqa: PLR0913
    """Send the bodies of a file in turn over so many connections, whatever comes back."""
    script = (*_command(pin, connections, seconds, "cycle.lua"), url, "--", str(bodies), str(start))
    return _finished(script, seconds)


def first_plays(url: str, bodies: Path, numbers: range, before: Path, *, pin: Sequence[str] = ()) -> float:
    """Send the bodies with these *numbers* once, one after the other on one connection; return the seconds that took.

    The bodies of *before* are sent first, on the same connection, and not counted. Raises BenchError when an answer
    was an error.
    """
    arguments = [str(bodies), str(numbers.start), str(len(numbers)), str(before)]
    with running([*_command(pin, 1, LONGEST, "first.lua"), url, "--", *arguments]) as process:
        seconds = _time_taken(process)
        process.send_signal(signal.SIGINT)
        clean(_parsed(_rest(process)))
    return seconds


def _command(pin: Sequence[str], connections: int, seconds: int, script: str) -> list[str]:
    return [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script)]


def _finished(command: Sequence[str], seconds: int) -> Run:
    with running(command) as process:
        try:
            report, _ = process.communicate(timeout=seconds + 60)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"wrk did not end: {' '.join(command)}") from error
    return _parsed(report)


def _time_taken(process: subprocess.Popen[str]) -> float:
    for line in process.stdout or ():
        found = _TOOK.match(line)
        if found:
            return float(found[1])
    raise BenchError("wrk ended before every request was sent once")


def _rest(process: subprocess.Popen[str]) -> str:
    return process.stdout.read() if process.stdout else ""


def _parsed(report: str) -> Run:
    rate, count = _RATE.search(report), _COUNT.search(report)
    refused, errors = _REFUSED.search(report), _ERRORS.search(report)
    if rate is None or count is None:
        raise BenchError(f"wrk reported no rate; it said: {report!r}")
    counts = dict(zip(TROUBLES, map(int, errors.groups()), strict=True)) if errors else {}
    counts["answers of status 400 or more"] = int(refused[1]) if refused else 0
    troubles = {name: count for name, count in counts.items() if count}
    found = _SLOWEST.search(report)
    slowest = float(found[1]) * _MS[found[2]] if found else 0.0
    return Run(float(rate[1]), int(count[1]), troubles, _bytes_read(report), slowest)


def _bytes_read(report: str) -> float:
    read = _READ.search(report)
    return float(read[1]) * _SCALES[read[2]] if read else 0.0


def clean(run: Run) -> Run:
    """Return *run* when it is a measurement. Raises BenchError."""
    if not run.count:
        raise BenchError(f"no answer came in a whole round ({str(run) or 'and no error'})")
    if not run.clean:
        raise BenchError(f"no clean measurement: {run}")
    return run
