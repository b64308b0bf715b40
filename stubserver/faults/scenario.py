"""A file of faults: YAML (or JSON) with ``faults``, and if you like ``seed``, ``limits`` and ``triggers``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from stubserver.cassettes.safe_yaml import YamlError, load
from stubserver.errors import UsageError
from stubserver.faults.limits import limit_of
from stubserver.faults.spec import parsed

__all__ = ["Scenario", "scenario_of"]

_MEMBERS: Final = ("faults", "seed", "limits", "triggers")


class Scenario(NamedTuple):
    """What such a file says; all of it has been checked."""

    faults: tuple[Any, ...] = ()
    limits: tuple[str, ...] = ()
    seed: int | None = None
    triggers: bool = False


def scenario_of(path: Path) -> Scenario:
    """Read the file at *path*. Raises UsageError that names it, and what in it cannot be."""
    try:
        found = load(path.read_bytes())
        return _scenario(found)
    except OSError as error:
        raise UsageError(f"cannot read the faults in {path}: {error.strerror or error}") from error
    except (YamlError, UsageError) as error:
        raise UsageError(f"the faults in {path}: {error}") from error


def _scenario(found: Any) -> Scenario:  # noqa: ANN401  # any YAML value
    if isinstance(found, list):
        found = {"faults": found}
    if not isinstance(found, dict):
        raise UsageError("a mapping is needed, with a list of faults: {faults: ['429,first=2']}")
    unknown = next((name for name in found if name not in _MEMBERS), None)
    if unknown is not None:
        raise UsageError(f"{str(unknown)[:40]!a} is not known; it may have {', '.join(_MEMBERS)}")
    seed, triggers = found.get("seed"), found.get("triggers", False)
    if (seed is not None and type(seed) is not int) or type(triggers) is not bool:
        raise UsageError("seed has to be a whole number, triggers true or false")
    faults = tuple(spec if isinstance(spec, dict) else str(spec) for spec in _items(found, "faults"))
    limits = tuple(_joined(limit) for limit in _items(found, "limits"))
    for spec in faults:
        parsed(spec)
    for limit in limits:
        limit_of(limit)
    return Scenario(faults, limits, seed, triggers)


def _items(found: dict[str, Any], name: str) -> list[Any]:
    value = found.get(name) or []
    if not isinstance(value, list):
        raise UsageError(f"{name} has to be a list")
    return value


def _joined(limit: Any) -> str:  # noqa: ANN401  # any YAML value
    return ",".join(f"{name}={value}" for name, value in limit.items()) if isinstance(limit, dict) else str(limit)
