"""Listening and accepting: a ThreadingHTTPServer that gives threads to what may wait, none to waiting connections.

Here: who may connect, what happens when the system runs out of something, and how it all ends.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
import weakref
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any, Final

from stubserver import early, wire
from stubserver.app import App
from stubserver.connection import Connection, ServerSettings
from stubserver.errors import UsageError
from stubserver.known import Known
from stubserver.line import busy
from stubserver.loop import Loop
from stubserver.poller import ACCEPT, GONE
from stubserver.threads import Threads

__all__ = ["Server"]

_now = time.perf_counter
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_WHEN_FULL: Final = 0.01
_ACCEPTED_AT_ONCE: Final = 8
_END_SECONDS: Final = 1.0
_LAST_PORT: Final = 65_535


class _Entrance:
    """A listening socket, as the loop leads it."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.listener = listener
        self.descriptor = listener.fileno()
        self.watched = 0
        self.deadline = inf
        self.turn = threading.Lock()
        self._server = server

    def ready(self) -> None:
        """Accept who is there. When there are no descriptors, rest: the queue stays full, and this would spin."""
        pause = self._server.accept(self.listener)
        if pause:
            self.deadline = _now() + pause
            self._server.loop.want(self, GONE)
            self._server.loop.expect(self)

    def late(self) -> None:
        """Go on after a rest."""
        self.deadline = inf
        self._server.loop.want(self, ACCEPT)


class Server(ThreadingHTTPServer):
    """The listening socket and the connections it accepted.

    ``socketserver``'s own handler classes are not used: :class:`Connection` takes their place.
    """

    request_queue_size = 1024  # the stdlib's 5 lets simultaneous connects wait for seconds
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, host: str, port: int, app: App, settings: ServerSettings) -> None:
        self.app = app
        self.settings = settings
        self.known = Known()
        self.threads = Threads()
        self.stopping = False
        self.owned = True
        """False in a forked child: the threads and connections are the parent's."""
        self.address_family, address = _resolve(host, port)
        self._connections: set[Connection] = set()
        self._entrances: list[_Entrance] = []
        self._spare: int | None = None
        self._away_until = -inf
        self._also: socket.socket | None = None
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
            super().__init__(address, BaseHTTPRequestHandler)
            if host == "localhost":
                self._also = _other_loopback(self.server_port, chosen=port != 0)
            self.loop = Loop(self.threads)
        except OSError as error:
            self.server_close()
            raise _bind_error(host, port, error) from error
        _live.add(self)

    def server_bind(self) -> None:
        """Bind without the reverse lookup of the stdlib, which takes seconds where names do not resolve."""
        host, port = str(self.server_address[0]), int(self.server_address[1])
        descriptor = early.take(host, port)
        if descriptor is not None:
            self.socket.close()
            self.socket = socket.socket(fileno=descriptor)
        else:
            self._bind()
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def _bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            with suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Accept and lead connections until :meth:`shutdown`; *poll_interval* is the stdlib's and means nothing."""
        del poll_interval
        self._listen()
        self.loop.run(lambda: self.stopping)
        for entrance in self._entrances:
            self.loop.detach(entrance)

    def _listen(self) -> None:
        self._entrances = [_Entrance(self, listener) for listener in (self.socket, self._also) if listener is not None]
        for entrance in self._entrances:
            entrance.listener.settimeout(0)
            self.loop.attach(entrance, ACCEPT)

    def refuse(self, seconds: float) -> None:
        """Refuse connections for so many seconds, as if there were no server; those that wait are ended."""
        until = _now() + seconds
        self.loop.call_at(_now(), lambda: self._stay_away(until))

    def _stay_away(self, until: float) -> None:
        """Close the port, and listen again when it is time to."""
        if self._away_until == -inf:
            # Bound and not listening, the port stays ours, and whoever connects is refused.
            for entrance in self._entrances:
                self.loop.detach(entrance)
            self.socket, self._also = _deaf(self.socket), self._also and _deaf(self._also)
        self._away_until = max(self._away_until, until)
        for connection in list(self._connections):
            connection.interrupt(busy_too=False)
        self.loop.call_at(self._away_until, self._come_back)

    def _come_back(self) -> None:
        if self.stopping or self._away_until == -inf or _now() < self._away_until:
            return
        self._away_until = -inf
        for listener in filter(None, (self.socket, self._also)):
            listener.listen(self.request_queue_size)
        self._listen()

    def shutdown(self) -> None:
        """Make :meth:`serve_forever` return; from any thread, at any time, any number of times."""
        self.stopping = True
        self.loop.wake()

    def server_close(self) -> None:
        """Close the listening socket and everything that belongs to the accepting thread."""
        if hasattr(self, "socket"):
            super().server_close()
        if self._also is not None:
            self._also.close()
        if not self._entrances and hasattr(self, "loop"):  # nothing was ever served, and there is nothing to end
            self.loop.let_go()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def end_connections(self, grace: float) -> None:
        """End every connection: waiting ones at once, busy ones when they are done or *grace* seconds are over."""
        self.stopping = True
        for busy_too, seconds in ((False, grace), (True, _END_SECONDS)):
            for connection in list(self._connections):
                connection.interrupt(busy_too=busy_too)
            if self._connections:
                self.loop.run(lambda: not self._connections, seconds)
        self.threads.end(_END_SECONDS)
        self.loop.close()

    def ended(self, connection: Connection) -> None:
        """Hear of a connection that is over."""
        self._connections.discard(connection)
        if self.stopping:
            self.loop.wake()

    @property
    def listeners(self) -> list[tuple[str, int]]:
        """The addresses that are listened on, with the descriptors of the sockets."""
        return [(str(sock.getsockname()[0]), sock.fileno()) for sock in (self.socket, self._also) if sock is not None]

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def accept(self, listener: socket.socket) -> float:
        """Accept connections that wait at *listener*; return for how many seconds it is better not to ask again."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return 0.0
            except OSError as error:
                if error.errno in _FULL:
                    self._turn_one_away(listener)
                    return _PAUSE_WHEN_FULL
                return 0.0
            self._start(sock)
        return 0.0

    def _start(self, sock: socket.socket) -> None:
        if len(self._connections) >= self.settings.connections:
            self._send_busy(sock)
            return
        sock.settimeout(None)
        connection = Connection(self, sock)
        self._connections.add(connection)
        connection.begin()

    def _turn_one_away(self, listener: socket.socket) -> None:
        """Out of file descriptors: give up the spare one for a moment, so that a client hears why."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        with suppress(OSError):
            sock, _ = listener.accept()
            self._send_busy(sock)
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _send_busy(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            sock.settimeout(0)
            sock.send(b"".join(wire.render(self.app.refused(busy()), wire.CLOSE)))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(65_536)

    def forget(self) -> None:
        """In a forked child: let go of the parent's sockets without touching its connections."""
        self.owned = False
        self.stopping = True
        self.loop.let_go()  # first: what is closed from here on is closed in this process alone
        for connection in list(self._connections):
            connection.let_go()
        self.server_close()


_live: weakref.WeakSet[Server] = weakref.WeakSet()


def _forget_all() -> None:
    for server in list(_live):
        server.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _deaf(listener: socket.socket) -> socket.socket:
    """Return a socket that is bound where *listener* was, and does not listen."""
    address = listener.getsockname()
    sock = socket.socket(listener.family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        only = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    listener.close()
    sock.bind(address)
    return sock


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    if not 0 <= port <= _LAST_PORT:
        msg = f"port {port} cannot be: give one from 1 to {_LAST_PORT}, or 0 for any free one"
        raise UsageError(msg)
    name = "127.0.0.1" if host == "localhost" else host
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:
        msg = f"cannot listen on {host}: {error}; give an address of this machine, such as 127.0.0.1 or ::1"
        raise UsageError(msg) from error
    return socket.AddressFamily(found[0][0]), found[0][4]


def _other_loopback(port: int, *, chosen: bool) -> socket.socket | None:
    """Listen on ::1 as well, where there is one: clients resolve ``localhost`` to either address.

    Raises OSError when another program has the *chosen* port there: it would get what is meant for us.
    """
    sock = None
    descriptor = early.take("::1", port)
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::1", port))
        sock.listen(Server.request_queue_size)
    except OSError as error:
        if sock is not None:
            sock.close()
        if chosen and error.errno == errno.EADDRINUSE:
            raise
        return None
    return sock


def _bind_error(host: str, port: int, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"port {port} on {host} is in use: choose another with --port, or 0 for any free one")
    return UsageError(f"cannot listen on {host} port {port}: {error.strerror or error}")
