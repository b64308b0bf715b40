"""A thread that watches many sockets: what waits for something needs no thread of its own.

Thousands of waiting threads are no harm by themselves. But when they wake together, each of them asks for the
interpreter 200 times a second until it has its turn, and whoever has it gets next to nothing of the processor.
"""

from __future__ import annotations

import select
import socket
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import Final, Generic, TypeVar

__all__ = ["ENDED", "READ", "WRITE", "Watch"]

READ: Final = select.POLLIN
WRITE: Final = select.POLLOUT
ENDED: Final[int] = getattr(select, "POLLRDHUP", 0)
"""The other side ended its direction; Linux tells. The end of both, and errors, are always told."""

_HAS_EPOLL: Final = hasattr(select, "epoll")
_MOST_SECONDS: Final = 3600.0

Item = TypeVar("Item")


class Watch(ABC, Generic[Item]):
    """Takes in items from any thread, and looks after them in one of its own, which begins with the first of them.

    All methods but :meth:`add`, :meth:`end` and :meth:`let_go` are of that thread alone.
    """

    name = "stubserver-watch"

    def __init__(self) -> None:
        self.ended = False
        self._lock = threading.Lock()
        self._inbox: deque[Item] = deque()
        self._eyes: _Eyes | None = None
        self._thread: threading.Thread | None = None

    def add(self, item: Item) -> bool:
        """Hand *item* over; False when nothing is looked after any more, or the system has nothing left for it."""
        with self._lock:
            if self.ended or (self._eyes is None and not self._begin()):
                return False
            self._inbox.append(item)
            if self._eyes is not None:
                self._eyes.wake()
        return True

    def _begin(self) -> bool:
        try:
            eyes = _Eyes()
        except OSError:
            return False
        thread = threading.Thread(target=self._run, args=(eyes,), name=self.name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            eyes.close()
            return False
        self._eyes, self._thread = eyes, thread
        return True

    @abstractmethod
    def taken(self, item: Item) -> None:
        """Begin to look after *item*."""

    @abstractmethod
    def stirred(self, number: int, events: int) -> None:
        """Do what is to be done when *events* happened to the socket with this descriptor."""

    @abstractmethod
    def turn(self) -> float | None:
        """Do what is due; return after how many seconds something will be, None: only when something happens."""

    @abstractmethod
    def drop(self) -> None:
        """Let go of everything, at the end."""

    def watch(self, number: int, events: int) -> None:
        """Watch a socket for *events*, 0: for its end alone."""
        if self._eyes is not None:
            self._eyes.poll.register(number, events)

    def change(self, number: int, events: int) -> None:
        """Watch for other events than before."""
        if self._eyes is not None:
            self._eyes.poll.modify(number, events)

    def unwatch(self, number: int) -> None:
        """Watch a socket no longer; to be called before it is closed."""
        if self._eyes is not None:
            with suppress(OSError, KeyError):
                self._eyes.poll.unregister(number)

    def _run(self, eyes: _Eyes) -> None:
        seconds: float | None = None
        try:
            while not self.ended:
                for number, events in eyes.wait(seconds):
                    if number == eyes.number:
                        eyes.awake()
                        self._take_in()
                    else:
                        self.stirred(number, events)
                seconds = self.turn()
        finally:  # whatever happened, nobody waits for it for ever
            with self._lock:
                self.ended = True
            self._take_in()
            self.drop()

    def _take_in(self) -> None:
        while self._inbox:
            self.taken(self._inbox.popleft())

    def end(self) -> None:
        """End the thread; everything that it looked after is dropped."""
        with self._lock:
            self.ended = True
            thread = self._thread
            if self._eyes is not None:
                self._eyes.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.let_go()

    def let_go(self) -> None:
        """Close what is ours; in a forked child, where the thread is not, this alone."""
        self.ended = True
        eyes, self._eyes = self._eyes, None
        if eyes is not None:
            eyes.close()


class _Eyes:
    """What a thread waits with, and what others wake it with. Raises OSError when no descriptor is left."""

    def __init__(self) -> None:
        # With epoll, what watching costs does not depend on how many are watched; its numbers are those of poll.
        self.poll: select.epoll | select.poll = select.epoll() if _HAS_EPOLL else select.poll()
        try:
            self._receiver, self._sender = socket.socketpair()
        except OSError:
            self._close_poll()
            raise
        self._receiver.settimeout(0)
        self._sender.settimeout(0)
        self._awake = False
        self.number = self._receiver.fileno()
        self.poll.register(self.number, READ)

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """Return what happened, by descriptor; empty after so many seconds."""
        if seconds is None:
            return self.poll.poll()
        seconds = min(max(seconds, 0.0), _MOST_SECONDS)
        return self.poll.poll(seconds if _HAS_EPOLL else seconds * 1000)

    def wake(self) -> None:
        """Let :meth:`wait` return; under the lock."""
        if not self._awake:
            self._awake = True
            with suppress(OSError):
                self._sender.send(b"\0")

    def awake(self) -> None:
        """Note that it has, before what it was woken for is looked at: what comes behind that wakes it again."""
        with suppress(BlockingIOError):
            self._receiver.recv(4096)
        self._awake = False

    def close(self) -> None:
        """Close the descriptors."""
        self._close_poll()
        self._receiver.close()
        self._sender.close()

    def _close_poll(self) -> None:
        close = getattr(self.poll, "close", None)  # poll has nothing to close
        if close is not None:
            close()
