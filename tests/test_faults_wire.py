"""Each fault as a client sees it that reads bytes: what comes, and whether FIN or RST is the end of it."""

from __future__ import annotations

import json
import re
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faulty_upstream import STREAM, stream, upstream
from raw import GET, LAST_GET, PATIENCE, Raw, chat, eventually
from tapes import ask, chunks, completion, events, recorded, tape

from stubserver import StubServer
from stubserver.cassettes.library import Library
from stubserver.faults.kinds import KINDS
from stubserver.messages import Step

DELTAS = [{"role": "assistant", "content": ""}, {"content": "Hé"}, {"content": "llo"}]
EVENTS = [f"{event}\n\n".encode() for event in events(*chunks(*DELTAS)).split("\n\n") if event]
WHOLE = json.dumps(completion("Hello")).encode()
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
STREAMED_CALLS = chunks(
    {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    finish="tool_calls",
)


@pytest.fixture
def stub(tmp_path: Path) -> Any:
    path = tape(
        tmp_path / "t.yaml",
        recorded(ask(), completion("Hello")),
        recorded(ask(stream=True), b"".join(EVENTS).decode()),
        recorded(ask(tools=TOOLS), completion(None, tool_calls=[CALL])),
        recorded(ask(tools=TOOLS, stream=True), events(*STREAMED_CALLS)),
    )
    with StubServer(path, fallback="error") as started:
        yield started


def asked(**more: Any) -> bytes:
    return chat(**{"model": "gpt-4o-mini", **more})


def seen(stub: StubServer, fault: str, end: str = "open", **more: Any) -> tuple[bytes, bytes, str]:
    """Ask with a fault: the head, what follows it, and how the connection ended: FIN, RST, or not at all.

    Where it is expected to go on, that is tried: by a last request behind the first.
    """
    stub.faults.set([fault])
    last = LAST_GET if end == "open" else b""
    with Raw(("127.0.0.1", stub.port)) as client:
        client.send(asked(**more) + last)
        received, ended = b"", ""
        while not ended:
            try:
                data = client.sock.recv(65_536)
                received += data
                ended = "" if data else "FIN"
            except ConnectionResetError:
                ended = "RST"
    if last:
        received, mark, _ = received.rpartition(b"HTTP/1.1 404 Not Found")
        ended = "open" if mark and ended == "FIN" else ended
    head, mark, body = received.partition(b"\r\n\r\n")
    return head + mark, body, ended


def chunked(*datas: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in datas)


LAST = b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("fault", "body", "end"),
    [
        ("delay=1", WHOLE, "open"),
        ("bandwidth=100000", WHOLE, "open"),
        ("stall=1,after-bytes=10", WHOLE, "open"),
        ("reset,after-bytes=10", WHOLE[:10], "RST"),
        ("reset,after-bytes=0", b"", "RST"),
        ("reset,after-bytes=999999", WHOLE[:-1], "RST"),
        ("close,after-bytes=10", WHOLE[:10], "FIN"),
        ("close,after-ms=5", b"", "FIN"),
        ("reset,after-ms=5", b"", "RST"),
        ("length-long=7", WHOLE, "FIN"),
        ("length-short=7", WHOLE, "FIN"),
        ("no-last-chunk", chunked(WHOLE), "FIN"),
        ("bad-chunk", chunked(WHOLE) + b"zz\r\n", "FIN"),
        ("content-type=text/plain", WHOLE, "open"),
        ("bad-json", WHOLE[: len(WHOLE) // 2], "open"),
        ("empty", b"", "open"),
    ],
)
def test_whole_answers(stub: StubServer, fault: str, body: bytes, end: str) -> None:
    head, got, ended = seen(stub, fault, end)

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"x-stubserver-fault: {fault}\r\n".encode() in head
    assert (got, ended) == (body, end)
    assert stub.journal[0].fault == fault


@pytest.mark.parametrize(
    ("fault", "length"),
    [("length-long=7", len(WHOLE) + 7), ("length-short=7", len(WHOLE) - 7), ("delay=1", len(WHOLE))],
)
def test_lengths(stub: StubServer, fault: str, length: int) -> None:
    assert f"\r\nContent-Length: {length}\r\n".encode() in seen(stub, fault, "" if "length" in fault else "open")[0]


HALF = EVENTS[1][6:].strip()
ERROR = (
    b'data: {"error":{"message":"The server had an error while processing your request. Sorry about that!",'
    b'"type":"server_error","param":null,"code":null}}\n\n'
)
COMMENT = b": ping\n\n"


@pytest.mark.parametrize(
    ("fault", "datas", "end"),
    [
        ("delay=1", EVENTS, b""),
        ("event-delay=1", EVENTS, b""),
        ("bandwidth=100000", EVENTS, b""),
        ("stall=1,after-events=2", EVENTS, b""),
        ("truncate=2", EVENTS[:2], b""),
        ("truncate=0", [], b""),
        ("no-done", EVENTS[:-1], b""),
        ("bad-event=2", [EVENTS[0], b"data: " + HALF[: len(HALF) // 2] + b"\n\n", *EVENTS[2:]], b""),
        ("error-event=2", [*EVENTS[:2], ERROR], b""),
        ("repeat-event=2", [*EVENTS[:2], *EVENTS[1:]], b""),
        ("swap-events=2", [EVENTS[0], EVENTS[2], EVENTS[1], *EVENTS[3:]], b""),
        ("swap-events=5", EVENTS, b""),
        ("comments", [part for event in EVENTS for part in (COMMENT, event)], b""),
        ("crlf", [event.replace(b"\n", b"\r\n") for event in EVENTS], b""),
        ("content-type=text/plain", EVENTS, b""),
        ("close,after-events=2", EVENTS[:2], b"FIN"),
        ("reset,after-events=2", EVENTS[:2], b"RST"),
        ("reset,after-events=99", EVENTS, b"RST"),
        ("reset,after-ms=5", EVENTS[:-1], b"RST"),
        ("no-last-chunk", EVENTS, b"FIN"),
    ],
)
def test_streams(stub: StubServer, fault: str, datas: list[bytes], end: bytes) -> None:
    head, body, ended = seen(stub, fault, end.decode() or "open", stream=True)

    assert b"Transfer-Encoding: chunked" in head
    shown = fault if fault != "swap-events=5" else ""
    assert stub.journal[0].fault == shown
    assert body == chunked(*datas) + (b"" if end else LAST)
    assert ended == (end.decode() or "open")


def test_cut_inside_an_event_its_frame_is_cut_too(stub: StubServer) -> None:
    size = len(EVENTS[0])
    _, body, ended = seen(stub, f"reset,after-bytes={size + 5}", "RST", stream=True)

    assert body == chunked(EVENTS[0]) + b"%x\r\n" % len(EVENTS[1]) + EVENTS[1][:5]
    assert ended == "RST"


def test_a_bad_chunk_comes_behind_the_events(stub: StubServer) -> None:
    assert seen(stub, "bad-chunk", "FIN", stream=True)[1:] == (chunked(*EVENTS) + b"zz\r\n", "FIN")


@pytest.mark.parametrize(("fault", "more"), [("length-long=7", 7), ("length-short=7", -7)])
def test_a_stream_with_a_length(stub: StubServer, fault: str, more: int) -> None:
    head, body, ended = seen(stub, fault, "FIN", stream=True)

    assert f"\r\nContent-Length: {sum(map(len, EVENTS)) + more}\r\n".encode() in head
    assert (body, ended) == (b"".join(EVENTS), "FIN")


def test_characters_are_cut_in_two() -> None:
    with StubServer(dummy_text="Hé", fault="split-utf8") as stub, Raw(("127.0.0.1", stub.port)) as client:
        client.send(asked(stream=True)).head()
        found = client.chunks()
    text = b"".join(found).decode()

    assert len([data for data in found if data.endswith((b"\xc3", b"\xe2"))]) == len(found) / 2
    assert '"H' in text
    assert "é" in text


def test_no_chunk_has_a_finish_reason(stub: StubServer) -> None:
    _, body, _ = seen(stub, "no-finish", stream=True)

    assert body.count(b'"finish_reason":') == len(EVENTS) - 1
    assert len(re.findall(rb'"finish_reason": ?null', body)) == len(EVENTS) - 1
    assert body.endswith(chunked(EVENTS[-1]) + LAST)


@pytest.mark.parametrize("fault", ["reset", "close"])
def test_nothing_before_the_head(stub: StubServer, fault: str) -> None:
    end = {"reset": "RST", "close": "FIN"}[fault]

    assert seen(stub, fault, end) == (b"", b"", end)
    assert stub.journal[-1].response.status == 0


@pytest.mark.parametrize(("fault", "end"), [("reset,in-head", "RST"), ("close,in-head", "FIN")])
def test_half_a_head(stub: StubServer, fault: str, end: str) -> None:
    head, body, ended = seen(stub, fault, end)

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in head + body
    assert ended == end


def test_garbage_is_the_same_for_the_same_seed(stub: StubServer) -> None:
    found = [seen(stub, "garbage=40", "FIN") for _ in range(2)]

    assert found[0] == found[1]
    assert len(b"".join(found[0][:2])) == 40
    assert found[0][2] == "FIN"


@pytest.mark.parametrize(
    ("fault", "status", "code", "fields"),
    [
        ("429", 429, "rate_limit_exceeded", {"retry-after": "1", "retry-after-ms": "1000"}),
        ("rate-limit=2.5", 429, "rate_limit_exceeded", {"retry-after": "3", "retry-after-ms": "2500"}),
        ("429,retry-after=7", 429, "rate_limit_exceeded", {"retry-after": "7", "x-ratelimit-reset-requests": "7s"}),
        ("quota", 429, "insufficient_quota", {}),
        ("500", 500, None, {}),
        ("502", 502, None, {}),
        ("503,retry-after=4", 503, None, {"retry-after": "4"}),
        ("529", 529, None, {}),
        ("418", 418, None, {}),
        ("599", 599, None, {}),
        ("context-length", 400, "context_length_exceeded", {}),
        ("bad-key", 401, "invalid_api_key", {}),
    ],
)
def test_errors_of_the_api(stub: StubServer, fault: str, status: int, code: str | None, fields: dict[str, str]) -> None:
    stub.faults.set([fault])
    with Raw(("127.0.0.1", stub.port)) as client:
        got, headers = client.send(asked()).head()
        error = json.loads(client.exactly(int(headers["content-length"])))["error"]
        assert client.ask(GET)[0] == 404  # the connection goes on; and GETs have no fault
    assert (got, error["code"], sorted(error)) == (status, code, ["code", "message", "param", "type"])
    assert headers.items() >= fields.items()
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-stubserver-source"] == stub.journal[-2].source == "fault"


def test_html_with_200(stub: StubServer) -> None:
    head, body, _ = seen(stub, "html")

    assert b"content-type: text/html" in head
    assert body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("stream", [False, True])
def test_broken_arguments(stub: StubServer, stream: bool) -> None:  # noqa: FBT001  # a parameter
    _, body, _ = seen(stub, "bad-arguments", stream=stream, tools=TOOLS)

    assert json.dumps('{"a"' if stream else '{"a": 1}')[1:-1].encode() not in body
    assert (rb'"arguments":"\"a\""' if stream else rb'"arguments":"\"a\": 1}"') in body


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_there_is_not(stub: StubServer, stream: bool) -> None:  # noqa: FBT001  # a parameter
    _, body, _ = seen(stub, "unknown-tool", stream=stream, tools=TOOLS)

    assert body.count(b'"name":"no_such_tool"') == 1
    assert b'"name": "f"' not in body


@pytest.mark.parametrize(
    "fault", ["bad-arguments", "unknown-tool=x", "no-done", "truncate=2", "no-finish", "error-event"]
)
def test_responses_have_them_too(fault: str) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tool = {"type": "function", "name": "f", "parameters": parameters}
    more = {"tools": [tool], "tool_choice": "required", "stream": True}
    body = json.dumps({"model": "m", "input": "hi", **more}).encode()
    head = b"POST /v1/responses HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    with StubServer(fault=fault) as stub, Raw(("127.0.0.1", stub.port)) as client:
        client.send(head + body).head()
        found = b"".join(client.chunks())
        assert stub.journal[-1].fault == (fault if "=" in fault or fault != "error-event" else "error-event")
    if fault == "bad-arguments":
        assert all(not said.startswith(b"{") for said in re.findall(rb'"arguments":"([^"\\]|\\.)', found))
    elif fault == "unknown-tool=x":
        assert set(re.findall(rb'"arguments":"[^}]*?"name":"(\w+)"', found)) <= {b"x"}
        assert b'"name":"x"' in found
    else:
        assert b"event: response.completed" not in found
    if fault == "error-event":
        assert found.split(b"\n\n")[-2].startswith(b"event: error\ndata: ")


def test_faults_use_up_no_recording(tmp_path: Path) -> None:
    path = tape(tmp_path / "t.yaml", *(recorded(ask(), completion(text)) for text in ("one", "two")))
    faults = ["500,once", "close,after-bytes=3,once", "bad-json,once", "reset,once"]
    with StubServer(path, fallback="error", on_exhausted="error", fault=faults) as stub:
        for _ in range(4):
            with Raw(("127.0.0.1", stub.port)) as client:
                client.send(asked().replace(b"Host: a", b"Host: a\r\nConnection: close")).rest()
        assert [entry.fault for entry in stub.journal] == ["status=500", "close,after-bytes=3", "bad-json", "reset"]
        with Raw(("127.0.0.1", stub.port)) as client:
            said = [json.loads(client.ask(asked())[1]) for _ in range(2)]
            assert [answer["choices"][0]["message"]["content"] for answer in said] == ["one", "two"]
            assert client.ask(asked())[0] == 404


def test_connections_are_accepted_and_closed(stub: StubServer) -> None:
    stub.faults.set(["hang-up,first=2"])
    for expected in (b"", b"", b"HTTP/1.1 200"):
        with Raw(("127.0.0.1", stub.port)) as client:
            if not expected:
                assert client.sock.recv(10) == b""  # nothing was even sent
            else:
                assert client.ask(asked())[0] == 200
    assert [(entry.request.method, entry.fault) for entry in stub.journal][:2] == [("CONNECT", "hang-up")] * 2


def test_connections_are_refused_for_a_while(stub: StubServer) -> None:
    stub.faults.set(["refuse=300,once"])
    idle, port = Raw(("127.0.0.1", stub.port)), stub.port
    with idle, Raw(("127.0.0.1", port)) as client:
        assert client.send(asked()).rest() == b""
        assert eventually(lambda: refuses(port))
        assert idle.rest() == b""  # it was ended, too
    assert eventually(lambda: not refuses(port))
    with Raw(("127.0.0.1", port)) as client:
        assert client.ask(asked())[0] == 200
    assert stub.journal[0].fault == "refuse=300"


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_server_that_refuses_can_be_stopped(stub: StubServer) -> None:
    stub.faults.set(["refuse=3600000"])
    with Raw(("127.0.0.1", stub.port)) as client:
        client.send(asked()).rest()
    stub.stop()
    assert not stub.running


@pytest.mark.parametrize(
    "fault", ["black-hole", "stall,after-bytes=5", "delay=3600000", "stall,after-ms=1", "bandwidth=1"]
)
@pytest.mark.parametrize("leave", ["close", "reset", "stop"])
def test_no_thread_stays_behind(stub: StubServer, fault: str, leave: str) -> None:
    stub.faults.set([fault])
    before = threading.active_count()
    with Raw(("127.0.0.1", stub.port)) as client:
        client.send(asked())
        assert eventually(lambda: len(stub.journal) == 1)
        if leave == "stop":
            stub.stop(0)
        elif leave == "reset":
            client.reset()
    assert eventually(lambda: stub.journal[0].done)
    stub.stop(0)
    assert eventually(lambda: threading.active_count() < before)


def test_a_request_asks_for_its_own_fault(stub: StubServer) -> None:
    wish = b"Host: a\r\nX-StubServer-Fault: 429,first=1"
    with Raw(("127.0.0.1", stub.port)) as client:
        assert [client.ask(asked().replace(b"Host: a", wish))[0] for _ in range(2)] == [429, 200]
        assert client.ask(asked())[0] == 200
        status, body = client.ask(asked().replace(b"Host: a", b"Host: a\r\nx-stubserver-fault: rest"))
        assert (status, json.loads(body)["error"]["code"]) == (400, "bad_fault")
        assert client.ask(asked().replace(b"Host: a", b"Host: a\r\nx-stubserver-fault: refuse"))[0] == 400
    assert not any("fault" in name.lower() for entry in stub.journal for name, _ in entry.request.headers)


def test_a_prompt_asks_for_a_fault_where_it_may(tmp_path: Path) -> None:
    path = tape(tmp_path / "t.yaml", recorded(ask("Say hi.")))
    with StubServer(path, fallback="error", fault_triggers=True) as stub, Raw(("127.0.0.1", stub.port)) as client:
        phrase = asked(text="Say hi. [[fault 503,first=1]]")
        assert [client.ask(phrase)[0] for _ in range(2)] == [503, 200]
        stub.faults.triggers = False
        assert client.ask(phrase)[0] == 404


# In front of an upstream.


@pytest.mark.parametrize("stream_asked", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        "reset,after-bytes=5",
        "close,after-bytes=5",
        "bad-json",
        "truncate=1",
        "no-done",
        "length-long=5",
        "stall=1,after-bytes=3",
    ],
)
def test_a_cassette_stays_clean(tmp_path: Path, fault: str, stream_asked: bool) -> None:  # noqa: FBT001  # a parameter
    more = {"stream": True} if stream_asked else {}
    paths = [tmp_path / "clean.yaml", tmp_path / "faulty.yaml"]
    with upstream() as up:
        up.otherwise = stream(*STREAM) if stream_asked else up.otherwise
        for path, faults in zip(paths, ([], [fault]), strict=True):
            with StubServer(path, record_mode="new_episodes", upstream=up.url, fault=faults) as stub:
                with Raw(("127.0.0.1", stub.port)) as client:
                    client.send(asked(**more).replace(b"Host: a", b"Host: a\r\nConnection: close")).rest()
                assert eventually(lambda: len(stub.journal) == 1)  # called at once
                entry = stub.journal[0]
                assert entry.source == "recorded"
                assert entry.cassette
    clean, faulty = (Library([path]).playlist for path in paths)
    assert len(clean) == len(faulty) == 1
    assert bodies(paths[0]) == bodies(paths[1])
    assert "fault" not in paths[1].read_text()


def bodies(path: Path) -> list[str]:
    return re.findall(r"string: .*", path.read_text())


def test_a_forwarded_answer_is_cut_and_the_journal_says_by_what() -> None:
    with upstream() as up:
        up.otherwise = stream(*STREAM)
        with StubServer(fallback="forward", upstream=up.url, fault="close,after-events=1") as stub:
            with Raw(("127.0.0.1", stub.port)) as client:
                client.send(asked(stream=True)).head()
                got = client.rest()
            assert got == chunked(STREAM[0])
            assert eventually(lambda: len(stub.journal) == 1)
            assert stub.journal[0].fault == "close,after-events=1"


def test_errors_in_place_of_an_answer_ask_no_upstream() -> None:
    with upstream() as up, StubServer(fallback="forward", upstream=up.url, fault="500") as stub:
        with Raw(("127.0.0.1", stub.port)) as client:
            assert client.ask(asked())[0] == 500
        assert up.asked == []


def test_faults_and_pace_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def note(_: object, step: Step) -> bool:
        if step.delay > 0:
            waited.append(round(step.delay * 1000, -1))
        return False

    monkeypatch.setattr("stubserver.connection.Connection._pauses", note)
    monkeypatch.setattr("stubserver.pacing.time", SimpleNamespace(monotonic=lambda: 1000.0))
    slow = StubServer(dummy_text="one two", ttft=500, itl=0, fault="delay=200")
    with slow as stub, Raw(("127.0.0.1", stub.port)) as client:
        client.send(asked(stream=True)).head()
        client.chunks()
    assert waited[0] == 700


def test_many_clients_get_the_same_faults_in_all(stub: StubServer) -> None:
    stub.faults.set(["429,first=20"])
    found: list[int] = []

    def ask_some() -> None:
        with Raw(("127.0.0.1", stub.port)) as client:
            found.extend(client.ask(asked())[0] for _ in range(4))

    threads = [threading.Thread(target=ask_some) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] * 180 + [429] * 20


def test_every_fault_is_tried_here() -> None:
    tried = Path(__file__).read_text()

    assert [name for name in KINDS if name not in {"status", "rate-limit"} and f'"{name}' not in tried] == []
