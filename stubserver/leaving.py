"""Clients that leave while an upstream is asked for them: noticed at once, however silent the upstream is.

One thread watches the connections of all requests that are being forwarded. A client that ends its side has left, as
for every proxy; one that sends more, its next request, is there and waits.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

__all__ = ["Leavers"]


class Leavers:
    """Tells of each watched client that leaves. The thread begins with the first one and ends with :meth:`end`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector: selectors.BaseSelector | None = None
        self._thread: threading.Thread | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._ended = False

    @contextmanager
    def watching(self, sock: socket.socket, left: Callable[[], object]) -> Iterator[None]:
        """Call *left*, from another thread, when the client at *sock* leaves within the block; never behind it."""
        watched = self._watch(sock, left)
        try:
            yield
        finally:
            if watched:
                self._forget(sock)

    def _watch(self, sock: socket.socket, left: Callable[[], object]) -> bool:
        with self._lock, suppress(OSError, RuntimeError):  # no descriptor or thread is left: then nobody watches
            if self._ended:
                return False
            selector = self._selector or self._begin()
            selector.register(sock, selectors.EVENT_READ, left)
            return True
        return False

    def _begin(self) -> selectors.BaseSelector:
        # What the system offers: with epoll and kqueue, one thread may register while another one waits.
        with ExitStack() as ours:
            selector = ours.enter_context(selectors.DefaultSelector())
            wake = socket.socketpair()
            for end in wake:
                ours.enter_context(end)
            selector.register(wake[0], selectors.EVENT_READ)
            thread = threading.Thread(target=self._look, args=(selector,), name="stubserver-leavers", daemon=True)
            thread.start()
            ours.pop_all()
        self._selector, self._thread, self._wake = selector, thread, wake
        return selector

    def _look(self, selector: selectors.BaseSelector) -> None:
        while not self._ended:
            for key, _ in selector.select():
                with self._lock:
                    if key.data is not None and _still(selector, key):
                        selector.unregister(key.fileobj)
                        if _is_gone(key.fileobj):
                            key.data()

    def _forget(self, sock: socket.socket) -> None:
        with self._lock, suppress(KeyError, ValueError, OSError):  # it has left, or all has ended
            if self._selector is not None:
                self._selector.unregister(sock)

    def end(self) -> None:
        """End the thread; nothing is watched from now on."""
        with self._lock:
            self._ended = True
            thread, wake = self._thread, self._wake
            if wake is not None:
                wake[1].send(b"\0")
        if thread is not None:
            thread.join()
        self.let_go()

    def let_go(self) -> None:
        """Close what is ours; in a forked child, where the thread is not, this alone."""
        self._ended = True
        selector, self._selector, self._thread = self._selector, None, None
        for each in (selector, *(self._wake or ())):
            if each is not None:
                each.close()
        self._wake = None


def _still(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> bool:
    """Tell whether *key* is still that of its socket, which may have been taken out, and put in anew, meanwhile."""
    found = selector.get_map()
    return found is not None and found.get(key.fd) is key


def _is_gone(sock: object) -> bool:
    try:
        return isinstance(sock, socket.socket) and not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
