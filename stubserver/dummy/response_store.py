"""What ``POST /v1/responses`` created, and the routes that ask for it again.

An answer follows from its request, so only requests are kept, by the id of their response: small, and never at odds
with what was sent. The oldest go first when there are too many or too much of them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from stubserver.dummy import body as read
from stubserver.dummy import response_events, responses
from stubserver.dummy.errors import APIError, json_response
from stubserver.dummy.response_request import checked
from stubserver.dummy.settings import DummySettings
from stubserver.dummy.usage import made_id
from stubserver.messages import Request, Response

__all__ = ["Kept", "ResponseStore", "cancel", "delete", "input_items", "keep", "retrieve"]

_MOST_RESPONSES: Final = 1000
_MOST_BYTES: Final = 16 * 1024 * 1024
_DIGITS: Final = re.compile("[0-9]{1,15}")
_OVERHEAD: Final = 256
"""What one entry takes beside its body, roughly."""

_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "output_text": {"annotations": [], "logprobs": []},
    "input_image": {"detail": "auto", "file_id": None, "image_url": None},
}
"""Members that parts of an input are shown with, whether they were sent or not."""


class Kept(NamedTuple):
    """One kept request; ``status`` is empty until somebody saw its response ``completed``, or had it ``cancelled``."""

    body: bytes
    status: str = ""


class ResponseStore:
    """Requests by the id of the response made for them, bounded by count and by bytes. Thread-safe."""

    def __init__(self, count: int = _MOST_RESPONSES, size: int = _MOST_BYTES) -> None:
        self._count = count
        self._size = size
        self._used = 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, name: str, body: bytes, status: str = "") -> None:
        """Keep *body* as the newest entry, whatever it was before; drop the oldest to make room."""
        with self._lock:
            self._drop(name)
            self._kept[name] = Kept(body, status)
            self._used += len(body) + _OVERHEAD
            while self._kept and (len(self._kept) > self._count or self._used > self._size):
                self._drop(next(iter(self._kept)))

    def settle(self, name: str, status: str) -> Kept | None:
        """Return the entry, with *status* if it had none: whoever comes first decides."""
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None and not kept.status:
                kept = self._kept[name] = kept._replace(status=status)
            return kept

    def get(self, name: str) -> Kept | None:
        """Return the entry as it is."""
        with self._lock:
            return self._kept.get(name)

    def drop(self, name: str) -> bool:
        """Forget an entry; False: there was none."""
        with self._lock:
            return self._drop(name)

    def _drop(self, name: str) -> bool:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._used -= len(kept.body) + _OVERHEAD
        return kept is not None


def keep(request: Request, answer: Response, store: ResponseStore) -> None:
    """Keep what ``responses.create`` answered, unless it was an error or was not to be stored.

    To be called each time the answer is given, made anew or not: deleted and created again, a response is there again.
    """
    if answer.status != 200:  # noqa: PLR2004  # HTTP's
        return
    body = read.parse(request)
    if responses.is_stored(body):
        # A stream showed its response completed; any other that runs in the background nobody has seen yet.
        store.put(made_id("resp_", request.body), request.body, "completed" if body.get("stream") else "")


def retrieve(request: Request, settings: DummySettings, store: ResponseStore, name: str) -> Response:
    """Answer ``GET /v1/responses/{name}``; ``?stream=true`` gives the events, ``&starting_after=n`` those after one."""
    kept = _found(store.settle(name, "completed"), name)
    body, answer = _remade(kept, settings)
    if _query(request, "stream") != "true":
        return json_response(answer)
    after = _integer(request, "starting_after", 0)
    return response_events.stream(answer, queued=responses.is_background(body), after=-1 if after is None else after)


def delete(_request: Request, _settings: DummySettings, store: ResponseStore, name: str) -> Response:
    """Answer ``DELETE /v1/responses/{name}``."""
    if not store.drop(name):
        raise _not_found(name)
    return json_response({"id": name, "object": "response.deleted", "deleted": True})


def cancel(_request: Request, settings: DummySettings, store: ResponseStore, name: str) -> Response:
    """Answer ``POST /v1/responses/{name}/cancel``: cancelled, unless it was seen completed before.

    Only what runs in the background can be cancelled.
    """
    body, _ = _remade(_found(store.get(name), name), settings)
    if not responses.is_background(body):
        raise APIError("Cannot cancel a synchronous response.")
    _, answer = _remade(_found(store.settle(name, "cancelled"), name), settings)
    return json_response(answer)


def input_items(request: Request, _settings: DummySettings, store: ResponseStore, name: str) -> Response:
    """Answer ``GET /v1/responses/{name}/input_items``: the newest first, twenty at a time, unless asked otherwise."""
    kept = _found(store.get(name), name)
    limit = _integer(request, "limit", 1, 100) or 20
    order = _query(request, "order") or "desc"
    if order not in {"asc", "desc"}:
        text = f"Invalid value: '{order[:100]}'. Supported values are: 'asc' and 'desc'."
        raise APIError(text, "order", "invalid_value")
    items = _items(checked(Request("POST", "/v1/responses", body=kept.body)), kept.body)
    if order == "desc":
        items.reverse()
    after = _query(request, "after")
    start = next((i + 1 for i, item in enumerate(items) if item["id"] == after), 0)
    page = items[start : start + limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    more = start + limit < len(items)
    return json_response({"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": more})


def _found(kept: Kept | None, name: str) -> Kept:
    if kept is None:
        raise _not_found(name)
    return kept


def _not_found(name: str) -> APIError:
    return APIError(f"Response with id '{name[:200]}' not found.", status=404)


def _remade(kept: Kept, settings: DummySettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the checked body of a kept request, and its response as it is now."""
    body = checked(Request("POST", "/v1/responses", body=kept.body))
    answer = responses.answered(body, kept.body, settings)
    return body, response_events.unfinished(answer, "cancelled") if kept.status == "cancelled" else answer


def _query(request: Request, name: str) -> str | None:
    values = parse_qs(request.query, errors="replace").get(name)
    return values[-1] if values else None


def _integer(request: Request, name: str, least: int, most: int | None = None) -> int | None:
    value = _query(request, name)
    number = int(value) if value is not None and _DIGITS.fullmatch(value) else value
    return read.integer({name: number}, name, least, most)


def _items(body: dict[str, Any], raw: bytes) -> list[dict[str, Any]]:
    """List the input of a checked body as the API shows it: items of full shape, each with an id."""
    value = body.get("input")
    given = [{"role": "user", "content": value}] if isinstance(value, str) else value or []
    return [_item(item, raw + b"#%d" % index) for index, item in enumerate(given)]


def _item(item: dict[str, Any], seed: bytes) -> dict[str, Any]:
    given = {name: value for name, value in item.items() if value is not None}
    kind = given.get("type", "message")
    if kind == "message":
        role = given["role"]
        shown = {"id": made_id("msg_", seed), "type": kind, "status": "completed"}
        return shown | given | {"content": _content(given["content"], role), "role": role}
    prefix = {"function_call": "fc_", "function_call_output": "fc_", "reasoning": "rs_"}.get(kind, "item_")
    status = {"status": "completed"} if kind.startswith("function_call") else {}
    return {"id": made_id(prefix, seed), "type": kind} | status | given


def _content(content: str | list[dict[str, Any]], role: str) -> list[dict[str, Any]]:
    kind = "output_text" if role == "assistant" else "input_text"
    parts = [{"type": kind, "text": content}] if isinstance(content, str) else content
    return [_DEFAULTS.get(part["type"], {}) | part for part in parts]
