"""Every exception that stubserver raises.

StubserverError
├── UsageError            an option that cannot be, or two that contradict each other
├── CassetteError         a cassette file that cannot be used: file, item, cause
│   ├── NotACassetteError a file that holds something else
│   └── PackedError       a packed file that is too large to be unpacked, or for which there is no room
├── ProtocolError         a request that breaks HTTP, or a limit of ours; carries the status to answer with
└── UpstreamError         the real API did not answer, or not whole; carries the status to answer with
"""

from __future__ import annotations

__all__ = [
    "CassetteError",
    "NotACassetteError",
    "PackedError",
    "ProtocolError",
    "StubserverError",
    "UpstreamError",
    "UsageError",
]


class StubserverError(Exception):
    """The base of all."""


class UsageError(StubserverError, ValueError):
    """An option that cannot be, or two that contradict each other; the message says what to do."""


class CassetteError(StubserverError):
    """A cassette file that cannot be used.

    ``path`` names the file, ``item`` is the 1-based number of the interaction (0: the file as a whole) and
    ``cause`` says what is wrong with it.
    """

    def __init__(self, path: str, cause: str, item: int = 0) -> None:
        where = f"{path}, item {item}" if item else path
        super().__init__(f"{where}: {cause}")
        self.path = path
        self.cause = cause
        self.item = item

    def __reduce__(self) -> tuple[type[CassetteError], tuple[str, str, int]]:
        """Travel from one process to another."""
        return type(self), (self.path, self.cause, self.item)


class NotACassetteError(CassetteError):
    """A file that is sound but holds no recorded interactions."""


class PackedError(CassetteError):
    """A packed file that is too large to be unpacked, or for which there is no room."""


class ProtocolError(StubserverError):
    """A request that cannot be served as HTTP; it is answered with ``status`` and the connection is closed."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class UpstreamError(StubserverError):
    """The real API did not answer, or not whole; ``status`` (502 or 504) is what the client gets. Holds no secret."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
