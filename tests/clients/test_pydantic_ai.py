"""pydantic-ai: agents that call tools until they are done, and give what type they were asked for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput, RunContext, ToolOutput
from pydantic_ai.messages import BinaryContent, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

warnings.simplefilter("ignore", DeprecationWarning)


class Person(BaseModel):
    """Somebody."""

    name: Annotated[str, Field(min_length=1)]
    age: Annotated[int, Field(ge=18)]
    mood: Literal["good", "bad"]


class Place(BaseModel):
    """Somewhere."""

    city: str
    sights: Annotated[list[str], Field(min_length=1)]


@dataclass
class Notes:
    """What the tools were called with."""

    calls: list[str]


@pytest.fixture(params=[OpenAIChatModel, OpenAIResponsesModel], ids=["chat", "responses"])
def llm(request: pytest.FixtureRequest, base_url: str, model: str) -> Any:
    return request.param(model, provider=OpenAIProvider(base_url=base_url, api_key="sk-none"))


def with_tools(llm: Any, output: Any = str) -> Agent[Notes, Any]:
    agent = Agent(llm, deps_type=Notes, output_type=output, instructions="Be brief.")

    @agent.tool
    def weather(context: RunContext[Notes], city: str, days: int) -> str:
        context.deps.calls.append(f"weather {type(city).__name__} {type(days).__name__}")
        return "sunny"

    @agent.tool
    def clock(context: RunContext[Notes]) -> str:
        context.deps.calls.append("clock")
        return "noon"

    return agent


def test_it_answers(llm: Any) -> None:
    found = Agent(llm).run_sync("Say something.")
    assert found.output.strip()
    usage = found.usage() if callable(found.usage) else found.usage
    assert usage.requests == 1
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    response = found.all_messages()[-1]
    assert isinstance(response, ModelResponse)
    assert [type(part) for part in response.parts] == [TextPart]
    assert response.finish_reason == "stop"


def test_a_conversation_goes_on(llm: Any) -> None:
    agent = Agent(llm)
    first = agent.run_sync("Hello.")
    second = agent.run_sync("And now?", message_history=first.all_messages())
    assert len(second.all_messages()) == 4
    assert second.output.strip()


def test_a_stream_adds_up(llm: Any, run: Any) -> None:
    async def asked_async() -> tuple[list[str], str]:
        async with Agent(llm).run_stream("Say something.") as result:
            parts = [part async for part in result.stream_text(delta=True, debounce_by=None)]
            return parts, await result.get_output()

    parts, whole = run(asked_async())
    assert len(parts) > 3
    assert "".join(parts) == whole == Agent(llm).run_sync("Say something.").output


@pytest.mark.parametrize(
    "output",
    [Person, ToolOutput(Person), NativeOutput(Person), PromptedOutput(Person)],
    ids=["plain", "tool", "native", "prompted"],
)
def test_a_model_comes_out(llm: Any, output: Any) -> None:
    found = Agent(llm, output_type=output).run_sync("Who was it?").output
    assert isinstance(found, Person)
    assert found.age >= 18
    assert found.name


@pytest.mark.parametrize(
    "output",
    [[Person, Place], NativeOutput([Person, Place]), PromptedOutput([Person, Place])],
    ids=["tools", "native", "prompted"],
)
def test_one_of_several_models_comes_out(llm: Any, output: Any) -> None:
    found = Agent(llm, output_type=output).run_sync("What was it?").output
    assert isinstance(found, (Person, Place))


@pytest.mark.parametrize(
    ("output", "kind"), [(bool, bool), (list[int], list), (dict[str, float], dict), (Literal["a", "b"], str)]
)
def test_simple_types_come_out(llm: Any, output: Any, kind: type) -> None:
    assert isinstance(Agent(llm, output_type=output).run_sync("Give me one.").output, kind)


def test_text_may_come_out_where_models_may(llm: Any) -> None:
    assert Agent(llm, output_type=[str, Person]).run_sync("Say something.").output.strip()


@pytest.mark.parametrize("output", [Person, [Person, Place]], ids=["one", "two"])
def test_a_loop_calls_every_tool_once_and_ends(llm: Any, output: Any) -> None:
    notes = Notes([])
    found = with_tools(llm, output).run_sync("Who was it?", deps=notes)
    assert isinstance(found.output, (Person, Place))
    assert notes.calls == ["weather str int", "clock"]
    parts = [part for message in found.all_messages() for part in message.parts]
    calls = [part.tool_call_id for part in parts if isinstance(part, ToolCallPart)]
    returned = [part.tool_call_id for part in parts if isinstance(part, ToolReturnPart)]
    assert len(set(calls)) == len(calls)
    assert set(calls) == set(returned)


def test_a_loop_streams_its_way_to_the_end(llm: Any, run: Any) -> None:
    notes = Notes([])

    async def asked_async() -> Any:
        async with with_tools(llm, Person).run_stream("Who was it?", deps=notes) as result:
            return [part async for part in result.stream_output(debounce_by=None)][-1]

    assert isinstance(run(asked_async()), Person)
    assert notes.calls == ["weather str int", "clock"]


def test_tools_are_left_alone_where_text_will_do(llm: Any) -> None:
    notes = Notes([])
    assert with_tools(llm).run_sync("Say something.", deps=notes).output.strip()
    assert notes.calls == []


def test_an_agent_is_walked_through(llm: Any, run: Any) -> None:
    async def asked_async() -> list[str]:
        async with with_tools(llm, Person).iter("Who was it?", deps=Notes([])) as steps:
            return [type(step).__name__ async for step in steps]

    names = run(asked_async())
    assert names[0] == "UserPromptNode"
    assert names[-1] == "End"
    assert names.count("ModelRequestNode") == 3


def test_pictures(llm: Any) -> None:
    picture = BinaryContent(data=b"not looked at", media_type="image/png")
    assert Agent(llm).run_sync(["What is this?", picture]).output.strip()


def test_settings_are_met(llm: Any) -> None:
    found = Agent(llm).run_sync("Say something.", model_settings={"max_tokens": 20})
    response = found.all_messages()[-1]
    assert isinstance(response, ModelResponse)
    assert response.finish_reason == "length"
    assert response.usage.output_tokens == 20


def test_an_error_is_the_agents(llm: Any) -> None:
    with pytest.raises(ModelHTTPError) as caught:
        Agent(llm).run_sync("Say something.", model_settings={"temperature": 9})
    assert caught.value.status_code == 400
