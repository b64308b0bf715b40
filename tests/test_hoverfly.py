from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from openai import OpenAI

from stubserver import StubServer
from stubserver.cli import main
from stubserver.interchange import Carried, Lost, hoverfly

DATA = Path(__file__).parent / "data" / "interchange"
BASE = "https://api.openai.com"


def exact(value: object, matcher: str = "exact", **more: Any) -> list[dict[str, Any]]:
    return [{"matcher": matcher, "value": value, **more}]


def pair(answer: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    """Make a pair of schema 5; what is ``...`` is left out of its request."""
    request = {"method": exact("POST"), "path": exact("/v1/x"), "body": exact('{"a":1}'), "query": {}, **asked}
    response = {"status": 200, "body": "hi", "headers": {"Content-Type": ["text/plain"]}, **(answer or {})}
    return {"request": {name: value for name, value in request.items() if value is not ...}, "response": response}


def read(path: Path, *pairs: Any, **data: Any) -> list[Carried | Lost]:
    path.write_text(json.dumps({"data": {"pairs": pairs, **data}, "meta": {"schemaVersion": "v5"}}))
    return list(hoverfly.read(path, BASE))


def carried(path: Path, one: dict[str, Any]) -> Carried:
    (found,) = read(path, one)
    assert isinstance(found, Carried), found
    return found


def test_a_simulation_with_a_sequence_a_stream_and_patterns() -> None:
    found = list(hoverfly.read(DATA / "hoverfly.json", BASE))

    interactions = [each.interaction for each in found if isinstance(each, Carried)]
    assert [i.request.uri.removeprefix(BASE) for i in interactions] == [
        "/v1/models?limit=2&after=a%20b",
        "/v1/chat/completions",
        "/v1/chat/completions",
        "/v1/chat/completions",
    ]
    assert [i.response.body for i in interactions][2:] == [b'{"n":1}', b'{"n":2}']
    assert [i.response.events for i in interactions] == [False, True, False, False]
    assert [each.why for each in found if isinstance(each, Lost)] == [
        "it matches its body by a pattern",
        "it matches its path by a pattern, or takes any",
        "delays are left out; see --ttft and --fault",
    ]


@pytest.mark.parametrize(
    ("schema", "request_of_it"),
    [
        ("v1", {"requestType": "recording", "method": "GET", "path": "/a", "query": "x=1&y=a%20b", "body": ""}),
        ("v1", {"requestType": "template", "method": "GET", "path": "/a", "query": "x=1&y=a%20b", "body": None}),
        (
            "v2",
            {"method": {"exactMatch": "GET"}, "path": {"globMatch": "/a"}, "query": {"exactMatch": "x=1&y=a%20b"}},
        ),
        (
            "v4",
            {
                "method": {"exactMatch": "GET"},
                "path": {"exactMatch": "/a"},
                "queriesWithMatchers": {"x": {"exactMatch": "1"}, "y": {"exactMatch": "a b"}},
            },
        ),
        ("v5", {"method": exact("GET"), "path": exact("/a"), "deprecatedQuery": exact("x=1&y=a b")}),
        ("v5", {"method": exact("GET"), "path": exact("/a"), "query": {"x": exact("1"), "y": exact("a b", "Exact")}}),
    ],
)
def test_all_schemas_say_the_same(tmp_path: Path, schema: str, request_of_it: dict[str, Any]) -> None:
    path = tmp_path / "a.json"
    one = {"request": request_of_it, "response": {"status": 200, "body": "hi"}}
    path.write_text(json.dumps({"meta": {"schemaVersion": schema}, "data": {"pairs": [one]}}))

    (found,) = hoverfly.read(path, BASE)

    assert isinstance(found, Carried)
    assert (found.interaction.request.method, found.interaction.request.uri) == ("GET", f"{BASE}/a?x=1&y=a%20b")
    assert found.notes == ()


@pytest.mark.parametrize(
    ("asked", "uri"),
    [
        ({"destination": exact("a.test:8080"), "scheme": exact("http")}, "http://a.test:8080/v1/x"),
        ({"destination": exact("a.test")}, "https://a.test/v1/x"),
        ({"destination": exact("*.test", "glob")}, f"{BASE}/v1/x"),
        ({"path": exact("/a b?c%20d")}, f"{BASE}/a%20b%3Fc%20d"),
        ({"query": {"a": exact(["1", "2"], "array"), "b": exact("&")}}, f"{BASE}/v1/x?a=1&a=2&b=%26"),
        ({"path": [*exact("/a"), *exact("/a", "glob")]}, f"{BASE}/a"),
    ],
)
def test_where_a_request_goes(tmp_path: Path, asked: dict[str, Any], uri: str) -> None:
    assert carried(tmp_path / "a.json", pair(**asked)).interaction.request.uri == uri


@pytest.mark.parametrize(
    ("body", "expected", "kind"),
    [
        (exact({"é": [1]}, "json"), '{"é": [1]}'.encode(), "application/json"),
        (exact('{"a": 1}', "json"), b'{"a": 1}', "application/json"),
        (exact("a=b"), b"a=b", "text/plain"),
        (exact(""), b"", None),
    ],
)
def test_bodies_of_requests(tmp_path: Path, body: Any, expected: bytes, kind: str | None) -> None:
    request = carried(tmp_path / "a.json", pair(body=body)).interaction.request

    assert (request.body, dict(request.headers).get("content-type")) == (expected, kind)


def test_headers_that_are_known_stay_without_those_of_the_framing(tmp_path: Path) -> None:
    headers = {"Content-Type": exact("text/csv"), "Content-Length": exact("7"), "X": exact("a*", "glob")}

    found = carried(tmp_path / "a.json", pair(headers=headers))
    older = carried(tmp_path / "b.json", pair(headers={"A": ["1"], "B": ["2*"]}, headersWithMatchers={"C": exact("3")}))

    assert found.interaction.request.headers == (("Content-Type", "text/csv"),)
    assert dict(older.interaction.request.headers) == {"A": "1", "C": "3", "content-type": "application/json"}
    assert found.notes == ("what it asks of headers is left out: a recording matches without them",)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ({"body": "/w==", "encodedBody": True}, b"\xff"),
        ({"bodyFile": "b.txt"}, b"of a file"),
        ({"body": None}, b""),
        ({"templated": True}, b"hi"),
        ({"headers": {"Content-Encoding": ["gzip"], "Hoverfly": ["Was-Here"]}}, b"hi"),
    ],
)
def test_answers(tmp_path: Path, answer: dict[str, Any], body: bytes) -> None:
    (tmp_path / "b.txt").write_text("of a file")

    response = carried(tmp_path / "a.json", pair(answer)).interaction.response

    assert response.body == body
    assert not {"Content-Encoding", "Hoverfly"} & dict(response.headers).keys()


@pytest.mark.parametrize(
    ("asked", "answer", "why"),
    [
        ({"method": ...}, {}, "it stands for more than one method"),
        ({"method": exact("P.*", "regex")}, {}, "it stands for more than one method"),
        ({"path": ...}, {}, "it matches its path by a pattern, or takes any"),
        ({"path": [*exact("/a"), *exact("/b")]}, {}, "it matches its path by a pattern, or takes any"),
        ({"body": ...}, {}, "it takes any body, so there is no request that could be kept"),
        *(
            ({"body": exact("x", kind)}, {}, "it matches its body by a pattern")
            for kind in ("jsonpartial", "jsonPath", "xml", "xpath", "regex", "negate", "jwt")
        ),
        ({"body": exact("{}", "json", config={"ignoreOrder": True})}, {}, "it matches its body by a pattern"),
        ({"body": exact("a", doMatch={"matcher": "exact"})}, {}, "it matches its body by a pattern"),
        ({"body": exact({"a": exact("b")}, "form")}, {}, "it matches its body by a pattern"),
        ({"body": exact("\ufffdPNG")}, {}, "its request's body is no text, and was not saved as it was"),
        ({"query": {"a": exact("*", "glob")}}, {}, "it matches its query by a pattern"),
        ({"query": {"a": exact([1], "array")}}, {}, "it matches its query by a pattern"),
        ({"query": exact(".*", "regex")}, {}, "it matches its query by a pattern"),
        ({"destination": exact("a/b")}, {}, "where it went is no host, or not asked by HTTP"),
        ({"destination": exact("a"), "scheme": exact("ftp")}, {}, "where it went is no host, or not asked by HTTP"),
        ({}, {"templated": True, "body": "{{ Request.Path }}"}, "its answer is made by a template"),
        ({}, {"bodyFile": "https://a.test/b"}, "its body is at a URL, not in a file"),
        ({}, {"body": "*", "encodedBody": True}, "what should be base64 is not"),
        ({}, {"status": "x"}, "the response has no status code"),
        (
            {"requiresState": {"basket": "full"}},
            {},
            "it is the answer in a state that other requests lead to; recordings have no such states",
        ),
        (
            {"requiresState": {"sequence:1": "7"}},
            {},
            "the state that it needs does not come in a row in 'sequence:1'",
        ),
    ],
)
def test_what_cannot_be_carried_says_why(
    tmp_path: Path, asked: dict[str, Any], answer: dict[str, Any], why: str
) -> None:
    path = tmp_path / "a.json"

    assert read(path, pair(), pair(answer, **asked))[1:] == [Lost(f"{path}, pair 2", why)]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link", "none", "a\0b"])
def test_a_pair_names_no_file_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "link").symlink_to(tmp_path / "secret")

    (found,) = read(tmp_path / "sim" / "a.json", pair({"bodyFile": name}))

    assert isinstance(found, Lost)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    answer = {"logNormalDelay": {"mean": 5}, "postServeAction": "x", "transitionsState": {"basket": "full"}}

    found = carried(tmp_path / "a.json", pair(answer, query=..., scheme=exact("*", "glob")))

    assert found.notes == (
        "where requests went is a pattern; --upstream stands for it",
        "the stub takes any query; the recording takes none",
        "its delay is left out",
        "what it does after its answer is left out",
        "the state that it leads to is left out",
    )


@pytest.mark.parametrize("one", [{}, {"request": []}, {"request": {}, "response": {}}, {"request": {}}])
def test_what_is_no_pair_is_lost(tmp_path: Path, one: dict[str, Any]) -> None:
    (found,) = read(tmp_path / "a.json", one)

    assert isinstance(found, Lost)


def test_a_file_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": {"pairs": [pair(), pair()]}})[:-20])

    first, last = hoverfly.read(path, BASE)

    assert isinstance(first, Carried)
    assert last == Lost(f"{path}, after pair 1", "it is no sound JSON object, or was cut off")


def test_a_folder_of_simulations_is_imported_and_played_in_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    said = [{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []} for _ in range(2)]
    asked = {"path": exact("/v1/chat/completions"), "body": exact({"model": "m", "messages": []}, "json")}
    steps = [{"transitionsState": {"sequence:1": "2"}}, {}]
    pairs = [
        pair(
            {"body": json.dumps({**each, "created": n}), "headers": {"Content-Type": ["application/json"]}, **step},
            **asked,
            requiresState={"sequence:1": str(n)},
        )
        for n, (each, step) in enumerate(zip(said, steps, strict=True), 1)
    ]
    read(tmp_path / "in" / "a.json", *reversed(pairs))

    done = CliRunner().invoke(main, ["import", str(tmp_path / "in"), str(tmp_path / "c.yaml")])

    assert (done.exit_code, "2 interactions imported" in done.output) == (0, True)
    with StubServer([tmp_path / "c.yaml"], fallback="error") as stub:
        client = OpenAI(base_url=f"{stub.url}/v1", api_key="x", max_retries=0)
        made = [client.chat.completions.create(model="m", messages=[]).created for _ in range(3)]
    assert made == [1, 2, 2]
