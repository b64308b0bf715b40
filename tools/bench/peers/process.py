"""A server in a process group of its own, which can be frozen while another one is measured.

A server that is not measured must cost nothing: some run timers, compile or collect garbage while nobody asks. So all
but one are stopped by SIGSTOP, and each is given time to finish what it still had to do before it is frozen.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from servers import STOP_SECONDS, BenchError

LOOK_SECONDS = 0.1
IDLE = 0.3
"""A server that takes less than this part of a core is taken to be idle."""
LONGEST_DRAIN_SECONDS = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Program:
    """A process group, by the process that began it; what it prints goes to the file *log*."""

    process: subprocess.Popen[bytes]
    log: Path

    def freeze(self) -> None:
        """Let it take no more time until :meth:`thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def drain(self) -> bool:
        """Wait until it has nothing to do; False when it still had after a while."""
        until = time.monotonic() + LONGEST_DRAIN_SECONDS
        while time.monotonic() < until:
            before = self.cpu_seconds()
            time.sleep(LOOK_SECONDS)
            if self.cpu_seconds() - before < IDLE * LOOK_SECONDS:
                return True
        return False

    def cpu_seconds(self) -> float:
        """Return the time that all of its processes have taken."""
        return sum(map(_cpu_ticks, self.pids())) / _TICKS

    def memory(self) -> float:
        """Return the resident memory of all of its processes, in MB."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(_text(pid, "statm").split()[1]) * page for pid in self.pids() if _text(pid, "statm")) / 1e6

    def pids(self) -> list[int]:
        """Return the processes of the group."""
        found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in found if _group(pid) == self.process.pid]

    def said(self) -> str:
        """Return the last line that it printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else "nothing"

    def stop(self) -> None:
        """End it: asked first, then made to."""
        self.thaw()
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@contextmanager
def launched(command: Sequence[str | Path], log: Path, extra: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Run a program until the end of the block, in the folder of *log*."""
    words = [str(part) for part in command]
    with log.open("wb") as out:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env={**os.environ, **(extra or {})},
        )
    program = Program(process, log)
    try:
        yield program
    finally:
        program.stop()


def until(program: Program, answers: Callable[[], bool], seconds: float) -> float:
    """Return the seconds, from now, until *answers* is true. Raises BenchError when it never is."""
    begun = time.perf_counter()
    while (took := time.perf_counter() - begun) < seconds:
        if program.process.poll() is not None:
            raise BenchError(f"it ended with status {program.process.returncode}; it said: {program.said()}")
        if answers():
            return took
        time.sleep(0.002)
    raise BenchError(f"it gave no right answer within {seconds:.0f} s; it said: {program.said()}")


class Others:
    """What everybody else took of the machine while something was measured."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._begun, self._before = time.monotonic(), self._taken()

    def part(self) -> float:
        """Return how many cores they took since the beginning, on the average."""
        return max(0.0, self._taken() - self._before) / (time.monotonic() - self._begun)

    def _taken(self) -> float:
        """Return the seconds that neither the program nor what we started and waited for has taken."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return busy_seconds() - self._program.cpu_seconds() - ended.ru_utime - ended.ru_stime


def busy_seconds() -> float:
    """Return the time that all processes together have taken since the machine was started."""
    line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    user, nice, system = line.split()[1:4]
    return (int(user) + int(nice) + int(system)) / _TICKS


def _text(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii", errors="replace")
    except OSError:  # it ended
        return ""


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third one on: the second may hold spaces."""
    return _text(pid, "stat").rpartition(")")[2].split()


def _group(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[2]) if len(fields) > 2 else 0


def _cpu_ticks(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
