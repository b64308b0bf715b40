"""litellm: completions of every kind, streams, tools, structured output, embeddings, moderations and responses."""

from __future__ import annotations

import json
import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks for one over the network

import litellm
import pytest
from pydantic import BaseModel

HI: list[Any] = [{"role": "user", "content": "Say something."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@pytest.fixture
def options(base_url: str, model: str) -> dict[str, Any]:
    return {"model": f"openai/{model}", "api_base": base_url, "api_key": "sk-none", "num_retries": 0, "timeout": 60}


@pytest.fixture
def chat(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "messages": HI}


def test_it_answers(chat: dict[str, Any], model: str) -> None:
    found = litellm.completion(**chat)
    choice = found.choices[0]
    assert (choice.finish_reason, choice.message.role, found.model) == ("stop", "assistant", model)
    assert choice.message.content.strip()
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens > 0


def test_it_works_async(chat: dict[str, Any], run: Any) -> None:
    async def asked_async() -> tuple[str, str]:
        whole = await litellm.acompletion(**chat)
        parts = [c.choices[0].delta.content or "" async for c in await litellm.acompletion(**chat, stream=True)]
        return whole.choices[0].message.content, "".join(parts)

    whole, streamed = run(asked_async())
    assert whole == streamed != ""


def test_a_stream_is_built_again(chat: dict[str, Any]) -> None:
    chunks = list(litellm.completion(**chat, stream=True, stream_options={"include_usage": True}))
    whole = litellm.completion(**chat)
    built = litellm.stream_chunk_builder(chunks, messages=HI)
    assert built.choices[0].message.content == whole.choices[0].message.content
    assert built.choices[0].finish_reason == "stop"
    assert built.usage.completion_tokens == whole.usage.completion_tokens


def test_it_is_cut_at_its_limit(chat: dict[str, Any]) -> None:
    found = litellm.completion(**chat, max_tokens=4)
    assert (found.choices[0].finish_reason, found.usage.completion_tokens) == ("length", 4)


def test_stops_and_choices(chat: dict[str, Any]) -> None:
    whole = litellm.completion(**chat).choices[0].message.content
    stop = whole.split()[2]
    found = litellm.completion(**chat, stop=stop, n=2)
    assert [choice.message.content for choice in found.choices] == [whole[: whole.index(stop)]] * 2


def test_log_probabilities(chat: dict[str, Any]) -> None:
    choice = litellm.completion(**chat, logprobs=True, top_logprobs=2).choices[0]
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content


def test_tools_may_be_left_alone(chat: dict[str, Any]) -> None:
    found = litellm.completion(**chat, tools=[TOOL]).choices[0]
    assert (found.finish_reason, found.message.tool_calls) == ("stop", None)


def test_a_tool_is_called(chat: dict[str, Any]) -> None:
    found = litellm.completion(**chat, tools=[TOOL], tool_choice="required").choices[0]
    assert found.finish_reason == "tool_calls"
    call = found.message.tool_calls[0]
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_a_streamed_call_is_built_again(chat: dict[str, Any]) -> None:
    asked = {**chat, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}}
    whole = litellm.completion(**asked).choices[0].message.tool_calls[0]
    built = litellm.stream_chunk_builder(list(litellm.completion(**asked, stream=True)), messages=HI)
    call = built.choices[0].message.tool_calls[0]
    assert call.id.startswith("call_")
    assert (call.function.name, call.function.arguments) == (whole.function.name, whole.function.arguments)


def test_structured_output(chat: dict[str, Any]) -> None:
    found = litellm.completion(**chat, response_format=Person)
    assert isinstance(Person.model_validate_json(found.choices[0].message.content), Person)


def test_json_mode(chat: dict[str, Any]) -> None:
    asked = {**chat, "messages": [{"role": "user", "content": "JSON, please."}]}
    found = litellm.completion(**asked, response_format={"type": "json_object"})
    assert isinstance(json.loads(found.choices[0].message.content), dict)


def test_many_at_once(chat: dict[str, Any]) -> None:
    found = litellm.batch_completion(**{**chat, "messages": [HI] * 5})
    assert [bool(answer.choices[0].message.content) for answer in found] == [True] * 5


def test_the_router_answers(options: dict[str, Any]) -> None:
    parameters = {name: options[name] for name in ("model", "api_base", "api_key")}
    router = litellm.Router([{"model_name": "ours", "litellm_params": parameters}])
    assert router.completion("ours", HI).choices[0].message.content.strip()


def test_completions(options: dict[str, Any]) -> None:
    asked = {**options, "model": f"text-completion-{options['model']}".replace("openai/", "openai/")}
    found = litellm.text_completion(**asked, prompt="Once upon a time", max_tokens=5)
    assert (found.choices[0].finish_reason, found.usage.completion_tokens) == ("length", 5)
    streamed = litellm.text_completion(**asked, prompt="Once upon a time", max_tokens=5, stream=True)
    assert "".join(c.choices[0].text or "" for c in streamed) == found.choices[0].text


def test_embeddings(options: dict[str, Any], run: Any) -> None:
    asked = {**options, "model": "openai/text-embedding-3-small"}
    found = litellm.embedding(**asked, input=["a", "b"])
    assert [len(item["embedding"]) for item in found.data] == [1536, 1536]
    assert found.usage.prompt_tokens > 0
    again = run(litellm.aembedding(**asked, input=["a"], encoding_format="base64"))
    assert len(again.data) == 1


def test_moderations(base_url: str) -> None:
    found = litellm.moderation(input="fine", model="omni-moderation-latest", api_key="sk-none", api_base=base_url)
    assert [result.flagged for result in found.results] == [False]


def test_responses(options: dict[str, Any]) -> None:
    found = litellm.responses(**options, input="Say something.")
    assert found.status == "completed"
    text = found.output[0].content[0].text
    assert text.strip()
    events = list(litellm.responses(**options, input="Say something.", stream=True))
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(said) == text
    assert events[-1].type == "response.completed"


def test_a_response_is_found_and_deleted(options: dict[str, Any]) -> None:
    at = {"api_base": options["api_base"], "api_key": "sk-none"}
    made = litellm.responses(**options, input="Keep this.")
    assert litellm.get_responses(made.id, **at).output[0].content[0].text == made.output[0].content[0].text
    assert litellm.delete_responses(made.id, **at).deleted is True


def test_an_error_is_litellms_own(chat: dict[str, Any]) -> None:
    with pytest.raises(litellm.BadRequestError, match="'temperature'") as caught:
        litellm.completion(**chat, temperature=9)
    assert caught.value.status_code == 400
