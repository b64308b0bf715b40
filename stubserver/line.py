"""The socket of one client, with the time that either side may take."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress

from stubserver.sender import SLOWEST

__all__ = ["Line"]

_now = time.perf_counter


class Line:
    """A socket that waits for what comes as long as :meth:`wait_at_most` says, and for a reader *patience* seconds.

    What is late raises BlockingIOError where nothing came, and TimeoutError where nothing was read.
    """

    __slots__ = ("_patience", "_waiting", "sock")

    def __init__(self, sock: socket.socket, patience: float) -> None:
        self.sock = sock
        self._patience = patience
        self._waiting = 0.0

    def begin(self) -> None:
        """Prepare the socket: small pieces are sent at once."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_timeout(socket.SO_SNDTIMEO, max(self._patience, 1.0))

    def wait_at_most(self, seconds: float) -> None:
        """Let each receive from now on take so long."""
        if seconds != self._waiting:
            self._waiting = seconds
            self._set_timeout(socket.SO_RCVTIMEO, seconds)

    def _set_timeout(self, option: int, seconds: float) -> None:
        # A timeout of the kernel's costs nothing for each call; Python's own would poll before every receive.
        whole = int(seconds)
        self.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6) or 1))

    def send(self, piece: bytes) -> float:
        """Send all of *piece*; a client that does not read is given the time a body of that size may take.

        Return when that was: not later than anything that the client does because of it.
        """
        now = _now()
        sent = self.sock.send(piece)
        if sent == len(piece):
            return now
        until = time.monotonic() + self._patience + len(piece) / SLOWEST
        rest = memoryview(piece)[sent:]
        while rest:
            if time.monotonic() > until:
                raise TimeoutError
            now = _now()
            rest = rest[self.sock.send(rest) :]
        return now

    def has_more(self) -> bool | None:
        """Tell whether there is something to read; False when the client left, None as long as neither is so."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return None
        except OSError:
            return False

    def end(self) -> None:
        """Send nothing more; what comes can still be read."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Let the close that follows be a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Let go of the socket; the other side hears of it unless another process holds it too."""
        with suppress(OSError):
            self.sock.close()

    def interrupt(self, *, both: bool) -> None:
        """End what comes, or both directions, from another thread: whoever waits hears of it."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR if both else socket.SHUT_RD)
