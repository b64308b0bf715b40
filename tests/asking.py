"""A client of the admin API, for the tests of it."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from raw import eventually
from tapes import CHAT, ask

from stubserver import StubServer

JSON = {"content-type": "application/json"}


class Got(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


def call(stub: StubServer, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Got:
    raw = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
    client = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
    try:
        client.request(method, target, raw, JSON | (headers or {}) if raw is not None else headers or {})
        answer = client.getresponse()
        return Got(answer.status, answer.headers, answer.read())
    finally:
        client.close()


def get(stub: StubServer, path: str, **headers: str) -> Got:
    return call(stub, "GET", f"/__admin{path}", headers={n.replace("_", "-"): v for n, v in headers.items()})


def when_done(stub: StubServer) -> list[dict[str, Any]]:
    """List the requests, once all of their answers are known to have left."""

    def listed() -> list[dict[str, Any]] | None:
        rows = get(stub, "/requests").json["requests"]
        return rows if all(row["done"] for row in rows) else None

    found = eventually(listed)
    assert found is not None
    return list(found)


def chat(stub: StubServer, question: str = "hi", **more: Any) -> Got:
    return call(stub, "POST", CHAT, ask(question, **more))
