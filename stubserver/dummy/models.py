"""``GET /v1/models`` and ``GET /v1/models/{id}``: what is configured is listed, any id is found."""

from __future__ import annotations

from typing import Any

from stubserver.dummy.errors import json_response
from stubserver.dummy.settings import CREATED, DummySettings
from stubserver.messages import Response

__all__ = ["one", "several"]


def several(settings: DummySettings) -> Response:
    """List the models."""
    return json_response({"object": "list", "data": [_card(name) for name in settings.models]})


def one(name: str) -> Response:
    """Show one model; the id may hold slashes."""
    return json_response(_card(name))


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "stubserver"}
