"""The admin API held to its description by schemathesis, which is no part of the test extra: run by ``make api``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from asking import chat
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from tapes import ask, chunks, events, recorded, tape

from stubserver import StubServer
from stubserver.admin.openapi import document
from stubserver.admin.routes import ROUTES
from stubserver.admin.schemas import SCHEMAS

# The feed never ends; the page and its files are no API.
api = schemathesis.openapi.from_dict(document(ROUTES)).exclude(path="/events").exclude(path_regex="^/(static|$)")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubServer]:
    folder = tmp_path_factory.mktemp("tapes")
    tape(folder / "a.yaml", recorded(ask("one")), recorded(ask("two", stream=True), events(*chunks({"content": "Hi"}))))
    with StubServer(folder, fallback="error") as started:
        yield started


@api.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_is_as_it_is_described(case: Any, stub: StubServer) -> None:
    if not stub.journal:
        chat(stub, "one")
        chat(stub, "two", stream=True)
        chat(stub, "three")
    if case.operation.path == "/requests/wait" and isinstance(case.body, dict):
        timeout = case.body.get("timeout", 10)
        if isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and 0 <= timeout <= 300:
            case.body["timeout"] = 0  # as good as any, and sooner over
    if case.operation.path == "/settings" and isinstance(case.body, dict):
        # What a text has to be like is more than a schema can say, and a fault would be one for the cases that follow.
        for name in ("faults", "limits"):
            if Draft202012Validator(SCHEMAS["Changes"]["properties"][name]).is_valid(case.body.get(name)):
                case.body[name] = []
    case.call_and_validate(base_url=f"{stub.url}/__admin")
