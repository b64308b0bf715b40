from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stubserver import StubServer
from stubserver.cassettes.writer import cassette_text
from stubserver.cli import main
from stubserver.dummy import DummySettings, respond
from stubserver.messages import Interaction, Request, Response

ASKED = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
JSON = (("content-type", "application/json"),)


def recorded(path: Path, answer: object, *, status: int = 200) -> Path:
    """Write a cassette in which the dummy's question got *answer*."""
    request = Request.from_uri("POST", "https://api.example.com/v1/chat/completions", JSON, ASKED)
    path.write_bytes(cassette_text([Interaction(request, Response(status, JSON, json.dumps(answer).encode()))]))
    return path


def dummy_answer() -> dict[str, object]:
    return dict(json.loads(respond(Request("POST", "/v1/chat/completions", (), ASKED), DummySettings()).body))


def diff(path: Path, upstream: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["diff", str(path), "--upstream", upstream, *more])


def test_an_equal_answer_is_as_recorded(tmp_path: Path) -> None:
    with StubServer() as stub:
        result = diff(recorded(tmp_path / "a.yaml", dummy_answer()), stub.url)

    assert result.exit_code == 0
    assert "a.yaml#1: as recorded" in result.stdout


def test_another_text_is_named_and_is_no_failure(tmp_path: Path) -> None:
    with StubServer(dummy_text="something else") as stub:
        result = diff(recorded(tmp_path / "a.yaml", dummy_answer()), stub.url)

    assert result.exit_code == 0
    assert "a.yaml#1: other text" in result.stdout
    assert "text choices[].message.content: recorded This is dummy" in result.stdout


def test_another_shape_is_named_and_is_a_failure(tmp_path: Path) -> None:
    with StubServer() as stub:
        answer = dummy_answer() | {"gone": 1, "created": "now"}
        result = diff(recorded(tmp_path / "a.yaml", answer), stub.url, "--json")

    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)
    assert row["changed"] == "shape"
    assert [(change["kind"], change["path"]) for change in row["changes"]][:2] == [
        ("removed", "gone"),
        ("type", "created"),
    ]


def test_another_status_is_another_shape(tmp_path: Path) -> None:
    with StubServer() as stub:
        result = diff(recorded(tmp_path / "a.yaml", dummy_answer(), status=201), stub.url)

    assert result.exit_code == 1
    assert "status status: recorded 201, received 200" in result.stdout


def test_an_upstream_that_is_not_there_is_said_for_each(tmp_path: Path) -> None:
    with StubServer() as stub:
        path, url = recorded(tmp_path / "a.yaml", dummy_answer()), stub.url
    result = diff(path, url)

    assert result.exit_code == 1
    assert "a.yaml#1: the upstream refused the connection" in result.stdout


def test_the_cassette_is_never_touched(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.yaml", {"other": 1})
    before = path.read_bytes()
    with StubServer() as stub:
        diff(path, stub.url)

    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.yaml"]


@pytest.mark.parametrize("variable", ["STUBSERVER_TEST_KEY"])
def test_the_key_comes_from_the_environment(tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "a-key-of-ours")
    with StubServer() as stub:
        diff(recorded(tmp_path / "a.yaml", {}), stub.url, "--upstream-key-env", variable)
        sent = stub.journal[-1]._request

    assert dict(sent.headers)["Authorization"] == "Bearer a-key-of-ours"
