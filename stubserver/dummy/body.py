"""Read a JSON request body the way the API does: its checks, its order, its words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from stubserver.dummy.errors import NOT_PARSED, APIError
from stubserver.jsonvalue import NOT_JSON, json_value
from stubserver.messages import Request

__all__ = ["Check", "flag", "integer", "number", "parse", "require_model"]

Check = Callable[[dict[str, Any], str], object]
"""Raises the API's error for the member of that name, when there is something wrong with it."""

_DEPLOYMENT: Final = re.compile(r"/openai/deployments/([^/?]+)/")

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


def require_model(body: dict[str, Any], request: Request) -> str:
    """Return the model, on Azure's paths that of the deployment; the API asks for it before everything else."""
    model = body.get("model")
    if model is None and (deployment := _DEPLOYMENT.match(request.target)):
        model = unquote(deployment[1])
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


def missing(name: str) -> APIError:
    """Make the API's error for a member that must be there."""
    return APIError(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def invalid_value(name: str, value: object, names: tuple[str, ...]) -> APIError:
    """Make the API's error for a word that is none of *names*."""
    text = f"Invalid value: '{str(value)[:100]}'. Supported values are: {_listed(names, 'and')}."
    return APIError(text, name, "invalid_value")


def empty(name: str) -> APIError:
    """Make the API's error for an array that has nothing in it."""
    text = f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    return APIError(text, name, "empty_array")


def too_long(name: str, most: int, length: int) -> APIError:
    """Make the API's error for an array of more than *most* items."""
    text = (
        f"Invalid '{name}': array too long. Expected an array with maximum length {most}, "
        f"but got an array with length {length} instead."
    )
    return APIError(text, name, "array_above_max_length")


def _listed(names: tuple[str, ...], word: str) -> str:
    """Write names as the API does: 'a' and 'b'; 'a', 'b', and 'c'."""
    quoted = [f"'{name}'" for name in names]
    return f"{', '.join(quoted[:-1])}{',' if len(names) > 2 else ''} {word} {quoted[-1]}"  # noqa: PLR2004  # a pair


def of_kind(body: dict[str, Any], name: str, kind: type, words: str) -> None:
    """Check that the member is null, absent or of the *kind* that *words* say."""
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise invalid_type(name, words, value)


string: Final[Check] = partial(of_kind, kind=str, words="a string")
an_object: Final[Check] = partial(of_kind, kind=dict, words="an object")


def one_of(body: dict[str, Any], name: str, names: tuple[str, ...], more: tuple[str, ...] = ()) -> None:
    """Check a word; *more* are accepted though the API's message does not list them."""
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, str):
        raise invalid_type(name, f"one of {_listed(names, 'or')}", value)
    if value not in names and value not in more:
        raise invalid_value(name, value, names)


def within(where: str, value: object, check: Check) -> None:
    """Check a value that is not at the top of the body but *where*."""
    check({where: value}, where)


def needs(where: str, owner: dict[str, Any], name: str, check: Check) -> None:
    """Check the member *name* of *owner*, which must be there."""
    if owner.get(name) is None:
        raise missing(f"{where}.{name}")
    within(f"{where}.{name}", owner[name], check)


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


def strings(body: dict[str, Any], name: str, most: int) -> tuple[str, ...]:
    """Return a string, or a list of at most *most* of them, as a tuple; empty ones are left out."""
    value = body.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise invalid_type(name, "one of a string or array of strings", value)
    if len(value) > most:
        raise too_long(name, most, len(value))
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise invalid_type(f"{name}[{index}]", "a string", item)
    return tuple(filter(None, value))
