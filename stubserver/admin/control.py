"""The server itself over HTTP: is it well, what is it set to, start again."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stubserver import __version__
from stubserver.admin import fault_calls
from stubserver.admin.calls import Call, RefusedError, json_body
from stubserver.dummy.errors import json_response
from stubserver.errors import UsageError
from stubserver.messages import Response
from stubserver.recorder import Fallbacks

if TYPE_CHECKING:
    from stubserver.admin.context import Context
    from stubserver.pacing import Pace

__all__ = ["change", "health", "reset", "settings"]


def health(context: Context, _call: Call) -> Response:
    """``GET health``."""
    uptime = round(time.time() - context.started, 3)
    return json_response({"status": "healthy", "version": __version__, "uptime_seconds": uptime})


def reset(context: Context, call: Call) -> Response:
    """``POST reset``: positions and journal."""
    json_body(call.request, (), needed=False)
    context.reset()
    return Response(204)


def settings(context: Context, _call: Call) -> Response:
    """``GET settings``: what may be changed first, then what may only be read."""
    changeable = {name: setting.get(context) for name, setting in SETTINGS.items()}
    return json_response({**changeable, "read_only": context.options()})


def change(context: Context, call: Call) -> Response:
    """``PUT settings``: those that are named, all of them or, when one cannot be, none."""
    wanted = json_body(call.request, tuple(SETTINGS))
    checked = {name: SETTINGS[name].check(context, value) for name, value in wanted.items()}
    with context.lock:
        for name, value in checked.items():
            SETTINGS[name].put(context, value)
    return settings(context, call)


class Setting(NamedTuple):
    """One that may be changed while the server runs: read it, check a value (RefusedError), put it in place."""

    get: Callable[[Context], Any]
    check: Callable[[Context, Any], Any]
    put: Callable[[Context, Any], None]


def _check_fallback(context: Context, value: Any) -> Fallbacks:  # noqa: ANN401  # any JSON value
    if value not in tuple(Fallbacks):
        msg = f"fallback has to be one of {', '.join(Fallbacks)}"
        raise RefusedError(400, msg, "bad_setting")
    if value == Fallbacks.FORWARD and context.app.forwarder is None:
        msg = "fallback forward needs an upstream: start the server with --upstream"
        raise RefusedError(409, msg, "no_upstream")
    return Fallbacks(value)


def _put_fallback(context: Context, value: Fallbacks) -> None:
    context.app.fallback = value


def _get_pace(context: Context) -> dict[str, float | None]:
    pacer = context.app.pacer
    return {"speed": None, "ttft": None, "itl": None} if pacer is None else dict(pacer.pace._asdict())


def _check_pace(_context: Context, value: Any) -> Pace:  # noqa: ANN401  # any JSON value
    from stubserver.pacing import Pace, pace_of  # noqa: PLC0415  # start-up: most answers are sent at once

    names = Pace._fields
    numbers = value.values() if isinstance(value, dict) and set(value) <= set(names) else [""]
    if any(
        number is not None and (isinstance(number, bool) or not isinstance(number, (int, float))) for number in numbers
    ):
        msg = f"pace has to be an object of numbers or nulls: {', '.join(names)}"
        raise RefusedError(400, msg, "bad_setting")
    speed = value.get("speed")
    try:
        return pace_of("none" if speed is None else speed, value.get("ttft"), value.get("itl"))
    except UsageError as error:
        raise RefusedError(400, str(error), "bad_setting") from error


def _put_pace(context: Context, value: Pace) -> None:
    from stubserver.pacing import pacer_of  # noqa: PLC0415  # start-up: most answers are sent at once

    context.app.pacer = pacer_of(value)


def _get_fault(name: str, context: Context) -> Any:  # noqa: ANN401  # what the setting is
    return fault_calls.get(context, name)


def _put_fault(name: str, context: Context, value: Any) -> None:  # noqa: ANN401  # what was checked
    fault_calls.put(context, name, value)


SETTINGS: Final[dict[str, Setting]] = {
    "pace": Setting(_get_pace, _check_pace, _put_pace),
    **{
        name: Setting(partial(_get_fault, name), check, partial(_put_fault, name))
        for name, check in (
            ("faults", fault_calls.check_faults),
            ("limits", fault_calls.check_limits),
            ("fault_triggers", fault_calls.check_triggers),
            ("fault_seed", fault_calls.check_seed),
        )
    },
    "fallback": Setting(lambda context: str(context.app.fallback), _check_fallback, _put_fallback),
}
