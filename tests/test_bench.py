"""The benchmark, without the peers: what they are given, how they are started, what is made of the figures."""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw import eventually

from stubserver import StubServer
from stubserver.interchange import Carried, formats

BENCH = Path(__file__).resolve().parent.parent / "tools" / "bench"
sys.path.insert(0, str(BENCH))

import latency  # noqa: E402  # the benchmark's own modules
import load_gen  # noqa: E402
import markdown  # noqa: E402
import paced  # noqa: E402
import publish  # noqa: E402
import run  # noqa: E402
import steps  # noqa: E402
from peers import goals, install, process, roster, rounds, stubs  # noqa: E402
from peers.install import Absent, Installed, Package  # noqa: E402
from report import Part, Series, Verdict  # noqa: E402
from servers import BenchError, Cores, Server  # noqa: E402

COUNT = 40  # more than there are patterns of prompts


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> stubs.Recorded:
    return stubs.recorded(tmp_path_factory.mktemp("recordings"), COUNT)


def bodies(recordings: stubs.Recorded) -> list[str]:
    return recordings.bodies.read_text().splitlines()


def answers(recordings: stubs.Recorded) -> list[str]:
    return [answer for _, answer, _ in stubs.pairs(recordings.numbers)]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


# What the peers are given.


def test_recordings_come_in_the_order_of_their_bodies(recordings: stubs.Recorded) -> None:
    assert [body for body, _, _ in stubs.pairs(recordings.numbers)] == bodies(recordings)
    assert recordings.samples()[0] == (bodies(recordings)[0], answers(recordings)[0])
    assert recordings.samples()[-1] == (bodies(recordings)[-1], answers(recordings)[-1])
    assert min(map(len, answers(recordings))) < recordings.mean_size() < max(map(len, answers(recordings)))


def test_wiremock_is_given_every_recording_and_no_other(recordings: stubs.Recorded, tmp_path: Path) -> None:
    as_json = read(stubs.wiremock(recordings, tmp_path / "json") / "mappings" / "stubs.json")["mappings"]
    as_text = read(stubs.wiremock_text(recordings, tmp_path / "text") / "mappings" / "stubs.json")["mappings"]

    patterns = [mapping["request"]["bodyPatterns"] for mapping in as_text]
    assert patterns == [[{"equalTo": body}] for body in bodies(recordings)]
    assert [m["request"]["bodyPatterns"][0]["equalToJson"] for m in as_json] == bodies(recordings)
    assert [m["response"]["body"] for m in as_text] == [m["response"]["body"] for m in as_json] == answers(recordings)


def test_mountebank_is_given_every_recording_and_keeps_connections(recordings: stubs.Recorded, tmp_path: Path) -> None:
    (imposter,) = read(stubs.mountebank(recordings, tmp_path, 4321))["imposters"]

    assert (imposter["port"], imposter["recordRequests"]) == (4321, False)
    assert [stub["predicates"][0]["equals"]["body"] for stub in imposter["stubs"]] == bodies(recordings)
    given = [stub["responses"][0]["is"] for stub in imposter["stubs"]]
    assert [each["body"] for each in given] == answers(recordings)
    assert {each["headers"]["Connection"] for each in given} == {"keep-alive"}


def test_mockserver_is_given_every_recording(recordings: stubs.Recorded, tmp_path: Path) -> None:
    found = read(stubs.mockserver(recordings, tmp_path))

    assert [each["httpRequest"]["body"]["string"] for each in found] == bodies(recordings)
    assert [each["httpResponse"]["body"] for each in found] == answers(recordings)


def test_aimock_is_given_texts_of_which_each_is_in_one_request_alone(
    recordings: stubs.Recorded, tmp_path: Path
) -> None:
    found = read(stubs.aimock(recordings, tmp_path))["fixtures"]

    last = [json.loads(body)["messages"][-1]["content"] for body in bodies(recordings)]
    matching = [[text for text in last if each["match"]["userMessage"] in text] for each in found]
    assert matching == [[text] for text in last]
    assert [each["response"]["content"] for each in found] == list(map(rounds.content, answers(recordings)))


def test_mitmproxy_is_given_an_archive_of_requests_to_its_upstream(recordings: stubs.Recorded, tmp_path: Path) -> None:
    path = stubs.mitmproxy(recordings, tmp_path)

    found = [each.interaction for each in formats.read([path], "") if isinstance(each, Carried)]
    assert [each.request.body.decode() for each in found] == bodies(recordings)
    assert [each.response.body.decode() for each in found] == answers(recordings)
    assert {each.request.uri for each in found} == {stubs.NOWHERE + stubs.PATH}
    for entry in read(path)["log"]["entries"]:
        # Without a length it would have to close each connection.
        lengths = [field["value"] for field in entry["response"]["headers"] if field["name"] == "Content-Length"]
        assert lengths == [str(len(entry["response"]["content"]["text"].encode()))]


def test_prism_is_told_that_there_is_a_body(recordings: stubs.Recorded, tmp_path: Path) -> None:
    operation = read(stubs.prism(recordings, tmp_path))["paths"][stubs.PATH]["post"]

    assert "application/json" in operation["requestBody"]["content"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert example == json.loads(answers(recordings)[0])


def test_fakellm_has_a_rule_for_every_request(recordings: stubs.Recorded, tmp_path: Path) -> None:
    (rule,) = read(stubs.fakellm(recordings, tmp_path))["rules"]

    assert all(rule["when"]["messages_contain"] in body for body in bodies(recordings))
    assert rule["respond"]["content"] == rounds.content(answers(recordings)[0])


# How they are installed and started.


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    modules = tmp_path / "node_modules"
    for jar in ("wiremock/build/wiremock-standalone-3.jar", "mockserver-node/mockserver-netty-8.jar"):
        path = modules / jar
        path.parent.mkdir(parents=True)
        path.touch()
    return Installed(tmp_path, tmp_path / "program", "3.0")


QUIET = {
    "wiremock": "--no-request-journal",
    "mockserver-node": "-Dmockserver.disableLogging=true",
    "@mbtest/mountebank": "--nologfile",
    "@copilotkit/aimock": "--journal-max",
    "mitmproxy": "-q",
    "@stoplight/prism-cli": "silent",
    "llmock": "--log-level",
}
"""What ends the journal or the log of a peer. fakellm has nothing of the kind."""


@pytest.mark.parametrize("peer", roster.PEERS, ids=lambda peer: peer.name)
def test_a_peer_is_started_at_its_port_with_its_journal_off(
    peer: roster.Peer, installed: Installed, recordings: stubs.Recorded, tmp_path: Path
) -> None:
    folder = tmp_path / "stubs"
    folder.mkdir()

    words = list(map(str, peer.start(installed, recordings, folder, 4321)))

    assert "4321" in words or "4321" in (folder / "imposters.json").read_text()
    assert peer.package.name == "fakellm" or QUIET[peer.package.name] in words
    assert words[0] == ("java" if peer.java else str(installed.program))
    paths = [word.rpartition("=")[2] for word in words if str(folder) in word]
    kept = [Path(path) for path in paths if not path.endswith(("conf", "mb.pid"))]
    assert all(path.exists() for path in kept)
    assert kept or peer.name == "llmock"


def test_a_package_without_its_jar_is_no_reason_to_fetch_one(
    recordings: stubs.Recorded, tmp_path: Path, installed: Installed
) -> None:
    peer = next(peer for peer in roster.PEERS if peer.name == "MockServer")

    with pytest.raises(BenchError, match="holds no jar"):
        peer.start(Installed(tmp_path / "empty", installed.program, "8"), recordings, tmp_path, 1)


def fake(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_package_that_cannot_be_had_is_told_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin" / "npm", "echo one >&2; echo 'no such package' >&2; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    found = install.ensure(Package("npm", "@some/peer", "peer"), tmp_path / "peers")

    assert found == Absent("npm ended with status 3: no such package")


def test_a_package_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = tmp_path / "peers" / "npm" / "some-peer"
    modules = at / "node_modules"
    made = f"mkdir -p {modules}/.bin {modules}/@some/peer; touch {modules}/.bin/peer"
    package = f'echo \'{{"version": "1.2.3"}}\' > {modules}/@some/peer/package.json'
    fake(tmp_path / "bin" / "npm", f"echo x >> {tmp_path}/calls; {made}; {package}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    for _ in range(2):
        found = install.ensure(Package("npm", "@some/peer", "peer"), tmp_path / "peers")
        assert found == Installed(at, modules / ".bin" / "peer", "1.2.3")

    assert (tmp_path / "calls").read_text() == "x\n"


def test_without_npm_that_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert install.ensure(Package("npm", "peer", "peer"), tmp_path / "peers") == Absent("npm is not on this machine")
    assert roster.lacks(next(peer for peer in roster.PEERS if peer.java)) == Absent("there is no Java on this machine")


# Processes that are frozen while others are measured.


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has ended
        return "Z"


def test_a_program_is_frozen_with_its_children_and_goes_on(tmp_path: Path) -> None:
    children = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while 1: pass']); print('up', flush=True)"
    )
    code = f"{children}\nwhile 1: pass"

    with process.launched([sys.executable, "-c", code], tmp_path / "log") as program:
        process.until(program, lambda: program.said() == "up" and len(program.pids()) == 2, 20)
        program.freeze()
        process.until(program, lambda: {state(pid) for pid in program.pids()} == {"T"}, 20)
        taken = program.cpu_seconds()
        assert program.drain()  # what is frozen takes nothing
        assert program.cpu_seconds() == taken
        program.thaw()
        process.until(program, lambda: program.cpu_seconds() > taken, 20)
        assert program.memory() > 1
        pids = program.pids()

    assert eventually(lambda: {state(pid) for pid in pids} == {"Z"})


def test_what_others_take_is_told_from_what_we_started(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, own, now = [10.0], [1.0], [100.0]
    monkeypatch.setattr(process, "busy_seconds", lambda: busy[0])
    monkeypatch.setattr(process.time, "monotonic", lambda: now[0])
    program = types.SimpleNamespace(cpu_seconds=lambda: own[0])

    others = process.Others(program)  # type: ignore[arg-type]  # no process is asked for
    busy[0], own[0], now[0] = 13.0, 2.0, 104.0

    assert round(others.part(), 6) == 0.5  # 3 s taken in 4, 1 s of them ours


def test_a_disturbed_round_is_taken_back(tmp_path: Path) -> None:
    contestant = rounds.Contestant("peer", "1 stub", None, 1, tmp_path, 1, 1, 0.1)  # type: ignore[arg-type]
    contestant.rates, contestant.sizes, contestant.others = [1, 2], [1, 2], [0.1, rounds.DISTURBED + 0.1]

    assert contestant.forget()
    assert not contestant.forget()
    assert (contestant.rates, contestant.others) == ([1], [0.1])


def test_a_program_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (
        process.launched([sys.executable, "-c", "print('no room'); raise SystemExit(4)"], tmp_path / "log") as program,
        pytest.raises(BenchError, match="ended with status 4; it said: no room"),
    ):
        process.until(program, lambda: False, 20)


def test_what_is_right(recordings: stubs.Recorded) -> None:
    with StubServer(recordings.cassette, fallback="error") as stub:
        port = int(stub.url.rpartition(":")[2])
        assert rounds.wanted(recordings, fixed=False)(port)
        assert rounds.any_answer(port) is False  # an error is no answer
    with StubServer() as dummy:
        port = int(dummy.url.rpartition(":")[2])
        assert not rounds.wanted(recordings, fixed=False)(port)
        assert rounds.wanted(recordings, fixed=True)(port)
    assert not rounds.wanted(recordings, fixed=True)(port)  # it has ended


@pytest.mark.parametrize("answer", ["", "[]", '{"choices": []}', '{"choices": [{"message": null}]}', "<html>"])
def test_what_is_no_completion_has_no_text(answer: str) -> None:
    assert rounds.content(answer) == ""


# wrk's words.

REPORT = """Running 3s test @ http://127.0.0.1:1/v1/chat/completions
  1 threads and 16 connections
  12345 requests in 3.00s, 14.25MB read
  Socket errors: connect 0, read 2, write 0, timeout 7
Requests/sec:   4115.00
Transfer/sec:      4.75MB
"""


def test_the_size_of_answers_is_read_from_wrk() -> None:
    found = load_gen._parsed(REPORT)

    assert (found.rate, found.count, found.read) == (4115.0, 12345, 14.25 * 1024 * 1024)
    assert not found.clean
    assert str(found) == "read errors: 2, answers later than 2 s: 7"


# Goals, tables, pictures.


def series(name: str, *values: float, group: str = "1 stub") -> Series:
    return Series(name, values, "requests/s", group)


FIGURES = [
    series("stubserver", 30, 36, 33, group=goals.DUMMY),
    series("nginx, fixed bytes", 50, 60, 55, group=goals.DUMMY),
    series("original dummy", 900, 900, 900, group=goals.DUMMY),
    series("llmock", 2, 3, 4, group=goals.DUMMY),
    series("stubserver", 20, 24, 22),
    series("nginx, fixed bytes", 50, 60, 55),
    series("mountebank", 10, 20, 18),
    series("stubserver", 9_000, 9_000, 9_000, group="10,000 stubs"),
    series("mountebank", 10, 18, 20, group="10,000 stubs"),
]


def test_goals_are_ratios_of_the_same_rounds() -> None:
    found = {verdict.name: verdict for verdict in goals.of_throughput(FIGURES)}

    assert [round(value, 9) for value in found["dummy / nginx"].measured.values] == [0.6, 0.6, 0.6]  # type: ignore[union-attr]
    assert found["dummy / nginx"].met
    assert found["hot replay / nginx"].met is False
    assert found["dummy / the fastest peer (mountebank)"].met  # the original is no peer
    assert found["hot replay / the fastest peer (mountebank)"].met is False  # 1.22
    assert found["10,000 distinct / mountebank"].met
    assert found["10,000 distinct / WireMock, text compared"].met is None
    assert found["100,000 distinct / nginx"].met is None
    assert found["10,000 distinct / Hoverfly"].line().endswith("not measured (it is no registry's package)")


def test_a_goal_may_be_a_bound_from_above() -> None:
    starts = [Series(name, [ms], "ms", goals.START) for name, ms in (("stubserver", 100), ("A", 2100), ("B", 1900))]

    assert [verdict.met for verdict in goals.of_starts(starts, ["A", "B", "C"])] == [True, False, None]


def test_what_has_no_rounds_in_common_is_compared_by_medians() -> None:
    (found,) = goals.of_matching(Series("ours", [1, 2, 3], "ms"), Series("vcrpy", [1, 4000, 9000], "ms"))

    assert found.measured is not None
    assert (list(found.measured.values), found.met) == ([2000.0], True)
    assert goals.of_matching(None, None)[0].met is None


@pytest.fixture
def result(tmp_path: Path) -> Path:
    part = Part("peers", "side by side", FIGURES, notes=["a | note"])
    part.goals = goals.of_throughput(FIGURES)
    part.absent, part.versions = {"Prism": "no | room"}, {"mountebank": "2.9"}
    starts = Part("starts", "starts", [Series("stubserver", [90, 100], "ms", goals.START)])
    machine = {"time": "2026-01-02T03:04:05+00:00", "cores": 2, "system": "Linux", "python": "3.11", "cpu": "a CPU"}
    found = {"machine": machine, "parts": {each.name: each.as_json() for each in (part, starts)}}
    path = tmp_path / "20260102-030405.json"
    path.write_text(json.dumps(found))
    return path


def test_the_page_says_what_was_met_and_what_was_not_measured(result: Path) -> None:
    page = markdown.document(read(result), [Path("a.png")])

    assert "| dummy / nginx | at least 0.6 | 0.6 (0.6 - 0.6) | met |" in page
    assert "| hot replay / nginx | at least 0.6 | 0.4 (0.4 - 0.4) | **not met** |" in page
    assert "| Prism | no / room |" in page
    assert "mountebank 2.9" in page
    assert "![a](a.png)" in page
    assert "|  | own answers | 1 stub | 10,000 stubs |" in page
    assert "| mountebank | - | 18.0 | 18.0 |" in page
    for table in tables(page):
        assert len({row.count("|") for row in table}) == 1


def tables(page: str) -> list[list[str]]:
    lines = itertools.groupby(page.splitlines(), key=lambda line: line.startswith("|"))
    return [list(group) for is_table, group in lines if is_table]


def test_a_result_is_published_with_pictures_that_do_not_change(result: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = {path.name: path.read_bytes() for path in publish.publish([result], tmp_path / "one")}
    again = {path.name: path.read_bytes() for path in publish.publish([result], tmp_path / "two")}

    ends = ("starts.png", "starts.svg", "throughput.png", "throughput.svg")
    assert sorted(first) == ["2026-01-02-" + name for name in ends] + ["2026-01-02.json", "2026-01-02.md"]
    assert first == again
    assert all(path.encode() in first["2026-01-02.md"] for path in first if path.endswith(".png"))


def test_the_newest_result_is_published(result: Path, tmp_path: Path) -> None:
    (tmp_path / "20251231-235959.json").touch()

    assert publish.newest(tmp_path) == [result]
    assert publish.newest(tmp_path / "none") == []


def test_parts_of_several_results_are_published_as_one(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_plots", lambda *_: [])
    newer = tmp_path / "newer.json"
    starts = Part("starts", "newer", []).as_json()
    newer.write_text(json.dumps({"machine": {"time": "2026-01-03T00:00:00", "cores": 4}, "parts": {"starts": starts}}))

    table, kept = publish.publish([result, newer], tmp_path / "out")

    found = read(kept)
    assert (found["machine"]["cores"], list(found["parts"])) == (2, ["peers", "starts"])
    assert "starts: newer" in table.read_text()


def test_a_verdict_without_a_measurement_is_json_too() -> None:
    assert Verdict("a", 2, None, why="gone").as_json()["met"] is None


# Each step of the way, and the client that does not wait.


def test_every_step_is_measured_in_every_pass(tmp_path: Path) -> None:
    part = steps.measure(8, 2, tmp_path)

    assert [figure.name for figure in part.figures if "whole" in figure.name or "key" in figure.name] == [
        "key",
        "whole, never asked before",
        "whole, asked before",
        "whole, the dummy, asked before",
    ]
    assert all(len(figure.values) == 2 and min(figure.values) > 0 for figure in part.figures)


def test_whole_answers_are_known_by_their_length() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\ncontent-length: 3\r\nX: Content-\r\n\r\n"

    assert paced.whole(head + b"abc")
    assert not any(paced.whole((head + b"abc")[:end]) for end in range(len(head) + 3))
    assert [paced.at([1, 2, 3, 4], percent) for percent in (0, 50, 99, 100)] == [1, 3, 4, 4]


def test_every_request_is_asked_in_turn_and_answered(recordings: stubs.Recorded) -> None:
    with StubServer(recordings.cassette, fallback="error") as stub:
        client = paced.Client(int(stub.url.rpartition(":")[2]), 3)
        client.ask(paced.read(recordings.bodies, 10), 400, 0.25)

        found = client.found(400)
        assert (found["count"], found["errors"]) == (100, 0)
        assert len(stub.unplayed) == 10  # those before the tenth
        assert 0 < found["p50"] <= found["p99"] <= found["p100"]


@pytest.fixture
def stalling() -> Iterator[tuple[int, threading.Event]]:
    """Serve one connection, which answers nothing before it is told to."""
    go_on = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as sock:
                while sock.recv(65_536):
                    go_on.wait(20)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], go_on
        thread.join()


def test_a_stall_counts_for_every_request_that_was_due_in_it(stalling: tuple[int, threading.Event]) -> None:
    port, go_on = stalling
    client = paced.Client(port, 1)
    threading.Timer(0.3, go_on.set).start()

    client.ask([b"x"], 100, 0.2)

    # Twenty were due within 0.2 s, one after each 10 ms; none was answered before 0.3 s, counted from before the first.
    assert len(client.latencies) == 20
    # A tenth of a second may pass on a busy machine before it begins to ask.
    least = 0.2 - paced.BEGIN_AFTER_SECONDS
    assert all(latency > least - 0.01 * n for n, latency in enumerate(client.latencies))
    assert client.kept >= 18


def test_an_answer_that_is_an_error_is_counted() -> None:
    with StubServer(fallback="error") as stub:
        client = paced.Client(int(stub.url.rpartition(":")[2]), 1)
        client.ask([paced.HEAD.format(2).encode() + b"{}"], 100, 0.05)

    assert client.found(100)["errors"] == 5


# Latency beside something else.


def test_a_library_has_all_its_requests_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "FILES", 4)
    library = latency.Library(tmp_path, 20)
    library.write()

    with StubServer(library.tapes, fallback="error") as stub:
        client = paced.Client(int(stub.url.rpartition(":")[2]), 2)
        client.ask(paced.read(library.bodies, 0), 400, 0.05)
        assert client.found(400)["errors"] == 0
        assert len(stub.unplayed) == len(latency.CHANGED)


def test_changes_are_served_and_news_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "FILES", 1)
    monkeypatch.setattr(latency, "CHANGED", range(80_000_000, 80_000_003))
    library = latency.Library(tmp_path, 1)
    library.write()
    with StubServer(library.tapes, fallback="error") as stub:
        changes = latency.Changes(library, server_of(stub))
        changes.step()
        changes.step()
    assert len(changes.seen) == 2

    with StubServer() as api, StubServer(tmp_path / "new.yaml", record_mode="new_episodes", upstream=api.url) as stub:
        news = latency.News(server_of(stub))
        news.step()
        news.step()
        news.close()
    assert (tmp_path / "new.yaml").read_text().count("news ") == 2


def server_of(stub: StubServer) -> Server:
    return Server(None, int(stub.url.rpartition(":")[2]), 0.0)  # type: ignore[arg-type]  # no process is asked for


def test_what_goes_wrong_beside_a_measurement_spoils_it() -> None:
    def step() -> None:
        raise OSError("gone")

    with pytest.raises(BenchError, match="gone"), latency.again(step, Cores()):
        pass


# The command line.


def test_full_is_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def measure(name: str, *_: object) -> Part:
        asked.append(name)
        return Part(name, name)

    monkeypatch.setattr(run, "_measure", measure)
    monkeypatch.setattr(run, "_missing", list)
    monkeypatch.setattr(run, "HERE", tmp_path)
    for words, names in (([], run.PARTS), (["--full"], (*run.PARTS, *run.IN_FULL)), (["--only", "steps"], ("steps",))):
        asked.clear()
        monkeypatch.setattr(sys, "argv", ["run.py", *words])
        assert run.main() == 0
        assert tuple(asked) == names
