"""Listening and accepting: a ThreadingHTTPServer that gives each connection a thread while it has something to do.

Here: who may connect, what happens when the system runs out of something, and how it all ends.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
import weakref
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from stubserver import early, wire
from stubserver.app import App
from stubserver.connection import Connection, Next, ServerSettings
from stubserver.errors import ProtocolError, UsageError
from stubserver.known import Known
from stubserver.leaving import Leavers
from stubserver.resting import Resting
from stubserver.sender import Sender
from stubserver.threads import Threads

__all__ = ["Server"]

_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_WHEN_FULL: Final = 0.01
_LAST_PORT: Final = 65_535


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
        self.leavers = Leavers()
        self.stopping = False
        self.owned = True
        """False in a forked child: the threads and connections are the parent's."""
        self.address_family, address = _resolve(host, port)
        self._connections: set[Connection] = set()
        self._workers = Threads()
        self._spare: int | None = None
        self._away_until = 0.0
        self._also: socket.socket | None = None
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self.sender = Sender()
        self.resting = Resting(settings.idle, self._resume, self._end)
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
            super().__init__(address, BaseHTTPRequestHandler)
            if host == "localhost":
                self._also = _other_loopback(self.server_port, chosen=port != 0)
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
        """Accept connections until :meth:`shutdown`; *poll_interval* is the stdlib's and means nothing here."""
        del poll_interval
        # poll needs no descriptor of its own, which there might be none left of, and which a forked child would inherit
        with selectors.PollSelector() as selector:
            for listener in filter(None, (self.socket, self._also)):
                listener.settimeout(0)
                selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wake_receiver, selectors.EVENT_READ)
            while not self.stopping:
                for key, _ in selector.select():
                    if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._wake_receiver:
                        self._accept_all(key.fileobj)
                if self._away_until:
                    self._stay_away(selector)

    def refuse(self, seconds: float) -> None:
        """Refuse connections for so many seconds, as if there were no server; those that wait are ended."""
        self._away_until = max(self._away_until, time.monotonic() + seconds)
        with suppress(OSError):
            self._wake_sender.send(b"\0")

    def _stay_away(self, selector: selectors.BaseSelector) -> None:
        """Close the port, and listen again when it is time to."""
        for listener in filter(None, (self.socket, self._also)):
            selector.unregister(listener)
        # Bound and not listening, the port stays ours, and whoever connects is refused.
        self.socket, self._also = _deaf(self.socket), self._also and _deaf(self._also)
        for connection in list(self._connections):
            connection.interrupt(busy_too=False)
        while not self.stopping and (left := self._away_until - time.monotonic()) > 0:
            self._wake_receiver.recv(4096)  # there is a byte: that is why we are here
            selector.select(left)
        self._away_until = 0.0
        for listener in filter(None, (self.socket, self._also)):
            listener.listen(self.request_queue_size)
            listener.settimeout(0)
            selector.register(listener, selectors.EVENT_READ)

    def shutdown(self) -> None:
        """Make :meth:`serve_forever` return; from any thread, at any time, any number of times."""
        self.stopping = True
        with suppress(OSError):
            self._wake_sender.send(b"\0")

    def server_close(self) -> None:
        """Close the listening socket and everything that belongs to the accepting thread."""
        if hasattr(self, "socket"):
            super().server_close()
        for sock in filter(None, (self._also, self._wake_receiver, self._wake_sender)):
            sock.close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def end_connections(self, grace: float) -> None:
        """End every connection: waiting ones at once, busy ones when they are done or *grace* seconds are over."""
        self.stopping = True
        until = time.monotonic() + grace
        self.resting.end()
        for connection in list(self._connections):
            connection.interrupt(busy_too=False)
        while self._connections and time.monotonic() < until:
            time.sleep(0.001)
        for connection in list(self._connections):
            connection.interrupt(busy_too=True)
        self.sender.end()
        self._workers.end(1.0)
        self.leavers.end()

    @property
    def listeners(self) -> list[tuple[str, int]]:
        """The addresses that are listened on, with the descriptors of the sockets."""
        return [(str(sock.getsockname()[0]), sock.fileno()) for sock in (self.socket, self._also) if sock is not None]

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def _accept_all(self, listener: socket.socket) -> None:
        while not self.stopping:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FULL:
                    self._turn_one_away(listener)
                return
            self._start(sock)

    def _start(self, sock: socket.socket) -> None:
        if len(self._connections) >= self.settings.connections:
            self._send_busy(sock)
            return
        sock.settimeout(None)
        connection = Connection(self, sock)
        self._connections.add(connection)
        try:
            self._workers.run(lambda: self._serve(connection))
        except OSError:
            self._connections.discard(connection)
            self._send_busy(sock)

    def _serve(self, connection: Connection) -> None:
        becomes = Next.END
        try:
            becomes = connection.serve()
        finally:
            if becomes is Next.END or (becomes is Next.REST and not self.resting.add(connection)):
                self._end(connection)

    def take_back(self, connection: Connection, *, rests: bool) -> None:
        """Take a connection that was lent: it *rests*, or is to be served, to be ended. From any thread."""
        if not rests:
            self._resume(connection)
        elif self.stopping or not self.resting.add(connection):
            self._end(connection)

    def _resume(self, connection: Connection) -> None:
        """Let a connection that has rested go on."""
        try:
            self._workers.run(lambda: self._serve(connection))
        except OSError:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        connection.close()
        self._connections.discard(connection)

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
        time.sleep(_PAUSE_WHEN_FULL)  # the queue is still full: without a pause this loop would take a whole core

    def _send_busy(self, sock: socket.socket) -> None:
        error = ProtocolError(503, "The server has too many open connections, please try again later.", "overloaded")
        with suppress(OSError), sock:
            sock.settimeout(0)
            sock.send(b"".join(wire.render(self.app.refused(error), wire.CLOSE)))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(65_536)

    def forget(self) -> None:
        """In a forked child: let go of the parent's sockets without touching its connections."""
        self.owned = False
        self.stopping = True
        for connection in list(self._connections):
            connection.close()
        for watch in (self.leavers, self.sender, self.resting):
            watch.let_go()
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
