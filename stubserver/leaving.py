"""Clients that leave while an upstream is asked for them: noticed at once, however silent the upstream is.

The loop watches the connection meanwhile, in place of the thread that asks. A client that ends its side has left, as
for every proxy, and whatever else it sent before; one that only sends more, its next request, is there and waits.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf

from stubserver.loop import Loop
from stubserver.poller import LEAVES, wait_for

__all__ = ["watching"]


@contextmanager
def watching(loop: Loop, sock: socket.socket, left: Callable[[], object]) -> Iterator[None]:
    """Call *left*, from another thread, when the client at *sock* leaves within the block; never behind it."""
    client = _Client(loop, sock, left)
    with suppress(OSError, ValueError):  # the system watches no more of them, or the server has ended: then nobody does
        loop.attach(client, loop.leaving)
    try:
        yield
    finally:
        with client.turn:
            loop.detach(client)


class _Client:
    """One that is waited for to leave."""

    deadline = inf

    def __init__(self, loop: Loop, sock: socket.socket, left: Callable[[], object]) -> None:
        self.descriptor = sock.fileno()
        self.watched = 0
        self.turn = threading.Lock()
        self._loop = loop
        self._sock = sock
        self._left = left

    def ready(self) -> None:
        """Look whether it has left, or sends more; neither, when the loop was told of the request that is answered."""
        if wait_for(self.descriptor, self.watched, 0.0):
            self._loop.detach(self)
            if wait_for(self.descriptor, LEAVES, 0.0) or self._is_at_its_end():
                self._left()

    def late(self) -> None:
        """Do nothing: it may stay as long as it likes."""

    def _is_at_its_end(self) -> bool:
        """Tell by reading, where the system does not tell; of a client that has sent nothing else."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
