from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from faulty_upstream import STREAM, answer, stream, upstream
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

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
    assert re.search(r"a\.yaml#1 +as recorded", result.stdout)


def test_another_text_is_named_and_is_no_failure(tmp_path: Path) -> None:
    with StubServer(dummy_text="something else") as stub:
        result = diff(recorded(tmp_path / "a.yaml", dummy_answer()), stub.url)

    assert result.exit_code == 0
    assert re.search(r"a\.yaml#1 +other text +text +choices\[\]\.message\.content +This is dummy", result.stdout)


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
    assert re.search(r"another shape +status +status +201 +200", result.stdout)


def test_an_upstream_that_is_not_there_is_said_for_each(tmp_path: Path) -> None:
    with StubServer() as stub:
        path, url = recorded(tmp_path / "a.yaml", dummy_answer()), stub.url
    result = diff(path, url)

    assert result.exit_code == 1
    assert re.search(r"a\.yaml#1 +the upstream refused the connection", result.stdout)


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


KEY = "sk-proj-" + "Zq3" * 16


def interaction(path: str, answer: Response) -> Interaction:
    return Interaction(Request.from_uri("POST", f"https://api.example.com/v1/{path}", JSON, ASKED), answer)


def test_what_changed_is_replaced_when_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    events = (("content-type", "text/event-stream"),)
    path.write_bytes(
        cassette_text(
            [
                interaction("same", Response(200, JSON, b'{"a": 1}')),
                interaction("text", Response(200, JSON, b'{"a": "old"}')),
                interaction("stream", Response(200, events, b"data: [DONE]\n\n", events=True, times=(5,))),
                interaction("broken", Response(200, JSON, b'{"a": 2}')),
                interaction("busy", Response(200, JSON, b'{"a": 3}')),
                interaction("error", Response(500, JSON, b'{"a": 4}')),
            ]
        )
    )
    before = path.read_bytes()
    with upstream() as up:
        up.says["/v1/same"] = answer(b'{"a": 1}')
        up.says["/v1/text"] = answer(b'{"a": "new %b"}' % KEY.encode(), "application/json", f"Set-Cookie: s={KEY}")
        up.says["/v1/stream"] = stream(*STREAM)
        up.says["/v1/broken"] = answer(b'{"a": ')
        up.says["/v1/busy"] = answer(b"{}", status="429 Slow down")
        up.says["/v1/error"] = answer(b'{"b": 4}', status="500 Oh")
        result = diff(path, up.url, "--update")

    assert result.exit_code == 1
    assert "4 answers replaced" not in result.stderr
    assert "3 answers replaced, the old file is" in result.stderr
    assert "a.yaml#4: the old answer stays: the answer is no whole JSON" in result.stderr
    assert "a.yaml#5: the old answer stays: status 429" in result.stderr
    assert (tmp_path / "a.yaml.before").read_bytes() == before
    requests, got = FilesystemPersister.load_cassette(path, yamlserializer)
    assert [request.uri.rpartition("/")[2] for request in requests] == [
        *("same", "text", "stream", "broken", "busy", "error")
    ]
    bodies = [response["body"]["string"] for response in got]
    assert bodies == [*(b'{"a": 1}', b'{"a": "new REDACTED"}', b"".join(STREAM), b'{"a": 2}', b'{"a": 3}', b'{"b": 4}')]
    assert len(got[2]["x_stubserver"]["events_ms"].split(",")) == len(STREAM)
    assert "set-cookie" not in {name.lower() for name in got[1]["headers"]}
    assert KEY not in result.stdout + result.stderr


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.yaml", dummy_answer())
    with StubServer() as stub:
        assert diff(path, stub.url, "--update").exit_code == 0

    assert [p.name for p in tmp_path.iterdir()] == ["a.yaml"]


def test_a_file_that_cannot_be_rewritten_is_said_and_stays(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.yaml", {"a": 1})
    path.write_bytes(path.read_bytes().replace(b"version: 1", b"- damaged: 1\nversion: 1"))
    before = path.read_bytes()
    with StubServer() as stub:
        result = diff(path, stub.url, "--update")

    assert result.exit_code == 1
    assert "would be lost: not rewritten" in result.stderr
    assert path.read_bytes() == before


def test_our_key_is_not_printed_when_the_upstream_echoes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUBSERVER_TEST_KEY", "an-opaque-key-0123")
    with upstream() as up:
        up.otherwise = answer(b'{"error": "no such key: an-opaque-key-0123"}', status="401 No")
        path = recorded(tmp_path / "a.yaml", {"error": "x"})
        found = [diff(path, up.url, "--upstream-key-env", "STUBSERVER_TEST_KEY", *more) for more in ((), ("--json",))]

    assert all("no such key: REDACTED" in result.stdout for result in found)
    assert not any("an-opaque-key" in result.output for result in found)


def test_an_answer_that_is_cut_changes_nothing(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.yaml", {"a": 1})
    before = path.read_bytes()
    with upstream() as up:
        up.otherwise = lambda sock: sock.sendall(answer(b'{"b": 1}')[:-1])
        result = diff(path, up.url, "--update")

    assert re.search(r"a\.yaml#1 +the upstream broke off", result.stdout)
    assert path.read_bytes() == before
