"""What the calls of the admin API work on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stubserver.app import App

__all__ = ["Context"]


@dataclass(slots=True, eq=False)
class Context:
    """The app, what can be asked of its server, and how the feeds hear that it ends.

    ``connections`` counts the open ones; ``reset`` forgets positions and journal; ``started`` is in seconds since the
    epoch; ``readers`` counts the feeds.
    """

    app: App
    reset: Callable[[], None]
    connections: Callable[[], int]
    options: Callable[[], dict[str, object]] = dict
    ended: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.time)
    readers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
