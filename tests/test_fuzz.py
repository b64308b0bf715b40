"""Nearly right inputs, by the hundred here and by the 20 000 in ``make fuzz``: no crash, no hang, no 5xx, no growth."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from cassette_texts import LANGCHAIN, UNICODE, WHOLE, in_json, indented
from fuzzing import fuzz
from raw import GET, Raw, chat, post

from stubserver import StubServer, known
from stubserver.canonical import Rules
from stubserver.cassettes.library import Library
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.writer import item_text
from stubserver.errors import CassetteError
from stubserver.folding import folded, unfolded
from stubserver.interchange import Carried, Lost, formats
from stubserver.keeper import storable
from stubserver.keeping import why_not
from stubserver.messages import Response
from stubserver.scrubbing import Scrubber
from stubserver.sse import data_of, split

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data" / "interchange"
SSE = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(autouse=True)
def _soon_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is remembered of requests reach its bound early, so that growth beyond it is seen."""
    monkeypatch.setattr(known, "_KNOWN_BYTES", 2_000_000)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer(ROOT / "cassettes" / "local-model" / "chat.yaml") as stub:
        yield stub


CHUNKED = (
    b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\nX: y\r\n\r\n'
)
REQUESTS = (
    GET,
    chat("hello"),
    chat("hello", stream=True, stream_options={"include_usage": True}),
    chat("hello", n=2, stop=["a"], logprobs=True, top_logprobs=2, max_tokens=5, seed=1, user="me"),
    chat(
        "hello",
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        tool_choice="required",
    ),
    chat(
        "hello",
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "x",
                "schema": {
                    "type": "object",
                    "properties": {"a": {"pattern": "^a+$", "type": "string"}},
                    "required": ["a"],
                },
            },
        },
    ),
    post(b'{"model":"m","prompt":["a","b"],"echo":true}', "Content-Type: application/json", target="/v1/completions"),
    post(b'{"model":"m","input":["a","b"],"dimensions":3}', "Content-Type: application/json", target="/v1/embeddings"),
    post(b'{"model":"m","input":"hi","stream":true}', "Content-Type: application/json", target="/v1/responses"),
    CHUNKED,
    b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"GET http://a/v1/models?x=%20&y HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET,
    b"HEAD /__cassette/chat/v1/models HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close, TE\r\n\r\n",
)


def test_requests(stub: StubServer) -> None:
    host, port = stub.url.removeprefix("http://").split(":")

    def check(data: bytes) -> None:
        with Raw((host, int(port))) as client:
            with suppress(OSError):  # it was refused before all of it was sent
                client.send(data).half_close()
            statuses = [int(status) for status in _STATUS.findall(client.rest())]
        # That HTTP/3.1 is not spoken here is all that a server's error may say.
        assert [status for status in statuses if status >= 500 and status != 505] == []

    fuzz("requests", REQUESTS, check)
    with Raw((host, int(port))) as client:
        assert client.ask(GET)[0] == 200
    assert threading.active_count() < 50


CASSETTES = tuple(text.encode() for text in (WHOLE, UNICODE, LANGCHAIN, in_json(), indented(WHOLE))) + tuple(
    path.read_bytes() for path in sorted((ROOT / "cassettes" / "local-model").glob("*.yaml"))
)


def test_cassettes(tmp_path: Path) -> None:
    path, rules = tmp_path / "tape.yaml", Rules()

    def check(text: bytes) -> None:
        path.write_bytes(text)
        try:
            file = read_file(path, "tape.yaml", "tape", rules)
        except CassetteError:
            return
        for recording in file.recordings:
            try:
                recording.interaction()
            except CassetteError:
                continue

    fuzz("cassettes", CASSETTES, check)


def _bodies(*, events: bool) -> tuple[bytes, ...]:
    recordings = Library([ROOT / "cassettes"]).playlist.recordings
    answers = [recording.interaction().response for recording in recordings]
    return tuple(answer.body for answer in answers if answer.events is events)


def test_event_streams() -> None:
    def check(body: bytes) -> None:
        events = split(body)
        assert b"".join(events) == body
        for event in events:
            data_of(event)
        why_not(200, SSE, body)
        assert folded(Response(200, SSE, body, events=True)).status == 200

    fuzz("event streams", _bodies(events=True), check)


def test_answers_as_streams() -> None:
    def check(body: bytes) -> None:
        why_not(200, JSON, body)
        assert unfolded(Response(200, JSON, body), usage=True).status == 200

    fuzz("answers", _bodies(events=False), check)


CALLS = (
    b"GET /requests?source=dummy&limit=2&offset=0&since=1 {}",
    b"GET /requests/1 {}",
    b"DELETE /requests/1 {}",
    b"GET /interactions?q=paris&file=chat&played=false {}",
    b"GET /interactions/chat.yaml#1 {}",
    b"GET /interactions/unplayed {}",
    b"GET /cassettes {}",
    b"GET /cassettes/chat/file {}",
    b"GET /static/page.js {}",
    b"POST /reset {}",
    b"GET /settings {}",
    b'PUT /settings {"drift": "allow", "on_exhausted": "cycle", "fallback": "error", "dummy_text": "x"}',
    b'PUT /settings {"pace": {"first_token_ms": 1}, "error_status": 404, "ignore": ["seed"]}',
    b'POST /requests/count {"method": "POST", "path": "/v1/chat/completions", "body": {"contains": "a"}}',
    b'POST /requests/find {"method": "POST", "q": "a", "limit": 1}',
    b'PUT /verdict {"a": [1, {"b": null}]}',
)


# What a client asks of the API, as the calls are written.
ASKED = tuple(
    b"POST %b %b" % (head.split()[1], body)
    for head, _, body in (request.partition(b"\r\n\r\n") for request in REQUESTS)
    if b"Content-Length" in head and body
)


@pytest.mark.parametrize(("seeds", "prefix"), [(CALLS, "/__admin"), (ASKED, "")], ids=["admin", "api"])
def test_calls(seeds: tuple[bytes, ...], prefix: str) -> None:
    """A call is a method, a target and a body; each may be wrong, the HTTP around them is right."""
    with StubServer(ROOT / "cassettes" / "local-model" / "chat.yaml") as stub:
        host, port = stub.url.removeprefix("http://").split(":")
        client = http.client.HTTPConnection(host, int(port), timeout=60)

        def check(text: bytes) -> None:
            method, _, rest = text.decode("latin-1").partition(" ")
            target, _, body = rest.partition(" ")
            if target.startswith("/events"):
                return  # that one answers for as long as one listens
            name = method if method in {"GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"} else "POST"
            path = prefix + quote(f"/{target.removeprefix('/')}", safe="/?&=#%")
            client.request(name, path, body.encode("latin-1"), {"content-type": "application/json"})
            answer = client.getresponse()
            content = answer.read()
            assert answer.status < 500, (answer.status, content[:300])
            if answer.getheader("content-type") == "application/json" and name != "HEAD":
                json.loads(content)

        fuzz(f"calls of {prefix or 'the API'}", seeds, check)
        client.close()


@pytest.mark.parametrize("name", formats.NAMES)
def test_files_of_other_tools(tmp_path: Path, name: str) -> None:
    path, scrubber, seeds = tmp_path / "file", Scrubber(), _samples(name)

    def check(text: bytes) -> None:
        path.write_bytes(text)
        for found in formats.read(
            [path, DATA / "batch" / "input.jsonl"] if name == "batch" else [path], "https://a.test", name
        ):
            assert isinstance(found, (Carried, Lost))
            if isinstance(found, Carried) and not isinstance(kept := storable(found.interaction, scrubber), str):
                try:
                    item_text(kept)
                except ValueError:
                    continue  # what YAML cannot hold is lost, and said to be

    fuzz(f"files of {name}", seeds, check)


def _samples(name: str) -> tuple[bytes, ...]:
    """Return small files of a format: what other tools wrote, and what we write ourselves."""
    if name == "jsonl":
        row = {"request": {"method": "POST", "uri": "http://a/x", "headers": [["a", "b"]], "body": "{}"}}
        return (json.dumps({**row, "response": {"status": 200, "body_base64": "AA==", "times": [1]}}).encode() + b"\n",)
    places = {
        "wiremock": "wiremock/mappings/*.json",
        "aimock": "aimock/*.json",
        "hoverfly": "hoverfly*.json",
        "batch": "batch/output.jsonl",
    }
    files = sorted(DATA.glob(places.get(name, f"mitmproxy.{'har' if name == 'har' else 'flows'}")))
    # Of what is long, the beginning: it is cut within a flow or an entry, as a file may be.
    return tuple(file.read_bytes()[:12_000] for file in files)


def test_an_input_is_made_again_from_its_number() -> None:
    from fuzzing import mutated  # noqa: PLC0415  # what is tested here

    made = [mutated(REQUESTS, "x", number) for number in range(100)]

    assert made == [mutated(REQUESTS, "x", number) for number in range(100)]
    assert len(set(made)) > 90
