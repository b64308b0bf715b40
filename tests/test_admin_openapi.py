"""The description: complete, and true of real answers. ``make api`` goes on from there with schemathesis."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from asking import call, chat, get, when_done
from jsonschema import Draft202012Validator
from tapes import CHAT, ask, chunks, events, recorded, tape

from stubserver import StubServer
from stubserver.admin.openapi import document
from stubserver.admin.routes import ROUTES

DOCUMENT = document(ROUTES)
SAMPLES = [
    ("GET", "/health", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/requests", None, 200),
    ("GET", "/requests/1", None, 200),
    ("GET", "/requests/2", None, 200),
    ("GET", "/requests/3", None, 200),
    ("GET", "/requests/99", None, 404),
    ("GET", "/requests?limit=x", None, 400),
    ("GET", "/requests/unmatched", None, 200),
    ("GET", "/requests/unmatched/near-misses", None, 200),
    ("GET", "/requests.har", None, 200),
    ("POST", "/requests/count", {}, 200),
    ("POST", "/requests/find", {"q": "one"}, 200),
    ("POST", "/requests/wait", {"timeout": 0}, 200),
    ("POST", "/requests/3/record-next", None, 409),
    ("POST", "/near-misses/request", {"path": CHAT, "json": ask("four")}, 200),
    ("GET", "/interactions", None, 200),
    ("GET", "/interactions/unplayed", None, 200),
    ("GET", "/interactions/tapes%2Fa.yaml%231", None, 200),
    ("GET", "/interactions/tapes%2Fa.yaml%232", None, 200),
    ("GET", "/cassettes", None, 200),
    ("GET", "/settings", None, 200),
    ("PUT", "/settings", {"fallback": "error", "pace": {"speed": 2}}, 200),
]


def schema_of(method: str, path: str, status: int) -> Any:
    for template, operations in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path.partition("?")[0]):
            response = operations[method.lower()]["responses"][str(status)]
            return response["content"]["application/json"]["schema"]
    raise LookupError(path)


def test_every_route_is_described() -> None:
    described = {(method.upper(), path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert len(described) == len(ROUTES) - 1  # all but the redirect to the page


def test_every_reference_leads_somewhere() -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert names == set(DOCUMENT["components"]["schemas"])
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("method", "path", "body", "status"), SAMPLES)
def test_answers_are_as_they_are_described(tmp_path: Path, method: str, path: str, body: Any, status: int) -> None:
    stream = events(*chunks({"role": "assistant", "content": ""}, {"content": "Hello"}))
    tape(tmp_path / "tapes" / "a.yaml", recorded(ask("one")), recorded(ask("two", stream=True), stream))
    with StubServer(tmp_path / "tapes", fallback="error") as stub:
        chat(stub, "one")
        chat(stub, "two", stream=True)
        chat(stub, "three")
        when_done(stub)
        got = call(stub, method, f"/__admin{path}", body)
    assert got.status == status
    schema = {**schema_of(method, path, status), "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(got.json)


def test_the_description_is_served() -> None:
    with StubServer() as stub:
        assert get(stub, "/openapi.json").json == DOCUMENT


@pytest.mark.parametrize(
    "pace",
    [1, "recorded", {"sped": 1}, {"speed": 0}, {"speed": "2"}, {"ttft": -1}, {"itl": True}, {"speed": 10**400}],
)
def test_a_pace_that_cannot_be_is_refused(pace: Any) -> None:
    with StubServer() as stub:
        got = call(stub, "PUT", "/__admin/settings", {"pace": pace, "fallback": "error"})
        assert (got.status, got.code) == (400, "bad_setting")
        assert get(stub, "/settings").json["fallback"] == "dummy"


def test_a_pace_is_set_and_taken_away() -> None:
    with StubServer() as stub:
        set_to = call(stub, "PUT", "/__admin/settings", {"pace": {"ttft": 5, "itl": 0}}).json["pace"]
        assert set_to == {"speed": None, "ttft": 5, "itl": 0}
        chat(stub)
        assert when_done(stub)[0]["ttfb_ms"] >= 5
        call(stub, "PUT", "/__admin/settings", {"pace": {}})
        assert get(stub, "/settings").json["pace"] == {"speed": None, "ttft": None, "itl": None}
