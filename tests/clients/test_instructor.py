"""instructor: every mode it has for OpenAI but parallel tools, which leave the choice to the model."""

from __future__ import annotations

import warnings
from enum import Enum
from typing import Annotated, Any

import instructor
import openai
import pytest
from instructor import Mode
from pydantic import BaseModel, Field

warnings.simplefilter("ignore", DeprecationWarning)

CHAT = [Mode.TOOLS, Mode.TOOLS_STRICT, Mode.FUNCTIONS, Mode.JSON, Mode.JSON_O1, Mode.MD_JSON, Mode.JSON_SCHEMA]
RESPONSES = [Mode.RESPONSES_TOOLS, Mode.RESPONSES_TOOLS_WITH_INBUILT_TOOLS]
HI: list[Any] = [{"role": "user", "content": "Who was it?"}]


class Role(Enum):
    """What somebody is."""

    AUTHOR = "author"
    READER = "reader"


class Address(BaseModel):
    """Where somebody lives."""

    street: str
    zips: Annotated[list[int], Field(min_length=2)]


class Person(BaseModel):
    """Somebody."""

    name: Annotated[str, Field(min_length=3)]
    age: Annotated[int, Field(ge=18, le=99)]
    role: Role
    address: Address
    nick: str | None = None


@pytest.fixture
def asked(model: str) -> dict[str, Any]:
    return {"model": model, "messages": HI, "max_retries": 0}


def client(base_url: str, mode: Mode) -> Any:
    raw = openai.OpenAI(base_url=base_url, api_key="sk-none", max_retries=0, timeout=60)
    return instructor.from_openai(raw, mode=mode)


@pytest.mark.parametrize("mode", CHAT + RESPONSES, ids=lambda mode: mode.name)
def test_every_mode_makes_the_model(base_url: str, asked: dict[str, Any], mode: Mode) -> None:
    found = client(base_url, mode).chat.completions.create(response_model=Person, **asked)
    assert type(found).__name__ == "Person"
    assert len(found.name) >= 3
    assert 18 <= found.age <= 99
    assert found.role in Role
    assert len(found.address.zips) >= 2


@pytest.mark.parametrize("mode", CHAT + RESPONSES, ids=lambda mode: mode.name)
def test_every_mode_works_async(base_url: str, asked: dict[str, Any], mode: Mode, run: Any) -> None:
    async def asked_async() -> Any:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-none", max_retries=0, timeout=60) as raw:
            return await instructor.from_openai(raw, mode=mode).chat.completions.create(response_model=Person, **asked)

    assert 18 <= run(asked_async()).age <= 99


@pytest.mark.parametrize("mode", CHAT, ids=lambda mode: mode.name)
def test_the_raw_answer_comes_with_it(base_url: str, asked: dict[str, Any], mode: Mode) -> None:
    found, raw = client(base_url, mode).chat.completions.create_with_completion(response_model=Person, **asked)
    assert found.age >= 18
    assert raw.choices[0].finish_reason in {"stop", "tool_calls", "function_call"}
    assert raw.usage.total_tokens > 0


@pytest.mark.parametrize("mode", [Mode.TOOLS, Mode.JSON, Mode.MD_JSON, Mode.JSON_SCHEMA], ids=lambda mode: mode.name)
def test_partial_models_grow_to_the_whole(base_url: str, asked: dict[str, Any], mode: Mode) -> None:
    whole = client(base_url, mode).chat.completions.create(response_model=Address, **asked)
    parts = list(client(base_url, mode).chat.completions.create_partial(response_model=Address, **asked))
    assert len(parts) > 1
    assert parts[-1].model_dump() == whole.model_dump()


@pytest.mark.parametrize("mode", [Mode.TOOLS, Mode.JSON, Mode.JSON_SCHEMA], ids=lambda mode: mode.name)
def test_lists_of_models(base_url: str, asked: dict[str, Any], mode: Mode) -> None:
    class Crowd(BaseModel):
        people: Annotated[list[Address], Field(min_length=2)]

    found = client(base_url, mode).chat.completions.create(response_model=Crowd, **asked)
    assert [len(person.zips) >= 2 for person in found.people] == [True, True]


def test_simple_types(base_url: str, asked: dict[str, Any]) -> None:
    ask = client(base_url, Mode.TOOLS).chat.completions.create
    assert isinstance(ask(response_model=int, **asked), int)
    assert isinstance(ask(response_model=bool, **asked), bool)
    assert ask(response_model=Role, **asked) in Role


def test_without_a_model_the_answer_is_the_clients(base_url: str, asked: dict[str, Any]) -> None:
    found = client(base_url, Mode.TOOLS).chat.completions.create(response_model=None, **asked)
    assert found.choices[0].message.content.strip()
