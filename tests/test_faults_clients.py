"""What openai, httpx, requests and aiohttp say of each fault: the error that each documents for it, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import httpx
import openai
import pytest
import requests
from tapes import ask

from stubserver import StubServer

TIMEOUT = 0.5
"""For what never comes; everything else is given as long as it takes."""
SILENT = {"black-hole", "stall,after-bytes=10", "stall,after-events=1", "delay=3600000"}


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
            list(found) if stream else found.choices  # type: ignore[union-attr]  # read
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
        answer.text if stream else answer.json()  # read
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
        answer.text if stream else answer.json()  # read
    except Exception as error:  # noqa: BLE001  # see above
        return type(error).__name__
    return ""


def aiohttp_says(stub: StubServer, fault: str, stream: bool) -> str:  # noqa: FBT001  # a parameter
    async def asked() -> None:
        # aiohttp 3.14 now and then waits for ever behind a bad chunk that comes by itself.
        wait = aiohttp.ClientTimeout(total=5.0 if fault == "bad-chunk" else patience(fault))
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
# The fault, whether a stream is asked for, and what each of them raises; nothing where it takes the answer.
CASES = [
    ("delay=1", False, ("", "", "", "")),
    ("black-hole", False, ("APITimeoutError", "ReadTimeout", "ReadTimeout", "TimeoutError")),
    ("429", False, ("RateLimitError", "HTTPStatusError", "HTTPError", "ClientResponseError")),
    ("500", False, ("InternalServerError", "HTTPStatusError", "HTTPError", "ClientResponseError")),
    ("503", False, ("InternalServerError", "HTTPStatusError", "HTTPError", "ClientResponseError")),
    ("quota", False, ("RateLimitError", "HTTPStatusError", "HTTPError", "ClientResponseError")),
    ("context-length", False, ("BadRequestError", "HTTPStatusError", "HTTPError", "ClientResponseError")),
    ("bad-key", False, ("AuthenticationError", "HTTPStatusError", "HTTPError", "ClientResponseError")),
    ("html", False, ("AttributeError", "JSONDecodeError", "JSONDecodeError", "ContentTypeError")),
    ("empty", False, ("JSONDecodeError", "JSONDecodeError", "JSONDecodeError", "")),
    ("garbage=64", False, ("APIConnectionError", "RemoteProtocolError", "ConnectionError", "ClientResponseError")),
    ("reset", False, ("APIConnectionError", "ReadError", "ConnectionError", "ClientOSError")),
    ("close", False, ("APIConnectionError", "RemoteProtocolError", "ConnectionError", "ServerDisconnectedError")),
    ("reset,in-head", False, ("APIConnectionError", "ReadError", "ConnectionError", "ClientOSError")),
    (
        "close,in-head",
        False,
        ("APIConnectionError", "RemoteProtocolError", "JSONDecodeError", "ServerDisconnectedError"),
    ),
    ("reset,after-bytes=10", False, ("APIConnectionError", "ReadError", "ChunkedEncodingError", "ClientPayloadError")),
    (
        "close,after-bytes=10",
        False,
        ("APIConnectionError", "RemoteProtocolError", "ChunkedEncodingError", "ClientPayloadError"),
    ),
    (
        "length-long=10",
        False,
        ("APIConnectionError", "RemoteProtocolError", "ChunkedEncodingError", "ClientPayloadError"),
    ),
    # aiohttp sees that there is more than was stated, unless it is through with the answer before it reads that.
    (
        "length-short=10",
        False,
        ("JSONDecodeError", "JSONDecodeError", "JSONDecodeError", "ClientResponseError|JSONDecodeError"),
    ),
    (
        "no-last-chunk",
        False,
        ("APIConnectionError", "RemoteProtocolError", "ChunkedEncodingError", "ClientPayloadError"),
    ),
    (
        "bad-chunk",
        False,
        ("APIConnectionError", "RemoteProtocolError", "ChunkedEncodingError", "ClientResponseError|TimeoutError"),
    ),
    ("content-type=text/plain", False, ("", "", "", "ContentTypeError")),
    ("bad-json", False, ("JSONDecodeError", "JSONDecodeError", "JSONDecodeError", "JSONDecodeError")),
    ("html", True, ("", "", "", "")),
    ("empty", True, ("", "", "", "")),
    ("close,in-head", True, ("APIConnectionError", "RemoteProtocolError", "", "ServerDisconnectedError")),
    ("reset,after-bytes=10", True, ("APIConnectionError", "ReadError", "ChunkedEncodingError", "ClientPayloadError")),
    (
        "close,after-bytes=10",
        True,
        ("APIConnectionError", "RemoteProtocolError", "ChunkedEncodingError", "ClientPayloadError"),
    ),
    ("length-long=10", True, ("", "RemoteProtocolError", "ChunkedEncodingError", "ClientPayloadError")),
    ("length-short=10", True, ("", "", "", "ClientResponseError|")),
    ("no-last-chunk", True, ("", "RemoteProtocolError", "ChunkedEncodingError", "ClientPayloadError")),
    ("bad-chunk", True, ("", "RemoteProtocolError", "ChunkedEncodingError", "ClientResponseError|TimeoutError")),
    ("content-type=text/plain", True, ("", "", "", "")),
    ("event-delay=1", True, ("", "", "", "")),
    ("bandwidth=100000", True, ("", "", "", "")),
    ("truncate=2", True, ("", "", "", "")),
    ("no-done", True, ("", "", "", "")),
    ("no-finish", True, ("", "", "", "")),
    ("bad-event=2", True, ("JSONDecodeError", "", "", "")),
    ("error-event=2", True, ("APIError", "", "", "")),
    ("repeat-event=2", True, ("", "", "", "")),
    ("swap-events=2", True, ("", "", "", "")),
    ("split-utf8", True, ("", "", "", "")),
    ("comments", True, ("", "", "", "")),
    ("crlf", True, ("", "", "", "")),
    ("reset,after-events=2", True, ("APIConnectionError", "ReadError", "ChunkedEncodingError", "ClientPayloadError")),
    (
        "close,after-events=2",
        True,
        ("APIConnectionError", "RemoteProtocolError", "ChunkedEncodingError", "ClientPayloadError"),
    ),
    ("stall,after-events=1", True, ("APITimeoutError", "ReadTimeout", "ConnectionError", "TimeoutError")),
    ("reset,after-ms=5", True, ("APIConnectionError", "ReadError", "ChunkedEncodingError", "ClientPayloadError")),
]


@pytest.mark.parametrize(
    ("fault", "stream", "expected"), CASES, ids=[f"{f}-{'stream' if s else 'whole'}" for f, s, _ in CASES]
)
def test_clients_say(stub: StubServer, fault: str, stream: bool, expected: tuple[str, ...]) -> None:  # noqa: FBT001
    found = [says(stub, fault, stream) for says in CLIENTS]

    assert all(said in allowed.split("|") for said, allowed in zip(found, expected, strict=True)), found
