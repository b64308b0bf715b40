"""What the calls of the admin API work on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stubserver.app import App
from stubserver.messages import Request

__all__ = ["Context"]


@dataclass(slots=True, eq=False)
class Context:
    """The app, what can be asked of its server, and how the feeds hear that it ends.

    ``connections`` counts the open ones; ``record_next`` lets a request be recorded when it comes again (UsageError:
    there is nothing to ask, or to write to); ``reset`` forgets positions and journal; ``started`` is in seconds since
    the epoch; ``readers`` counts the feeds.
    """

    app: App
    reset: Callable[[], None]
    connections: Callable[[], int]
    record_next: Callable[[Request], None]
    options: Callable[[], dict[str, object]] = dict
    started: float = field(default_factory=time.time)
    ended: threading.Event = field(default_factory=threading.Event)
    readers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
