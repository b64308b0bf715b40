"""llama-index: its OpenAI models and those that are like OpenAI's, tools, structured output and embeddings."""

from __future__ import annotations

import math
from typing import Annotated, Any

import openai
import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

HI = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Say something.")]


class Person(BaseModel):
    """Somebody."""

    name: Annotated[str, Field(min_length=1)]
    age: Annotated[int, Field(ge=18)]


def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city!r}"


TOOL = FunctionTool.from_defaults(weather)


@pytest.fixture
def options(base_url: str, model: str) -> dict[str, Any]:
    return {"model": model, "api_base": base_url, "api_key": "sk-none", "max_retries": 0, "timeout": 60}


def like(**options: Any) -> OpenAILike:
    return OpenAILike(**options, is_chat_model=True, is_function_calling_model=True, context_window=8192)


@pytest.fixture(params=[OpenAI, like, OpenAIResponses], ids=["openai", "like", "responses"])
def llm(request: pytest.FixtureRequest, options: dict[str, Any]) -> Any:
    return request.param(**options)


def test_it_completes(llm: Any) -> None:
    whole = llm.complete("Say something.").text
    assert whole.strip()
    assert "".join(part.delta or "" for part in llm.stream_complete("Say something.")) == whole


def test_it_chats(llm: Any) -> None:
    found = llm.chat(HI)
    assert found.message.role == "assistant"
    assert found.message.content.strip()
    parts = list(llm.stream_chat(HI))
    assert len(parts) > 3
    assert "".join(part.delta or "" for part in parts) == found.message.content


def test_it_works_async(llm: Any, run: Any) -> None:
    async def asked_async() -> tuple[str, str]:
        whole = await llm.achat(HI)
        parts = [part.delta or "" async for part in await llm.astream_chat(HI)]
        return whole.message.content, "".join(parts)

    whole, streamed = run(asked_async())
    assert whole == streamed != ""


def test_usage_and_reason_are_there(options: dict[str, Any]) -> None:
    raw = OpenAI(**options, max_tokens=3).chat(HI).raw
    assert (raw.choices[0].finish_reason, raw.usage.completion_tokens) == ("length", 3)


def test_log_probabilities(options: dict[str, Any]) -> None:
    found = OpenAI(**options, logprobs=True, top_logprobs=2).chat(HI)
    assert found.logprobs is not None
    assert "".join(top[0].token for top in found.logprobs) == found.message.content
    assert {len(top) for top in found.logprobs} == {2}


def test_a_tool_is_called(llm: Any) -> None:
    found = llm.chat_with_tools([TOOL], user_msg="How is it?", tool_required=True)
    calls = llm.get_tool_calls_from_response(found)
    assert [(call.tool_name, type(call.tool_kwargs["city"])) for call in calls] == [("weather", str)]
    assert calls[0].tool_id


def test_tools_may_be_left_alone(llm: Any) -> None:
    found = llm.chat_with_tools([TOOL], user_msg="How is it?")
    assert llm.get_tool_calls_from_response(found, error_on_no_tool_call=False) == []
    assert found.message.content.strip()


def test_a_streamed_call_adds_up(llm: Any) -> None:
    last = list(llm.stream_chat_with_tools([TOOL], user_msg="How is it?", tool_required=True))[-1]
    calls = llm.get_tool_calls_from_response(last)
    assert [(call.tool_name, type(call.tool_kwargs["city"])) for call in calls] == [("weather", str)]


def test_a_tool_is_called_and_its_answer_given(llm: Any) -> None:
    found = llm.predict_and_call([TOOL], user_msg="How is it?", tool_required=True)
    assert found.sources[0].tool_name == "weather"
    assert str(found).startswith("sunny in '")


def test_structured_output(llm: Any, run: Any) -> None:
    prompt = PromptTemplate("Who is {name}?")
    found = llm.structured_predict(Person, prompt, name="Ada")
    assert isinstance(found, Person)
    assert found.age >= 18
    again = run(llm.astructured_predict(Person, prompt, name="Ada"))
    assert again == found
    assert isinstance(llm.as_structured_llm(Person).chat(HI).raw, Person)


def test_an_agent_ends(options: dict[str, Any], run: Any) -> None:
    async def asked_async() -> Any:
        return await FunctionAgent(tools=[TOOL], llm=OpenAI(**options), streaming=True).run("How is it?")

    assert str(run(asked_async())).strip()


def test_pictures(options: dict[str, Any]) -> None:
    blocks = [TextBlock(text="What is this?"), ImageBlock(image=b"\x89PNG\r\n\x1a\n", image_mimetype="image/png")]
    assert OpenAI(**options).chat([ChatMessage(role="user", blocks=blocks)]).message.content


def test_completions(options: dict[str, Any]) -> None:
    llm = OpenAILike(**options, is_chat_model=False, context_window=8192, max_tokens=5)
    whole = llm.complete("Once upon a time")
    assert (whole.raw.choices[0].finish_reason, whole.raw.usage.completion_tokens) == ("length", 5)
    assert "".join(part.delta or "" for part in llm.stream_complete("Once upon a time")) == whole.text


def test_embeddings(base_url: str, run: Any) -> None:
    made = OpenAIEmbedding(
        model="text-embedding-3-small", api_base=base_url, api_key="sk-none", dimensions=32, max_retries=0
    )
    one, two = made.get_text_embedding_batch(["a", "b"])
    assert (len(one), len(two)) == (32, 32)
    assert math.dist(one, [0] * 32) == pytest.approx(1, abs=1e-5)
    assert made.get_query_embedding("a") == pytest.approx(one)
    assert run(made.aget_text_embedding("b")) == pytest.approx(two)


def test_an_error_is_the_apis(options: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="'top_p'"):
        OpenAI(**options, additional_kwargs={"top_p": 9}).chat(HI)
