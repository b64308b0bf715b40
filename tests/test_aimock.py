from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stubserver.interchange import Carried, Lost, aimock

DATA = Path(__file__).parent / "data" / "interchange"
BASE = "https://api.openai.com"
PART = "it looks for a part of a request; the recording is a request of that part alone (see serve --drift allow)"


def read(path: Path, *fixtures: Any) -> list[Carried | Lost]:
    path.write_text(json.dumps({"fixtures": fixtures}), "utf-8")
    return list(aimock.read(path, BASE))


def fixture(response: Any = None, **match: Any) -> dict[str, Any]:
    return {
        "match": {"userMessage": "hi", "model": "gpt-4o", **match},
        "response": {"content": "Hello!"} if response is None else response,
    }


def answer(found: Carried | Lost) -> Any:
    assert isinstance(found, Carried)
    return json.loads(found.interaction.response.body)


def asked(found: Carried | Lost) -> Any:
    assert isinstance(found, Carried)
    return json.loads(found.interaction.request.body)


def test_what_aimock_recorded() -> None:
    text, call, embedding, error = aimock.read(DATA / "aimock", BASE)

    assert asked(text) == {
        "model": "gemma-3-270m",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    assert answer(text)["choices"][0]["message"]["content"] == " Paris\n"
    assert answer(text)["usage"] == {"prompt_tokens": 45, "completion_tokens": 3, "total_tokens": 48}
    choice = answer(call)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city":""}'}
    assert isinstance(call, Carried)
    assert call.notes[1:] == (
        "the request that it was recorded from had a system message or tools, which are not in the file",
    )
    assert asked(embedding) == {"model": "any", "input": "Hello there"}
    assert len(answer(embedding)["data"][0]["embedding"]) == 8
    assert isinstance(error, Lost)
    assert error.why == "it looks for no text, so there is no request that could be kept"


def test_answers_of_other_kinds(tmp_path: Path) -> None:
    failure = {"error": {"message": "Slow down", "code": "rate_limit"}, "status": 429}
    named = {"content": "x", "id": "chatcmpl-1", "model": "m-2024", "finishReason": "length", "reasoning": "Well"}
    call = {"toolCalls": [{"name": "f", "arguments": {"a": 1}, "id": "call_1"}]}

    first, second, third = read(tmp_path / "a.json", fixture(failure), fixture(named), fixture(call))

    assert isinstance(first, Carried)
    assert first.interaction.response.status == 429
    assert answer(first)["error"]["message"] == "Slow down"
    assert (answer(second)["id"], answer(second)["model"]) == ("chatcmpl-1", "m-2024")
    assert answer(second)["choices"][0]["message"]["reasoning_content"] == "Well"
    assert answer(second)["choices"][0]["finish_reason"] == "length"
    assert answer(third)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_what_is_made_up_is_the_same_each_time(tmp_path: Path) -> None:
    once, twice = read(tmp_path / "a.json", fixture()), read(tmp_path / "a.json", fixture())

    assert once == twice
    assert answer(once[0])["id"].startswith("chatcmpl-")
    assert answer(once[0])["usage"]["completion_tokens"] > 0


def test_a_system_message_and_turns_by_number(tmp_path: Path) -> None:
    later, sooner = fixture({"content": "2"}, sequenceIndex=1), fixture({"content": "1"}, sequenceIndex=0)
    system = fixture(systemMessage=["Be brief.", "Be kind."])

    found = read(tmp_path / "a.json", later, sooner, system)

    assert [answer(each)["choices"][0]["message"]["content"] for each in found] == ["1", "Hello!", "2"]
    assert asked(found[1])["messages"][0] == {"role": "system", "content": "Be brief.\nBe kind."}


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    made = {**fixture(), "latency": 5, "chaos": {}}
    del made["match"]["model"]

    (found,) = read(tmp_path / "a.json", made)

    assert isinstance(found, Carried)
    assert found.notes == (
        PART,
        "it names no model; the recording's is 'any' (see serve --ignore model)",
        "its timing is left out",
        "its faults are left out",
    )


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (fixture(toolCallId="call_1"), "it answers the result of a tool: the conversation before is not in the file"),
        (fixture(turnIndex=1), "it is a later turn: the conversation before is not in the file"),
        (fixture(hasToolResult=True), "it is a later turn: the conversation before is not in the file"),
        (fixture(userMessage=None), "it looks for no text, so there is no request that could be kept"),
        (
            fixture({"image": {}}),
            "its answer is of a kind that is not carried over: not text, tool calls, an embedding or an error",
        ),
        ({"match": {}}, "it has no response"),
    ],
)
def test_what_cannot_be_carried_says_why(tmp_path: Path, made: dict[str, Any], why: str) -> None:
    path = tmp_path / "a.json"

    assert read(path, made) == [Lost(f"{path}, fixture 1", why)]


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"fixtures": [{')

    assert list(aimock.read(path, BASE)) == [
        Lost(f"{path}, after fixture 0", "it is no sound JSON object, or was cut off")
    ]
