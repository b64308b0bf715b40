from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.interchange import Carried, Lost, jsonl
from stubserver.messages import Interaction, Request, Response

WORDS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.binary(), st.binary() | WORDS.map(str.encode), WORDS, st.lists(st.integers(0, 10**6)))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, asked: bytes, answered: bytes, value: str, times: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.jsonl"
    found = Interaction(
        Request.from_uri("POST", "https://a.test/x?y", (("A", value), ("A", "2")), asked),
        Response(201, (("content-type", "text/event-stream"),), answered, "Made", events=True, times=tuple(times)),
    )
    path.write_bytes(b"".join(jsonl.document([found, found])))

    assert [each[1] for each in jsonl.read(path)] == [found, found]


def test_a_line_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {
        "request": {"method": "post", "uri": "http://a.test/v1", "headers": {"a": "1"}, "body": {"model": "é"}},
        "response": {"status": 200, "body": {"id": 1}, "times": ["x"]},
    }
    path.write_text(json.dumps(row), "utf-8")

    (found,) = jsonl.read(path)

    assert isinstance(found, Carried)
    request, response = found.interaction
    assert (request.method, request.headers, json.loads(request.body)) == ("POST", (("a", "1"),), {"model": "é"})
    assert (json.loads(response.body), response.times) == ({"id": 1}, ())


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{", "it is no JSON object with a request and a response"),
        ({"request": {}}, "it is no JSON object with a request and a response"),
        ({"request": {}, "response": {"status": 200}}, "the request has no uri"),
        ({"request": {"uri": "/"}, "response": {"status": True}}, "the response has no status code"),
        ({"request": {"uri": "/", "body_base64": "*"}, "response": {"status": 200}}, "its body_base64 is not base64"),
    ],
)
def test_what_cannot_be_carried_says_why(tmp_path: Path, row: Any, why: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(row if isinstance(row, str) else json.dumps(row), "utf-8")

    assert list(jsonl.read(path)) == [Lost(f"{path}, line 1", why)]
