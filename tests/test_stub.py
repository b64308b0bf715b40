"""StubServer: starting, stopping and everything in between, in this process and in a forked one."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from fuzzing import HARDER
from raw import GET, PATIENCE, Raw, chat, eventually, needs_ipv6, post

from stubserver import stub as module
from stubserver.errors import UsageError
from stubserver.stub import StubServer

ITEM = """\
- request:
    body: '{{"model":"m","messages":[{{"role":"user","content":"{prompt}"}}]}}'
    headers: {{}}
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body:
      string: '{{"answer":"{answer}"}}'
    headers:
      content-type:
      - application/json
    status:
      code: 200
      message: OK
"""


def save(path: Path, *pairs: tuple[str, str]) -> Path:
    """Write a cassette of prompts with their answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = "".join(ITEM.format(prompt=prompt, answer=answer) for prompt, answer in pairs)
    path.write_text(f"interactions:\n{items}version: 1\n")
    return path


def connect(stub: StubServer) -> Raw:
    return Raw(("127.0.0.1", stub.port))


def ask(stub: StubServer, request: bytes) -> tuple[int, Any]:
    with connect(stub) as client:
        status, body = client.ask(request)
        return status, json.loads(body)


def answer(stub: StubServer, prompt: str = "hi", prefix: str = "") -> Any:
    """Return the recorded answer to *prompt*, or None where the dummy or an error answered."""
    return ask(stub, chat(prompt).replace(b"POST /v1", f"POST {prefix}/v1".encode()))[1].get("answer")


def is_free(port: int) -> bool:
    """Tell whether nothing listens on *port*, and it can be taken."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen()
        except OSError:
            return False
    return True


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def in_thread(job: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=job, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No thread and no descriptor stay behind."""
    open_before, running_before = descriptors(), threading.active_count()
    yield
    gc.collect()
    assert eventually(lambda: threading.active_count() <= running_before)
    assert eventually(lambda: descriptors() <= open_before)


# ---------------------------------------------------------------------------------------------------- lifecycle


@pytest.mark.usefixtures("nothing_left")
def test_many_cycles_leave_nothing_behind(tmp_path: Path) -> None:
    stub = StubServer(save(tmp_path / "a.yaml", ("hi", "yes")))
    for _ in range(200 * HARDER):
        with stub:
            assert answer(stub) == "yes"
        assert threading.active_count() < 50
    assert stub.journal.total == 200 * HARDER


@pytest.mark.usefixtures("nothing_left")
def test_many_stubs_leave_nothing_behind() -> None:
    gone = []
    for _ in range(50):
        with StubServer() as stub:
            assert ask(stub, GET)[0] == 200
        gone.append(weakref.ref(stub))
    del stub
    gc.collect()
    assert eventually(lambda: not any(reference() for reference in gone))


def test_stub_and_server_can_be_collected_after_the_stop(tmp_path: Path) -> None:
    stub = StubServer(save(tmp_path / "a.yaml", ("hi", "yes"))).start()
    clients = [connect(stub) for _ in range(3)]
    assert [client.ask(GET)[0] for client in clients] == [200] * 3
    references = [weakref.ref(stub), weakref.ref(stub._server), weakref.ref(stub._app)]
    stub.stop()
    for client in clients:
        client.sock.close()
    del stub
    gc.collect()
    assert eventually(lambda: not any(reference() for reference in references))


@pytest.mark.usefixtures("nothing_left")
def test_stop_before_the_start_and_twice() -> None:
    stub = StubServer()
    stub.stop()
    stub.start()
    port = stub.port
    stub.stop()
    stub.stop()
    assert is_free(port)


@pytest.mark.usefixtures("nothing_left")
def test_stop_from_several_threads_at_once() -> None:
    stub = StubServer().start()
    port = stub.port
    threads = [in_thread(stub.stop) for _ in range(8)]
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert is_free(port)


@pytest.mark.usefixtures("nothing_left")
def test_stop_from_the_thread_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = StubServer().start()
    port, stopped = stub.port, threading.Event()
    answered = stub._app.answer

    def answer_and_stop(prepared: Any, delivery: Any) -> Any:
        stub.stop(grace=0.01)
        stopped.set()
        return answered(prepared, delivery)

    monkeypatch.setattr(stub._app, "answer", answer_and_stop)
    with connect(stub) as client:
        assert client.send(GET).rest() == b""
    assert stopped.wait(PATIENCE)
    assert is_free(port)


@pytest.mark.usefixtures("nothing_left")
def test_stop_from_the_report_of_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    cassette = save(tmp_path / "a.yaml", ("hi", "yes"))
    stopped = threading.Event()

    def stop(_: object) -> None:
        stub.stop()
        stopped.set()

    stub = StubServer(cassette, on_report=stop).start()
    save(cassette, ("hi", "something else"))
    assert stopped.wait(PATIENCE)


def test_stop_while_the_same_thread_starts_does_not_block() -> None:
    """A signal handler may do that."""
    stub = StubServer()

    def both() -> None:
        with stub._lock:
            stub.stop()

    thread = in_thread(both)
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.usefixtures("nothing_left")
def test_stop_closes_idle_connections_and_nothing_answers_afterwards() -> None:
    stub = StubServer().start()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(stub)) for _ in range(50)]
        assert {client.ask(GET)[0] for client in clients} == {200}
        stub.stop(grace=PATIENCE)
        for client in clients:
            with suppress(OSError):
                client.send(GET)
            assert client.rest() == b""
    assert stub.journal.total == 50


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("stream", [False, True])
def test_stop_lets_an_answer_under_way_finish(stream: bool) -> None:  # noqa: FBT001
    text = "a few words " * (20_000 if stream else 1_000_000)
    stub = StubServer(dummy_text=text).start()
    with connect(stub) as client:
        client.send(chat(stream=stream))
        _, fields = client.head()
        stopping = in_thread(lambda: stub.stop(grace=PATIENCE))
        server = stub._server
        assert eventually(lambda: server is None or server.stopping)
        if stream:
            assert client.chunks()[-1] == b"data: [DONE]\n\n"
        else:
            body = client.exactly(int(fields["content-length"]))
            assert json.loads(body)["choices"][0]["message"]["content"] == text
        assert client.rest() == b""
        stopping.join(PATIENCE)
    assert not stopping.is_alive()


@pytest.mark.usefixtures("nothing_left")
def test_stop_cuts_an_answer_that_nobody_reads() -> None:
    stub = StubServer(dummy_text="a few words " * 1_000_000).start()
    with connect(stub) as client:
        client.send(chat())
        _, fields = client.head()
        stub.stop(grace=0.01)
        assert len(client.rest()) < int(fields["content-length"])


def test_second_start_is_an_error_and_changes_nothing() -> None:
    with StubServer() as stub:
        port = stub.port
        with pytest.raises(UsageError, match="running already"):
            stub.start()
        assert (stub.port, ask(stub, GET)[0]) == (port, 200)


@pytest.mark.usefixtures("nothing_left")
def test_start_after_a_stop_goes_on_with_the_same_cassettes(tmp_path: Path) -> None:
    stub = StubServer(save(tmp_path / "a.yaml", ("hi", "one"), ("hi", "two")))
    answers = []
    for _ in range(2):
        with stub:
            answers.append(answer(stub))
    assert answers == ["one", "two"]
    assert [entry.number for entry in stub.journal] == [1, 2]


@pytest.mark.usefixtures("nothing_left")
def test_failed_start_leaves_nothing_and_may_be_tried_again() -> None:
    with StubServer() as first:
        second = StubServer(port=first.port)
        for _ in range(3):
            with pytest.raises(UsageError, match="--port"):
                second.start()
    with second:
        assert ask(second, GET)[0] == 200


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", ["stubserver-accept", "stubserver-watch"])
def test_start_without_a_thread_left_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        start(thread)

    stub = StubServer(save(tmp_path / "a.yaml", ("hi", "yes")))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            stub.start()
    with stub:
        assert answer(stub) == "yes"


@pytest.mark.usefixtures("nothing_left")
def test_error_within_the_with_block_stops_the_stub() -> None:
    ports = []

    def fail() -> None:
        with StubServer() as stub:
            ports.append(stub.port)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert is_free(ports[0])


@pytest.mark.usefixtures("nothing_left")
def test_stubs_in_several_threads() -> None:
    answers: list[int] = []

    def serve() -> None:
        with StubServer() as stub:
            answers.append(ask(stub, GET)[0])

    threads = [in_thread(serve) for _ in range(8)]
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == [200] * 8


@pytest.mark.usefixtures("nothing_left")
def test_stub_within_asyncio() -> None:
    async def serve() -> list[int]:
        with StubServer() as stub:
            async with httpx.AsyncClient(base_url=stub.base_url, timeout=PATIENCE) as client:
                answers = await asyncio.gather(*(client.get("/models") for _ in range(30)))
            stub.stop()
        return [response.status_code for response in answers]

    assert asyncio.run(serve()) == [200] * 30


NEVER_STOPPED = """
import asyncio, sys, urllib.request
from stubserver import StubServer

async def main():
    stub = StubServer(*sys.argv[1:]).start()
    request = urllib.request.urlopen(stub.base_url + "/models")
    print(request.status)

asyncio.run(main())
"""


def test_process_ends_quietly_with_a_stub_that_was_never_stopped(tmp_path: Path) -> None:
    cassette = save(tmp_path / "a.yaml", ("hi", "yes"))
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", NEVER_STOPPED, str(cassette)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("stubserver")) == (0, "200\n", 0)


# ---------------------------------------------------------------------------------------------------- fork


class Child:
    """A forked process that does *job* and then waits until it is let go."""

    def __init__(self, job: Callable[[], object]) -> None:
        done, tell = os.pipe()
        wait, self._go = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 and newer warn of every fork in a process with threads: that is what is tested here.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            os.close(self._go)
            self._live(job, tell, wait)
        os.close(tell)
        os.close(wait)
        with os.fdopen(done, "rb") as pipe:
            self.said = pipe.read(1)

    @staticmethod
    def _live(job: Callable[[], object], tell: int, wait: int) -> None:
        """Never return: what stands above on the stack is the parent's."""
        signal.alarm(int(PATIENCE))  # a child that blocks ends without having said anything
        try:
            os.write(tell, b"+" if job() is not False else b"-")
            os.close(tell)
            os.read(wait, 1)
        finally:
            os._exit(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._go)
        os.waitpid(self.pid, 0)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_stop_in_a_forked_child_leaves_the_parents_server_alone() -> None:
    with StubServer() as stub, connect(stub) as client:
        assert client.ask(GET)[0] == 200
        with Child(stub.stop) as child:
            assert child.said == b"+"
            assert client.ask(GET)[0] == 200
            assert ask(stub, GET)[0] == 200
        assert client.ask(GET)[0] == 200


@needs_fork
def test_stop_really_stops_while_a_forked_child_lives() -> None:
    stub = StubServer().start()
    port = stub.port
    with connect(stub) as client:
        assert client.ask(GET)[0] == 200
        with Child(lambda: None) as child:
            assert child.said == b"+"
            stub.stop()
            assert client.rest() == b""
            assert is_free(port)
            with pytest.raises(ConnectionRefusedError):
                Raw(("127.0.0.1", port))


@needs_fork
def test_stop_in_a_forked_child_waits_for_no_lock_of_the_parents() -> None:
    with StubServer() as stub, stub._lock, ExitStack() as stack:
        holding, let = threading.Event(), threading.Event()
        stack.callback(let.set)

        def hold() -> None:
            with stub._ended._cond:
                holding.set()
                let.wait(PATIENCE)

        in_thread(hold)
        assert holding.wait(PATIENCE)
        with Child(lambda: in_other_thread(stub.stop)) as child:
            assert child.said == b"+"


def in_other_thread(job: Callable[[], object]) -> bool:
    """Do *job* in a thread that holds none of the locks of this one; False when it does not end."""
    thread = in_thread(job)
    thread.join(PATIENCE / 2)
    return not thread.is_alive()


@needs_fork
def test_forked_child_may_have_a_stub_of_its_own() -> None:
    def serve() -> bool:
        stub.stop()
        with StubServer() as own:
            return ask(own, GET)[0] == 200 and own.port != port

    with StubServer() as stub:
        port = stub.port
        with Child(serve) as child:
            assert child.said == b"+"
        assert ask(stub, GET)[0] == 200


# ---------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"fallback": "forward"}, "upstream"),
        ({"fallback": "nothing"}, "dummy, error"),
        ({"drift": "maybe"}, "refuse, allow"),
        ({"on_exhausted": "stop"}, "last, cycle, error"),
        ({"match_on": "method,nothing"}, "nothing"),
        ({"match_on": ""}, "matcher"),
        ({"match_on": ()}, "empty"),
        ({"error_status": 200}, "400 to 599"),
        ({"error_status": 600}, "400 to 599"),
        ({"timeout": 0}, "timeout 0"),
        ({"timeout": -1.0}, "timeout -1"),
        ({"timeout": float("nan")}, "timeout nan"),
        ({"timeout": float("inf")}, "timeout inf"),
        ({"max_body": 0}, "max_body 0"),
        ({"max_connections": 0}, "max_connections 0"),
    ],
)
def test_option_that_cannot_be_is_an_error(options: dict[str, Any], cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        StubServer(**options)


@pytest.mark.parametrize(("options", "cause"), [({"port": 99_999}, "99999"), ({"host": "192.0.2.1"}, "192.0.2.1")])
@pytest.mark.usefixtures("nothing_left")
def test_address_that_cannot_be_is_an_error_at_the_start(options: dict[str, Any], cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        StubServer(**options).start()


def test_path_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        StubServer(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["port", "url", "base_url"])
def test_address_is_known_only_while_running(name: str) -> None:
    stub = StubServer()
    for _ in range(2):
        with pytest.raises(UsageError, match="start it first"):
            getattr(stub, name)
        with stub:
            assert getattr(stub, name)


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:{}"), ("localhost", "http://localhost:{}")])
def test_url_is_what_a_client_wants(host: str, url: str) -> None:
    with StubServer(host=host) as stub:
        assert stub.url == url.format(stub.port)
        assert stub.base_url == f"{stub.url}/v1"
        assert httpx.get(f"{stub.base_url}/models").status_code == 200


@needs_ipv6
def test_url_of_an_ipv6_address_has_brackets() -> None:
    with StubServer(host="::1") as stub:
        assert stub.url == f"http://[::1]:{stub.port}"
        assert httpx.get(f"{stub.url}/health").status_code == 200


def test_limits_of_a_request_reach_the_server() -> None:
    with StubServer(max_body=100, timeout=0.1) as stub, connect(stub) as client:
        assert ask(stub, post(b"x" * 101))[0] == 413
        assert client.send(GET[:9]).status() == 408


def test_limit_of_connections_reaches_the_server() -> None:
    with StubServer(max_connections=2) as stub, connect(stub) as first, connect(stub) as second:
        assert [client.ask(GET)[0] for client in (first, second)] == [200, 200]
        with connect(stub) as third:
            assert third.status() == 503


def test_dummy_options_reach_the_dummy() -> None:
    with StubServer(dummy_text="Ahoy", models=["one", "two"]) as stub:
        assert ask(stub, chat())[1]["choices"][0]["message"]["content"] == "Ahoy"
        assert [model["id"] for model in ask(stub, GET)[1]["data"]] == ["one", "two"]


# ---------------------------------------------------------------------------------------------------- cassettes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cassettes: ``a`` and ``sub/b``."""
    save(tmp_path / "tapes" / "a.yaml", ("hi", "a1"), ("hi", "a2"), ("only a", "a3"))
    save(tmp_path / "tapes" / "sub" / "b.yaml", ("hi", "b1"), ("only b", "b2"))
    return tmp_path / "tapes"


@pytest.mark.parametrize("kind", ["folder", "text", "files", "list"])
def test_paths_may_be_given_in_many_ways(folder: Path, kind: str) -> None:
    files = [folder / "a.yaml", folder / "sub" / "b.yaml"]
    ways: dict[str, list[Any]] = {"folder": [folder], "text": [str(folder)], "files": files, "list": [iter(files)]}
    with StubServer(*ways[kind]) as stub:
        assert [answer(stub, "only a"), answer(stub, "only b")] == ["a3", "b2"]


def test_journal_says_what_was_asked_and_where_the_answer_came_from(folder: Path) -> None:
    with StubServer(folder) as stub:
        assert [answer(stub, "only a"), answer(stub, "unknown")] == ["a3", None]
        first, second = stub.journal
    assert (first.source, first.cassette) == ("replayed", "tapes/a.yaml#3")
    assert (second.source, second.cassette) == ("dummy", "")
    assert first.request.target == "/v1/chat/completions"
    assert b"only a" in first.request.body
    assert first.response.body == b'{"answer":"a3"}'


def test_unplayed_names_what_nothing_asked_for(folder: Path) -> None:
    with StubServer(folder) as stub:
        assert stub.unplayed == [
            "tapes/a.yaml#1",
            "tapes/a.yaml#2",
            "tapes/a.yaml#3",
            "tapes/sub/b.yaml#1",
            "tapes/sub/b.yaml#2",
        ]
        for prompt in ("hi", "only b", "hi"):
            answer(stub, prompt)
        assert stub.unplayed == ["tapes/a.yaml#3", "tapes/sub/b.yaml#1"]


def test_reset_plays_from_the_beginning_and_empties_the_journal(folder: Path) -> None:
    with StubServer(folder) as stub:
        before = [answer(stub) for _ in range(5)] + [answer(stub, prefix="/__cassette/sub/b")]
        stub.reset()
        assert len(stub.journal) == 0
        assert len(stub.unplayed) == 5
        assert [answer(stub) for _ in range(5)] + [answer(stub, prefix="/__cassette/sub/b")] == before
    assert before == ["a1", "a2", "b1", "b1", "b1", "b1"]


def test_named_cassette_is_served_alone_and_has_its_own_positions(folder: Path) -> None:
    with StubServer(folder, fallback="error") as stub:
        assert [answer(stub, prefix="/__cassette/a") for _ in range(2)] == ["a1", "a2"]
        assert answer(stub, prefix="/__cassette/sub/b") == "b1"
        assert answer(stub) == "a1"
        status, body = ask(stub, chat("only b").replace(b"POST /v1", b"POST /__cassette/a/v1"))
        assert (status, body["error"]["code"]) == (404, "no_recording")
        status, body = ask(stub, chat().replace(b"POST /v1", b"POST /__cassette/c/v1"))
        assert (status, body["error"]["code"]) == (404, "no_cassette")


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        ({}, ["a1", "a2", "a2", None]),
        ({"on_exhausted": "cycle"}, ["a1", "a2", "a1", None]),
        ({"on_exhausted": "error"}, ["a1", "a2", None, None]),
        ({"drift": "allow"}, ["a1", "a2", "a2", "a3"]),
        ({"match_on": "method,path,query"}, ["a1", "a2", "a3", "a3"]),
        ({"match_on": ["method", "path"]}, ["a1", "a2", "a3", "a3"]),
        ({"ignore": ["messages"]}, ["a1", "a2", "a3", "a3"]),
    ],
)
def test_matching_options_reach_the_library(folder: Path, options: dict[str, Any], answers: list[Any]) -> None:
    with StubServer(folder / "a.yaml", **options) as stub:
        assert [answer(stub, prompt) for prompt in ("hi", "hi", "hi", "unknown")] == answers


def test_fallback_error_has_the_status_that_was_chosen(folder: Path) -> None:
    with StubServer(folder, fallback="error", error_status=418) as stub:
        status, body = ask(stub, chat("unknown"))
    assert (status, body["error"]["code"], len(body["error"]["near_misses"])) == (418, "no_recording", 3)


def test_damaged_cassette_is_reported_and_the_others_are_served(folder: Path) -> None:
    (folder / "damaged.yaml").write_text("interactions:\n- request: [\nversion: 1\n")
    with StubServer(folder) as stub:
        assert answer(stub, "only a") == "a3"
        assert [error.path for error in stub.report.errors] == ["tapes/damaged.yaml"]


# ------------------------------------------------------------------------------------------------ files that change


@pytest.fixture
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)


@pytest.mark.usefixtures("quick_look", "nothing_left")
def test_changed_file_is_read_again(folder: Path) -> None:
    with StubServer(folder) as stub:
        assert answer(stub, "only a") == "a3"
        save(folder / "a.yaml", ("only a", "another answer"))
        assert eventually(lambda: answer(stub, "only a") == "another answer")


@pytest.mark.usefixtures("quick_look", "nothing_left")
def test_new_file_is_served_and_a_deleted_one_is_not(folder: Path) -> None:
    with StubServer(folder) as stub:
        save(folder / "new.yaml", ("new", "n1"))
        assert eventually(lambda: answer(stub, "new") == "n1")
        (folder / "new.yaml").unlink()
        assert eventually(lambda: answer(stub, "new") is None)


@pytest.mark.usefixtures("quick_look", "nothing_left")
def test_half_written_file_never_takes_down_what_was_served(folder: Path) -> None:
    whole = save(folder / "whole.yaml", ("only a", "another answer")).read_text()
    (folder / "whole.yaml").unlink()
    reports: list[Any] = []
    with StubServer(folder, on_report=reports.append) as stub:
        (folder / "a.yaml").write_text(whole[: whole.index("code:") - 20])
        assert eventually(lambda: reports)
        assert answer(stub, "only a") == "a3"
        assert [error.path for error in reports[0].errors] == ["tapes/a.yaml"]
        (folder / "a.yaml").write_text(whole)
        assert eventually(lambda: answer(stub, "only a") == "another answer")


@pytest.mark.usefixtures("quick_look", "nothing_left")
def test_reload_keeps_the_positions_of_what_did_not_change(folder: Path) -> None:
    with StubServer(folder) as stub:
        assert answer(stub) == "a1"
        save(folder / "new.yaml", ("new", "n1"))
        assert eventually(lambda: answer(stub, "new") == "n1")
        assert answer(stub) == "a2"


# ------------------------------------------------------------------------------------------------ datatrove's style


def test_a_miss_is_skippable_in_datatroves_style(folder: Path) -> None:
    with StubServer(folder / "a.yaml", style="datatrove") as stub:
        status, answer = ask(stub, chat("never recorded"))

    assert (status, answer["error"]["type"]) == (400, "BadRequestError")
    assert answer["error"]["message"].startswith("BadRequestError: no recording for POST /v1/chat/completions")


def test_readiness_never_misses_in_datatroves_style(folder: Path) -> None:
    with StubServer(folder / "a.yaml", style="datatrove") as stub:
        assert ask(stub, GET.replace(b"/v1/models", b"/v1/v1/models"))[0] == 200
    with StubServer(folder / "a.yaml", fallback="error") as stub:
        assert ask(stub, GET)[0] == 404


@pytest.mark.parametrize(
    ("options", "source"), [({}, "unmatched"), ({"fallback": "dummy"}, "dummy"), ({"error_status": 422}, "unmatched")]
)
def test_the_fallback_is_a_word_away(folder: Path, options: dict[str, Any], source: str) -> None:
    with StubServer(folder / "a.yaml", style="datatrove", **options) as stub:
        status, _ = ask(stub, chat("never recorded"))

        assert stub.journal[-1].source == source
        assert status == {"unmatched": options.get("error_status", 400), "dummy": 200}[source]


def test_datatroves_style_without_cassettes_is_the_plain_dummy() -> None:
    with StubServer(style="datatrove") as stub:
        _, answer = ask(stub, chat("hello", max_tokens=1))

    assert answer["choices"][0]["finish_reason"] == "stop"
    assert len(answer["usage"]) == 3


def test_running_ends_with_the_server() -> None:
    stub = StubServer()
    before = stub.running
    with stub:
        during = stub.running

    assert (before, during, stub.running) == (False, True, False)
