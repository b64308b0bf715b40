"""Calls to the upstream that are under way: each is of one thread, and may be ended from another one.

urllib3 tells nobody where a thread waits, so its connections are taught to. And it writes URLs, in which a key may be,
to its logs: not those of our calls.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from stubserver.errors import UpstreamError

__all__ = ["Call", "interrupt", "interruptible", "pool_classes"]

_LOGGERS: Final = ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry")
_under_way: Final[dict[int, Call]] = {}
_left: Final[set[int]] = set()


class Call:
    """One request to the upstream, from when it is made until :meth:`end`.

    ``left``: nobody waits for it any more; ``reuses``: its connection has served another one before.
    """

    def __init__(self) -> None:
        self.left = False
        self.reuses = False
        self._stop: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        _under_way[self._thread] = self
        if self._thread in _left:  # looked at last: who leaves from here on finds the call
            self.left = True

    def waits(self, stop: Callable[[], object]) -> None:
        """Say how the wait that begins now can be stopped. Raises UpstreamError when it is not worth to begin."""
        with self._lock:
            self._stop = stop
        self.check()

    def check(self) -> None:
        """Raise UpstreamError when the client left."""
        if self.left:
            raise UpstreamError(502, "the client left before the end")

    def interrupt(self) -> None:
        """Let the wait fail, from another thread."""
        with self._lock, suppress(ValueError, RuntimeError, OSError):  # it has just ended by itself
            self.left = True
            if self._stop is not None:
                self._stop()

    def end(self) -> None:
        """Let nobody interrupt it from now on."""
        if _under_way.get(self._thread) is self:
            del _under_way[self._thread]
        with self._lock:
            self._stop = None


def interrupt(thread: int) -> None:
    """End the call that is under way in a thread, if there is one."""
    call = _under_way.get(thread)
    if call is not None:
        call.interrupt()


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Yield what ends the calls of this thread, from another one: any that is under way, or comes, in the block."""
    thread = threading.get_ident()

    def leave() -> None:
        _left.add(thread)
        interrupt(thread)

    try:
        yield leave
    finally:
        _left.discard(thread)


class _Plain(HTTPConnection):
    """Tells the call of its thread where that waits, and whether another one was answered here before."""

    _served: object = None

    def request(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # urllib3's
        call = _under_way.get(threading.get_ident())
        if call is not None:
            call.reuses = self.sock is not None and self.sock is self._served
        super().request(*args, **options)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # so it is in urllib3
        call, sock = _under_way.get(threading.get_ident()), self.sock
        if call is not None and sock is not None:
            call.waits(lambda: sock.shutdown(socket.SHUT_RD))
        response = super().getresponse()
        self._served = sock
        return response


class _Secure(_Plain, HTTPSConnection):
    """The same, over TLS."""


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


def pool_classes() -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return what urllib3's pool manager is to make its pools of."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_of_others)
    return {"http": _PlainPool, "https": _SecurePool}


def _is_of_others(record: logging.LogRecord) -> bool:
    return record.thread not in _under_way
