"""One connection over a real socket: what is answered, in which order, how long it may take, and how it ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
from raw import GET, LAST_GET, Fixed, Raw, address_of, chat, eventually, listening, post, serving

from stubserver.app import App
from stubserver.cassettes.library import Library
from stubserver.connection import ServerSettings, _late_together
from stubserver.messages import Response, Step
from stubserver.poller import Poller, Selected, new_poller
from stubserver.wire import Limits

if TYPE_CHECKING:
    from stubserver.pacing import Pacer

MEGABYTE = 1_000_000
SMUGGLED = b"GET /v1/models/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

Connect = Callable[..., Raw]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect to a new server with these settings."""
    with ExitStack() as stack:

        def connect(app: App | None = None, **settings: Any) -> Raw:
            server = stack.enter_context(serving(app, ServerSettings(**settings)))
            return stack.enter_context(Raw(address_of(server)))

        yield connect


def model(name: object) -> bytes:
    return f"GET /v1/models/{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def model_of(body: bytes) -> str:
    return str(json.loads(body)["id"])


def test_connection_stays_open_between_requests(connect: Connect) -> None:
    client = connect()
    assert [client.ask(request)[0] for request in (GET, chat(), chat(stream=True), GET)] == [200] * 4


def test_request_seen_before_gets_the_same_bytes_and_its_own_journal_entry() -> None:
    app = App(Library(()))
    with serving(app) as server, Raw(address_of(server)) as first, Raw(address_of(server)) as second:
        bodies = {client.ask(chat())[1] for client in (first, first, second, first)}
    assert len(bodies) == 1
    assert [entry.request.body for entry in app.journal] == [chat().partition(b"\r\n\r\n")[2]] * 4


def test_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    client = connect().send(b"".join(model(i) for i in range(50)))
    assert [model_of(client.answer()[1]) for _ in range(50)] == [str(i) for i in range(50)]


def test_pipelined_requests_may_be_cut_anywhere(connect: Connect) -> None:
    data = b"".join(model(i) + chat(f"number {i}") for i in range(5))
    client = connect()
    for start in range(0, len(data), 37):
        client.send(data[start : start + 37])
    answers = [client.answer() for _ in range(10)]
    assert [status for status, _ in answers] == [200] * 10
    assert [model_of(body) for _, body in answers[::2]] == ["0", "1", "2", "3", "4"]


def test_request_byte_by_byte_is_answered(connect: Connect) -> None:
    client = connect()
    assert client.send(*[bytes([byte]) for byte in chat()]).status() == 200


def test_close_is_honoured_and_nothing_behind_it_is_answered(connect: Connect) -> None:
    client = connect().send(LAST_GET + SMUGGLED)
    status, fields = client.head()
    client.exactly(int(fields["content-length"]))
    assert (status, fields["connection"]) == (200, "close")
    assert client.rest() == b""


def test_stream_with_close_ends_the_connection_after_it(connect: Connect) -> None:
    client = connect().send(chat(stream=True).replace(b"Host: a", b"Host: a\r\nConnection: close"))
    status, body = client.answer()
    assert (status, body[-14:]) == (200, b"data: [DONE]\n\n")
    assert client.rest() == b""


def test_old_client_gets_its_answer_and_the_end(connect: Connect) -> None:
    client = connect().send(b"GET /v1/models HTTP/1.0\r\n\r\n")
    assert client.status() == 200
    assert client.rest() == b""


def test_old_client_may_ask_to_keep_the_connection(connect: Connect) -> None:
    client = connect()
    for _ in range(2):
        status, fields = client.send(b"GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").head()
        client.exactly(int(fields["content-length"]))
        assert (status, fields["connection"]) == (200, "keep-alive")


def test_old_client_gets_a_stream_that_ends_with_the_connection(connect: Connect) -> None:
    request = chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: a", b"Connection: keep-alive")
    client = connect().send(request)
    status, fields = client.head()
    assert (status, fields["connection"]) == (200, "close")
    assert "transfer-encoding" not in fields
    assert client.rest().endswith(b"\n\ndata: [DONE]\n\n")


def test_head_gets_no_body_and_the_next_answer_follows(connect: Connect) -> None:
    client = connect().send(GET.replace(b"GET", b"HEAD") + model("next"))
    status, fields = client.head()
    assert (status, int(fields["content-length"]) > 0) == (200, True)
    assert model_of(client.answer()[1]) == "next"


def test_each_event_is_its_own_chunk(connect: Connect) -> None:
    client = connect().send(chat(stream=True))
    _, fields = client.head()
    chunks = client.chunks()
    assert fields["content-type"].startswith("text/event-stream")
    assert len(chunks) > 3
    assert all(
        chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1 for chunk in chunks
    )
    assert chunks[-1] == b"data: [DONE]\n\n"


def test_continue_is_sent_before_the_body(connect: Connect) -> None:
    head, _, body = chat().replace(b"Host: a", b"Host: a\r\nExpect: 100-continue").partition(b"\r\n\r\n")
    client = connect().send(head + b"\r\n\r\n")
    assert client.head() == (100, {})
    assert client.ask(body)[0] == 200


def test_continue_is_not_sent_when_the_body_is_here_already(connect: Connect) -> None:
    client = connect().send(chat().replace(b"Host: a", b"Host: a\r\nExpect: 100-continue"))
    assert client.status() == 200


def test_continue_is_sent_to_a_pipelined_request_after_the_answer_before_it(connect: Connect) -> None:
    client = connect().send(GET + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert [client.status(), client.head()[0], client.ask(b"{}")[0]] == [200, 100, 404]


def test_too_large_body_gets_413_instead_of_continue(connect: Connect) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n"
    client = connect(limits=Limits(body=100)).send(head)
    assert client.status() == 413
    assert client.rest() == b""


CHUNK = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
UPLOADS = {
    "length": post(b"x" * 8 * MEGABYTE),
    "chunks": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK * 8 + b"0\r\n\r\n",
    "wrong target": post(b"x" * 8 * MEGABYTE, target="/" + "t" * 20_000),
    "wrong head": post(b"x" * 8 * MEGABYTE, "X : a"),
    "double length": post(b"x" * 8 * MEGABYTE, "Content-Length: 1"),
}


@pytest.mark.parametrize("limit", [0, 100, MEGABYTE])
@pytest.mark.parametrize(
    ("upload", "status"),
    [("length", 413), ("chunks", 413), ("wrong target", 414), ("wrong head", 400), ("double length", 400)],
)
def test_early_refusal_of_an_upload_can_be_read_each_time(upload: str, status: int, limit: int) -> None:
    with serving(settings=ServerSettings(limits=Limits(body=limit))) as server:
        for _ in range(3):
            with Raw(address_of(server)) as client:
                answered, body = client.ask(UPLOADS[upload])
                assert answered == status
                assert json.loads(body)["error"]["type"] == "invalid_request_error"
                assert client.half_close().rest() == b""


def drip(client: Raw, data: bytes, rest: bytes) -> None:
    """Send *data*, then *rest* a byte at a time and again, as long as the server takes it."""
    client.send(data)
    stopped = threading.Event()

    def drip() -> None:
        while not stopped.wait(0.02):
            try:
                for byte in rest:
                    client.send(bytes([byte]))
                    if stopped.wait(0.02):
                        return
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        status, body = client.answer()
        assert (status, json.loads(body)["error"]["code"]) == (408, "request_timeout")
        assert client.rest() == b""
    finally:
        stopped.set()
        thread.join()


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b"G", b"E" * 1000),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: a\r\n"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10000\r\n\r\n", b"x"),
    ],
    ids=["request line", "fields", "body", "chunks", "chunk size", "continued body"],
)
def test_dripping_client_cannot_stretch_the_deadline(connect: Connect, data: bytes, rest: bytes) -> None:
    client = connect(timeout=0.2)
    if b"Expect" in data:
        client.send(data)
        assert client.head()[0] == 100
        data = b""
    drip(client, data, rest)


@pytest.mark.parametrize("part", [b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12"])
def test_silent_client_within_a_request_gets_408(connect: Connect, part: bytes) -> None:
    client = connect(timeout=0.1).send(GET + part)
    assert [client.status(), client.status()] == [200, 408]
    assert client.rest() == b""


def test_deadline_begins_anew_with_each_request() -> None:
    with serving() as server, Raw(address_of(server)) as client:
        deadlines = []
        for _ in range(3):
            client.send(GET[:5])
            [connection] = eventually(lambda: set(server._connections))
            deadlines.append(eventually(lambda connection=connection: connection._request_until))
            assert client.ask(GET[5:])[0] == 200
            assert eventually(lambda connection=connection: connection._request_until == 0)
    assert deadlines == sorted(set(deadlines))


@pytest.mark.parametrize("before", [b"", GET, GET + b"\r\n"], ids=["no request", "a request", "an empty line"])
def test_idle_connection_is_closed_without_a_word(before: bytes) -> None:
    settings = ServerSettings(idle=0.1, timeout=0.1)
    with listening(settings=settings) as (server, accepting), Raw(address_of(server)) as client:
        client.send(before)
        accepting.start()  # only now, so that what was sent cannot come too late
        if before:
            assert client.status() == 200
        assert client.rest() == b""


@pytest.mark.parametrize("requests", [1, 2])
def test_half_closed_client_gets_its_answers(connect: Connect, requests: int) -> None:
    client = connect().send(GET * requests).half_close()
    assert [client.status() for _ in range(requests)] == [200] * requests
    assert client.rest() == b""


@pytest.mark.parametrize("part", [b"", b"GET / HT", post(b"{}")[:-1]], ids=["nothing", "half a head", "half a body"])
def test_half_a_request_of_a_half_closed_client_is_not_answered(part: bytes) -> None:
    app = App(Library(()))
    with serving(app) as server, Raw(address_of(server)) as client:
        assert client.send(part).half_close().rest() == b""
    assert app.journal.total == 0


REFUSED = {
    "CL twice": post(b"x", "Content-Length: 99"),
    "CL and TE": post(b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "TE unknown": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "bad chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "space before colon": post(b"", "Content-Length : 99"),
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "0.9": b"GET /\r\n",
    "too large": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "long target": b"GET /" + b"t" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "expectation": post(b"", "Expect: money"),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_refused_request_ends_the_connection_and_nothing_behind_it_is_answered(refused: bytes) -> None:
    app = App(Library(()))
    with serving(app) as server:
        for pieces in ([GET + refused + SMUGGLED], [GET, refused, SMUGGLED], [GET + refused, SMUGGLED * 100]):
            with Raw(address_of(server)) as client:
                assert client.send(pieces[0]).status() == 200
                for piece in pieces[1:]:
                    client.send(piece)
                status, fields = client.head()
                error = json.loads(client.exactly(int(fields["content-length"])))["error"]
                assert 400 <= status <= 505
                assert fields["connection"] == "close"
                assert set(error) == {"message", "type", "param", "code"}
                assert client.half_close().rest() == b""
    assert [entry.request.target for entry in app.journal] == ["/v1/models"] * 3


BIG = Response(200, (), b"0123456789abcdef" * MEGABYTE)


def test_slow_reader_of_a_large_body_gets_all_of_it(connect: Connect) -> None:
    client = connect(Fixed(BIG))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.send(LAST_GET)
    _, fields = client.head()
    parts = []
    for _ in range(10):
        parts.append(client.exactly(len(BIG.body) // 20))
        time.sleep(0.02)
    parts.append(client.rest())
    assert int(fields["content-length"]) == len(BIG.body)
    assert b"".join(parts) == BIG.body


def test_client_that_never_reads_is_given_up() -> None:
    with serving(Fixed(BIG), ServerSettings(timeout=0.1)) as server, Raw(address_of(server)) as client:
        client.send(GET)
        assert eventually(lambda: server.connections == 1)
        assert eventually(lambda: server.connections == 0)


def test_client_that_resets_does_not_disturb_the_others() -> None:
    with serving(Fixed(BIG)) as server:
        for part in (b"", GET[:10], post(b"{}")[:-1], GET, GET * 3):
            client = Raw(address_of(server)).send(part)
            client.reset()
        with Raw(address_of(server)) as client:
            assert client.ask(GET) == (200, BIG.body)
        assert eventually(lambda: server.connections == 0)


class Broken(App):
    """An app with a mistake."""

    def __init__(self) -> None:
        super().__init__(Library(()))

    def answer(self, prepared: object, delivery: object = None) -> Any:
        raise LookupError(prepared, delivery)


def test_our_own_mistake_is_a_500_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))
    with serving(Broken()) as server, Raw(address_of(server)) as client:
        status, body = client.ask(GET)
        assert (status, json.loads(body)["error"]["type"]) == (500, "server_error")
        assert client.half_close().rest() == b""
        assert eventually(lambda: seen)
        assert eventually(lambda: server.connections == 0)
    assert seen == [LookupError]


def test_header_that_cannot_be_sent_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    split = Response(200, (("x", "a\r\nset-cookie: b"),), b"body")
    with serving(Fixed(split)) as server, Raw(address_of(server)) as client:
        status, fields = client.send(GET).head()
        assert status == 500
        assert "set-cookie" not in fields


def scripted(*steps: Step) -> App:
    """An app whose every answer is sent by these steps."""
    app = App(Library(()))
    app.pacer = cast("Pacer", lambda _, answer: replace(answer, script=lambda *_: (step for step in steps)))
    return app


def test_script_is_sent_step_by_step_and_the_connection_goes_on(connect: Connect) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    app = scripted(Step(0.01, sent[:9]), Step(0.01, sent[9:]))
    client = connect(app)
    assert [client.ask(GET), client.ask(GET)] == [(200, b"ok")] * 2
    assert [entry.source for entry in app.journal] == ["dummy", "dummy"]


def pieces_of(*steps: Step) -> list[tuple[bytes, int]]:
    return [(step.data, count) for step, count in _late_together(step for step in steps)]


def test_late_steps_go_out_together_and_the_others_one_by_one() -> None:
    late, now, later = [partial(Step, delay) for delay in (-1.0, 0.0, 1.0)]
    assert pieces_of(late(b"a"), late(b"b"), now(b"c"), now(b"d")) == [(b"ab", 2), (b"c", 1), (b"d", 1)]
    assert pieces_of(now(b"a"), late(b"b"), late(b"c"), later(b"d")) == [(b"a", 1), (b"bc", 2), (b"d", 1)]
    assert pieces_of(late(b"a"), late(b"b")) == [(b"ab", 2)]
    assert pieces_of(late(b"a"), late(b"b", "close"), now(b"c")) == [(b"a", 1), (b"b", 1), (b"c", 1)]
    assert pieces_of(late(b"a", "reset")) == [(b"a", 1)]
    assert pieces_of() == []


def test_late_steps_arrive_and_are_noted_one_by_one() -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    app = scripted(Step(-1.0, sent[:9]), Step(-1.0, sent[9:-1]), Step(0.0, sent[-1:]))
    with serving(app) as server, Raw(address_of(server)) as client:
        assert [client.ask(GET), client.ask(GET)] == [(200, b"ok")] * 2
    assert [len(entry.delivery.times or ()) for entry in app.journal] == [3, 3]


def test_script_may_close_in_the_middle(connect: Connect) -> None:
    client = connect(scripted(Step(0, b"HTTP/1.1 200 OK\r\nConte"), Step(0, b"", "close"), Step(0, b"never")))
    assert client.send(GET).rest() == b"HTTP/1.1 200 OK\r\nConte"


def test_script_may_reset(connect: Connect) -> None:
    client = connect(scripted(Step(0, b"", "reset"), Step(0, b"never"))).send(GET)
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)


@pytest.mark.parametrize("poller", [new_poller, Selected])
def test_long_pause_ends_with_the_server(poller: Callable[[], Poller], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stubserver.loop.new_poller", poller)
    with serving(scripted(Step(3600, b"never"))) as server, Raw(address_of(server)) as client:
        client.send(GET)
        pauses = time.perf_counter() + 3000
        assert eventually(lambda: any(connection.deadline > pauses for connection in list(server._connections)))
    assert server.connections == 0
