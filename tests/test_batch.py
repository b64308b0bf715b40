from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stubserver.interchange import Carried, Lost, batch

DATA = Path(__file__).parent / "data" / "interchange"
BASE = "https://api.openai.com"


def asked(name: str, **more: Any) -> dict[str, Any]:
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": {"model": name}, **more}


def answered(name: str, **more: Any) -> dict[str, Any]:
    response = {"status_code": 200, "request_id": f"req_{name}", "body": {"id": name}}
    return {"id": "batch_req_1", "custom_id": name, "response": response, "error": None, **more}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def test_a_batch_of_openais_client_is_put_together() -> None:
    found = list(batch.read([DATA / "batch" / "output.jsonl", DATA / "batch" / "input.jsonl"], BASE))

    assert [type(each) for each in found] == [Carried] * 4
    for each, line in zip(found, (DATA / "batch" / "input.jsonl").read_text("utf-8").splitlines(), strict=True):
        assert isinstance(each, Carried)
        assert json.loads(each.interaction.request.body) == json.loads(line)["body"]
        assert each.interaction.request.uri == "https://api.openai.com/v1/chat/completions"
        assert json.loads(each.interaction.response.body)["object"] == "chat.completion"


def test_outputs_come_in_any_order_and_from_several_files(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "in1", asked("a"), "", asked("b")),
        write(tmp_path / "in2", asked("c")),
        write(tmp_path / "out", answered("c"), answered("a")),
        write(tmp_path / "errors", answered("b", response={"status_code": 400, "body": {"error": {}}})),
    ]

    found = [each.interaction for each in batch.read(files, BASE) if isinstance(each, Carried)]

    assert [json.loads(i.request.body)["model"] for i in found] == ["c", "a", "b"]
    assert [i.response.status for i in found] == [200, 200, 400]
    assert ("x-request-id", "req_c") in found[0].response.headers


@pytest.mark.parametrize(
    ("inputs", "outputs", "where", "why"),
    [
        (
            [asked("a")],
            [answered("b")],
            "out, line 1",
            "no request has its custom_id 'b', or another output had it before",
        ),
        ([asked("a")], [], "in, line 1", "no output has its custom_id 'a'"),
        ([asked("a"), asked("a")], [answered("a")], "in, line 2", "its custom_id 'a' was there before"),
        ([asked("a"), {"url": "/"}], [answered("a")], "in, line 2", "it is no request with a custom_id"),
        ([asked("a")], ["{"], "out, line 1", "it is no output with a custom_id"),
        ([asked("a", url="x")], [answered("a")], "out, line 1", "its request has no url that begins with /"),
        (
            [asked("a")],
            [answered("a", response=None, error={"code": "batch_expired", "message": "It expired."})],
            "out, line 1",
            "the batch has no answer to it: It expired.",
        ),
        (
            [asked("a")],
            [answered("a", response=None)],
            "out, line 1",
            "the batch has no answer to it: no error is named",
        ),
        ([asked("a")], [answered("a", response={})], "out, line 1", "the response has no status code"),
    ],
)
def test_what_cannot_be_carried_says_why(
    tmp_path: Path, inputs: list[Any], outputs: list[Any], where: str, why: str
) -> None:
    found = batch.read([write(tmp_path / "in", *inputs), write(tmp_path / "out", *outputs)], BASE)

    assert Lost(str(tmp_path / where), why) in list(found)
