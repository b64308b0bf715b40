"""Listening and accepting: who may connect, what happens when something runs out, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from raw import GET, LAST_GET, PATIENCE, Fixed, Raw, address_of, chat, eventually, listening, needs_ipv6, post, serving

from stubserver.app import App, Prepared
from stubserver.cassettes.library import Library
from stubserver.connection import ServerSettings
from stubserver.errors import UsageError
from stubserver.messages import Response
from stubserver.server import Server
from stubserver.threads import Threads

DEEP = 100_000
CASSETTE = """\
interactions:
- request:
    body: '{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    headers: {}
    method: POST
    uri: http://api.test/v1/chat/completions
  response:
    body:
      string: '{"id":"recorded"}'
    headers:
      content-type:
      - application/json
    status:
      code: 200
      message: OK
version: 1
"""


def test_burst_of_simultaneous_connections_is_answered() -> None:
    with serving() as server, ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(300)]
        for client in clients:
            client.settimeout(0)
            assert client.connect_ex(address_of(server)) in {0, errno.EINPROGRESS}
        answers = [answer_of(client) for client in clients]
    assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}


def answer_of(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE)
    select.select([], [client], [], PATIENCE)
    client.sendall(LAST_GET)
    answer = b""
    while data := client.recv(65_536):
        answer += data
    return answer


def test_connection_over_the_cap_gets_503_until_another_leaves() -> None:
    with serving(settings=ServerSettings(connections=2)) as server, ExitStack() as stack:
        clients = [stack.enter_context(Raw(address_of(server))) for _ in range(2)]
        assert [client.ask(GET)[0] for client in clients] == [200, 200]
        with Raw(address_of(server)) as third:
            status, body = third.answer()
            assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
            assert third.rest() == b""
        assert clients[0].ask(GET)[0] == 200
        clients[1].sock.close()
        assert eventually(lambda: server.connections == 1)
        with Raw(address_of(server)) as fourth:
            assert fourth.ask(GET)[0] == 200


def test_what_needs_a_thread_gets_503_where_there_is_none_and_the_rest_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: object) -> None:
        raise OSError(errno.EAGAIN, "can't start new thread")

    class Waits(App):
        def may_wait(self, prepared: Prepared) -> bool:
            return prepared.request.target.startswith("/wait")

    with serving(Waits(Library(()))) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Threads, "run", run)
            with Raw(address_of(server)) as client:
                assert client.ask(GET)[0] == 200
                assert client.send(GET.replace(b"/v1/models", b"/wait")).status() == 503
                assert client.half_close().rest() == b""
        assert eventually(lambda: server.connections == 0)
        with Raw(address_of(server)) as client:
            assert client.ask(GET.replace(b"/v1/models", b"/wait"))[0] == 404


class OutOfDescriptors:
    """A listening socket whose first calls of accept fail as on a system that has no file descriptor left."""

    def __init__(self, listener: socket.socket, failures: int) -> None:
        self.listener = listener
        self.failures = failures

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listener.accept()


def test_client_is_told_when_descriptors_run_out_and_the_spare_one_comes_back() -> None:
    with listening() as (server, accepting), Raw(address_of(server)) as turned_away, Raw(address_of(server)) as waiting:
        server.socket.settimeout(0)
        pause = server.accept(OutOfDescriptors(server.socket, failures=1))  # type: ignore[arg-type]
        assert pause > 0
        assert server._spare is not None
        assert turned_away.status() == 503
        accepting.start()
        assert waiting.ask(GET)[0] == 200


@needs_ipv6
def test_ipv6_address_is_listened_on() -> None:
    with serving(host="::1") as server, Raw(("::1", server.server_port)) as client:
        assert client.ask(GET)[0] == 200


@needs_ipv6
def test_localhost_is_reachable_by_both_addresses_and_by_name() -> None:
    with serving(host="localhost") as server:
        for host in ("127.0.0.1", "::1", "localhost"):
            with Raw((host, server.server_port)) as client:
                assert client.ask(GET)[0] == 200


def test_default_address_is_reachable_from_this_machine_only() -> None:
    with serving() as server:
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_port_in_use_is_an_error_that_names_the_option(host: str) -> None:
    with serving() as server, pytest.raises(UsageError, match=rf"port {server.server_port} .*in use.*--port"):
        Server(host, server.server_port, server.app, ServerSettings())


@needs_ipv6
def test_port_in_use_on_the_other_loopback_is_an_error_too() -> None:
    with serving(host="::1") as server, pytest.raises(UsageError, match="--port"):
        Server("localhost", server.server_port, server.app, ServerSettings())


@pytest.mark.parametrize("port", [-1, 65_536, 99_999, 2**40])
def test_port_that_cannot_be_is_an_error(port: int) -> None:
    with pytest.raises(UsageError, match=str(port)):
        Server("127.0.0.1", port, App(Library(())), ServerSettings())


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a\0b", "x" * 300, "[::1]"])
def test_address_that_is_not_ours_is_an_error(host: str) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        Server(host, 0, App(Library(())), ServerSettings())


def test_error_at_the_start_leaves_no_descriptor_open() -> None:
    with serving() as server:
        before = descriptors()
        for _ in range(20):
            with pytest.raises(UsageError):
                Server("127.0.0.1", server.server_port, server.app, ServerSettings())
        assert descriptors() == before


def busy_threads(server: Server) -> int:
    """Count the threads that have something to do; one leads, maybe."""
    return len(server.threads._threads) - server.threads._idle


def test_idle_connections_need_no_thread_and_are_still_served() -> None:
    with serving() as server, ExitStack() as stack:
        clients = [stack.enter_context(Raw(address_of(server))) for _ in range(200)]
        for client in clients[:150]:  # the others say nothing at all
            assert client.ask(GET)[0] == 200
        assert eventually(lambda: server.connections == 200)
        assert eventually(lambda: busy_threads(server) <= 1)
        for _ in range(2):
            assert [client.ask(GET)[0] for client in clients] == [200] * 200


def test_connections_that_end_together_leave_no_thread_and_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stubserver.threads._IDLE_SECONDS", 0.01)
    with serving() as server:
        before = descriptors()
        for _ in range(2):
            clients = [Raw(address_of(server)).send(GET) for _ in range(300)]
            assert all(client.head()[0] == 200 for client in clients)
            for client in clients:
                client.sock.close()
            assert eventually(lambda: not server.connections and len(server.threads._threads) <= 1)
        assert eventually(lambda: descriptors() <= before)


def test_idle_connection_ends_when_its_time_is_over() -> None:
    with serving(settings=ServerSettings(idle=0.1)) as server, Raw(address_of(server)) as client:
        assert client.ask(GET)[0] == 200
        assert client.rest() == b""
        assert eventually(lambda: not server.connections)


def test_the_end_of_the_server_is_the_end_of_idle_connections() -> None:
    with ExitStack() as stack:
        with serving() as server:
            clients = [stack.enter_context(Raw(address_of(server))) for _ in range(50)]
            assert eventually(lambda: server.connections == 50)
        assert [client.rest() for client in clients] == [b""] * 50
        assert not server.connections


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_port_can_be_used_again_at_once() -> None:
    with serving() as server, Raw(address_of(server)) as client:
        assert client.ask(GET)[0] == 200
        port = server.server_port
    for _ in range(20):
        with serving(port=port) as server, Raw(address_of(server)) as client:
            assert client.ask(GET)[0] == 200


def test_shutdown_works_before_the_start_and_twice() -> None:
    with listening() as (server, accepting):
        server.shutdown()
        server.shutdown()
        accepting.start()
        accepting.join(PATIENCE)
        assert not accepting.is_alive()
    server.shutdown()
    server.server_close()


def test_answer_under_way_is_finished_within_the_grace() -> None:
    body = b"x" * 16_000_000
    with serving(Fixed(Response(200, (), body))) as server, Raw(address_of(server)) as client:
        client.send(GET)
        _, fields = client.head()
        ending = threading.Thread(target=server.end_connections, args=(PATIENCE,))
        ending.start()
        assert client.exactly(int(fields["content-length"])) == body
        assert client.rest() == b""
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_answer_under_way_is_cut_after_the_grace() -> None:
    body = b"x" * 16_000_000
    with serving(Fixed(Response(200, (), body))) as server, Raw(address_of(server)) as client:
        client.send(GET)
        client.head()
        server.end_connections(0.05)
        assert server.connections == 0
        assert len(client.rest()) < len(body)


class Slow(App):
    """An app that answers when it is let."""

    def __init__(self) -> None:
        super().__init__(Library(()))
        self.asked, self.let = threading.Event(), threading.Event()

    def prepare(self, request: object, notes: object = None) -> object:  # type: ignore[override]
        self.asked.set()
        self.let.wait(PATIENCE)
        return super().prepare(request, notes)  # type: ignore[arg-type]


def test_request_that_is_being_read_when_the_server_stops_is_answered_with_close() -> None:
    app = Slow()
    with serving(app) as server, Raw(address_of(server)) as client:
        client.send(GET + GET)
        app.asked.wait(PATIENCE)
        ending = threading.Thread(target=server.end_connections, args=(PATIENCE,))
        ending.start()
        assert eventually(lambda: server.stopping)
        app.let.set()
        status, fields = client.head()
        client.exactly(int(fields["content-length"]))
        assert (status, fields["connection"]) == (200, "close")
        assert client.rest() == b""
        ending.join(PATIENCE)


@pytest.mark.parametrize("part", [b"", GET, GET[:9], post(b"{}")[:-1], b"NO\r\n"])
def test_no_connection_is_answered_after_the_end(part: bytes) -> None:
    with serving() as server, ExitStack() as stack:
        clients = [stack.enter_context(Raw(address_of(server))).send(part) for _ in range(5)]
        assert eventually(lambda: server.connections == 5)
        for client in clients:
            if part == GET:
                assert client.status() == 200
        server.shutdown()
        server.end_connections(PATIENCE)
        assert server.connections == 0
        for client in clients:
            with suppress(OSError):
                client.send(GET)
            assert b" 200 " not in client.rest()


def test_forked_childs_copy_lets_go_of_its_sockets_only() -> None:
    """What a child does after a fork; the fork itself is tested with StubServer."""
    with listening() as (server, _), Raw(address_of(server)):
        server.socket.settimeout(0)
        server.accept(server.socket)
        [connection] = server._connections
        server.forget()
        assert not server.owned
        assert {server.socket.fileno(), connection._sock.fileno()} == {-1}


# ------------------------------------------------------------------------------- in a process of its own


class Process:
    """``python -m stubserver serve`` with *arguments*, listening; *limit* is one for the shell's ``ulimit``."""

    def __init__(self, *arguments: str, limit: str = "") -> None:
        python = [sys.executable, "-W", "error", "-X", "dev", "-m", "stubserver", "serve", "--port", "0", *arguments]
        shell = ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh"] if limit else []
        self.popen = subprocess.Popen([*shell, *python], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        greeting = self.popen.stdout.readline()
        assert "listening on" in greeting, self.popen.communicate()[1]
        self.port = int(greeting.rpartition(":")[2])

    def connect(self) -> Raw:
        return Raw(("127.0.0.1", self.port))

    def ask(self, request: bytes) -> tuple[int, bytes]:
        with self.connect() as client:
            return client.ask(request)

    def end(self) -> tuple[int, str]:
        """Ask it to end: its exit status, and what it wrote as errors."""
        self.popen.send_signal(signal.SIGTERM)
        _, errors = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, errors


@contextmanager
def process(*arguments: str, limit: str = "") -> Iterator[Process]:
    started = Process(*arguments, limit=limit)
    try:
        yield started
    finally:
        started.popen.kill()
        started.popen.communicate()


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    path = tmp_path / "chat.yaml"
    path.write_text(CASSETTE)
    return path


def test_clients_that_misbehave_leave_no_line_on_stderr(cassette: Path) -> None:
    stream = chat("a long text " * 500, stream=True)
    parts = [b"", GET[:9], GET, GET * 200, post(b"{}")[:-1], stream * 20, b"\x16\x03\x01", b"GET /\r\n", b"\0" * 100]
    with process(str(cassette)) as server:
        for part in parts * 3:
            server.connect().send(part).reset()
            with server.connect() as client:
                client.send(part).half_close().rest()
            with server.connect() as client:
                client.send(part)
        assert server.ask(chat())[0] == 200
        assert server.end() == (0, "")


BOTTOMLESS = {
    "arrays": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "unclosed": b"[" * DEEP,
    "in a chat": b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":%b%b}' % (b"[" * DEEP, b"]" * DEEP),
}
LEVELS = [50, 100, 250, 260, 300, 400, 490, 500, 700, 900, 950, 990, 1000, 1020, 1030, 2000, 10_000]


def nested(levels: int) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":%b%b}' % (b"[" * levels, b"]" * levels)


@pytest.mark.parametrize(
    "options",
    [[], ["--match-on", "method,path,raw_body"], ["--fallback", "error"], ["--drift", "allow"]],
    ids=["default", "raw body", "error", "drift"],
)
def test_bottomless_json_is_answered(cassette: Path, options: list[str]) -> None:
    bodies = [*BOTTOMLESS.values(), *map(nested, LEVELS), *(nested(n).replace(b"[]", b"[null,1.0]") for n in LEVELS)]
    with process(str(cassette), *options) as server:
        for body in bodies:
            assert server.ask(post(body))[0] in {200, 400, 404}
        assert b"recorded" in server.ask(chat())[1]
        assert server.end() == (0, "")


def test_bottomless_json_is_answered_by_the_dummy_alone() -> None:
    with process() as server:
        for target in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/x"):
            for body in (*BOTTOMLESS.values(), *map(nested, LEVELS)):
                assert server.ask(post(body, target=target))[0] in {200, 400, 404}
        assert server.ask(chat())[0] == 200
        assert server.end() == (0, "")


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the time of a process is read from /proc")
def test_server_out_of_descriptors_rests_and_recovers() -> None:
    with process(limit="-n 64") as server, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(120)]
        answered = [status_of(client.send(GET)) for client in clients[:100]]
        assert {200, 503} >= set(answered)
        assert answered.count(200) > 20
        spent = processor_seconds(server.popen.pid)
        threading.Event().wait(1.0)
        assert processor_seconds(server.popen.pid) - spent < 0.5  # one that spins takes all of the second it gets
        stack.close()
        assert eventually(lambda: status_of(stack.enter_context(server.connect()).send(GET)) == 200)
        assert server.end() == (0, "")


def status_of(client: Raw) -> int:
    """Return the status of the answer; a connection that ends before it counts as one that was turned away."""
    try:
        return client.status()
    except (EOFError, ConnectionResetError):
        return 503
