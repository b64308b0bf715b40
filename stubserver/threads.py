"""Threads that are used again, and leave when they are not needed: at once where enough of them wait already.

Of thousands that waited, all would wake up at the same time, to leave, and each of them would hold up all others.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

__all__ = ["Threads"]

_IDLE_SECONDS: Final = 5.0
_MOST_IDLE: Final = 128


class Threads:
    """Runs jobs in threads that are used again: starting one for every job would cost more than many a job.

    Whoever is there first takes a job, also the one for which a thread was just started; so there are as many that wait
    as there are jobs on their way and ``_idle`` ones, and it does not matter which of them leaves.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = 0
        self._ended = False
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def run(self, job: Callable[[], None]) -> None:
        """Run *job* in a thread that is free, or in a new one."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._jobs.put(job)
                return
            thread = threading.Thread(target=self._work, name="stubserver-thread", daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            self._threads.discard(thread)
            raise OSError(errno.EAGAIN, str(error)) from error
        self._jobs.put(job)  # not an argument of the thread, which would hold on to it for good

    def _work(self) -> None:
        try:
            job = self._wait()
            while job is not None:
                job()
                del job  # what it holds on to goes now, not with the next one
                job = self._next()
        finally:
            self._threads.discard(threading.current_thread())

    def _next(self) -> Callable[[], None] | None:
        """Wait for another job; None when it is time to leave."""
        with self._lock:
            if self._ended or self._idle >= _MOST_IDLE:
                return None
            self._idle += 1
        return self._wait()

    def _wait(self) -> Callable[[], None] | None:
        try:
            return self._jobs.get(timeout=_IDLE_SECONDS)
        except Empty:
            return self._leave()

    def _leave(self) -> Callable[[], None] | None:
        """Leave the idle ones, unless there is a job on its way for each of those that wait."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                return None
        return self._jobs.get()

    def end(self, seconds: float) -> None:
        """Let the idle threads go, and wait at most *seconds* for the others."""
        with self._lock:
            self._ended = True
            for _ in range(self._idle):
                self._jobs.put(None)
            self._idle = 0
        until = time.monotonic() + seconds
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
