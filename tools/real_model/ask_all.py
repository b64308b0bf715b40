"""Ask an OpenAI-style server everything a small local model can answer, with the openai package; print what came.

`python ask_all.py BASE_URL`; runs with any openai from 1.0 on. One line of JSON for each call: its name, and the whole
result, every chunk of it for a stream. Equal answers make equal lines.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from openai import APIStatusError, AsyncOpenAI, BaseModel, OpenAI

MODEL = "gemma-3-270m"
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
CHAT: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "max_tokens": 16, "temperature": 0}
TEXT: dict[str, Any] = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}
WARM = {**CHAT, "temperature": 1.0}


def with_sync(client: OpenAI) -> dict[str, Any]:
    """Call whole and streamed, plain and raw; what the server refuses, too."""
    raw = client.chat.completions.with_raw_response.create(**CHAT, user="raw")
    with client.chat.completions.with_streaming_response.create(**CHAT, seed=11, stream=True) as response:
        lines = list(response.iter_lines())
    found = {
        "models": client.models.list().model_dump(),
        "chat": client.chat.completions.create(**CHAT).model_dump(),
        "chat with logprobs": said(lambda: client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2)),
        "chat streamed": [chunk.model_dump() for chunk in client.chat.completions.create(**CHAT, stream=True)],
        "chat in JSON": said(lambda: client.chat.completions.create(**CHAT, response_format={"type": "json_object"})),
        "raw": [raw.status_code, raw.text if isinstance(raw.text, str) else raw.text()],
        "lines": lines,
        "completion": client.completions.create(**TEXT).model_dump(),
        "completion streamed": [chunk.model_dump() for chunk in client.completions.create(**TEXT, stream=True)],
        "two stops": client.completions.create(**TEXT, stop=[",", "."]).model_dump(),
        "repeats": [client.chat.completions.create(**WARM).model_dump() for _ in range(3)],
        "seeds": [client.chat.completions.create(**WARM, seed=seed).model_dump() for seed in (1, 2, 3)],
        "too long": said(lambda: client.completions.create(**{**TEXT, "prompt": "1 2 3 " * 400})),
        "no such path": said(lambda: client.models.retrieve("nothing")),
        "not started for it": said(lambda: client.embeddings.create(model=MODEL, input="sea")),
    }
    return found | {"streamed twice": [chunk.model_dump() for chunk in client.completions.create(**TEXT, stream=True)]}


def said(call: Callable[[], BaseModel]) -> object:
    """Return the answer, or the error that the server answered with."""
    try:
        return call().model_dump()
    except APIStatusError as error:
        return [type(error).__name__, error.status_code, error.body]


async def with_async(client: AsyncOpenAI) -> dict[str, Any]:
    """Call many at once, whole and streamed."""

    async def streamed(number: int) -> object:
        events = await client.chat.completions.create(**WARM, seed=100 + number, stream=True)
        return [chunk.model_dump() async for chunk in events]

    async def whole(number: int) -> object:
        answer = await client.completions.create(**TEXT, seed=200 + number)
        return answer.model_dump()

    tasks = [call(number) for number in range(4) for call in (streamed, whole)]
    return {"at once": await asyncio.gather(*tasks)}


async def all_async(url: str) -> dict[str, Any]:
    """Run the asynchronous client from its beginning to its end."""
    async with AsyncOpenAI(base_url=url, api_key="a-key-of-nobody", max_retries=0, timeout=300) as client:
        return await with_async(client)


def main(url: str) -> None:
    """Ask everything, and print it."""
    with OpenAI(base_url=url, api_key="a-key-of-nobody", max_retries=0, timeout=300) as client:
        found = with_sync(client)
    found |= asyncio.run(all_async(url))
    for name, result in found.items():
        print(json.dumps([name, result], sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1])
