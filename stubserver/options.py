"""What the options of ``StubServer`` may be: each check returns the value, or raises a UsageError."""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stubserver.errors import UsageError

if TYPE_CHECKING:
    from stubserver.app import App
    from stubserver.keys import Keys

__all__ = [
    "StrPath",
    "admin_token",
    "at_least_one",
    "choice_of",
    "error_status",
    "faults",
    "flat",
    "index_path",
    "keys",
    "one_process",
    "refuse_strangers",
    "seconds",
    "token_count",
]

_LONGEST_TIMEOUT: Final = 86_400.0
_LARGE: Final = 32 * 1024**2
"""From so many bytes of cassettes on there is an index without being asked for: below, reading them takes a second."""

StrPath = str | os.PathLike[str]


def flat(paths: Iterable[StrPath | Iterable[StrPath]]) -> list[StrPath]:
    """Return *paths* as one list."""
    found: list[StrPath] = []
    for path in paths:
        found += [path] if isinstance(path, (str, os.PathLike)) else path
    return found


def index_path(path: StrPath | None) -> tuple[Path | None, int]:
    """Return where the index is, and from how many bytes of cassettes on it is used; ``off``: never."""
    if path == "off":
        return None, 0
    if path is not None:
        return Path(path), 0
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(cache) if cache.startswith("/") else Path("~/.cache").expanduser()
    return folder / "stubserver" / "index.sqlite", _LARGE


def choice_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return *value* if it is one of *choices*, else raise UsageError."""
    if value not in choices:
        msg = f"{name} {value!r} is not known: choose from {', '.join(choices)}"
        raise UsageError(msg)
    return value


def one_process(*, alone: bool) -> None:
    """Refuse to record, or to count faults and limits, in several processes."""
    if not alone:
        msg = "recording, faults and limits are for one process: serve without workers"
        raise UsageError(msg)


def error_status(status: int) -> int:
    """Return *status* if it is one of an error."""
    if not 400 <= status <= 599:  # noqa: PLR2004  # HTTP's
        msg = f"error_status {status} is no error: give a status from 400 to 599"
        raise UsageError(msg)
    return status


def admin_token(token: str | None) -> str | None:
    """Return the admin API's *token*; an empty one is a mistake."""
    if token is not None and not token:
        msg = "the admin token is empty: give a long random one, or none"
        raise UsageError(msg)
    return token


def refuse_strangers(host: str, address: str) -> None:
    """Raise UsageError when others than this machine reach *address*, and so an admin API that asks for no token."""
    if not ip_address(address.partition("%")[0]).is_loopback:
        msg = (
            f"listening on {host}, others could reach the admin API: give it a token with --admin-token "
            "(or STUBSERVER_ADMIN_TOKEN), or switch it off with --no-admin"
        )
        raise UsageError(msg)


def token_count(number: int) -> int:
    """Return *number* if it can be a number of tokens."""
    if number < 0:
        msg = f"dummy_tokens {number} cannot be: give 0 or more"
        raise UsageError(msg)
    return number


def keys(*, given: str | bool, ours: bool, forwards: bool) -> tuple[Keys | None, str | None]:
    """Return who may ask and the key they need, None where there is no such: see :func:`stubserver.keys.required`."""
    if given is False:
        return None, None
    from stubserver.keys import required  # noqa: PLC0415  # start-up: only this option needs it

    return required(given=given, ours=ours, forwards=forwards)


def faults(  # noqa: PLR0913  # the options of the command line
    app: App, given: Iterable[str], file: StrPath | None, seed: int | None, limits: Iterable[str], *, triggers: bool
) -> None:
    """Set what goes wrong on purpose, if anything does: the faults of *file*, then those *given*. Raises UsageError."""
    given = [given] if isinstance(given, str) else list(given)
    limits = [limits] if isinstance(limits, str) else list(limits)
    if not (given or file or limits or triggers):
        return
    from stubserver.faults.scenario import Scenario, scenario_of  # noqa: PLC0415  # start-up: only these need it

    found = scenario_of(Path(file)) if file else Scenario()
    wrong = app.faulty()
    wrong.set((*found.faults, *given), found.seed if seed is None else seed)
    wrong.limit(*found.limits, *limits)
    wrong.triggers = triggers or found.triggers


def seconds(timeout: float) -> float:
    """Return *timeout* if it can be waited for."""
    if not 0 < timeout <= _LONGEST_TIMEOUT:
        msg = f"timeout {timeout} cannot be: give seconds, more than 0 and a day at most"
        raise UsageError(msg)
    return timeout


def at_least_one(name: str, number: int) -> int:
    """Return *number* if it is 1 or more; *name* is the option's."""
    if number < 1:
        msg = f"{name} {number} cannot be: give 1 or more"
        raise UsageError(msg)
    return number
