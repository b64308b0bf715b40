"""``POST /v1/moderations``: nothing is ever flagged; the scores are small and made from a hash of the input."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

from stubserver.dummy import body as read
from stubserver.dummy.errors import APIError, json_bytes, json_response
from stubserver.dummy.settings import DummySettings
from stubserver.dummy.usage import made_id
from stubserver.messages import Request, Response

__all__ = ["CATEGORIES", "create"]

CATEGORIES: Final = {
    "harassment": False,
    "harassment/threatening": False,
    "hate": False,
    "hate/threatening": False,
    "illicit": False,
    "illicit/violent": False,
    "self-harm": True,
    "self-harm/intent": True,
    "self-harm/instructions": True,
    "sexual": True,
    "sexual/minors": False,
    "violence": True,
    "violence/graphic": True,
}
"""The thirteen categories, and whether the API judges images by them too."""

_DEFAULT_MODEL: Final = "omni-moderation-latest"
_PARTS: Final = ("text", "image_url")
_HIGHEST_SCORE: Final = 1e-3


def create(request: Request, _settings: DummySettings) -> Response:
    """Answer a moderation request: one result for each text, one for a whole list of content parts."""
    body = read.parse(request)
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise read.invalid_type("model", "a string", model)
    results = [_result(item) for item in _inputs(body)]
    return json_response({"id": made_id("modr-", request.body), "model": model or _DEFAULT_MODEL, "results": results})


def _inputs(body: dict[str, Any]) -> list[Any]:
    """Return what gets a result of its own: texts, or the one list of parts."""
    value = body.get("input")
    if value is None:
        raise APIError("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise read.invalid_type("input", "one of a string, array of strings, or array of objects", value)
    if not value:
        text = "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead."
        raise APIError(text, "input", "empty_array")
    parts = isinstance(value[0], dict)
    for index, item in enumerate(value):
        (_check_part if parts else _check_text)(f"input[{index}]", item)
    return [value] if parts else value


def _check_text(where: str, item: object) -> None:
    if not isinstance(item, str):
        raise read.invalid_type(where, "a string", item)


def _check_part(where: str, part: object) -> None:
    if not isinstance(part, dict):
        raise read.invalid_type(where, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise APIError(f"Missing required parameter: '{where}.type'.", f"{where}.type", "missing_required_parameter")
    if kind not in _PARTS:
        text = f"Invalid value: '{str(kind)[:100]}'. Supported values are: 'text' and 'image_url'."
        raise APIError(text, f"{where}.type", "invalid_value")
    if part.get(kind) is None:
        raise APIError(
            f"Missing required parameter: '{where}.{kind}'.", f"{where}.{kind}", "missing_required_parameter"
        )


def _result(item: str | list[dict[str, Any]]) -> dict[str, Any]:
    kinds = {"text"} if isinstance(item, str) else {part["type"].removesuffix("_url") for part in item}
    applied = {
        name: [k for k in ("text", "image") if k in kinds and (k == "text" or images)]
        for name, images in CATEGORIES.items()
    }
    return {
        "flagged": False,
        "categories": dict.fromkeys(CATEGORIES, False),
        "category_scores": dict(zip(CATEGORIES, _scores(json_bytes(item)), strict=True)),
        "category_applied_input_types": applied,
    }


def _scores(raw: bytes) -> Iterable[float]:
    """Make one score for each category, the same for the same input."""
    digest = blake2b(raw, digest_size=2 * len(CATEGORIES)).digest()
    for start in range(0, len(digest), 2):
        yield int.from_bytes(digest[start : start + 2], "big") / 65536 * _HIGHEST_SCORE
