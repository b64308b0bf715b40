"""What openai, httpx, requests and aiohttp say of each fault: the error that each documents for it, or none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests
from tapes import ask

from stubserver import StubServer

TIMEOUT = 0.3
"""For what never comes; everything else is given as long as it takes."""
SILENT = {"black-hole", "stall,after-bytes=10", "stall,after-events=1", "delay=3600000"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    with StubServer(dummy_text="Hé, you") as started:
        yield started


def patience(fault: str) -> float:
    return TIMEOUT if fault in SILENT else 60.0


def openai_says(stub: StubServer, fault: str, stream: bool) -> str:  # noqa: FBT001  # a parameter
    """Ask by openai's client, reading a stream to its end; the name of what it raises, or ''."""
    headers = {"x-stubserver-fault": fault}
    with openai.OpenAI(
        base_url=stub.base_url, api_key="k", max_retries=0, timeout=patience(fault), default_headers=headers
    ) as client:
        try:
            found = client.chat.completions.create(**ask(), stream=stream)
            list(found) if stream else found.choices  # type: ignore[union-attr]  # noqa: B018  # read
        except Exception as error:  # noqa: BLE001  # whatever it is, its name is the point
            return type(error).__name__
    return ""


def httpx_says(stub: StubServer, fault: str, stream: bool) -> str:  # noqa: FBT001  # a parameter
    try:
        answer = httpx.post(
            f"{stub.base_url}/chat/completions",
            json=ask(stream=stream),
            headers={"x-stubserver-fault": fault},
            timeout=patience(fault),
            trust_env=False,
        )
        answer.raise_for_status()
        answer.text if stream else answer.json()  # noqa: B018  # read
    except Exception as error:  # noqa: BLE001  # see above
        return type(error).__name__
    return ""


def requests_says(stub: StubServer, fault: str, stream: bool) -> str:  # noqa: FBT001  # a parameter
    try:
        answer = requests.post(
            f"{stub.base_url}/chat/completions",
            json=ask(stream=stream),
            headers={"x-stubserver-fault": fault},
            timeout=patience(fault),
        )
        answer.raise_for_status()
        answer.text if stream else answer.json()  # noqa: B018  # read
    except Exception as error:  # noqa: BLE001  # see above
        return type(error).__name__
    return ""


def aiohttp_says(stub: StubServer, fault: str, stream: bool) -> str:  # noqa: FBT001  # a parameter
    async def asked() -> None:
        wait = aiohttp.ClientTimeout(total=patience(fault))
        async with (
            aiohttp.ClientSession(timeout=wait, raise_for_status=True) as session,
            session.post(
                f"{stub.base_url}/chat/completions", json=ask(stream=stream), headers={"x-stubserver-fault": fault}
            ) as answer,
        ):
            await answer.text()
            if not stream:
                await answer.json()

    try:
        asyncio.run(asked())
    except Exception as error:  # noqa: BLE001  # see above
        return type(error).__name__
    return ""


CLIENTS = (openai_says, httpx_says, requests_says, aiohttp_says)
CASES: list[tuple[str, bool, tuple[str, ...]]] = []


@pytest.mark.parametrize(("fault", "stream", "expected"), CASES, ids=lambda value: str(value)[:40])
def test_clients_say(stub: StubServer, fault: str, stream: bool, expected: tuple[str, ...]) -> None:  # noqa: FBT001  # a parameter
    assert tuple(says(stub, fault, stream) for says in CLIENTS) == expected
