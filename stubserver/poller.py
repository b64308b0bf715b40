"""Which of many sockets can be read or written, or have lost their client: what the system offers for it."""

from __future__ import annotations

import select
import selectors
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

__all__ = ["ACCEPT", "GONE", "LEAVES", "READ", "WRITE", "Poller", "new_poller", "wait_for"]

READ: Final = 1
"""Bytes are there, or the end of them."""
WRITE: Final = 2
"""Bytes can be sent."""
LEAVES: Final = 4
"""The client ended its side, or all is over."""
GONE: Final = 8
"""Both sides ended, or there was an error; which is told of whatever else is waited for."""
ACCEPT: Final = 16
"""A connection is there; where several processes wait for it, one is told."""

_AT_ONCE: Final = 256


class Poller(ABC):
    """Watches descriptors. Any thread may call it, at any time."""

    leaving = LEAVES
    """What to wait for to hear of a client that leaves; where that is READ, of one that sends more, too."""

    def __init__(self) -> None:
        self._alarm = _Alarm()

    @abstractmethod
    def watch(self, descriptor: int, wanted: int, before: int = 0) -> None:
        """Wait for *wanted* on a descriptor, from now on; *before* is what was waited for till now, 0 for nothing."""

    @abstractmethod
    def forget(self, descriptor: int) -> None:
        """Wait for nothing on a descriptor; one that is unknown is none."""

    @abstractmethod
    def _wait(self, seconds: float) -> list[int]:
        """Return the descriptors on which something came, the alarm's among them. May raise what a closed one does."""

    def wait(self, seconds: float) -> list[int]:
        """Return the descriptors on which something came; none when it took so long, or somebody woke us."""
        try:
            found = self._wait(seconds)
        except (OSError, ValueError):  # closed, in a forked child
            return []
        if self._alarm.descriptor in found:
            found.remove(self._alarm.descriptor)
            self._alarm.silence()
        return found

    def wake(self) -> None:
        """Let the wait end."""
        self._alarm.ring()

    def close(self) -> None:
        """Let go of our own descriptors; whatever else holds the watched ones does not hear of it."""
        self._alarm.close()


def new_poller() -> Poller:
    """Return the best that this system has."""
    return Epoll() if hasattr(select, "epoll") else Selected()


def wait_for(descriptor: int, wanted: int, seconds: float) -> bool:
    """Wait in this thread for something on one descriptor; False when it took so long."""
    waiting = select.poll()
    waiting.register(descriptor, _POLLED[wanted])
    return bool(waiting.poll(max(0.0, seconds) * 1000))


_POLLED: Final = {
    READ: select.POLLIN,
    WRITE: select.POLLOUT,
    LEAVES: getattr(select, "POLLRDHUP", 0),  # Linux has it
    GONE: 0,
    ACCEPT: select.POLLIN,
}


class _Alarm:
    """A pair of sockets, one of which is watched."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.settimeout(0)
        self._sender.settimeout(0)
        self.descriptor = self._receiver.fileno()

    def ring(self) -> None:
        with suppress(OSError):  # it rings already, or all is closed
            self._sender.send(b"\0")

    def silence(self) -> None:
        with suppress(OSError):
            self._receiver.recv(4096)

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()


class Epoll(Poller):
    """Linux's epoll."""

    def __init__(self) -> None:
        super().__init__()
        try:
            self._epoll = select.epoll()
        except OSError:
            super().close()
            raise
        self.watch(self._alarm.descriptor, READ)

    def watch(self, descriptor: int, wanted: int, before: int = 0) -> None:
        """Wait for *wanted* on a descriptor."""
        if ACCEPT in {wanted, before}:
            self.forget(descriptor)  # what is exclusive cannot be modified
            before = 0
        if before:
            self._epoll.modify(descriptor, _EVENTS[wanted])
        else:
            self._epoll.register(descriptor, _EVENTS[wanted])

    def forget(self, descriptor: int) -> None:
        """Wait for nothing on a descriptor."""
        with suppress(OSError, ValueError):
            self._epoll.unregister(descriptor)

    def _wait(self, seconds: float) -> list[int]:
        return [descriptor for descriptor, _ in self._epoll.poll(seconds, _AT_ONCE)]

    def close(self) -> None:
        """Let go of our own descriptors."""
        self._epoll.close()
        super().close()


_EVENTS: Final[dict[int, int]] = (
    {
        READ: select.EPOLLIN,
        WRITE: select.EPOLLOUT,
        LEAVES: select.EPOLLRDHUP,
        GONE: 0,
        ACCEPT: select.EPOLLIN | select.EPOLLEXCLUSIVE,
    }
    if hasattr(select, "epoll")
    else {}
)


class Selected(Poller):
    """What the standard library chooses elsewhere (kqueue, say). It knows of clients that leave only by sending."""

    leaving = READ

    def __init__(self) -> None:
        super().__init__()
        self._selector = selectors.DefaultSelector()
        self.watch(self._alarm.descriptor, READ)

    def watch(self, descriptor: int, wanted: int, before: int = 0) -> None:
        """Wait for *wanted* on a descriptor."""
        if before:
            self.forget(descriptor)
        if wanted in {READ, ACCEPT}:
            self._selector.register(descriptor, selectors.EVENT_READ)
        elif wanted == WRITE:
            self._selector.register(descriptor, selectors.EVENT_WRITE)

    def forget(self, descriptor: int) -> None:
        """Wait for nothing on a descriptor."""
        with suppress(KeyError, ValueError, OSError):
            self._selector.unregister(descriptor)

    def _wait(self, seconds: float) -> list[int]:
        return [key.fd for key, _ in self._selector.select(seconds)]

    def close(self) -> None:
        """Let go of our own descriptors."""
        self._selector.close()
        super().close()
