"""The official client for Python, sync and async, which refuses what is not shaped as the API's answers are."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import math
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

import openai
import pytest
from openai.lib.azure import AsyncAzureOpenAI, AzureOpenAI
from pydantic import BaseModel, Field

HI: list[Any] = [{"role": "user", "content": "Say something."}]
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}


def tool(name: str) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": CITY, "strict": True}}


TOOLS = [tool("forecast"), tool("history")]


class Api:
    """One client, sync or async, that is used in the same way."""

    def __init__(self, kind: Any, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        self._loop = loop
        options = {"api_key": "sk-none", "max_retries": 0, "timeout": 60} | options
        self.client: Any = kind(**options)

    def __call__(self, ask: Callable[[Any], Any]) -> Any:
        """Return what *ask* gets of the client."""
        return self._result(ask(self.client))

    def _result(self, found: Any) -> Any:
        return self._loop.run_until_complete(found) if inspect.isawaitable(found) else found

    def all(self, ask: Callable[[Any], Any]) -> list[Any]:
        """Return everything that a stream yields, or every page of a list."""
        found = ask(self.client)
        if inspect.isawaitable(found) and not hasattr(found, "__aiter__"):
            found = self._result(found)

        async def drained() -> list[Any]:
            return [item async for item in found]

        return self._loop.run_until_complete(drained()) if hasattr(found, "__aiter__") else list(found)

    def within(self, ask: Callable[[Any], Any], final: str) -> tuple[list[Any], Any]:
        """Return the events of a streaming helper, and what its method *final* gives at the end."""
        found = ask(self.client)

        async def drained() -> tuple[list[Any], Any]:
            async with found as stream:
                events = [event async for event in stream]
                return events, await getattr(stream, final)()

        if hasattr(found, "__aenter__"):
            return self._loop.run_until_complete(drained())
        with found as stream:
            events = list(stream)
            return events, getattr(stream, final)()

    def close(self) -> None:
        self._result(self.client.close())


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


KINDS = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}


@pytest.fixture(params=KINDS)
def api(request: pytest.FixtureRequest, base_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[Api]:
    """Give a client that refuses what has not the API's shape."""
    made = Api(KINDS[request.param], loop, base_url=base_url, _strict_response_validation=True)
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def lenient(request: pytest.FixtureRequest, base_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[Api]:
    """Give a client for what the API's own answers are no strict match of the client's types."""
    made = Api(KINDS[request.param], loop, base_url=base_url)
    yield made
    made.close()


@pytest.fixture
def chat(api: Api, model: str) -> Callable[..., Any]:
    def ask(**more: Any) -> Any:
        return api(lambda c: c.chat.completions.create(**{"model": model, "messages": HI} | more))

    return ask


@pytest.fixture
def chunks(api: Api, model: str) -> Callable[..., list[Any]]:
    def ask(**more: Any) -> list[Any]:
        asked = {"model": model, "messages": HI, "stream": True} | more
        return api.all(lambda c: c.chat.completions.create(**asked))

    return ask


def text_of(chunks: list[Any], index: int = 0) -> str:
    parts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(parts)


def is_city(arguments: str) -> bool:
    found = json.loads(arguments)
    good = isinstance(found["city"], str) and found["city"] and found["unit"] in {"celsius", "fahrenheit"}
    return bool(good and found.keys() == CITY["properties"].keys() and 1 <= found["days"] <= 14)


# --- chat ---------------------------------------------------------------------------------------------------------


def test_chat_answers_with_text(chat: Callable[..., Any], model: str) -> None:
    found = chat()
    choice = found.choices[0]
    assert found.id.startswith("chatcmpl-")
    assert (found.object, found.model, len(found.choices)) == ("chat.completion", model, 1)
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert choice.message.content.strip()
    assert choice.message.refusal is None
    assert not choice.message.tool_calls


def test_chat_counts_its_tokens(chat: Callable[..., Any]) -> None:
    used = chat().usage
    assert used.prompt_tokens > 0
    assert used.completion_tokens > 0
    assert used.total_tokens == used.prompt_tokens + used.completion_tokens
    assert used.completion_tokens_details.reasoning_tokens <= used.completion_tokens
    assert used.prompt_tokens_details.cached_tokens <= used.prompt_tokens


def test_chat_gives_several_choices(chat: Callable[..., Any]) -> None:
    one, three = chat(), chat(n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in three.choices)
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_chat_is_cut_at_its_limit(chat: Callable[..., Any], limit: str) -> None:
    whole, found = chat(), chat(**{limit: 5})
    text = found.choices[0].message.content
    assert found.choices[0].finish_reason == "length"
    assert found.usage.completion_tokens == 5
    assert text
    assert whole.choices[0].message.content.startswith(text)
    assert text != whole.choices[0].message.content


def test_chat_ends_before_a_stop(chat: Callable[..., Any]) -> None:
    whole = chat().choices[0].message.content
    stop = whole.split()[2]
    found = chat(stop=["never said", stop])
    assert found.choices[0].message.content == whole[: whole.index(stop)]
    assert found.choices[0].finish_reason == "stop"


def test_chat_pads_to_the_length_asked_for(chat: Callable[..., Any]) -> None:
    found = chat(max_tokens=150, extra_body={"ignore_eos": True})
    assert (found.usage.completion_tokens, found.choices[0].finish_reason) == (150, "length")
    found = chat(max_tokens=140, extra_body={"min_tokens": 140})
    assert (found.usage.completion_tokens, found.choices[0].finish_reason) == (140, "length")


def test_chat_shows_log_probabilities(chat: Callable[..., Any]) -> None:
    found = chat(logprobs=True, top_logprobs=3).choices[0]
    shown = found.logprobs.content
    assert "".join(token.token for token in shown) == found.message.content
    assert b"".join(bytes(token.bytes) for token in shown) == found.message.content.encode()
    for token in shown:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == max(top.logprob for top in token.top_logprobs)
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1.0001


def test_chat_without_alternatives_shows_none(chat: Callable[..., Any]) -> None:
    assert [token.top_logprobs for token in chat(logprobs=True, max_tokens=2).choices[0].logprobs.content] == [[], []]
    assert chat().choices[0].logprobs is None


@pytest.mark.parametrize(("tier", "served"), [("auto", "default"), ("default", "default"), ("flex", "flex")])
def test_chat_names_its_tier(chat: Callable[..., Any], tier: str, served: str) -> None:
    assert chat(service_tier=tier).service_tier == served


def test_chat_takes_parts_of_every_kind(chat: Callable[..., Any]) -> None:
    png = f"data:image/png;base64,{base64.b64encode(b'not looked at').decode()}"
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": png, "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
    ]
    developer = {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}
    found = chat(messages=[developer, {"role": "user", "content": parts}])
    assert found.choices[0].finish_reason == "stop"
    assert found.choices[0].message.content
    assert found.usage.prompt_tokens > chat().usage.prompt_tokens


def test_chat_takes_what_only_some_models_know(chat: Callable[..., Any]) -> None:
    found = chat(
        seed=1,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={"50256": -100},
        user="u",
        metadata={"a": "b"},
        store=False,
        reasoning_effort="low",
        parallel_tool_calls=True,
        tools=TOOLS,
        extra_body={"top_k": 5, "repetition_penalty": 1.1, "chat_template_kwargs": {"enable_thinking": False}},
    )
    assert found.choices[0].finish_reason == "stop"


# --- chat, streamed -----------------------------------------------------------------------------------------------


def test_a_stream_says_what_the_whole_answer_does(chat: Callable[..., Any], chunks: Callable[..., list[Any]]) -> None:
    found = chunks()
    assert text_of(found) == chat().choices[0].message.content
    assert len(found) > 3
    assert (found[0].choices[0].delta.role, found[0].choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].finish_reason for chunk in found] == [None] * (len(found) - 1) + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in found}) == 1
    assert found[0].object == "chat.completion.chunk"
    assert all("usage" not in chunk.model_fields_set for chunk in found)


def test_a_stream_ends_with_the_usage_asked_for(chat: Callable[..., Any], chunks: Callable[..., list[Any]]) -> None:
    *others, last = chunks(stream_options={"include_usage": True})
    whole = chat().usage
    assert last.choices == []
    assert last.usage.completion_tokens == whole.completion_tokens
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in others)


def test_a_stream_is_cut_at_its_limit(chunks: Callable[..., list[Any]]) -> None:
    found = chunks(max_tokens=3, stream_options={"include_usage": True})
    assert found[-2].choices[0].finish_reason == "length"
    assert found[-1].usage.completion_tokens == 3


def test_a_stream_has_several_choices(chunks: Callable[..., list[Any]]) -> None:
    found = chunks(n=2)
    ends = {choice.index: choice.finish_reason for chunk in found for choice in chunk.choices if choice.finish_reason}
    assert ends == {0: "stop", 1: "stop"}
    assert text_of(found, 0)
    assert text_of(found, 1)


def test_a_stream_shows_log_probabilities(chunks: Callable[..., list[Any]]) -> None:
    found = chunks(logprobs=True, top_logprobs=2)
    shown = [token for c in found for choice in c.choices if choice.logprobs for token in choice.logprobs.content]
    assert "".join(token.token for token in shown) == text_of(found)
    assert {len(token.top_logprobs) for token in shown} == {2}


def test_the_stream_helper_folds_it(api: Api, chat: Callable[..., Any], model: str) -> None:
    events, final = api.within(
        lambda c: c.chat.completions.stream(model=model, messages=HI, stream_options={"include_usage": True}),
        "get_final_completion",
    )
    whole = chat()
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"
    assert final.usage.completion_tokens == whole.usage.completion_tokens
    said = [event.delta for event in events if event.type == "content.delta"]
    assert "".join(said) == whole.choices[0].message.content
    assert [event.content for event in events if event.type == "content.done"] == [whole.choices[0].message.content]


# --- tools --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_tools_may_be_left_alone(chat: Callable[..., Any], choice: str) -> None:
    found = chat(tools=TOOLS, tool_choice=choice).choices[0]
    assert (found.finish_reason, bool(found.message.content)) == ("stop", True)
    assert not found.message.tool_calls


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("required", "forecast"),
        ({"type": "function", "function": {"name": "history"}}, "history"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool("history")]}},
            "history",
        ),
    ],
)
def test_a_tool_is_called_with_arguments_that_fit(chat: Callable[..., Any], choice: Any, name: str) -> None:
    found = chat(tools=TOOLS, tool_choice=choice).choices[0]
    assert found.finish_reason == "tool_calls"
    assert found.message.content is None
    assert [(call.type, call.function.name) for call in found.message.tool_calls] == [("function", name)]
    assert found.message.tool_calls[0].id.startswith("call_")
    assert is_city(found.message.tool_calls[0].function.arguments)


def test_a_loop_that_requires_tools_calls_each_and_then_the_last(chat: Callable[..., Any]) -> None:
    messages: list[Any] = list(HI)
    called = []
    for _ in range(3):
        message = chat(messages=messages, tools=TOOLS, tool_choice="required").choices[0].message
        call = message.tool_calls[0]
        called.append(call.function.name)
        messages.append({"role": "assistant", "tool_calls": [call.model_dump(exclude_unset=True)]})
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "done"})
    assert called == ["forecast", "history", "history"]
    assert chat(messages=messages, tools=TOOLS).choices[0].finish_reason == "stop"


def test_calls_of_one_conversation_have_their_own_ids(chat: Callable[..., Any]) -> None:
    found = chat(tools=TOOLS, tool_choice="required", n=3)
    assert len({choice.message.tool_calls[0].id for choice in found.choices}) == 3


def test_a_streamed_call_adds_up(chat: Callable[..., Any], chunks: Callable[..., list[Any]]) -> None:
    asked = {"tools": TOOLS, "tool_choice": "required"}
    found = chunks(**asked)
    calls = [call for c in found for choice in c.choices for call in choice.delta.tool_calls or ()]
    whole = chat(**asked).choices[0].message.tool_calls[0]
    assert {call.index for call in calls} == {0}
    assert calls[0].id.startswith("call_")
    assert (calls[0].type, calls[0].function.name) == ("function", "forecast")
    assert all(call.id is None and call.function.name is None for call in calls[1:])
    assert "".join(call.function.arguments for call in calls) == whole.function.arguments
    assert found[-1].choices[0].finish_reason == "tool_calls"


def test_the_old_functions_are_called(chat: Callable[..., Any], chunks: Callable[..., list[Any]]) -> None:
    asked = {"functions": [{"name": "forecast", "parameters": CITY}], "function_call": {"name": "forecast"}}
    found = chat(**asked).choices[0]
    assert (found.finish_reason, found.message.function_call.name) == ("function_call", "forecast")
    assert is_city(found.message.function_call.arguments)
    streamed = [choice.delta.function_call for c in chunks(**asked) for choice in c.choices]
    assert "".join(call.arguments for call in streamed if call) == found.message.function_call.arguments


class Forecast(BaseModel):
    """Parameters of a tool."""

    city: str
    days: int


def test_parse_makes_a_model_of_the_arguments(api: Api, model: str) -> None:
    asked = {"tools": [openai.pydantic_function_tool(Forecast)], "tool_choice": "required"}
    found = api(lambda c: c.chat.completions.parse(model=model, messages=HI, **asked))
    assert isinstance(found.choices[0].message.tool_calls[0].function.parsed_arguments, Forecast)
    events, final = api.within(
        lambda c: c.chat.completions.stream(model=model, messages=HI, **asked), "get_final_completion"
    )
    arguments = [e.parsed_arguments for e in events if e.type == "tool_calls.function.arguments.done"]
    assert isinstance(arguments[0], Forecast)
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments == arguments[0]


# --- structured output --------------------------------------------------------------------------------------------


class Colour(StrEnum):
    """Values of an enumeration."""

    RED = "red"
    BLUE = "blue"


class Node(BaseModel):
    """Refers to itself."""

    name: Annotated[str, Field(min_length=2, pattern="^[a-z]+$")]
    children: list[Node]


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    """The other one."""

    kind: Literal["dog"]
    tricks: Annotated[list[str], Field(min_length=2)]


class Report(BaseModel):
    """Something of everything."""

    title: str
    score: Annotated[float, Field(gt=0, lt=1)]
    colour: Colour
    tree: Node
    pet: Cat | Dog
    note: str | None
    counts: dict[str, int] | None


def test_parse_makes_a_model_of_the_answer(api: Api, model: str) -> None:
    found = api(lambda c: c.chat.completions.parse(model=model, messages=HI, response_format=Report))
    assert isinstance(found.choices[0].message.parsed, Report)
    assert found.choices[0].finish_reason == "stop"
    assert Report.model_validate_json(found.choices[0].message.content) == found.choices[0].message.parsed


def test_structured_output_is_never_cut(api: Api, model: str) -> None:
    found = api(lambda c: c.chat.completions.parse(model=model, messages=HI, response_format=Report, max_tokens=2))
    assert isinstance(found.choices[0].message.parsed, Report)
    assert found.usage.completion_tokens <= 2


def test_the_stream_helper_parses_what_it_folds(api: Api, model: str) -> None:
    events, final = api.within(
        lambda c: c.chat.completions.stream(model=model, messages=HI, response_format=Report), "get_final_completion"
    )
    assert isinstance(final.choices[0].message.parsed, Report)
    assert [e.parsed for e in events if e.type == "content.done"] == [final.choices[0].message.parsed]


def test_a_json_object_is_one(chat: Callable[..., Any]) -> None:
    messages = [{"role": "user", "content": "Some JSON, please."}]
    found = chat(messages=messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(found.choices[0].message.content), dict)


@pytest.mark.parametrize("member", ["guided_json", "structured_outputs"])
def test_what_vllm_calls_it_is_met_too(chat: Callable[..., Any], member: str) -> None:
    extra = {member: CITY if member == "guided_json" else {"json": CITY}}
    assert is_city(chat(extra_body=extra).choices[0].message.content)


def test_a_schema_that_nothing_meets_is_refused(chat: Callable[..., Any]) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"], "additionalProperties": False}
    with pytest.raises(openai.BadRequestError) as caught:
        chat(response_format={"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}})
    assert caught.value.type == "invalid_request_error"


# --- raw responses, errors ----------------------------------------------------------------------------------------


def test_a_raw_response_has_the_apis_headers(api: Api, model: str) -> None:
    raw = api(lambda c: c.chat.completions.with_raw_response.create(model=model, messages=HI))
    assert raw.status_code == 200
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.headers["x-request-id"] == raw.request_id
    assert raw.headers["openai-version"] == "2020-10-01"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    remaining, limit = (int(raw.headers[f"x-ratelimit-{name}-tokens"]) for name in ("remaining", "limit"))
    assert 0 <= remaining <= limit
    parsed = raw.parse()
    parsed = asyncio.run(parsed) if inspect.isawaitable(parsed) else parsed
    assert parsed.choices[0].message.content


def test_an_answer_knows_its_request_id(chat: Callable[..., Any]) -> None:
    assert chat()._request_id.startswith("req_")
    assert chat()._request_id != chat(n=2)._request_id


def test_a_streaming_response_is_read_by_lines(base_url: str, model: str) -> None:
    with openai.OpenAI(api_key="sk-none", base_url=base_url, max_retries=0) as client:
        asked = client.chat.completions.with_streaming_response.create(model=model, messages=HI, stream=True)
        with asked as response:
            lines = [line for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["choices"] for line in lines[:-1])


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        ({"messages": []}, "messages", "empty_array", "Invalid 'messages': empty array."),
        ({"n": 0}, "n", "integer_below_min_value", "Expected a value >= 1, but got 0 instead."),
        ({"n": "2"}, "n", "invalid_type", "expected an integer, but got a string instead."),
        ({"temperature": 99}, "temperature", "decimal_above_max_value", "Expected a value <= 2"),
        ({"messages": [{"role": "bogus", "content": "x"}]}, "messages[0].role", "invalid_value", "'bogus'"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter", "Missing required"),
    ],
)
def test_a_bad_request_says_what_is_wrong(
    chat: Callable[..., Any], body: Any, param: str, code: str, message: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(**body)
    error = caught.value
    assert (error.status_code, error.type, error.param, error.code) == (400, "invalid_request_error", param, code)
    assert message in error.message
    assert error.request_id.startswith("req_")


def test_unknown_urls_and_methods_are_errors_of_the_api(api: Api) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        api(lambda c: c.post("/nope", body={}, cast_to=object))
    assert caught.value.body["message"].startswith("Invalid URL (POST ")
    with pytest.raises(openai.APIStatusError) as wrong:
        api(lambda c: c.get("/chat/completions", cast_to=object))
    assert wrong.value.status_code == 405
    assert wrong.value.response.headers["allow"] == "POST"


def test_a_body_that_is_no_json_is_told_so(base_url: str) -> None:
    with openai.OpenAI(api_key="sk-none", base_url=base_url, max_retries=0) as client:
        response = client._client.post(
            f"{base_url}/chat/completions", content=b'{"model": ', headers={"content-type": "application/json"}
        )
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("We could not parse the JSON body of your request.")


# --- completions --------------------------------------------------------------------------------------------------


@pytest.fixture
def complete(api: Api, model: str) -> Callable[..., Any]:
    def ask(prompt: Any = "Once upon a time", **more: Any) -> Any:
        return api(lambda c: c.completions.create(model=model, prompt=prompt, **more))

    return ask


def test_a_completion_is_sixteen_tokens_long(complete: Callable[..., Any]) -> None:
    found = complete()
    assert (found.object, found.choices[0].finish_reason, found.usage.completion_tokens) == (
        "text_completion",
        "length",
        16,
    )
    assert found.choices[0].text
    assert complete(max_tokens=500).choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3, 4], [5]], 3)],
)
def test_prompts_come_in_four_kinds(complete: Callable[..., Any], prompt: Any, count: int) -> None:
    found = complete(prompt, n=2)
    assert [choice.index for choice in found.choices] == list(range(2 * count))
    assert all(choice.text for choice in found.choices)
    assert found.usage.completion_tokens == 16 * 2 * count


def test_token_arrays_are_counted(complete: Callable[..., Any]) -> None:
    assert complete([[1, 2], [3, 4, 5]]).usage.prompt_tokens == 5


def test_a_completion_echoes_its_prompt(complete: Callable[..., Any]) -> None:
    plain, echoed = complete(), complete(echo=True)
    assert echoed.choices[0].text == "Once upon a time" + plain.choices[0].text


def test_a_completion_shows_log_probabilities(complete: Callable[..., Any]) -> None:
    choice = complete(logprobs=2, max_tokens=4).choices[0]
    shown = choice.logprobs
    assert "".join(shown.tokens) == choice.text
    assert len(shown.tokens) == len(shown.token_logprobs) == len(shown.top_logprobs) == len(shown.text_offset) == 4
    assert shown.text_offset == [sum(map(len, shown.tokens[:i])) for i in range(4)]
    assert all(number <= 0 for number in shown.token_logprobs)


def test_what_an_evaluation_harness_sums_up(lenient: Api, model: str) -> None:
    ids = [[11, 12, 13, 14], [21, 22, 23]]
    found = lenient(
        lambda c: c.completions.create(
            model=model, prompt=ids, max_tokens=1, logprobs=1, echo=True, temperature=0, seed=1234
        )
    )
    for choice, asked in zip(found.choices, ids, strict=True):
        shown = choice.logprobs
        assert len(shown.token_logprobs) == len(asked) + 1
        assert shown.token_logprobs[0] is None
        assert sum(shown.token_logprobs[1:-1]) < 0
        assert all(max(top.values()) <= 0 for top in shown.top_logprobs[1:])


def test_a_completion_takes_a_suffix(complete: Callable[..., Any]) -> None:
    assert complete(suffix=" the end.", max_tokens=3).usage.completion_tokens == 3


def test_a_completion_ends_before_a_stop(complete: Callable[..., Any]) -> None:
    whole = complete().choices[0].text
    stop = whole.split()[3]
    found = complete(stop=stop).choices[0]
    assert (found.text, found.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_a_completion_streams(lenient: Api, complete: Callable[..., Any], model: str) -> None:
    asked = {"model": model, "prompt": "Once upon a time", "stream": True, "stream_options": {"include_usage": True}}
    *found, last = lenient.all(lambda c: c.completions.create(**asked))
    assert "".join(chunk.choices[0].text for chunk in found) == complete().choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in found] == [None] * (len(found) - 1) + ["length"]
    assert (last.choices, last.usage.completion_tokens) == ([], 16)


# --- embeddings, moderations, models ------------------------------------------------------------------------------


def test_embeddings_are_unit_vectors_in_either_encoding(api: Api, lenient: Api) -> None:
    asked = {"model": "text-embedding-3-small", "input": "Some text"}
    packed = lenient(lambda c: c.embeddings.create(**asked))
    plain = api(lambda c: c.embeddings.create(**asked, encoding_format="float"))
    assert len(packed.data[0].embedding) == 1536
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-7)
    assert math.dist(plain.data[0].embedding, [0] * 1536) == pytest.approx(1, abs=1e-5)
    assert (packed.object, packed.data[0].object, packed.usage.total_tokens > 0) == ("list", "embedding", True)


@pytest.mark.parametrize(
    ("name", "size"),
    [("text-embedding-3-small", 1536), ("text-embedding-3-large", 3072), ("text-embedding-ada-002", 1536)],
)
def test_each_model_has_its_size(lenient: Api, name: str, size: int) -> None:
    assert len(lenient(lambda c: c.embeddings.create(model=name, input="x")).data[0].embedding) == size


def test_embeddings_come_in_batches_and_sizes(lenient: Api) -> None:
    found = lenient(lambda c: c.embeddings.create(model="text-embedding-3-small", input=["a", "b", "a"], dimensions=8))
    vectors = [item.embedding for item in found.data]
    assert [item.index for item in found.data] == [0, 1, 2]
    assert {len(vector) for vector in vectors} == {8}
    assert vectors[0] == vectors[2] != vectors[1]


@pytest.mark.parametrize(("given", "count"), [([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_embeddings_take_tokens(lenient: Api, given: Any, count: int) -> None:
    found = lenient(lambda c: c.embeddings.create(model="text-embedding-3-small", input=given))
    assert (len(found.data), found.usage.prompt_tokens) == (count, 3)


@pytest.mark.parametrize(("given", "count"), [("fine", 1), (["a", "b"], 2), ([{"type": "text", "text": "x"}], 1)])
def test_moderations_judge_each_input(api: Api, given: Any, count: int) -> None:
    found = api(lambda c: c.moderations.create(model="omni-moderation-latest", input=given))
    assert found.id.startswith("modr-")
    assert len(found.results) == count
    for result in found.results:
        assert result.flagged is False
        assert len(result.categories.model_dump()) == len(result.category_scores.model_dump()) == 13
        assert not any(result.categories.model_dump().values())
        assert all(0 <= score <= 1 for score in result.category_scores.model_dump().values())


def test_models_are_listed_and_found(api: Api) -> None:
    listed = api.all(lambda c: c.models.list())
    assert listed
    assert {found.object for found in listed} == {"model"}
    found = api(lambda c: c.models.retrieve(listed[0].id))
    assert (found.id, found.object) == (listed[0].id, "model")


def test_a_models_id_may_hold_a_slash(api: Api) -> None:
    assert api(lambda c: c.models.retrieve("some-org/some-model")).id == "some-org/some-model"


# --- responses ----------------------------------------------------------------------------------------------------


@pytest.fixture
def respond(api: Api, model: str) -> Callable[..., Any]:
    def ask(**more: Any) -> Any:
        return api(lambda c: c.responses.create(**{"model": model, "input": "Say something."} | more))

    return ask


def function(name: str) -> Any:
    return {"type": "function", "name": name, "parameters": CITY, "strict": True}


FUNCTIONS = [function("forecast"), function("history")]


def test_a_response_is_a_message(respond: Callable[..., Any], model: str) -> None:
    found = respond(instructions="Be brief.", metadata={"a": "b"}, temperature=0.5)
    assert found.id.startswith("resp_")
    assert (found.object, found.status, found.model, found.error) == ("response", "completed", model, None)
    assert (found.instructions, found.metadata, found.temperature) == ("Be brief.", {"a": "b"}, 0.5)
    message = found.output[0]
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert found.output_text == message.content[0].text != ""
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens


def test_a_response_counts_its_cache(respond: Callable[..., Any]) -> None:
    details = respond().usage.input_tokens_details.model_dump()
    assert details["cached_tokens"] == 0
    assert details["cache_write_tokens"] == 0


def test_a_response_is_cut_at_its_limit(respond: Callable[..., Any]) -> None:
    found = respond(max_output_tokens=16)
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert found.usage.output_tokens == 16
    assert found.output[0].status == "incomplete"
    whole = respond().output_text
    assert found.output_text != whole
    assert whole.startswith(found.output_text)


def test_a_response_takes_items(respond: Callable[..., Any]) -> None:
    parts = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": "data:,", "detail": "low"}]
    found = respond(input=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}])
    assert (found.status, bool(found.output_text)) == ("completed", True)


EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def once(names: list[str]) -> list[str]:
    return [name for index, name in enumerate(names) if not index or names[index - 1] != name]


def test_a_response_streams_in_order(api: Api, respond: Callable[..., Any], model: str) -> None:
    found = api.all(lambda c: c.responses.create(model=model, input="Say something.", stream=True))
    assert once([event.type for event in found]) == EVENTS
    assert [event.sequence_number for event in found] == list(range(len(found)))
    text = "".join(event.delta for event in found if event.type == "response.output_text.delta")
    assert text == respond().output_text == found[-1].response.output_text
    assert found[0].response.usage is None
    assert found[-1].response.usage.output_tokens == respond().usage.output_tokens


def test_a_cut_response_streams_to_its_end(api: Api, model: str) -> None:
    asked = {"model": model, "input": "Say something.", "stream": True, "max_output_tokens": 16}
    last = api.all(lambda c: c.responses.create(**asked))[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")


def test_the_response_helper_folds_and_parses(api: Api, model: str) -> None:
    events, final = api.within(
        lambda c: c.responses.stream(model=model, input="Say something.", text_format=Report), "get_final_response"
    )
    assert isinstance(final.output_parsed, Report)
    assert events[-1].type == "response.completed"
    found = api(lambda c: c.responses.parse(model=model, input="Say something.", text_format=Report))
    assert isinstance(found.output_parsed, Report)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "forecast"}])
def test_a_response_calls_a_function(api: Api, respond: Callable[..., Any], model: str, choice: Any) -> None:
    found = respond(tools=FUNCTIONS, tool_choice=choice).output[0]
    assert (found.type, found.name, found.status) == ("function_call", "forecast", "completed")
    assert found.call_id.startswith("call_")
    assert is_city(found.arguments)
    asked = {"model": model, "input": "Say something.", "tools": FUNCTIONS, "tool_choice": choice, "stream": True}
    events = api.all(lambda c: c.responses.create(**asked))
    assert once([event.type for event in events]) == [
        *EVENTS[:3],
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        *EVENTS[7:],
    ]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == found.arguments


def test_a_loop_of_responses_calls_each_function(respond: Callable[..., Any]) -> None:
    first = respond(tools=FUNCTIONS, tool_choice="required")
    done = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "sunny"}
    second = respond(input=[done], previous_response_id=first.id, tools=FUNCTIONS, tool_choice="required")
    assert [first.output[0].name, second.output[0].name] == ["forecast", "history"]
    assert second.previous_response_id == first.id
    assert respond(input=[done], previous_response_id=first.id, tools=FUNCTIONS).output_text


def test_a_response_is_kept_until_it_is_deleted(api: Api, respond: Callable[..., Any], request: Any) -> None:
    made = respond(input=f"Keep this ({request.node.name}).")
    assert api(lambda c: c.responses.retrieve(made.id)).output_text == made.output_text
    items = api.all(lambda c: c.responses.input_items.list(made.id))
    assert [(item.role, item.content[0].text) for item in items] == [("user", f"Keep this ({request.node.name}).")]
    api(lambda c: c.responses.delete(made.id))
    with pytest.raises(openai.NotFoundError):
        api(lambda c: c.responses.retrieve(made.id))


def test_a_response_that_is_not_to_be_kept_is_not(api: Api, respond: Callable[..., Any], request: Any) -> None:
    made = respond(input=f"Forget this ({request.node.name}).", store=False)
    assert made.store is False
    with pytest.raises(openai.NotFoundError):
        api(lambda c: c.responses.retrieve(made.id))


def test_a_response_in_the_background_can_be_cancelled(api: Api, respond: Callable[..., Any], request: Any) -> None:
    made = respond(input=f"Later ({request.node.name}).", background=True)
    assert (made.status, made.background) == ("queued", True)
    assert api(lambda c: c.responses.cancel(made.id)).status == "cancelled"


def test_input_is_counted_without_an_answer(api: Api, respond: Callable[..., Any], model: str) -> None:
    if not hasattr(openai.resources.responses.Responses, "input_tokens"):
        pytest.skip("this version has no such call")
    found = api(lambda c: c.responses.input_tokens.count(model=model, input="Say something."))
    assert found.object == "response.input_tokens"
    assert found.input_tokens == respond().usage.input_tokens


@pytest.mark.parametrize(
    ("body", "param"),
    [({"max_output_tokens": 1}, "max_output_tokens"), ({"temperature": 3}, "temperature"), ({"input": 5}, "input")],
)
def test_a_bad_response_request_says_what_is_wrong(respond: Callable[..., Any], body: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        respond(**body)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


# --- other ways in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AzureOpenAI, AsyncAzureOpenAI])
def test_azures_client_finds_its_way(base_url: str, model: str, loop: asyncio.AbstractEventLoop, kind: Any) -> None:
    root = base_url.removesuffix("/v1")
    api = Api(kind, loop, azure_endpoint=root, api_version="2024-10-21")
    found = api(lambda c: c.chat.completions.create(model=model, messages=HI))
    chunks = api.all(lambda c: c.chat.completions.create(model=model, messages=HI, stream=True))
    vector = api(lambda c: c.embeddings.create(model="text-embedding-3-small", input="x"))
    api.close()
    assert found.choices[0].message.content == text_of(chunks) != ""
    assert len(vector.data[0].embedding) == 1536


def test_many_ask_at_once(base_url: str, model: str) -> None:
    async def ask(client: openai.AsyncOpenAI, count: int) -> int:
        found = await client.chat.completions.create(model=model, messages=HI, n=count)
        return len(found.choices)

    async def run() -> list[int]:
        async with openai.AsyncOpenAI(api_key="sk-none", base_url=base_url, max_retries=0, timeout=60) as client:
            return await asyncio.gather(*(ask(client, 1 + number % 5) for number in range(50)))

    assert asyncio.run(run()) == [1 + number % 5 for number in range(50)]
