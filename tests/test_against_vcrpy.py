"""vcrpy is the judge: what it plays for a cassette's requests, in recorded order, is what goes out over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import http.client
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
import requests
import vcr
from tapes import CHAT, ask, chunks, completion, events
from vcr.cassette import Cassette
from vcr.persisters.filesystem import FilesystemPersister
from vcr.request import Request as VcrRequest
from vcr.serializers import jsonserializer, yamlserializer

import stubserver
from stubserver.app import App
from stubserver.canonical import Rules
from stubserver.cassettes.library import Library
from stubserver.messages import Request, header

ROOT = Path(__file__).resolve().parent.parent
MATCH_ON = ("method", "path", "query")
CORPUS = os.environ.get("STUBSERVER_CORPUS", "")
# RFC 9110, section 7.6.1, and the framing, which is the server's own.
NOT_END_TO_END = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade", "content-length", "content-encoding"),
}


class Outcome(NamedTuple):
    """What a client gets. Names of headers are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def serializer_of(path: Path) -> Any:
    return jsonserializer if path.suffix == ".json" else yamlserializer


def judge(path: Path) -> Cassette:
    """Load a cassette with vcrpy."""
    matchers = [getattr(vcr.matchers, name) for name in MATCH_ON]
    return Cassette.load(path=str(path), serializer=serializer_of(path), match_on=matchers, record_mode="none")


def plain_of(body: bytes, encoding: str) -> bytes | None:
    """Undo an encoding as clients do, who do not mind a missing end; None when the bytes do not have it."""
    wbits = {"gzip": 31, "deflate": 15}.get(encoding)
    try:
        return zlib.decompressobj(wbits).decompress(body) or None if wbits else None
    except zlib.error:
        return None


def outcome_of(response: dict[str, Any], *, accepts: bool) -> Outcome:
    """Say what a client gets for a response of vcrpy's; *accepts*: it takes compressed bodies."""
    status = response["status_code"] if "status_code" in response else response["status"]["code"]
    body = response["content"] if "content" in response else response["body"].get("string", b"")
    body = body.encode() if isinstance(body, str) else body
    pairs = [(n.lower(), v) for n, vs in response["headers"].items() for v in (vs if isinstance(vs, list) else [vs])]
    encoding = dict(reversed(pairs)).get("content-encoding", "")
    dropped = {name.strip().lower() for n, v in pairs if n == "connection" for name in v.split(",")} | NOT_END_TO_END
    headers = [(name, value) for name, value in pairs if name not in dropped]
    plain = plain_of(body, encoding)
    if plain is not None and accepts:
        return Outcome(status, [*headers, ("content-encoding", encoding)], body)
    if plain is None and encoding in {"br", "zstd"} and not body.isascii():
        headers = [*headers, ("content-encoding", encoding)]  # cannot be decoded here
    return Outcome(status, headers, body if plain is None else plain)


def target_of(uri: str) -> str:
    parts = urlsplit(uri)
    path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
    return f"{path}?{parts.query}" if parts.query else path


def body_of(recorded: VcrRequest) -> bytes:
    body = recorded.body
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    body = b"" if body is None else body
    return body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else b"".join(body)


def played_by_app(path: Path, asked: list[VcrRequest], *, accepts: bool) -> Iterator[Outcome]:
    """Ask the app for every request, in order."""
    app = App(Library([path], Rules(MATCH_ON)), fallback="error")
    headers = (("Accept-Encoding", "gzip, deflate"),) if accepts else ()
    for recorded in asked:
        request = Request(recorded.method.upper(), target_of(recorded.uri), headers, body_of(recorded))
        response = app.answer(app.prepare(request)).response
        ours = [(n.lower(), v) for n, v in response.headers if not n.lower().startswith("x-stubserver-")]
        yield Outcome(response.status, ours, response.body)


def differences(path: Path) -> list[str]:
    """Compare what the app plays with what vcrpy plays, for every request of a cassette."""
    found = []
    for accepts in (False, True):
        cassette = judge(path)
        ours = played_by_app(path, cassette.requests, accepts=accepts)
        for number, (recorded, got) in enumerate(zip(cassette.requests, ours, strict=True), 1):
            wanted = outcome_of(cassette.play_response(recorded), accepts=accepts)
            if got != wanted:
                found.append(f"{path.name}#{number}: {got} instead of {wanted}")
    return found


def encoded(kind: str, body: bytes) -> tuple[dict[str, str], bytes]:
    packed = gzip.compress(body) if kind == "gzip" else zlib.compress(body)
    return {"Content-Type": "application/json", "Content-Encoding": kind}, packed


ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/json": (200, {"Content-Type": "application/json"}, json.dumps(completion("It's “quoted”\n"), indent=2).encode()),
    "/gzip": (200, *encoded("gzip", json.dumps(completion("packed " * 99)).encode())),
    "/deflate": (200, *encoded("deflate", json.dumps(completion("packed " * 99)).encode())),
    "/events": (200, {"Content-Type": "text/event-stream"}, events(*chunks({"content": "\u2713"})).encode()),
    "/slow": (429, {"Content-Type": "application/json", "Retry-After": "1"}, b'{"error": {"code": "rate_limit"}}'),
    "/empty": (204, {"X-Empty": "yes"}, b""),
    "/binary": (200, {"Content-Type": "audio/mpeg", "ETag": 'W/"1"'}, bytes(range(256)) * 3),
    "/lines": (200, {"Content-Type": "application/x-ndjson", "X-Odd": "- a: b #c"}, b'{"a": 1}\r\n\n  {"b": 2}\n\n'),
}


class Upstream(BaseHTTPRequestHandler):
    """An API that is there to be recorded; a repeated request gets another answer."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        self.read_body()
        type(self).asked += 1
        status, headers, body = ANSWERS.get(urlsplit(self.path).path, (404, {}, f"none {self.asked}".encode()))
        self.send_response(status)
        for name, value in [*headers.items(), ("Set-Cookie", "a=1"), ("Set-Cookie", f"b={self.asked}")]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815  # BaseHTTPRequestHandler's

    def read_body(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # BaseHTTPRequestHandler's
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


ASKED: list[tuple[str, str, Any]] = [
    *(("GET", path, None) for path in ANSWERS),
    ("POST", "/again", ask("one")),
    ("POST", "/again", ask("two")),
    ("PUT", "/again", ask("one")),
    ("POST", "/again?b=2&a=1", ask("one")),
    ("POST", "/again", ask("one")),
]


def ask_by_requests(base: str, asked: list[Any]) -> None:
    with requests.Session() as session:
        for method, target, body in asked:
            session.request(method, base + target, json=body, timeout=10)
        session.post(f"{base}/again", data=(chunk for chunk in (b"in ", b"chunks")), timeout=10)
        session.post(f"{base}/again", files={"file": ("a.wav", b"RIFF\xff\x00")}, timeout=10)


def ask_by_httpx(base: str, asked: list[Any]) -> None:
    with httpx.Client() as client:
        for method, target, body in asked:
            client.request(method, base + target, json=body)


def ask_by_aiohttp(base: str, asked: list[Any]) -> None:
    async def asking() -> None:
        async with aiohttp.ClientSession() as session:
            for method, target, body in asked:
                async with session.request(method, base + target, json=body) as response:
                    await response.read()

    asyncio.run(asking())


CLIENTS = {"requests": ask_by_requests, "httpx": ask_by_httpx, "aiohttp": ask_by_aiohttp}


@pytest.fixture(scope="module", params=CLIENTS)
def recorded_by(request: pytest.FixtureRequest, upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cassette that vcrpy made of a client's traffic."""
    path: Path = tmp_path_factory.mktemp("recorded") / f"{request.param}.yaml"
    with vcr.VCR(record_mode="all").use_cassette(str(path)):
        CLIENTS[request.param](upstream, ASKED)
    return path


def test_what_vcrpy_records_is_played_as_it_plays_it(recorded_by: Path) -> None:
    assert len(judge(recorded_by)) >= len(ASKED)
    assert differences(recorded_by) == []


def test_text_recorded_as_json_is_played_as_vcrpy_plays_it(upstream: str, tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    with vcr.VCR(record_mode="all", serializer="json").use_cassette(str(path)):
        ask_by_httpx(upstream, [asked for asked in ASKED if asked[1] not in {"/binary", "/gzip", "/deflate"}])
    assert len(judge(path)) == len(ASKED) - 3
    assert differences(path) == []


def over_sockets(url: str, asked: list[VcrRequest], *, accepts: bool) -> Iterator[tuple[Outcome, str]]:
    """Ask the server for every request over one connection; with the reasons."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    headers = {"Accept-Encoding": "gzip, deflate" if accepts else "identity"}
    for recorded in asked:
        connection.request(recorded.method, target_of(recorded.uri), body_of(recorded), headers)
        response = connection.getresponse()
        body = response.read()
        ours = [(n.lower(), v) for n, v in response.getheaders() if not n.lower().startswith("x-stubserver-")]
        framing = {"content-length", "transfer-encoding", "connection", "keep-alive"}
        yield Outcome(response.status, [pair for pair in ours if pair[0] not in framing], body), response.reason
    connection.close()


@pytest.mark.parametrize("accepts", [False, True])
def test_what_vcrpy_records_goes_over_the_wire_as_it_plays_it(recorded_by: Path, accepts: bool) -> None:  # noqa: FBT001
    cassette = judge(recorded_by)
    with stubserver.StubServer(recorded_by, fallback="error", match_on=MATCH_ON) as stub:
        for recorded, (got, reason) in zip(
            cassette.requests, over_sockets(stub.url, cassette.requests, accepts=accepts), strict=True
        ):
            response = cassette.play_response(recorded)
            assert got == outcome_of(response, accepts=accepts)
            assert reason == response["status"]["message"]
        assert stub.unplayed == []


def serialized(path: Path, *items: tuple[Any, Any]) -> Path:
    """Save interactions with vcrpy."""
    asked = [VcrRequest(*item[0]) for item in items]
    FilesystemPersister.save_cassette(
        path, {"requests": asked, "responses": [item[1] for item in items]}, serializer_of(path)
    )
    return path


def answer(body: Any, code: int = 200, message: str | None = "OK", **headers: list[str]) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"status": {"code": code, "message": message}, "headers": named, "body": {"string": body}}


URI = f"https://api.openai.com{CHAT}"
SHARED = {"content-type": ["application/json"], "x-list": ["a", "b"]}
ITEMS: dict[str, tuple[Any, Any]] = {
    "no body": (("GET", URI, None, {}), answer(b"{}")),
    "lower-case method": (("post", URI, b"{}", {}), answer(b"{}")),
    "no reason": (("GET", URI, None, {}), answer(b"{}", message=None)),
    "no path": (("GET", "https://api.openai.com", None, {}), answer(b"{}")),
    "two slashes": (
        ("POST", "https://x.azure.com//openai/deployments/d/chat/completions?api-version=1", b"{}", {}),
        answer(b""),
    ),
    "port and user": (("POST", "http://user:pass@localhost:8080/v1/x?a=%20b&a=+", b"{}", {}), answer(b"{}")),
    "escaped path": (("GET", "https://a/v1/models/a%2Fb%20c", None, {}), answer(b"{}")),
    "stale encoding": (
        ("GET", URI, None, {}),
        answer(b'{"plain": 1}', content_encoding=["gzip"], content_length=["99"]),
    ),
    "real encoding": (("GET", URI, None, {}), answer(gzip.compress(b"packed"), Content_Encoding=["gzip"])),
    "cut encoding": (("GET", URI, None, {}), answer(gzip.compress(b"packed")[:-4], content_encoding=["gzip"])),
    "brotli as text": (("GET", URI, None, {}), answer(b"text", content_encoding=["br"])),
    "connection": (
        ("GET", URI, None, {}),
        answer(b"", Connection=["x-hop, close"], x_hop=["1"], transfer_encoding=["chunked"]),
    ),
    "control characters": (("POST", URI, b"\x00\x1b\x7f", {}), answer("\x00\x85\u2028\ufeff \n\n".encode())),
    "folded": (("POST", URI, b"it's plain " * 40, {}), answer(b"  two  spaces\n\n \ttabs\t\n" * 20)),
    "JSON in JSON": (
        ("POST", URI, b'{"a": "\\\\\\"x\\n"}', {}),
        answer(b'{"arguments": "{\\"a\\": \\"C:\\\\\\\\\\"}"}' * 9),
    ),
    "dict body": (("POST", URI, {"model": "m", "messages": [{"a": None}]}, {}), answer(b"{}")),
    "bytes in parts": (("POST", URI, iter([b"a", b"b"]), {}), answer(b"{}")),
    "not UTF-8": (("POST", URI, b"\xff\xfe", {}), answer(b"\x80")),
    "shared lists": (("POST", URI, b"1", SHARED), {**answer(b"1"), "headers": SHARED}),
    "shared lists again": (("POST", URI, b"2", SHARED), {**answer(b"2"), "headers": SHARED}),
}


@pytest.mark.parametrize("name", ITEMS)
def test_what_vcrpy_saves_is_played_as_it_plays_it(tmp_path: Path, name: str) -> None:
    path = serialized(tmp_path / "tape.yaml", ITEMS[name])
    assert differences(path) == []


def test_many_items_of_one_cassette_are_played_in_order(tmp_path: Path) -> None:
    numbered = [
        (item[0], {**item[1], "headers": {**item[1]["headers"], "x-n": [str(n)]}})
        for n, item in enumerate(ITEMS.values())
    ]
    once = [item for item in numbered if not hasattr(item[0][2], "__next__")]
    path = serialized(tmp_path / "tape.yaml", *once, *once)
    assert len(judge(path)) == 2 * len(once)
    assert differences(path) == []


def playable(path: Path) -> bool:
    """Tell whether vcrpy itself can load a file, and its stubs can play what is in it."""
    try:
        _, responses, *_ = FilesystemPersister.load_cassette(path, serializer_of(path))
    except Exception:  # noqa: BLE001  # vcrpy fails in many ways at what it did not write
        return False
    return all("content" in response or "string" in response.get("body", ()) for response in responses)


@pytest.mark.skipif(not CORPUS, reason="STUBSERVER_CORPUS names no folder of cassettes")
def test_every_cassette_of_the_corpus_is_played_as_vcrpy_plays_it() -> None:
    paths = [path for path in sorted(Path(CORPUS).rglob("*")) if path.suffix in {".yaml", ".json"} and playable(path)]
    assert paths
    assert [line for path in paths for line in differences(path)] == []


def test_a_client_under_vcrpy_gets_what_we_recorded_and_read() -> None:
    """The installed vcrpy, alone in a process of its own; `make vcr-versions` does the same with 7, 8 and 9."""
    paths = sorted((ROOT / "cassettes").rglob("*.yaml"))
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "vcr_versions" / "play_with_vcr.py", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = [
        [response.status, hashlib.sha256(response.body).hexdigest(), header(response.headers, "content-type")]
        for path in paths
        for response in (recording.response() for recording in Library([path]).playlist)
    ]

    assert done.stderr == ""
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected
    assert len(expected) > 15
