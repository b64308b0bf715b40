"""A recorded stream folded into the answer it amounts to, and an answer unfolded into a stream.

The judge of the shapes is the openai package: its models are what clients read the answers with.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response as ResponseModel
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tapes import chunks, completion, events

from stubserver import sse
from stubserver.folding import folded, unfolded
from stubserver.messages import Response, header

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def stream(text: str) -> Response:
    return Response(200, (("Content-Type", "text/event-stream"), ("x-request-id", "r1")), text.encode(), events=True)


def whole(answer: Any) -> Response:
    return Response(200, (("Content-Type", "application/json"), ("x-request-id", "r1")), json.dumps(answer).encode())


def fold(*datas: dict[str, Any], end: str = "data: [DONE]\n\n") -> dict[str, Any]:
    response = folded(stream(events(*datas, end=end)))
    assert header(response.headers, "content-type") == "application/json"
    assert header(response.headers, "x-request-id") == "r1"
    assert not response.events
    return json.loads(response.body)


def unfold(answer: dict[str, Any], *, usage: bool = True) -> list[dict[str, Any]]:
    """Unfold *answer*, and return the data of the events; ``[DONE]`` is checked and left out."""
    response = unfolded(whole(answer), usage=usage)
    assert header(response.headers, "content-type") == "text/event-stream; charset=utf-8"
    assert response.events
    datas = [sse.data_of(event) for event in sse.split(response.body)]
    if answer["object"] != "response":
        assert datas.pop() == b"[DONE]"
    return [json.loads(data or b"") for data in datas]


def there_and_back(answer: dict[str, Any]) -> dict[str, Any]:
    return json.loads(folded(unfolded(whole(answer), usage=True)).body)


def message(answer: dict[str, Any], index: int = 0) -> dict[str, Any]:
    ChatCompletion.model_validate(answer, strict=True)
    return answer["choices"][index]["message"]


# --- a chat's stream -> its answer --------------------------------------------------------------------------------


def test_texts_are_joined() -> None:
    answer = fold(*chunks({"role": "assistant", "content": "", "refusal": None}, {"content": "Hel"}, {"content": "lo"}))
    assert message(answer) == {"role": "assistant", "content": "Hello", "refusal": None}
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert {"id", "created", "model"} <= answer.keys()
    assert "usage" not in answer


def call(index: int | None, arguments: str, name: str | None = None, call_id: str | None = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    made = {"id": call_id, "type": "function", "function": function} if call_id else {"function": function}
    return {"tool_calls": [made if index is None else {"index": index, **made}]}


def test_parallel_tool_calls_are_put_together_each_by_its_index() -> None:
    answer = fold(
        *chunks(
            {"role": "assistant", "content": None, **call(0, "", "weather", "call_1")},
            call(0, '{"ci'),
            call(1, "", "time", "call_2"),
            call(0, 'ty": 1}'),
            call(1, "{}"),
            finish="tool_calls",
        )
    )
    assert message(answer)["content"] is None
    assert message(answer)["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": 1}'}},
        {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]


def test_tool_calls_without_an_index_are_one_each() -> None:
    answer = fold(*chunks(call(None, "{}", "a", "call_1"), call(None, "[]", "b", "call_2"), finish="tool_calls"))
    assert [c["function"]["name"] for c in message(answer)["tool_calls"]] == ["a", "b"]


def test_arguments_that_never_came_are_an_empty_text() -> None:
    delta = {"tool_calls": [{"index": 0, "id": "0", "type": "function", "function": {"name": "f", "arguments": None}}]}
    answer = fold(*chunks(delta, finish="tool_calls"))
    assert message(answer)["tool_calls"][0]["function"]["arguments"] == ""


def test_the_older_function_call_is_put_together() -> None:
    first = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}
    answer = fold(*chunks(first, {"function_call": {"arguments": '{"a":'}}, {"function_call": {"arguments": "1}"}}))
    assert message(answer)["function_call"] == {"name": "f", "arguments": '{"a":1}'}


def test_refusal_and_reasoning_are_joined() -> None:
    deltas = [{"role": "assistant"}, {"reasoning_content": "Hm"}, {"reasoning_content": "m."}, {"refusal": "I "}]
    answer = fold(*chunks(*deltas, {"refusal": "won't."}))
    assert message(answer)["reasoning_content"] == "Hmm."
    assert message(answer)["refusal"] == "I won't."
    assert message(answer)["content"] is None


def test_what_comes_in_lists_is_added_up() -> None:
    answer = fold(*chunks({"content": "a", "annotations": [{"n": 1}]}, {"content": "b", "annotations": [{"n": 2}]}))
    assert answer["choices"][0]["message"]["annotations"] == [{"n": 1}, {"n": 2}]


def test_a_stream_without_a_role_is_the_assistants() -> None:
    assert message(fold(*chunks({"content": "Hi"})))["role"] == "assistant"


def token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}


def test_logprobs_are_added_up() -> None:
    made = chunks({"role": "assistant", "content": ""}, {"content": "Hi"}, {"content": " you"})
    for chunk, text in zip(made[1:], ["Hi", " you"], strict=False):
        chunk["choices"][0]["logprobs"] = {"content": [token(text)], "refusal": None}
    answer = fold(*made)
    assert message(answer)["content"] == "Hi you"
    assert answer["choices"][0]["logprobs"] == {"content": [token("Hi"), token(" you")], "refusal": None}


def test_logprobs_may_begin_with_none() -> None:
    made = chunks({"content": "Hi"}, {"content": "!"})
    made[0]["choices"][0]["logprobs"] = {"content": None, "refusal": None}
    made[1]["choices"][0]["logprobs"] = {"content": [token("!")], "refusal": None}
    assert fold(*made)["choices"][0]["logprobs"] == {"content": [token("!")], "refusal": None}


def test_several_choices_are_kept_apart_and_in_order() -> None:
    made = [
        {**chunk, "choices": [{**chunk["choices"][0], "index": index}]}
        for text in ("a", "b")
        for index in (2, 0, 1)
        for chunk in chunks({"content": f"{text}{index}"})[: 1 if text == "a" else 2]
    ]
    answer = fold(*made)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert [message(answer, i)["content"] for i in range(3)] == ["a0b0", "a1b1", "a2b2"]


def test_the_last_usage_counts() -> None:
    made = chunks({"content": "Hi"}, usage=None)
    last = {**made[0], "choices": [], "usage": USAGE}
    assert fold(*made, {**last, "usage": {**USAGE, "total_tokens": 1}}, last)["usage"] == USAGE


def test_what_a_stream_adds_to_each_chunk_does_not_come_into_the_answer() -> None:
    answer = fold(*chunks({"content": "Hi"}, obfuscation="x8d", service_tier="flex"))
    assert "obfuscation" not in answer
    assert answer["service_tier"] == "flex"


def test_what_belongs_to_the_choice_stays_with_it() -> None:
    made = chunks({"content": "Hi"})
    made[0]["choices"][0]["content_filter_results"] = {"hate": {"filtered": False}}
    made[1]["choices"][0]["stop_reason"] = 42
    choice = fold(*made)["choices"][0]
    assert choice["content_filter_results"] == {"hate": {"filtered": False}}
    assert choice["stop_reason"] == 42


def test_azures_first_chunk_is_passed_over() -> None:
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []}
    answer = fold(first, *chunks({"content": "Hi"}))
    assert message(answer)["content"] == "Hi"
    assert answer["id"] == "chatcmpl-1"


def test_a_stream_that_was_cut_amounts_to_what_came() -> None:
    answer = fold(*chunks({"role": "assistant", "content": "Hel"})[:1], end="")
    assert answer["choices"][0]["message"]["content"] == "Hel"
    assert answer["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_ends_of_a_stream_do_not_matter(end: str) -> None:
    text = events(*chunks({"content": "Hi"}, {"content": " you"})).replace("\n", end)
    answer = json.loads(folded(stream(f": a comment{end}{end}{text}")).body)
    assert message(answer)["content"] == "Hi you"


# --- completions and responses ------------------------------------------------------------------------------------


def text_chunk(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish, **more}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}


def test_a_completions_stream_is_folded() -> None:
    probs = [
        {"tokens": [t], "token_logprobs": [-1.0], "top_logprobs": [{t: -1.0}], "text_offset": [n]}
        for n, t in enumerate("ab")
    ]
    answer = fold(text_chunk("a", logprobs=probs[0]), text_chunk("b", "length", logprobs=probs[1]))
    Completion.model_validate(answer, strict=True)
    assert answer["choices"] == [
        {
            "text": "ab",
            "index": 0,
            "logprobs": {
                "tokens": ["a", "b"],
                "token_logprobs": [-1.0, -1.0],
                "top_logprobs": [{"a": -1.0}, {"b": -1.0}],
                "text_offset": [0, 1],
            },
            "finish_reason": "length",
        }
    ]


def response_object(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "output_tokens_details": {"reasoning_tokens": 0}}
    head = {"id": "resp_1", "object": "response", "created_at": 1.0, "status": "completed", "completed_at": 2.0}
    nothing = {"error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "tools": []}
    settings = {"model": "m", "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "top_p": 1.0}
    usage["input_tokens_details"] = {"cached_tokens": 0, "cache_write_tokens": 0}
    return head | nothing | settings | {"usage": usage, "output": list(output)} | more


def output_message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": list(parts)}


def output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


FUNCTION_CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "arguments": '{"a": 1}',
    "call_id": "call_1",
    "name": "f",
}
REASONING = {"id": "rs_1", "type": "reasoning", "summary": []}
REFUSAL = {"type": "refusal", "refusal": "I will not."}
RESPONSES = [
    response_object(output_message(output_text("Hello there, you."))),
    response_object(REASONING, output_message(output_text("one"), output_text(""))),
    response_object(FUNCTION_CALL, {**FUNCTION_CALL, "id": "fc_2", "arguments": ""}),
    response_object(output_message(REFUSAL)),
    response_object(
        output_message(output_text("cut")), status="incomplete", incomplete_details={"reason": "max_output_tokens"}
    ),
    response_object(status="failed", error={"code": "server_error", "message": "It failed."}),
    response_object(),
]


@pytest.mark.parametrize("answer", RESPONSES)
def test_a_responses_stream_is_well_formed_and_folds_back(answer: dict[str, Any]) -> None:
    ResponseModel.model_validate(answer)
    datas = unfold(answer)
    for number, data in enumerate(datas):
        assert RESPONSE_EVENT.validate_python(data).type == data["type"]
        assert data["sequence_number"] == number
    assert [d["type"] for d in datas[:2]] == ["response.created", "response.in_progress"]
    assert datas[-1]["type"] == f"response.{answer['status']}"
    assert datas[0]["response"]["output"] == []
    assert there_and_back(answer) == answer


def test_the_events_of_a_text_come_in_the_apis_order() -> None:
    datas = unfold(response_object(output_message(output_text("Hi you"))))
    kinds = [data["type"].removeprefix("response.") for data in datas]
    deltas = [data["delta"] for data in datas if data["type"].endswith("output_text.delta")]
    assert "".join(deltas) == "Hi you"
    assert [kind for kind in kinds if kind != "output_text.delta"] == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]


def test_each_response_event_has_its_name_and_there_is_no_done() -> None:
    body = unfolded(whole(RESPONSES[0])).body
    names = [event.splitlines()[0] for event in sse.split(body)]
    assert names[0] == b"event: response.created"
    assert names[-1] == b"event: response.completed"
    assert b"[DONE]" not in body


def test_a_recorded_responses_stream_is_folded_to_its_last_response() -> None:
    begun = {"type": "response.created", "response": response_object(status="in_progress")}
    ended = {"type": "response.completed", "response": RESPONSES[0]}
    text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in (begun, ended))
    assert json.loads(folded(stream(text)).body) == RESPONSES[0]


# --- an answer -> its stream, and back ----------------------------------------------------------------------------

TOOL_CALLS = [
    {"id": f"call_{i}", "type": "function", "function": {"name": f"f{i}", "arguments": '{"a": "b c"}' * i}}
    for i in range(3)
]
CUSTOM_CALL = {"id": "call_9", "type": "custom", "custom": {"name": "c", "input": "raw text"}}


def with_choices(*contents: str) -> dict[str, Any]:
    answer = completion()
    answer["choices"] = [{**completion(text)["choices"][0], "index": i} for i, text in enumerate(contents)]
    return answer


def with_choice(**members: Any) -> dict[str, Any]:
    answer = completion()
    answer["choices"][0] |= members
    return answer


ANSWERS: list[dict[str, Any]] = [
    completion(),
    completion(""),
    completion(None),
    completion("é 漢字 😀\n\n  spaced\tout "),
    completion(None, tool_calls=TOOL_CALLS),
    completion("text too", tool_calls=[CUSTOM_CALL]),
    completion("no calls", tool_calls=None),
    completion(None, refusal="I will not do that."),
    completion("42", reasoning_content="Because it is so.", reasoning="Hm."),
    completion(None, function_call={"name": "f", "arguments": '{"a": 1}'}),
    completion("cited", annotations=[{"type": "url_citation", "url": "http://a"}]),
    completion([{"type": "text", "text": "a list"}]),  # type: ignore[arg-type]
    with_choices("one", "two words", ""),
    with_choice(logprobs={"content": [token("Hello"), token(" there!")], "refusal": None}),
    with_choice(finish_reason="length", stop_reason=None, content_filter_results={"a": 1}),
    {k: v for k, v in completion().items() if k != "usage"},
    {**completion(), "choices": []},
    {
        **completion(),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
    },
    {**text_chunk("some text, more text", "stop"), "usage": USAGE},
    {**text_chunk("", "length"), "usage": USAGE},
    text_chunk("ab", "stop", logprobs={"tokens": ["a", "b"], "token_logprobs": [None, -1.0]}),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_unfolded_and_folded_is_the_same_answer(answer: dict[str, Any]) -> None:
    assert there_and_back(answer) == answer


@pytest.mark.parametrize("answer", ANSWERS)
def test_each_chunk_says_which_answer_it_belongs_to(answer: dict[str, Any]) -> None:
    expected = "chat.completion.chunk" if answer["object"] == "chat.completion" else "text_completion"
    for data in unfold(answer):
        assert data["object"] == expected
        assert [data[name] for name in ("id", "created", "model")] == [answer[n] for n in ("id", "created", "model")]


# The package has no chunks for custom tools and for content in parts.
READABLE = [
    answer
    for answer in ANSWERS
    if answer["object"] == "chat.completion" and not re.search('"custom"|"a list"', json.dumps(answer))
]


@pytest.mark.parametrize("answer", READABLE)
def test_the_openai_package_reads_the_chunks(answer: dict[str, Any]) -> None:
    read = [ChatCompletionChunk.model_validate(data) for data in unfold(answer)]
    texts = [c.delta.content for chunk in read for c in chunk.choices if c.delta.content]
    assert "".join(texts) == "".join(choice["message"]["content"] or "" for choice in answer["choices"])


def test_the_role_comes_first_and_the_finish_last() -> None:
    datas = unfold(completion("Hello there!"), usage=False)
    deltas = [data["choices"][0]["delta"] for data in datas]
    assert deltas[0]["role"] == "assistant"
    assert deltas[0]["content"] == ""
    assert [d["content"] for d in deltas[1:-1]] == ["Hello", " there", "!"]
    assert deltas[-1] == {}
    assert [data["choices"][0]["finish_reason"] for data in datas] == [None] * 4 + ["stop"]


def test_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for() -> None:
    *before, last = unfold(completion(), usage=True)
    assert last["choices"] == []
    assert last["usage"] == completion()["usage"]
    assert all(data["usage"] is None for data in before)
    assert not any("usage" in data for data in unfold(completion(), usage=False))


def test_of_an_answer_without_usage_none_is_made_up() -> None:
    answer = {k: v for k, v in completion().items() if k != "usage"}
    assert not any("usage" in data for data in unfold(answer, usage=True))


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_comes_back(text: str, arguments: list[str]) -> None:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "f", "arguments": a}}
        for i, a in enumerate(arguments)
    ]
    answer = completion(text, **({"tool_calls": calls} if calls else {}))
    assert there_and_back(answer) == answer


# --- what is of no known shape ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data: [DONE]\n\n",
        "data: not json\n\n",
        'data: {"type": "message_start", "message": {}}\n\n',
        'data: {"error": {"message": "overloaded"}}\n\n',
        'data: {"object": ["chat.completion.chunk"]}\n\n',
        'data: {"object": 5, "type": 7, "response": {}}\n\n',
        'data: {"type": "response.done", "response": "none"}\n\n',
        "event: ping\n\n: comment\n\n",
    ],
)
def test_a_stream_of_another_kind_is_left_as_it_is(text: str) -> None:
    assert folded(stream(text)) == stream(text)


@pytest.mark.parametrize("answer", [{}, [], {"object": "list", "data": []}, {"object": ["response"]}, {"object": None}])
def test_an_answer_of_another_kind_is_left_as_it_is(answer: Any) -> None:
    assert unfolded(whole(answer)) == whole(answer)
    assert unfolded(Response(200, (), b"\xff\x00")) == Response(200, (), b"\xff\x00")


ODD_NAMES = (
    *("index", "delta", "message", "content", "tool_calls", "function", "arguments", "logprobs", "text", "id", "type"),
    *(
        "role",
        "finish_reason",
        "refusal",
        "function_call",
        "output",
        "item",
        "status",
        "usage",
        "choices",
        "annotations",
    ),
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ODD_NAMES), inner, max_size=4),
    max_leaves=15,
)


@given(st.lists(ODD, max_size=3), st.sampled_from(["chat.completion", "text_completion", "response"]))
def test_odd_answers_never_fail(values: list[Any], kind: str) -> None:
    answer = {"object": kind, "choices": values, "output": values, "status": values}
    response = unfolded(whole(answer), usage=True)
    assert response.events
    assert folded(response).status == 200


@given(st.lists(ODD, max_size=5), st.sampled_from(["chat.completion.chunk", "text_completion"]))
def test_odd_streams_never_fail(values: list[Any], kind: str) -> None:
    datas = [{"object": kind, "choices": values}, *({"choices": [value], "usage": value} for value in values)]
    answer = fold(*datas)
    assert answer["object"] in {"chat.completion", "text_completion"}
