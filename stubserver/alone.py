"""One process that serves, with the face of a crew of several: see :mod:`stubserver.crew`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stubserver.app import App
from stubserver.messages import Answer, Request
from stubserver.server import Server

__all__ = ["Alone", "Staff"]


class Staff(Protocol):
    """Who serves: this process, or several."""

    can_record: bool

    def serve(self, server: Server, admin: Callable[[Request], Answer] | None) -> Callable[[], None]:
        """Get ready to accept at the sockets of *server*; return what a thread does as long as it serves."""

    def collect(self, server: Server | None) -> int:
        """Bring journal and tally up to date; return how many connections are open."""

    def settings_changed(self, app: App) -> None:
        """Take over what was set in *app*."""

    def cleared(self) -> None:
        """Forget the journal, too."""

    def end(self) -> None:
        """Serve no more."""

    def close(self) -> None:
        """Let go of everything."""


class Alone:
    """This process serves by itself: there is nothing to collect, and nobody to tell."""

    can_record = True

    def serve(self, server: Server, admin: Callable[[Request], Answer] | None) -> Callable[[], None]:
        """Return what accepts."""
        del admin
        return server.serve_forever

    def collect(self, server: Server | None) -> int:
        """Return how many connections are open."""
        return server.connections if server is not None else 0

    def settings_changed(self, app: App) -> None:
        """Do nothing."""

    def cleared(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
