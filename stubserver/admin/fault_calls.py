"""Faults over HTTP: the settings of what goes wrong on purpose, and the verdict on the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stubserver.admin.calls import Call, RefusedError
from stubserver.dummy.errors import json_response
from stubserver.errors import UsageError
from stubserver.messages import Response

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["check_faults", "check_limits", "check_seed", "check_triggers", "get", "put", "verdict"]

_MOST: Final = 1000
_LARGEST_SEED: Final = 2**53 - 1


def verdict(context: Context, _call: Call) -> Response:
    """``GET verdict``: judge the client by what is in the journal."""
    from stubserver.verdict import judge  # noqa: PLC0415  # start-up: only who asks needs it

    journal = context.app.journal
    return json_response(judge(journal, context.app.library.rules.key, journal.forgotten).as_json())


def get(context: Context, name: str) -> Any:  # noqa: ANN401  # what the setting is
    """Return one of the settings: faults, limits, fault_triggers, fault_seed."""
    faults = context.app.faults
    if name == "faults":
        return [rule.text for rule, _, _ in faults.counts] if faults is not None else []
    if name == "limits":
        return [str(limit) for limit in faults.limits] if faults is not None else []
    if name == "fault_seed":
        return faults.seed if faults is not None else 0
    return faults is not None and faults.triggers


def check_faults(_context: Context, value: Any) -> list[Any]:  # noqa: ANN401  # any JSON value
    """Check the list of faults, each a text or an object. Raises RefusedError."""
    from stubserver.faults.spec import parsed  # noqa: PLC0415  # start-up: most servers do nothing wrong

    specs = _list("faults", value, (str, dict))
    for spec in specs:
        _checked(parsed, spec)
    return specs


def check_limits(_context: Context, value: Any) -> list[Any]:  # noqa: ANN401  # any JSON value
    """Check the list of rate limits. Raises RefusedError."""
    from stubserver.faults.limits import limit_of  # noqa: PLC0415  # start-up: most servers have none

    limits = _list("limits", value, (str,))
    for limit in limits:
        _checked(limit_of, limit)
    return limits


def check_triggers(_context: Context, value: Any) -> bool:  # noqa: ANN401  # any JSON value
    """Check whether prompts may ask for faults. Raises RefusedError."""
    if not isinstance(value, bool):
        raise RefusedError(400, "fault_triggers has to be true or false", "bad_setting")
    return value


def check_seed(_context: Context, value: Any) -> int:  # noqa: ANN401  # any JSON value
    """Check the seed of what is left to chance. Raises RefusedError."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_SEED:
        raise RefusedError(400, f"fault_seed has to be a whole number from 0 to {_LARGEST_SEED}", "bad_setting")
    return value


def put(context: Context, name: str, value: Any) -> None:  # noqa: ANN401  # what was checked
    """Put one of the settings in place; faults are counted anew."""
    faults = context.app.faulty()
    if name == "faults":
        faults.set(value)
    elif name == "limits":
        faults.limit(*value)
    elif name == "fault_seed":
        faults.set([rule.text for rule, _, _ in faults.counts], value)
    else:
        faults.triggers = value


def _list(name: str, value: Any, kinds: tuple[type, ...]) -> list[Any]:  # noqa: ANN401  # any JSON value
    if not isinstance(value, list) or len(value) > _MOST or not all(isinstance(each, kinds) for each in value):
        raise RefusedError(400, f"{name} has to be a list: see `stubserver faults`", "bad_setting")
    return value


def _checked(read: Any, given: Any) -> None:  # noqa: ANN401  # a reader, and what it reads
    try:
        read(given)
    except UsageError as error:
        raise RefusedError(400, str(error), "bad_setting") from error
