"""langchain-openai: chat models, tools, structured output, the responses API, completions and embeddings."""

from __future__ import annotations

import json
import math
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI, ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

ASKED = [SystemMessage("Be brief."), HumanMessage("Say something.")]


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1)
    age: int = Field(ge=18)
    tags: list[str] = Field(min_length=1)


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


@tool
def clock(zone: str) -> str:
    """Tell the time."""
    return f"noon in {zone}"


@pytest.fixture
def options(base_url: str, model: str) -> dict[str, Any]:
    return {"model": model, "base_url": base_url, "api_key": "sk-none", "max_retries": 0, "timeout": 60}


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def llm(request: pytest.FixtureRequest, options: dict[str, Any]) -> ChatOpenAI:
    return ChatOpenAI(**options, use_responses_api=request.param, stream_usage=True)


def folded(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


def test_it_answers(llm: ChatOpenAI) -> None:
    found = llm.invoke(ASKED)
    assert isinstance(found, AIMessage)
    assert found.text.strip()
    assert not found.tool_calls
    used = found.usage_metadata
    assert used is not None
    assert 0 < used["output_tokens"] < used["total_tokens"] == used["input_tokens"] + used["output_tokens"]


def test_it_says_why_it_ended_and_which_model(options: dict[str, Any], model: str) -> None:
    found = ChatOpenAI(**options).invoke(ASKED).response_metadata
    assert (found["finish_reason"], found["model_name"]) == ("stop", model)
    assert found["id"].startswith("chatcmpl-")
    cut = ChatOpenAI(**options, max_tokens=3).invoke(ASKED)
    assert cut.response_metadata["finish_reason"] == "length"
    assert cut.usage_metadata is not None
    assert cut.usage_metadata["output_tokens"] == 3


def test_a_stream_adds_up(llm: ChatOpenAI) -> None:
    chunks = list(llm.stream(ASKED))
    total = folded(chunks)
    assert len(chunks) > 3
    assert total.text == llm.invoke(ASKED).text
    assert total.usage_metadata is not None
    assert total.usage_metadata["output_tokens"] > 0


def test_it_works_async(llm: ChatOpenAI, run: Any) -> None:
    async def asked_async() -> tuple[Any, list[Any]]:
        return await llm.ainvoke(ASKED), [chunk async for chunk in llm.astream(ASKED)]

    whole, chunks = run(asked_async())
    assert whole.text == folded(chunks).text != ""


def test_a_batch_is_answered_in_order(llm: ChatOpenAI) -> None:
    found = llm.batch([[HumanMessage("a")], [HumanMessage("b")], ASKED])
    assert [bool(message.text) for message in found] == [True] * 3


def test_a_chain_ends_in_text(llm: ChatOpenAI) -> None:
    chain = ChatPromptTemplate.from_messages([("system", "Speak {language}."), ("user", "{question}")]) | llm
    found = (chain | StrOutputParser()).invoke({"language": "French", "question": "Why?"})
    assert isinstance(found, str)
    assert found.strip()


def test_several_generations(options: dict[str, Any]) -> None:
    found = ChatOpenAI(**options, n=3).generate([ASKED])
    assert len(found.generations[0]) == 3
    assert all(generation.text for generation in found.generations[0])


def test_log_probabilities(options: dict[str, Any]) -> None:
    found = ChatOpenAI(**options, logprobs=True, top_logprobs=2).invoke(ASKED)
    shown = found.response_metadata["logprobs"]["content"]
    assert "".join(token["token"] for token in shown) == found.text
    assert {len(token["top_logprobs"]) for token in shown} == {2}


def test_stops(options: dict[str, Any]) -> None:
    whole = ChatOpenAI(**options).invoke(ASKED).text
    stop = whole.split()[2]
    assert ChatOpenAI(**options).invoke(ASKED, stop=[stop]).text == whole[: whole.index(stop)]


def test_tools_may_be_left_alone(llm: ChatOpenAI) -> None:
    assert llm.bind_tools([weather]).invoke(ASKED).tool_calls == []


@pytest.mark.parametrize("choice", ["any", "weather"])
def test_a_tool_is_called(llm: ChatOpenAI, choice: str) -> None:
    found = llm.bind_tools([weather, clock], tool_choice=choice).invoke(ASKED)
    assert [(call["name"], type(call["args"]["city"])) for call in found.tool_calls] == [("weather", str)]
    assert found.tool_calls[0]["id"]
    assert found.invalid_tool_calls == []


def test_a_streamed_call_adds_up(llm: ChatOpenAI) -> None:
    bound = llm.bind_tools([weather], tool_choice="any")
    streamed, whole = folded(list(bound.stream(ASKED))).tool_calls, bound.invoke(ASKED).tool_calls
    assert [(call["name"], call["args"]) for call in streamed] == [(call["name"], call["args"]) for call in whole]
    assert streamed[0]["id"]


def test_a_loop_calls_each_tool_and_ends(llm: ChatOpenAI) -> None:
    messages: list[Any] = list(ASKED)
    called = []
    for _ in range(2):
        message = llm.bind_tools([weather, clock], tool_choice="any").invoke(messages)
        messages.append(message)
        for call in message.tool_calls:
            called.append(call["name"])
            messages.append({"weather": weather, "clock": clock}[call["name"]].invoke(call))
    assert called == ["weather", "clock"]
    assert isinstance(messages[-1], ToolMessage)
    final = llm.bind_tools([weather, clock]).invoke(messages)
    assert final.text.strip()
    assert final.tool_calls == []


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(llm: ChatOpenAI, method: Any) -> None:
    found = llm.with_structured_output(Person, method=method).invoke(ASKED)
    assert isinstance(found, Person)
    with_raw = llm.with_structured_output(Person, method=method, include_raw=True).invoke(ASKED)
    assert isinstance(with_raw, dict)
    assert (with_raw["parsed"], with_raw["parsing_error"]) == (found, None)


def test_structured_output_of_a_stream(llm: ChatOpenAI) -> None:
    found = list(llm.with_structured_output(Person).stream(ASKED))
    assert isinstance(found[-1], Person)


def test_json_mode(options: dict[str, Any]) -> None:
    prompt = f"As JSON that matches {json.dumps(Person.model_json_schema())}"
    found = ChatOpenAI(**options).with_structured_output(Person, method="json_mode").invoke(prompt)
    assert isinstance(found, Person)


def test_pictures(llm: ChatOpenAI) -> None:
    parts: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    assert llm.invoke([HumanMessage(content=parts)]).text.strip()


def test_conversations_go_on_from_a_response(options: dict[str, Any]) -> None:
    llm = ChatOpenAI(**options, use_responses_api=True)
    first = llm.invoke("Hello.")
    assert first.response_metadata["id"].startswith("resp_")
    second = llm.invoke("And now?", previous_response_id=first.response_metadata["id"])
    assert second.text.strip()


def test_completions(options: dict[str, Any]) -> None:
    llm = OpenAI(**options)
    whole = llm.invoke("Once upon a time")
    assert whole.strip()
    assert "".join(llm.stream("Once upon a time")) == whole
    generated = llm.generate(["a", "b"])
    assert len(generated.generations) == 2
    assert generated.llm_output is not None
    assert generated.llm_output["token_usage"]["completion_tokens"] > 0


def test_azure(base_url: str, model: str) -> None:
    llm = AzureChatOpenAI(
        azure_endpoint=base_url.removesuffix("/v1"), api_version="2024-10-21", azure_deployment=model, api_key="none"
    )
    assert llm.invoke(ASKED).text.strip()


def test_embeddings(base_url: str, run: Any) -> None:
    made = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=base_url,
        api_key="sk-none",
        check_embedding_ctx_length=False,
        dimensions=64,
    )
    one, two = made.embed_documents(["a", "b"])
    assert (len(one), len(two)) == (64, 64)
    assert math.dist(one, [0] * 64) == pytest.approx(1, abs=1e-5)
    assert made.embed_query("a") == one != two
    assert run(made.aembed_query("a")) == one


def test_an_error_is_the_apis(options: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="'temperature'"):
        ChatOpenAI(**options, temperature=9).invoke(ASKED)
