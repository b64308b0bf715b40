"""The stub as its clients see it: the openai package, requests, httpx, aiohttp and curl, each over a socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pydantic
import pytest
import requests
from tapes import ask, chunks, completion, events, recorded, tape

from stubserver import StubServer
from stubserver.dummy import DEFAULT_TEXT

STREAM = events(*chunks({"role": "assistant", "content": ""}, {"content": "Str"}, {"content": "eamed."}))
PACKED = gzip.compress(json.dumps(completion("Packed.")).encode(), mtime=0)
LIMITED = {"error": {"message": "Slow down.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
NO_RETRY = {"x-should-retry": ["false"]}

RECORDED = [
    recorded(ask("whole"), completion("Whole.")),
    recorded(ask("stream", stream=True), STREAM),
    recorded(ask("packed"), PACKED, headers={"content-encoding": ["gzip"]}),
    recorded(ask("twice"), completion("One.")),
    recorded(ask("twice"), completion("Two.")),
    recorded(ask("limited"), LIMITED, status=429, headers=NO_RETRY),
    recorded(ask("again"), LIMITED, status=429, headers={"retry-after-ms": ["1"]}),
    recorded(ask("again"), completion("At last.")),
    recorded(None, {"object": "list", "data": []}, method="GET", path="/v1/models?limit=1"),
]

QUESTIONS = {"dummy": DEFAULT_TEXT, "whole": "Whole.", "packed": "Packed.", "stream": "Streamed."}
"""A question, and the answer it gets: the dummy's, or that of a recording."""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubServer]:
    """Serve the recordings, and the dummy for what is none."""
    with StubServer(tape(tmp_path / "chat.yaml", *RECORDED)) as running:
        yield running


@pytest.fixture
def strict_stub(tmp_path: Path) -> Iterator[StubServer]:
    """Serve the recordings, and an error for what is none."""
    with StubServer(tape(tmp_path / "chat.yaml", *RECORDED), fallback="error") as running:
        yield running


# --- every client, one question -----------------------------------------------------------------------------------

Client = Callable[[str, dict[str, Any]], str]
"""Sends a chat body to a base URL, and returns the text of the answer."""


def text_of(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


def text_of_lines(lines: list[str]) -> str:
    """Return the text that is in the lines of an event stream; it has to end as one does."""
    datas = [line.removeprefix("data: ") for line in lines if line]
    assert datas.pop() == "[DONE]"
    return "".join(c["delta"].get("content") or "" for data in datas for c in json.loads(data)["choices"])


def with_requests(base: str, body: dict[str, Any]) -> str:
    with requests.post(f"{base}/chat/completions", json=body, stream=bool(body.get("stream")), timeout=60) as response:
        response.raise_for_status()
        if body.get("stream"):
            return text_of_lines(list(response.iter_lines(decode_unicode=True)))
        return text_of(response.json())


def with_httpx(base: str, body: dict[str, Any]) -> str:
    with httpx.Client(timeout=60) as client, client.stream("POST", f"{base}/chat/completions", json=body) as response:
        response.raise_for_status()
        if body.get("stream"):
            return text_of_lines(list(response.iter_lines()))
        return text_of(json.loads(response.read()))


def with_aiohttp(base: str, body: dict[str, Any]) -> str:
    async def run() -> str:
        async with aiohttp.ClientSession() as session, session.post(f"{base}/chat/completions", json=body) as response:
            response.raise_for_status()
            if body.get("stream"):
                return text_of_lines([line.decode().rstrip("\n") async for line in response.content])
            return text_of(await response.json())

    return asyncio.run(run())


def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    assert program, "curl is not on this machine: install it (apt-get install curl), this test is about it"
    done = subprocess.run([program, "-sS", *arguments], capture_output=True, check=True, timeout=60)
    return done.stdout.decode()


def with_curl(base: str, body: dict[str, Any]) -> str:
    # curl -d says that it sends a form: the body is read for what it is.
    out = curl("--compressed", "-N", "-d", json.dumps(body), f"{base}/chat/completions")
    return text_of_lines(out.split("\n")) if body.get("stream") else text_of(json.loads(out))


def client_of(base: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-none", base_url=base, timeout=60, **options)


def with_openai(base: str, body: dict[str, Any], **options: Any) -> str:
    with client_of(base, **options) as client:
        answer: Any = client.chat.completions.create(**body)
        if body.get("stream"):
            return "".join(choice.delta.content or "" for chunk in answer for choice in chunk.choices)
        return str(answer.choices[0].message.content)


def with_openai_over_httpx(base: str, body: dict[str, Any]) -> str:
    """Use the client that openai used before its third version, whichever this one comes with."""
    return with_openai(base, body, http_client=httpx.Client())


def with_openai_strictly(base: str, body: dict[str, Any]) -> str:
    return with_openai(base, body, _strict_response_validation=True)


def with_async_openai(base: str, body: dict[str, Any]) -> str:
    async def run() -> str:
        async with openai.AsyncOpenAI(api_key="sk-none", base_url=base, timeout=60) as client:
            answer: Any = await client.chat.completions.create(**body)
            return await joined(answer) if body.get("stream") else str(answer.choices[0].message.content)

    return asyncio.run(run())


async def joined(stream: AsyncIterator[Any]) -> str:
    return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])


CLIENTS = [
    *(with_requests, with_httpx, with_aiohttp, with_curl),
    *(with_openai, with_openai_over_httpx, with_openai_strictly, with_async_openai),
]
every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)


@every_client
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_client_gets_every_answer_whole_and_streamed(
    stub: StubServer, client: Client, question: str, *, stream: bool
) -> None:
    body = ask(question, stream=True) if stream else ask(question)
    assert client(stub.base_url, body) == QUESTIONS[question]
    (entry,) = stub.journal
    assert entry.source == ("dummy" if question == "dummy" else "replayed")


@every_client
def test_every_client_hears_a_sequence_in_order_and_then_its_last(stub: StubServer, client: Client) -> None:
    assert [client(stub.base_url, ask("twice")) for _ in range(3)] == ["One.", "Two.", "Two."]


@every_client
def test_every_client_can_ask_one_named_cassette(stub: StubServer, client: Client) -> None:
    base = f"{stub.url}/__cassette/chat/v1"
    assert client(base, ask("twice")) == "One."
    assert client(stub.base_url, ask("twice")) == "One."


# --- the openai package -------------------------------------------------------------------------------------------


def test_openai_reads_the_dummys_completions_and_models(stub: StubServer) -> None:
    with client_of(stub.base_url, _strict_response_validation=True) as client:
        completed = client.completions.create(model="m", prompt=["a", "b"], n=2, max_tokens=5)
        assert [choice.text for choice in completed.choices] == ["This is dummy text content"] * 4
        assert [model.id for model in client.models.list()] == ["dummy-model"]
        assert client.models.retrieve("org/any-model").id == "org/any-model"


def test_openai_reads_a_stream_of_the_dummys_completions(stub: StubServer) -> None:
    with client_of(stub.base_url) as client:
        chunks = list(client.completions.create(model="m", prompt="a", max_tokens=100, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == DEFAULT_TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"


PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


class Place(pydantic.BaseModel):
    """What ``.parse`` reads an answer as."""

    city: str
    size: int = pydantic.Field(ge=7)


def test_openai_parses_the_dummys_json_as_a_model(stub: StubServer) -> None:
    with client_of(stub.base_url, _strict_response_validation=True) as client:
        parsed = client.chat.completions.parse(**ask("where?"), response_format=Place).choices[0].message.parsed
    assert parsed == Place(city="", size=7)


def test_openai_reads_the_dummys_call_of_a_tool_whole_and_streamed(stub: StubServer) -> None:
    function = {"name": "go", "parameters": PLACE, "strict": True}
    body = ask("where?", tools=[{"type": "function", "function": function}], tool_choice="required")
    with client_of(stub.base_url, _strict_response_validation=True) as client:
        (whole,) = client.chat.completions.create(**body).choices
        with client.chat.completions.stream(**body) as stream:
            (streamed,) = stream.get_final_completion().choices
    for choice in (whole, streamed):
        assert choice.finish_reason == "tool_calls"
        (call,) = choice.message.tool_calls or ()
        assert call.function.name == "go"
        assert len(json.loads(call.function.arguments)["city"]) == 1


def test_openai_reads_usage_from_an_answer_and_from_a_stream(stub: StubServer) -> None:
    body = ask("dummy", stream=True, stream_options={"include_usage": True})
    with client_of(stub.base_url, _strict_response_validation=True) as client:
        *_, last = list(client.chat.completions.create(**body))
        assert last.usage is not None
        assert last.usage.prompt_tokens == len(str(body)) // 4
        whole = client.chat.completions.create(**ask("dummy", max_tokens=7))
        assert whole.usage is not None
        assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (7, "length")


def test_openai_sees_where_an_answer_came_from(stub: StubServer) -> None:
    with client_of(stub.base_url) as client:
        raw = client.chat.completions.with_raw_response.create(**ask("whole"))
    assert raw.headers["x-stubserver-source"] == "replayed"
    assert raw.headers["x-stubserver-cassette"].endswith("chat.yaml#1")
    assert raw.headers["x-request-id"] == "req_1"


def error_of(base: str, body: dict[str, Any]) -> openai.APIStatusError:
    with client_of(base) as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**body)
    return caught.value


def async_error_of(base: str, body: dict[str, Any]) -> openai.APIStatusError:
    async def run() -> openai.APIStatusError:
        async with openai.AsyncOpenAI(api_key="sk-none", base_url=base, timeout=60) as client:
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(**body)
            return caught.value

    return asyncio.run(run())


@pytest.mark.parametrize("error_from", [error_of, async_error_of])
@pytest.mark.parametrize("stream", [False, True])
def test_a_miss_is_not_found_and_is_not_retried(
    strict_stub: StubServer, error_from: Callable[[str, dict[str, Any]], openai.APIStatusError], *, stream: bool
) -> None:
    error = error_from(strict_stub.base_url, ask("whole, but not quite", stream=stream))
    assert isinstance(error, openai.NotFoundError)
    assert error.code == "no_recording"
    assert "messages[0].content" in error.message
    assert isinstance(error.body, dict)
    assert error.body["near_misses"][0]["differences"]
    assert len(strict_stub.journal) == 1


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_miss_is_not_retried_whatever_its_status(tmp_path: Path, status: int) -> None:
    with StubServer(tape(tmp_path / "a.yaml"), fallback="error", error_status=status) as stub:
        assert error_of(stub.base_url, ask()).status_code == status
        assert len(stub.journal) == 1


def test_a_recorded_error_is_the_clients_exception(stub: StubServer) -> None:
    error = error_of(stub.base_url, ask("limited"))
    assert isinstance(error, openai.RateLimitError)
    assert error.code == "rate_limit_exceeded"
    assert len(stub.journal) == 1


def test_a_recorded_error_is_retried_as_it_was(stub: StubServer) -> None:
    with client_of(stub.base_url) as client:
        assert client.chat.completions.create(**ask("again")).choices[0].message.content == "At last."
    assert [entry.response.status for entry in stub.journal] == [429, 200]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "Invalid 'messages': empty array"),
        (ask(temperature=99), "Invalid 'temperature': decimal above maximum value"),
        (ask(n=0), "Invalid 'n': integer below minimum value"),
        (ask(max_tokens="5"), "Invalid type for 'max_tokens': expected an integer, but got a string instead."),
    ],
)
def test_the_dummys_refusals_are_bad_requests_to_the_client(
    stub: StubServer, body: dict[str, Any], message: str
) -> None:
    error = error_of(stub.base_url, {"model": "m", **body})
    assert isinstance(error, openai.BadRequestError)
    assert message in error.message
    assert error.type == "invalid_request_error"
    assert len(stub.journal) == 1


def test_many_requests_at_once_each_get_their_own_answer(stub: StubServer) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(api_key="sk-none", base_url=stub.base_url, timeout=60) as client:
            asked = [client.chat.completions.create(**ask(["whole", "packed", "dummy"][i % 3])) for i in range(60)]
            return [str(answer.choices[0].message.content) for answer in await asyncio.gather(*asked)]

    assert asyncio.run(run()) == ["Whole.", "Packed.", DEFAULT_TEXT] * 20
    assert stub.journal.total == 60


# --- the other clients --------------------------------------------------------------------------------------------


def test_one_connection_serves_many_requests(stub: StubServer) -> None:
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(3):
            response = session.get(f"{stub.base_url}/models", timeout=60)
            assert response.json()["data"][0]["id"] == "dummy-model"
            assert response.headers["Content-Length"] == str(len(response.content))
        assert "Connection" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/nope", 404, None),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/models", 405, "GET, HEAD"),
        ("GET", "/health", 200, None),
        ("OPTIONS", "/v1/models", 204, "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_paths_and_methods(stub: StubServer, method: str, path: str, status: int, allow: str | None) -> None:
    response = requests.request(method, f"{stub.url}{path}", timeout=60)
    assert response.status_code == status
    assert response.headers.get("Allow") == allow
    if status in {404, 405}:
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_head_has_the_headers_of_get_and_no_body(stub: StubServer) -> None:
    head, got = (requests.request(method, f"{stub.base_url}/models", timeout=60) for method in ("HEAD", "GET"))
    assert head.headers == got.headers
    assert head.content == b""
    assert got.content


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip", "gzip"), ("identity", None), ("gzip;q=0", None)])
def test_a_packed_answer_is_packed_for_those_who_take_it(stub: StubServer, accepted: str, encoding: str | None) -> None:
    with httpx.Client() as client:
        response = client.post(
            f"{stub.base_url}/chat/completions", json=ask("packed"), headers={"Accept-Encoding": accepted}
        )
    assert response.headers.get("content-encoding") == encoding
    assert text_of(response.json()) == "Packed."


def test_a_query_is_part_of_what_is_asked(strict_stub: StubServer) -> None:
    with httpx.Client() as client:
        assert client.get(f"{strict_stub.base_url}/models?limit=1").json() == {"object": "list", "data": []}
        assert client.get(f"{strict_stub.base_url}/models?limit=2").status_code == 404


def test_curl_shows_the_headers_of_a_miss(strict_stub: StubServer) -> None:
    out = curl(
        "-i",
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(ask("x")),
        f"{strict_stub.base_url}/chat/completions",
    )
    head, body = out.split("\r\n\r\n", 1)
    assert head.splitlines()[0] == "HTTP/1.1 404 Not Found"
    assert {"x-should-retry: false", "x-stubserver-source: unmatched"} <= set(head.splitlines())
    assert json.loads(body)["error"]["code"] == "no_recording"


def test_curl_gets_a_stream_as_events_one_for_each_chunk(stub: StubServer) -> None:
    out = curl("-N", "--raw", "-d", json.dumps(ask("stream", stream=True)), f"{stub.base_url}/chat/completions")
    pieces = [f"{len(event.encode()):x}\r\n{event}\r\n" for event in (f"{e}\n\n" for e in STREAM.split("\n\n") if e)]
    assert out == "".join(pieces) + "0\r\n\r\n"


def test_curl_over_http_1_0_is_answered_whole(stub: StubServer) -> None:
    out = curl("--http1.0", "-i", "-d", json.dumps(ask("whole")), f"{stub.base_url}/chat/completions")
    head, body = out.split("\r\n\r\n", 1)
    assert "transfer-encoding" not in head.lower()
    assert text_of(json.loads(body)) == "Whole."


def test_what_was_not_asked_for_is_known(stub: StubServer) -> None:
    assert len(stub.unplayed) == len(RECORDED)
    with_requests(stub.base_url, ask("whole"))
    with_requests(stub.base_url, ask("twice"))
    assert [label.rpartition("#")[2] for label in stub.unplayed] == ["2", "3", "5", "6", "7", "8", "9"]
