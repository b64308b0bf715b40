"""When each part of an answer is sent; the clock stands still here, so that the times are exact."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faulty_upstream import STREAM, stream, upstream
from raw import GET, LAST_GET, Raw, chat, eventually
from tapes import chunks, completion, events, recorded, request, tape

from stubserver import pacing as module
from stubserver import wire
from stubserver.errors import UsageError
from stubserver.messages import Answer, Response, Step
from stubserver.pacing import Pace, pace_of, pacer_of
from stubserver.poller import GONE
from stubserver.stub import StubServer

SSE = (("content-type", "text/event-stream"),)
EVENTS = [b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"]
STREAMED = Response(200, SSE, b"".join(EVENTS), "OK", events=True)
WHOLE = Response(200, (("content-type", "application/json"),), json.dumps(completion()).encode(), "OK")


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_at(1000.0, monkeypatch)


def clock_at(now: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))


def sent(
    pace: Pace, response: Response, *, method: str = "POST", flags: int = 0, **more: Any
) -> list[tuple[int, bytes]]:
    """Pace an answer: when each part of it is sent, in ms, and which; with the clock still, from the start on."""
    pacer = pacer_of(pace)
    assert pacer is not None
    answer = pacer(request({}, method=method), Answer(response, more.pop("source", "replayed"), **more))
    assert answer.script is not None
    return [(round(step.delay * 1000), step.data) for step in answer.script(response, flags)]


def delays(pace: Pace, response: Response, **more: Any) -> list[int]:
    return [delay for delay, _ in sent(pace, response, **more)]


@pytest.mark.parametrize("flags", [0, wire.CLOSE, wire.HTTP10, wire.HEAD])
@pytest.mark.parametrize("response", [STREAMED, WHOLE, STREAMED._replace(body=b""), Response(204)])
def test_what_is_sent_is_what_would_be_sent_at_once(response: Response, flags: int) -> None:
    steps = sent(Pace(1.0, 5, 5), response, flags=flags)

    assert b"".join(data for _, data in steps) == b"".join(wire.render(response, flags))


def test_a_stream_is_sent_an_event_a_step_the_head_with_the_first() -> None:
    first, second, third = (data for _, data in sent(Pace(1.0), STREAMED._replace(times=(1, 2, 3))))

    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"data: 1\n\n\r\n")
    assert second == b"9\r\ndata: 2\n\n\r\n"
    assert third.endswith(b"[DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("pace", "expected"),
    [(Pace(1.0), [300, 400, 900]), (Pace(2.0), [150, 200, 450]), (Pace(0.5), [600, 800, 1800])],
)
def test_recorded_timing_is_played_at_its_speed(pace: Pace, expected: list[int]) -> None:
    assert delays(pace, STREAMED._replace(times=(300, 400, 900))) == expected


@pytest.mark.parametrize(
    ("times", "count", "expected"),
    [
        ((300,), 1, [300]),
        ((100, 200, 900), 1, [900]),
        ((300,), 3, [100, 200, 300]),
        ((100, 200, 300), 5, [100, 100, 200, 200, 300]),
        ((10, 20, 30, 40, 50), 3, [10, 30, 50]),
        ((10, 20), 2, [10, 20]),
    ],
)
def test_timing_is_fitted_to_more_or_fewer_events(times: tuple[int, ...], count: int, expected: list[int]) -> None:
    response = STREAMED._replace(body=b"data: 1\n\n" * count, times=times)

    assert delays(Pace(1.0), response) == expected


def test_each_step_is_timed_from_the_request_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pacer = pacer_of(Pace(1.0))
    assert pacer is not None
    response = STREAMED._replace(times=(100, 200, 300))
    script = pacer(request({}), Answer(response, "replayed")).script
    assert script is not None
    steps = iter(script(response, 0))

    found = []
    for now in (1000.0, 1000.15, 1000.9):  # the second event is waited for shortly, the third says how late it is
        clock_at(now, monkeypatch)
        found.append(round(next(steps).delay * 1000))

    assert found == [100, 50, -600]


def test_rendered_pieces_are_made_once_and_used_by_all() -> None:
    pacer, answer = pacer_of(Pace(None, 5, 5)), Answer(STREAMED, "replayed")
    assert pacer is not None
    once, again = (pacer(request({}), answer).script for _ in range(2))
    assert once is not None
    assert again is not None

    assert [step.data for step in once(STREAMED, 0)] == [step.data for step in again(STREAMED, 0)]
    assert answer.rendered == {0: wire.render(STREAMED, 0)}


def test_a_pace_of_its_own_is_for_what_has_no_timing() -> None:
    assert delays(Pace(1.0, ttft=200, itl=20), STREAMED) == [200, 220, 240]
    assert delays(Pace(1.0, ttft=200), STREAMED) == [200, 200, 200]
    assert delays(Pace(1.0, itl=20), STREAMED) == [0, 20, 40]
    assert delays(Pace(1.0, ttft=200, itl=20), STREAMED._replace(times=(1, 2, 3))) == [1, 2, 3]
    assert delays(Pace(None, ttft=200, itl=20), STREAMED._replace(times=(1, 2, 3))) == [200, 220, 240]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"usage": {"completion_tokens": 11}}, 300),
        ({"usage": {"output_tokens": 11}}, 300),
        ({"usage": {"completion_tokens": 0}}, 200),
        ({"usage": {"prompt_tokens": 5}}, 200),
        ({"usage": {"completion_tokens": "11"}}, 200),
        ({"usage": None}, 200),
        ([], 200),
    ],
)
def test_a_whole_answer_comes_when_its_last_token_would(body: Any, expected: int) -> None:
    assert delays(Pace(None, ttft=200, itl=10), WHOLE._replace(body=json.dumps(body).encode())) == [expected]


@pytest.mark.parametrize(
    ("pace", "method", "source", "times"),
    [
        (Pace(1.0), "POST", "replayed", ()),
        (Pace(1.0), "POST", "dummy", ()),
        (Pace(1.0, 200, 20), "GET", "dummy", ()),
        (Pace(1.0, 200, 20), "POST", "unmatched", (5,)),
    ],
)
def test_what_is_sent_at_once_all_the_same(pace: Pace, method: str, source: str, times: tuple[int, ...]) -> None:
    pacer, answer = pacer_of(pace), Answer(WHOLE._replace(times=times), source)

    assert pacer is not None
    assert pacer(request({}, method=method), answer) is answer


def test_a_recording_of_any_method_keeps_its_timing() -> None:
    assert delays(Pace(1.0), WHOLE._replace(times=(70,)), method="GET") == [70]


def test_the_answer_that_is_kept_for_others_is_not_changed() -> None:
    pacer, answer = pacer_of(Pace(1.0)), Answer(WHOLE._replace(times=(5,)), "replayed")

    assert pacer is not None
    assert pacer(request({}), answer) is not answer
    assert answer.script is None


def test_no_delay_is_longer_than_an_hour() -> None:
    assert delays(Pace(0.001), WHOLE._replace(times=(86_400_000,))) == [3_600_000]
    most = WHOLE._replace(body=b'{"usage": {"completion_tokens": 99999999999999999999}}')
    assert delays(Pace(None, 0, 3_600_000), most) == [3_600_000]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("none", None, None), Pace()),
        (("recorded", None, None), Pace(1.0)),
        (("2", None, None), Pace(2.0)),
        ((0.5, None, None), Pace(0.5)),
        ((2, 100, 0), Pace(2.0, 100, 0)),
    ],
)
def test_a_pace_is_made_of_the_options(said: Any, expected: Pace) -> None:
    assert pace_of(*said) == expected


@pytest.mark.parametrize("said", ["", "fast", "0", "-1", "nan", "inf", 0, 1e-9])
def test_what_is_no_pace_is_said(said: Any) -> None:
    with pytest.raises(UsageError, match="recorded, none, or a factor"):
        pace_of(said)


@pytest.mark.parametrize("name", ["ttft", "itl"])
@pytest.mark.parametrize("value", [-1, float("nan"), 3_600_001])
def test_what_are_no_milliseconds_is_said(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} .* milliseconds"):
        pace_of("recorded", **{name: value})


def test_no_pace_needs_nobody_to_set_it() -> None:
    assert pacer_of(pace_of()) is None


# Over sockets, with the waiting left out: what is asked to wait is written down instead.


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []

    def note(_: object, step: Step) -> bool:
        if step.delay > 0:
            found.append(round(step.delay * 1000))
        return False

    monkeypatch.setattr("stubserver.connection.Connection._pauses", note)
    return found


def test_recorded_streams_replay_in_their_time_and_other_modes_too(tmp_path: Path, waited: list[int]) -> None:
    tape = tmp_path / "t.yaml"
    said = events(*chunks({"content": "a"}, {"content": "b"}))
    with upstream() as up:
        up.otherwise = stream(*[f"{part}\n\n".encode() for part in said.split("\n\n") if part])
        with StubServer(tape, record_mode="new_episodes", upstream=up.url) as stub, Raw(("127.0.0.1", stub.port)) as c:
            c.ask(chat(stream=True))
    tape.write_text(re.sub("events_ms: [0-9,]+", "events_ms: 100,150,174,180", tape.read_text()))
    with StubServer(tape, fallback="error", pace="recorded") as stub, Raw(("127.0.0.1", stub.port)) as client:
        whole = client.ask(chat(stream=True))
        assert waited == [100, 150, 174, 180]
        waited.clear()
        assert client.ask(chat())[0] == 200  # folded into one
        assert waited == [180]
        stub.set_pace()
        assert client.ask(chat(stream=True)) == whole
        stub.set_pace("2")
        assert client.ask(chat(stream=True)) == whole
    assert waited == [180, 50, 75, 87, 90]


def body_of(asked: bytes) -> bytes:
    return asked.partition(b"\r\n\r\n")[2]


def test_answers_of_an_index_have_their_pace_and_faults_too(tmp_path: Path, waited: list[int]) -> None:
    file = tape(tmp_path / "t.yaml", recorded(body_of(chat(stream=True)), events(*chunks({"content": "a"}))))
    for fault in ((), (), "no-last-chunk"):
        options: dict[str, Any] = {"index": tmp_path / "i", "itl": 10, "fallback": "error", "fault": fault}
        with StubServer(file, **options) as stub, Raw(("127.0.0.1", stub.port)) as client:
            assert client.send(chat(stream=True), LAST_GET).head()[0] == 200
            client.rest()
        assert waited == [10, 20]
        waited.clear()


def test_the_dummy_has_a_pace_of_its_own(waited: list[int]) -> None:
    with StubServer(ttft=100, itl=10, dummy_text="one two") as stub, Raw(("127.0.0.1", stub.port)) as client:
        client.ask(chat(stream=True))
        count = len(waited)
        assert waited == [100 + 10 * i for i in range(count)]
        client.ask(GET)
        assert len(waited) == count
        client.ask(chat())
        assert waited[-1] == 100 + 10 * 99


def test_what_comes_from_the_upstream_has_its_own_pace(tmp_path: Path, waited: list[int]) -> None:
    with upstream() as up:
        up.otherwise = stream(*STREAM)
        options: dict[str, Any] = {"record_mode": "new_episodes", "upstream": up.url, "ttft": 50}
        with StubServer(tmp_path / "t.yaml", **options) as stub, Raw(("127.0.0.1", stub.port)) as client:
            client.ask(chat(stream=True))
            assert waited == []
            stub.reset()
            client.ask(chat(stream=True))
    assert waited == [50] * len(STREAM)


def test_an_event_that_another_leader_has_dealt_with_is_no_end() -> None:
    with StubServer(ttft=3_600_000) as stub, Raw(("127.0.0.1", stub.port)) as client:
        client.send(chat(stream=True))
        assert eventually(lambda: stub.journal)
        server = stub._server
        assert server is not None
        (connection,) = server._connections
        assert eventually(lambda: connection.watched == GONE)
        connection.ready()
        assert server.connections == 1


def test_a_slow_answer_holds_up_nobody_else() -> None:
    with (
        StubServer(ttft=3_600_000) as stub,
        Raw(("127.0.0.1", stub.port)) as slow,
        Raw(("127.0.0.1", stub.port)) as other,
    ):
        slow.send(chat(stream=True))
        assert other.ask(GET)[0] == 200
        stub.set_pace()
        assert other.ask(chat())[0] == 200
