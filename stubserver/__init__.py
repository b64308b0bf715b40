"""stubserver: a record/replay HTTP stub for OpenAI-style model APIs.

Point a client's base URL at it: requests that were recorded get the recorded answer, all others a fixed dummy
completion with estimated usage. The public names are imported on first use, so that importing this costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stubserver.errors import CassetteError, NotACassetteError, StubserverError, UsageError
    from stubserver.journal import Entry, Journal
    from stubserver.stub import StubServer

__version__ = "0.1.0"

__all__ = [
    "CassetteError",
    "Entry",
    "Journal",
    "NotACassetteError",
    "StubServer",
    "StubserverError",
    "UsageError",
    "__version__",
]

_HOMES = {"StubServer": "stub", "Journal": "journal", "Entry": "journal"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    """Import a public name when it is first asked for."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
