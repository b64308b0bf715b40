"""Recording over sockets: what reaches the upstream, what the client gets, what is kept, and its replay."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from faulty_upstream import (
    DONE,
    FAULTS,
    JSON,
    ODD,
    STREAM,
    WHOLE,
    Upstream,
    answer,
    event,
    head,
    sending,
    stream,
    upstream,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from raw import GET, Raw, chat, eventually, post
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from stubserver import calls
from stubserver.errors import UsageError
from stubserver.forwarder import Forwarder
from stubserver.journal import Entry
from stubserver.messages import Answer, Delivery, Request
from stubserver.stub import StubServer

CHAT = "/v1/chat/completions"
SECRET = "sk-proj-" + "Zq3" * 16


@pytest.fixture
def up() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return tmp_path / "tape.yaml"


def recording(tape: Path, up: Upstream, mode: str = "new_episodes", **options: Any) -> StubServer:
    return StubServer(tape, record_mode=mode, upstream=up.url, **options)


def connect(stub: StubServer) -> Raw:
    return Raw(("127.0.0.1", stub.port))


def ask(stub: StubServer, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Ask once, over a connection of its own."""
    with connect(stub) as client:
        status, fields = client.send(request).head()
        if fields.get("transfer-encoding") == "chunked":
            return status, fields, b"".join(client.chunks())
        return status, fields, client.exactly(int(fields.get("content-length", 0)))


def entry(stub: StubServer) -> Entry:
    """Return the last entry of the journal, when it is there: of a cut answer, it is written behind it."""
    assert eventually(lambda: len(stub.journal))
    return stub.journal[-1]


def loaded(tape: Path) -> list[tuple[Any, dict[str, Any]]]:
    """Read a cassette as vcrpy does."""
    return list(zip(*FilesystemPersister.load_cassette(tape, yamlserializer), strict=True))


# What is recorded plays afterwards


TEXT = "Grüße,\r\n\tWelt \u2028\x85\x00".encode()
ANSWERS = {
    "whole": (answer(WHOLE), 200, WHOLE),
    "stream": (stream(*STREAM), 200, b"".join(STREAM)),
    "binary": (answer(bytes(range(256)) * 50, "audio/mpeg"), 200, bytes(range(256)) * 50),
    "gzip": (answer(gzip.compress(WHOLE), JSON, "Content-Encoding: gzip"), 200, WHOLE),
    "text": (answer(TEXT, "text/plain"), 200, TEXT),
    "empty": (answer(b""), 200, b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "created": (answer(WHOLE, status="201 Created"), 201, WHOLE),
    **{f"error {code}": (answer(b"{}", status=f"{code} Oh"), code, b"{}") for code in (400, 404, 413, 415, 422)},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_recorded_answer_plays_with_the_upstream_gone(name: str, up: Upstream, tape: Path) -> None:
    said, status, body = ANSWERS[name]
    up.otherwise = said
    with recording(tape, up) as stub:
        got = ask(stub, chat())
        assert (stub.journal[-1].source, stub.journal[-1].note) == ("recorded", "")
    up.close()
    with StubServer(tape, fallback="error") as stub:
        played = ask(stub, chat())

    assert got[0] == played[0] == status
    assert got[2] == (gzip.compress(WHOLE) if name == "gzip" else body) or gzip.decompress(got[2]) == body
    assert played[2] == body
    assert played[1].get("content-type") == got[1].get("content-type")
    assert (got[1]["x-stubserver-source"], played[1]["x-stubserver-source"]) == ("recorded", "replayed")


@pytest.mark.parametrize("name", ANSWERS)
def test_vcrpy_reads_what_was_recorded(name: str, up: Upstream, tape: Path) -> None:
    up.otherwise, status, body = ANSWERS[name]
    with recording(tape, up) as stub:
        ask(stub, chat())

    ((request, response),) = loaded(tape)

    assert (request.method, request.uri) == ("POST", up.url + CHAT)
    assert json.loads(request.body)["messages"][0]["content"] == "hi"
    assert (response["status"]["code"], response["body"]["string"]) == (status, body)
    assert response["headers"]["content-length"] == [str(len(body))]
    assert not [name for name in response["headers"] if name.lower() in {"content-encoding", "transfer-encoding"}]


JSON_REQUESTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3),
    max_leaves=12,
)


@settings(max_examples=15)
@given(st.lists(st.tuples(JSON_REQUESTS, st.booleans(), st.binary(max_size=200)), min_size=1, max_size=12))
def test_any_request_and_any_answer_survive_record_disk_load_and_replay(
    tmp_path_factory: pytest.TempPathFactory, exchanges: list[tuple[Any, bool, bytes]]
) -> None:
    """Over sockets, both ways; each exchange at a path of its own, so that equal bodies are told apart."""
    tape = tmp_path_factory.mktemp("any") / "tape.yaml"
    requests = [
        post(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), target=f"/v1/{number}")
        for number, (value, ascii_only, _) in enumerate(exchanges)
    ]
    with upstream() as up:
        for number, (_, _, body) in enumerate(exchanges):
            up.says[f"/v1/{number}"] = answer(body, "application/octet-stream")
        with recording(tape, up) as stub, connect(stub) as client:
            recorded = [client.ask(request) for request in requests]
            assert {e.note for e in stub.journal} == {""}
    with StubServer(tape, fallback="error") as stub, connect(stub) as client:
        replayed = [client.ask(request) for request in requests]

    assert recorded == replayed == [(200, body) for _, _, body in exchanges]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS"])
def test_any_method_is_passed_on_and_plays(method: str, up: Upstream, tape: Path) -> None:
    up.otherwise = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + (b"" if method == "HEAD" else b"a model")
    request = f"{method} /v1/things/a%20b?x=1&x=2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()

    def asked(stub: StubServer) -> tuple[bytes, bytes]:
        with connect(stub) as client:
            head, _, body = client.send(request).rest().partition(b"\r\n\r\n")
            assert b"content-length: 7" in head.lower()
            return head.split(b"\r\n")[0], body

    with recording(tape, up) as stub:
        got = asked(stub)
    up.close()
    with StubServer(tape, fallback="error") as stub:
        assert asked(stub) == got == (b"HTTP/1.1 200 OK", b"" if method == "HEAD" else b"a model")
    assert (up.asked[0].method, up.asked[0].target) == (method, "/v1/things/a%20b?x=1&x=2")


def test_a_body_of_any_bytes_reaches_the_upstream_unchanged_and_matches_again(up: Upstream, tape: Path) -> None:
    body = bytes(range(256)) * 9
    request = post(body, "Content-Type: application/octet-stream", target="/v1/files")
    with recording(tape, up) as stub:
        ask(stub, request)
    with StubServer(tape, fallback="error") as stub:
        assert ask(stub, request)[0] == 200

    assert up.asked[0].body == body
    assert loaded(tape)[0][0].body == body


def test_repeats_are_recorded_each_and_play_in_their_order(up: Upstream, tape: Path) -> None:
    with recording(tape, up) as stub:
        for number in range(4):
            up.otherwise = answer(b'{"n": %d}' % number)
            ask(stub, chat())

    with StubServer(tape) as stub:
        assert [json.loads(ask(stub, chat())[2])["n"] for _ in range(5)] == [0, 1, 2, 3, 3]


def test_two_runs_write_into_one_file(up: Upstream, tape: Path) -> None:
    for question in ("one", "two"):
        with recording(tape, up) as stub:
            ask(stub, chat(question))
    with recording(tape, up) as stub:
        played = [ask(stub, chat(question))[1]["x-stubserver-source"] for question in ("two", "one", "one")]

    assert played == ["replayed", "replayed", "recorded"]
    assert len(loaded(tape)) == len(up.asked) == 3


def test_equal_requests_at_once_give_one_consistent_cassette(up: Upstream, tape: Path) -> None:
    with recording(tape, up) as stub:
        threads = [threading.Thread(target=ask, args=(stub, chat(str(n % 3)))) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {e.note for e in stub.journal} == {""}

    assert 3 <= len(loaded(tape)) == len(up.asked) <= 12


def test_the_parts_of_a_long_recording_are_known_to_the_next_run(
    up: Upstream, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stubserver.keeper._PART_BYTES", 2500)
    with recording(tape, up) as stub:
        for number in range(6):
            ask(stub, chat(str(number)))
    parts = len(list(tape.parent.glob("tape*.yaml")))
    with recording(tape, up) as stub:
        sources = [ask(stub, chat(str(number)))[1]["x-stubserver-source"] for number in range(7)]

    assert parts > 1
    assert sources == ["replayed"] * 6 + ["recorded"]


def test_mode_all_replaces_what_is_in_a_folder(up: Upstream, tmp_path: Path) -> None:
    for text in ("old", "new"):
        up.otherwise = answer(b'{"a": "%b"}' % text.encode())
        with recording(tmp_path, up, "all", cassette_per="model") as stub:
            ask(stub, chat())
            ask(stub, chat("two"))
    with StubServer(tmp_path, fallback="error", on_exhausted="error") as stub:
        assert [ask(stub, chat())[2] for _ in range(1)] == [b'{"a": "new"}']
        assert ask(stub, chat())[0] == 404


def test_with_an_interval_the_disk_is_told_at_the_end(
    up: Upstream, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("stubserver.cassettes.writer._INTERVAL", 3600.0)
    monkeypatch.setattr("stubserver.cassettes.writer.os.fdatasync", synced.append)
    with recording(tape, up, fsync="interval") as stub:
        for text in ("one", "two", "three"):
            ask(stub, chat(text))
        assert len(synced) == 1

    assert len(synced) == 2


def test_a_recording_to_a_folder_is_one_file_a_run(up: Upstream, tmp_path: Path) -> None:
    with recording(tmp_path, up) as stub:
        ask(stub, chat("one"))
        ask(stub, chat("two"))
        assert stub.journal[-1].cassette.endswith("#2")

    (path,) = tmp_path.glob("*.yaml")
    assert len(loaded(path)) == 2


@pytest.mark.parametrize(("per", "names"), [("path", {"chat-completions", "models"}), ("model", {"m", "no-model"})])
def test_a_folder_may_be_divided_by_path_or_model(per: str, names: set[str], up: Upstream, tmp_path: Path) -> None:
    with recording(tmp_path, up, cassette_per=per) as stub:
        ask(stub, chat())
        ask(stub, GET)

    assert {path.stem.strip("-") for path in tmp_path.iterdir()} == names


def test_what_was_recorded_of_a_named_cassette_plays_by_its_name(up: Upstream, tape: Path) -> None:
    named = post(b"{}", "Content-Type: application/json", target="/__cassette/tape/v1/embeddings")
    with recording(tape, up) as stub:
        ask(stub, chat())
        ask(stub, named)
    with StubServer(tape, fallback="error") as stub:
        assert ask(stub, named)[1]["x-stubserver-cassette"].endswith("tape.yaml#2")

    assert up.asked[1].target == "/v1/embeddings"


# Modes


def test_mode_none_opens_no_connection(up: Upstream, tape: Path) -> None:
    with recording(tape, up) as stub:
        ask(stub, chat())
    before = up.connections
    with StubServer(tape, upstream=up.url, on_exhausted="error") as stub:
        sources = [ask(stub, chat(text))[1]["x-stubserver-source"] for text in ("hi", "hi", "new")]

    assert sources == ["replayed", "dummy", "dummy"]
    assert up.connections == before


def test_mode_once_records_only_where_no_cassette_was(up: Upstream, tape: Path) -> None:
    with recording(tape, up, "once") as stub:
        first = [ask(stub, chat(text))[1]["x-stubserver-source"] for text in ("one", "two")]
    with recording(tape, up, "once", fallback="error") as stub:
        second = [ask(stub, chat(text))[0] for text in ("one", "three")]

    assert first == ["recorded", "recorded"]
    assert second == [200, 404]
    assert len(up.asked) == len(loaded(tape)) == 2


def test_mode_all_records_anew_and_keeps_the_old_cassette_aside(up: Upstream, tape: Path) -> None:
    with recording(tape, up) as stub:
        ask(stub, chat("one"))
        ask(stub, chat("two"))
    old = tape.read_bytes()
    up.otherwise = answer(b'{"new": 1}')
    with recording(tape, up, "all") as stub:
        assert [ask(stub, chat("one"))[2] for _ in range(2)] == [b'{"new": 1}'] * 2
        assert [tape.name in line for line in stub.report.warnings] == [True]

    assert [response["body"]["string"] for _, response in loaded(tape)] == [b'{"new": 1}'] * 2
    assert tape.with_name("tape.yaml.before").read_bytes() == old


def test_forwarding_keeps_nothing(up: Upstream, tape: Path) -> None:
    with recording(tape, up) as stub:
        ask(stub, chat())
    size = tape.stat().st_size
    with StubServer(tape, fallback="forward", upstream=up.url) as stub:
        sources = [ask(stub, chat(text))[1]["x-stubserver-source"] for text in ("hi", "new", "new")]
        assert [e.source for e in stub.journal] == sources

    assert sources == ["replayed", "forwarded", "forwarded"]
    assert (tape.stat().st_size, len(up.asked)) == (size, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"upstream": None}, "need the upstream"),
        ({"upstream": "api.openai.com"}, "is no address"),
        ({"upstream": "ftp://a"}, "is no address"),
        ({"upstream": "http://a:99999"}, "is no address"),
        ({"upstream": "http://a/?x=1"}, "is no address"),
        ({"upstream": "https://me:hunter2hunter2@a"}, "--upstream-key-env"),
        ({"upstream": "http://a", "upstream_key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
        ({"upstream": "http://a", "redact": ["("]}, "no regular expression"),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_said_at_the_start(options: dict[str, Any], said: str, tape: Path) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        StubServer(tape, record_mode="new_episodes", **options)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["tape.json", "tape", "no-such-folder/"])
def test_only_yaml_and_folders_are_recorded_to(name: str, up: Upstream, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.yaml"):
        recording(tmp_path / name, up)


def test_recording_without_a_cassette_is_refused(up: Upstream) -> None:
    with pytest.raises(UsageError, match="needs a cassette"):
        StubServer(record_mode="once", upstream=up.url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_upstream_that_is_ourselves_is_refused_at_the_start(host: str, tape: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    stub = StubServer(tape, port=port, record_mode="new_episodes", upstream=f"http://{host}:{port}/v1")

    with pytest.raises(UsageError, match="this server itself"):
        stub.start()
    with socket.create_server(("127.0.0.1", port)):
        pass  # and the port is free again


# The relay


def test_the_first_event_arrives_before_the_second_left_the_upstream(up: Upstream, tape: Path) -> None:
    go_on = threading.Event()

    def say(sock: socket.socket) -> None:
        whole = stream(*STREAM)
        cut = whole.index(b"}\n\n") + 3
        sock.sendall(whole[:cut])
        assert go_on.wait(60)
        sock.sendall(whole[cut:])

    up.otherwise = say
    with recording(tape, up) as stub, connect(stub) as client:
        client.send(chat(stream=True)).head()
        first = client.exactly(len(STREAM[0]) + 4)
        go_on.set()
        assert first.endswith(STREAM[0])
        client.exactly(2)
        assert client.chunks() == list(STREAM[1:])


@pytest.mark.parametrize("size", [1, 7])
def test_events_are_sent_whole_however_they_came_in(size: int, up: Upstream, tape: Path) -> None:
    events = [event("é☃"), b": ping\r\n\r\n", b"event: x\r\ndata: 1\r\n\r\n", DONE]

    def say(sock: socket.socket) -> None:
        whole = stream(b"".join(events))
        for start in range(0, len(whole), size):
            sock.sendall(whole[start : start + size])

    up.otherwise = say
    with recording(tape, up) as stub, connect(stub) as client:
        client.send(chat(stream=True)).head()
        assert client.chunks() == events
        assert stub.journal[-1].note == ""


def test_when_each_event_came_is_kept_where_vcrpy_ignores_it(up: Upstream, tape: Path) -> None:
    up.otherwise = stream(b"".join(STREAM))
    with recording(tape, up) as stub:
        ask(stub, chat(stream=True))

    times = [int(t) for t in loaded(tape)[0][1]["x_stubserver"]["events_ms"].split(",")]

    assert len(times) == len(STREAM)
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("client_sends", "arrives"),
    [
        ("Authorization: Bearer abc", {"authorization": "Bearer abc"}),
        ("X-Stainless-Lang: python", {"x-stainless-lang": "python"}),
        ("Accept-Encoding: gzip, br", {"accept-encoding": "identity"}),
        ("X-Stubserver-Key: k", {"x-stubserver-key": None}),
        ("TE: trailers", {"te": None}),
        ("Connection: keep-alive, X-Mine\r\nX-Mine: 1", {"x-mine": None, "connection": None}),
        ("Proxy-Authorization: Basic abc", {"proxy-authorization": None}),
        ("X-Twice: 1\r\nX-Twice: 2", {"x-twice": "1, 2"}),
        ("X-A: b", {"user-agent": None, "cookie": None}),
    ],
)  # fmt: skip
def test_the_fields_that_reach_the_upstream(
    client_sends: str, arrives: dict[str, str | None], up: Upstream, tape: Path
) -> None:
    with recording(tape, up) as stub, connect(stub) as client:
        client.ask(post(b"{}", client_sends, target="/v1/embeddings"))

    fields = up.asked[0].fields
    assert {name: fields.get(name) for name in arrives} == arrives
    assert fields["host"] == f"127.0.0.1:{up.port}"


def test_connections_to_the_upstream_are_used_again(up: Upstream, tape: Path) -> None:
    with recording(tape, up) as stub, connect(stub) as client:
        for said in (answer(WHOLE), stream(*STREAM), answer(b""), answer(WHOLE)):
            up.otherwise = said
            client.ask(chat())

    assert (len(up.asked), up.connections) == (4, 1)


def test_stopping_closes_the_connections_to_the_upstream(up: Upstream, tape: Path) -> None:
    with recording(tape, up) as stub:
        ask(stub, chat())
        assert up._open

    assert eventually(lambda: not up._open)


def test_a_connection_that_the_upstream_ended_meanwhile_costs_no_request(
    up: Upstream, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib3 looks whether it has ended; when that happens a moment later, only a second try helps."""
    monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda _: False)
    up.otherwise = sending(answer(WHOLE))  # closes behind it, and does not say so
    with recording(tape, up) as stub, connect(stub) as client:
        assert [client.ask(chat(str(n)))[0] for n in range(3)] == [200] * 3

    assert len(up.asked) == up.connections == 3


def test_a_new_connection_that_ends_without_an_answer_is_not_tried_again(up: Upstream, tape: Path) -> None:
    up.otherwise = sending(b"")
    with recording(tape, up) as stub:
        assert ask(stub, chat())[0] == 502

    assert up.connections == 1


def test_redirects_are_passed_on_and_not_followed(up: Upstream, tape: Path) -> None:
    with upstream() as canary:
        up.otherwise = answer(b"", JSON, f"Location: {canary.url}/v1/models", status="307 Elsewhere")
        with recording(tape, up) as stub:
            status, fields, _ = ask(stub, chat())
            assert "307" in stub.journal[-1].note

        assert (status, fields["location"]) == (307, f"{canary.url}/v1/models")
        assert canary.connections == 0
    assert not tape.exists()


def test_proxies_and_netrc_of_the_environment_are_ignored(
    up: Upstream, tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with upstream() as canary:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, canary.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with recording(tape, up) as stub:
            assert ask(stub, chat())[0] == 200
        assert canary.connections == 0

    assert "authorization" not in up.asked[0].fields


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://{canary}/v1/models HTTP/1.1\r\nHost: a",
        "GET http://{canary}/v1/models HTTP/1.1\r\nHost: {canary}",
        "GET //{canary}/v1/models HTTP/1.1\r\nHost: a",
        "GET /@{canary}/v1/models HTTP/1.1\r\nHost: a",
        "GET @{canary}/v1/models HTTP/1.1\r\nHost: a",
        "GET /\\{canary}/v1/models HTTP/1.1\r\nHost: a",
        "CONNECT {canary} HTTP/1.1\r\nHost: {canary}",
        "GET /v1/models HTTP/1.1\r\nHost: {canary}\r\nX-Forwarded-Host: {canary}",
        "GET /v1/models?upstream=http://{canary} HTTP/1.1\r\nHost: a\r\nX-Upstream: http://{canary}",
        "GET /http://{canary}/v1/models HTTP/1.1\r\nHost: a",
        "OPTIONS * HTTP/1.1\r\nHost: {canary}",
    ],
)
def test_no_request_can_choose_the_upstream(request_line: str, up: Upstream, tape: Path) -> None:
    with upstream() as canary:
        address = f"127.0.0.1:{canary.port}"
        with recording(tape, up) as stub, connect(stub) as client:
            line = request_line.format(canary=address)
            client.send(f"{line}\r\nConnection: close\r\n\r\n".encode())
            assert client.head()[0] in {200, 400, 405}

        assert canary.connections == 0
    assert all(asked.fields["host"] == f"127.0.0.1:{up.port}" for asked in up.asked)


# Clients that leave


def test_a_client_that_leaves_behind_the_last_event_is_recorded(up: Upstream, tape: Path) -> None:
    """openai's client closes its socket right after [DONE]."""
    left = threading.Event()

    def say(sock: socket.socket) -> None:
        sock.sendall(stream(*STREAM, end=b""))
        assert left.wait(60)
        sock.sendall(b"0\r\n\r\n")

    up.otherwise = say
    with recording(tape, up) as stub:
        with connect(stub) as client:
            client.send(chat(stream=True)).head()
            client._until(DONE)
        left.set()
        assert entry(stub).note == ""
        assert stub.journal[-1].cassette.endswith("#1")

    assert loaded(tape)[0][1]["body"]["string"] == b"".join(STREAM)


def test_a_client_that_leaves_within_the_stream_ends_the_upstream_request(up: Upstream, tape: Path) -> None:
    ended = threading.Event()

    def say(sock: socket.socket) -> None:
        sock.sendall(stream(STREAM[0], end=b""))
        try:
            while True:
                sock.sendall(b"%x\r\n%b\r\n" % (len(STREAM[1]), STREAM[1]))
                time.sleep(0.005)
        except OSError:
            ended.set()

    up.otherwise = say
    with recording(tape, up) as stub:
        with connect(stub) as client:
            client.send(chat(stream=True)).head()
            client.exactly(10)
            client.reset()
        assert ended.wait(60)
        assert "the client left" in entry(stub).note

    assert not tape.exists()


EVENTS = (*(event(text) for text in "abcde"), DONE)


@pytest.mark.parametrize("read", range(len(EVENTS) + 1))
def test_a_client_that_leaves_behind_any_event_is_recorded_only_behind_the_last(
    read: int, up: Upstream, tape: Path
) -> None:
    """The upstream goes on when the client has left; or ends, where that was behind the last event."""
    said = threading.Semaphore(0)

    def say(sock: socket.socket) -> None:
        sock.settimeout(None)
        whole = stream(*EVENTS[:read], end=b"")
        sock.sendall(whole)
        if read < len(EVENTS):
            with suppress(OSError):
                sock.recv(1)
        else:
            assert said.acquire(timeout=60)
            sock.sendall(b"0\r\n\r\n")

    up.otherwise = say
    with recording(tape, up) as stub:
        with connect(stub) as client:
            client.send(chat(stream=True)).head()
            for _ in range(read):
                client.exactly(int(client._until(b"\r\n"), 16) + 2)
        said.release()
        assert (entry(stub).note == "") == (read == len(EVENTS))

    assert tape.exists() == (read == len(EVENTS))


def test_a_client_that_is_gone_before_the_head_leaves_nothing_open(up: Upstream, tape: Path) -> None:
    asked, gone = threading.Event(), threading.Event()

    def say(sock: socket.socket) -> None:
        asked.set()
        assert gone.wait(60)
        time.sleep(0.05)
        try:
            sock.sendall(stream(*STREAM * 200))
        except OSError:
            return

    up.otherwise = say
    with recording(tape, up) as stub:
        client = connect(stub)
        client.send(chat(stream=True))
        assert asked.wait(60)
        client.reset()
        gone.set()
        assert entry(stub).source == "recorded"


SILENCES = {
    "before the head": (b"", "the client left"),
    "behind the head": (head(f"Content-Type: {JSON}", "Content-Length: 500"), "the client left"),
    "within a stream": (stream(STREAM[0], end=b""), "the client left"),
    "within what the end of the connection ends": (head(f"Content-Type: {JSON}") + b"{}", "the client left"),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", SILENCES)
def test_a_client_that_leaves_a_silent_upstream_ends_the_request_at_once(
    name: str, how: str, up: Upstream, tape: Path
) -> None:
    """The upstream would be silent for ten minutes more: only the client's leaving can end this test."""
    said, note = SILENCES[name]
    asked, ended = threading.Event(), threading.Event()

    def say(sock: socket.socket) -> None:
        sock.settimeout(None)
        sock.sendall(said)
        asked.set()
        with suppress(OSError):
            sock.recv(1)
        ended.set()

    up.says[CHAT] = say
    with recording(tape, up) as stub:
        client = connect(stub)
        client.send(chat())
        assert asked.wait(60)
        if name != "before the head":
            client.head()
        client.reset() if how == "reset" else client.sock.close()
        assert ended.wait(60)
        assert note in entry(stub).note
        assert ask(stub, GET)[0] == 200

    assert [request.path for request, _ in loaded(tape)] == ["/v1/models"]


def test_for_a_client_that_leaves_before_the_upstream_is_asked_it_is_not(
    up: Upstream, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, noted = Forwarder.answer, threading.Event()
    leave = calls.interrupt

    def late(self: Forwarder, request: Request, delivery: Delivery | None = None) -> Answer:
        assert noted.wait(60)
        return send(self, request, delivery)

    def note(thread: int) -> None:
        leave(thread)
        noted.set()

    monkeypatch.setattr(Forwarder, "answer", late)
    monkeypatch.setattr(calls, "interrupt", note)
    with recording(tape, up) as stub:
        with connect(stub) as client:
            client.send(chat())
        assert "the client left" in entry(stub).note

    assert up.asked == []


def test_a_client_that_sends_its_next_request_has_not_left(up: Upstream, tape: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def say(sock: socket.socket) -> None:
        asked.set()
        assert go_on.wait(60)
        sock.sendall(answer(WHOLE, JSON, "Connection: close"))

    up.says[CHAT] = say
    with recording(tape, up) as stub, connect(stub) as client:
        client.send(chat())
        assert asked.wait(60)
        client.send(GET)
        time.sleep(0.05)
        go_on.set()
        assert [client.answer(), client.status()] == [(200, WHOLE), 200]
        assert [e.note for e in stub.journal] == ["", ""]


def test_stopping_ends_what_a_silent_upstream_is_asked(up: Upstream, tape: Path) -> None:
    asked = threading.Event()

    def say(sock: socket.socket) -> None:
        asked.set()
        sock.settimeout(None)
        sock.recv(1)

    up.otherwise = say
    with recording(tape, up) as stub, connect(stub) as client:
        client.send(chat())
        assert asked.wait(60)
        stub.stop(grace=0.0)
        assert "the client left" in entry(stub).note
    assert eventually(lambda: not recorders())


# Upstreams that misbehave


_others: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Note the threads of servers that are there before: other tests of this process may have one for all of them."""
    _others.clear()
    _others.update(threading.enumerate())


def recorders() -> list[str]:
    """Name the threads that serve connections right now."""
    return [t.name for t in threading.enumerate() if t.name.startswith("stubserver") and t not in _others]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_upstream(name: str, up: Upstream, tape: Path) -> None:
    fault = FAULTS[name]
    up.otherwise = fault.say
    up.says["/v1/models"] = answer(b"[]")
    with recording(tape, up, upstream_timeout=0.5 if "silent" in name else 30.0) as stub:
        with connect(stub) as client:
            head, _, body = _first(client, chat())
        assert _status(head) == (200 if fault.status is None else fault.status)
        found = entry(stub)
        assert fault.note in found.note
        assert (found.source, found.cassette) == ("recorded", "")
        if fault.status in {502, 504}:
            assert json.loads(body)["error"]["type"] == "server_error"
        assert ask(stub, GET)[2] == b"[]"
    assert eventually(lambda: not recorders())

    assert [request.path for request, _ in loaded(tape)] == ["/v1/models"]


def _first(client: Raw, request: bytes) -> tuple[bytes, bytes, bytes]:
    """Send the last request of a connection and read all there is."""
    return (
        client.send(request.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n")).rest().partition(b"\r\n\r\n")
    )


def _status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.status is None])
def test_an_answer_that_is_cut_is_cut_for_the_client_too(name: str, up: Upstream, tape: Path) -> None:
    up.otherwise = FAULTS[name].say
    with recording(tape, up, upstream_timeout=0.5) as stub, connect(stub) as client:
        head, _, body = client.send(chat()).rest().partition(b"\r\n\r\n")

    assert b"200" in head.split(b"\r\n")[0]
    assert b"Content-Length: 500" in head or not body.endswith(b"0\r\n\r\n")
    assert len(body) < 500 or b"Content-Length" not in head


@pytest.mark.parametrize("name", ODD)
def test_an_odd_but_whole_answer_is_passed_on_and_kept(name: str, up: Upstream, tape: Path) -> None:
    up.otherwise = ODD[name]
    with recording(tape, up) as stub:
        status, fields, body = ask(stub, chat())
        assert (status, stub.journal[-1].note) == (200, "")
    assert "set-cookie" not in fields
    assert body == b"{}" or name == "deflate"
    assert loaded(tape)[0][1]["body"]["string"] == b"{}"


def test_an_upstream_that_refuses(up: Upstream, tape: Path) -> None:
    up.close()
    with recording(tape, up) as stub:
        status, _, body = ask(stub, chat())
        assert "refused the connection" in stub.journal[-1].note

    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_error")


def test_an_upstream_whose_name_does_not_resolve(tape: Path) -> None:
    with StubServer(tape, record_mode="new_episodes", upstream="http://nobody.invalid") as stub:
        status, _, body = ask(stub, chat())

    assert (status, json.loads(body)["error"]["message"]) == (502, "the upstream's name does not resolve")


def test_a_very_large_answer_is_passed_on_and_not_kept(up: Upstream, tape: Path) -> None:
    size = 100_000_000
    up.otherwise = answer(bytes(size), "application/octet-stream")
    with recording(tape, up) as stub, connect(stub) as client:
        _, fields = client.send(chat()).head()
        assert fields["content-length"] == str(size)
        left = size - len(client._buffer)
        while left:
            left -= len(client.sock.recv(1_000_000))
        assert "too large" in entry(stub).note

    assert not tape.exists()


def test_other_requests_go_on_while_one_upstream_answer_hangs(up: Upstream, tape: Path) -> None:
    release = threading.Event()

    def say(sock: socket.socket) -> None:
        assert release.wait(60)
        sock.sendall(answer(WHOLE))

    up.says["/v1/embeddings"] = say
    with recording(tape, up) as stub, connect(stub) as slow:
        slow.send(post(b"{}", target="/v1/embeddings"))
        assert [ask(stub, chat(str(n)))[0] for n in range(5)] == [200] * 5
        release.set()
        assert slow.status() == 200


# The keys


@pytest.mark.parametrize("header", ["Authorization: Bearer ", "api-key: ", "x-api-key: ", "Cookie: session="])
def test_our_own_key_is_sent_in_place_of_the_clients(
    header: str, up: Upstream, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAL_KEY", f" {SECRET}\n")
    with recording(tape, up, upstream_key_env="REAL_KEY") as stub:
        ask(stub, post(b"{}", f"{header}the-clients-own-1234"))

    assert up.asked[0].fields["authorization"] == f"Bearer {SECRET}"
    assert "the-clients-own-1234" not in str(up.asked)
    assert SECRET not in tape.read_text()


# openai's own client


def client_of(stub: StubServer, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=stub.base_url, api_key=key, max_retries=0)


def whole(client: openai.OpenAI) -> Any:
    messages: Any = [{"role": "user", "content": "hi"}]
    return client.chat.completions.create(model="m", messages=messages).model_dump(exclude_unset=True)


def streamed(client: openai.OpenAI) -> Any:
    messages: Any = [{"role": "user", "content": "hi"}]
    with client.chat.completions.create(model="m", messages=messages, stream=True) as chunks:
        return [chunk.choices[0].delta.content for chunk in chunks]


@pytest.mark.parametrize("call", [whole, streamed])
def test_openais_client_records_and_replays(call: Callable[[openai.OpenAI], Any], up: Upstream, tape: Path) -> None:
    up.otherwise = answer(WHOLE) if call is whole else stream(*STREAM)
    with recording(tape, up) as stub, client_of(stub, SECRET) as client:
        recorded = call(client)
        assert entry(stub).note == ""
    up.close()
    with StubServer(tape, fallback="error") as stub, client_of(stub, "another") as client:
        assert call(client) == recorded

    assert up.asked[0].fields["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in tape.read_text()


# --------------------------------------------------------------------------------------------------- ranks


def test_each_rank_has_files_of_its_own(up: Upstream, tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    with recording(folder, up, rank=0) as first, recording(folder, up, rank=42) as second:
        for stub in (first, second):
            assert ask(stub, chat("the same"))[1]["x-stubserver-source"] == "recorded"

    assert sorted(path.name for path in folder.iterdir()) == ["rank-00000.yaml", "rank-00042.yaml"]
    with StubServer(folder, fallback="error") as stub:
        assert len(stub.library.playlist.recordings) == 2
        assert ask(stub, chat("the same"))[0] == 200


def test_a_rank_goes_on_where_it_stopped_and_leaves_the_others_alone(up: Upstream, tmp_path: Path) -> None:
    with recording(tmp_path, up, rank=1) as stub:
        ask(stub, chat("one"))
    other = tmp_path / "rank-00002.yaml"
    other.write_bytes((tmp_path / "rank-00001.yaml").read_bytes()[:-20])  # as if it was being written

    with recording(tmp_path, up, rank=1) as stub:
        sources = [ask(stub, chat(text))[1]["x-stubserver-source"] for text in ("one", "two")]

    assert sources == ["replayed", "recorded"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["rank-00001.yaml", "rank-00002.yaml"]


def test_ranks_need_a_folder(up: Upstream, tape: Path) -> None:
    tape.write_text("")

    with pytest.raises(UsageError, match="a file in a folder"):
        recording(tape, up, rank=3)


def test_readiness_is_not_recorded_in_datatroves_style(up: Upstream, tape: Path) -> None:
    with recording(tape, up, style="datatrove") as stub:
        assert ask(stub, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")[1]["x-stubserver-source"] == "dummy"

    assert not tape.exists()
