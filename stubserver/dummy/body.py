"""Read a JSON request body the way the API does: its checks, its order, its words."""

from __future__ import annotations

import math
from typing import Any, Final

from stubserver.canonical import NOT_JSON, json_value
from stubserver.dummy.errors import NOT_PARSED, APIError
from stubserver.messages import Request

__all__ = ["flag", "integer", "number", "parse", "require_model"]

_TYPES: Final = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    dict: "an object",
    list: "an array",
    type(None): "null",
}


def parse(request: Request) -> dict[str, Any]:
    """Return the request's JSON object; anything else is the API's 400."""
    value = json_value(request.body)
    if value is NOT_JSON or not isinstance(value, dict):
        raise APIError(NOT_PARSED)
    return value


def require_model(body: dict[str, Any]) -> str:
    """Return the model; the API asks for it before everything else."""
    model = body.get("model")
    if not isinstance(model, str) and model is not None:
        raise invalid_type("model", "a string", model)
    if not model:
        raise APIError("you must provide a model parameter")
    return model


def type_name(value: object) -> str:
    """Name the JSON type of *value* as the API's messages do."""
    return _TYPES.get(type(value), "an object")


def invalid_type(name: str, expected: str, value: object) -> APIError:
    """Make the API's error for a value of the wrong type."""
    text = f"Invalid type for '{name}': expected {expected}, but got {type_name(value)} instead."
    return APIError(text, name, "invalid_type")


def integer(body: dict[str, Any], name: str, least: int, most: int | None = None) -> int | None:
    """Return the integer *name*, or None when it is absent or null; out of range is the API's 400."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_type(name, "an integer", value)
    return int(_in_range(name, value, least, most, "integer"))


def number(body: dict[str, Any], name: str, least: float, most: float) -> float | None:
    """Return the number *name*, or None when it is absent or null; out of range is the API's 400."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid_type(name, "a decimal", value)
    return _in_range(name, _as_float(value), least, most, "decimal")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of 400 digits
        return math.inf if value > 0 else -math.inf


def _in_range(name: str, value: float, least: float, most: float | None, kind: str) -> float:
    if value < least:
        text = f"Invalid '{name}': {kind} below minimum value. Expected a value >= {least}, but got {value} instead."
        raise APIError(text, name, f"{kind}_below_min_value")
    if most is not None and value > most:
        text = f"Invalid '{name}': {kind} above maximum value. Expected a value <= {most}, but got {value} instead."
        raise APIError(text, name, f"{kind}_above_max_value")
    return value


def flag(body: dict[str, Any], name: str) -> bool:
    """Return the boolean *name*; absent and null are false."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid_type(name, "a boolean", value)
    return bool(value)


def includes_usage(body: dict[str, Any]) -> bool:
    """Tell whether ``stream_options.include_usage`` asks for the usage chunk."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise invalid_type("stream_options", "an object", options)
    return bool(options.get("include_usage"))
