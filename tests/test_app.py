"""One request in, one answer out, one entry in the journal; no sockets."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapes import CHAT, ask, chunks, completion, events, recorded, request, tape

from stubserver import wire
from stubserver.app import App
from stubserver.canonical import Rules
from stubserver.cassettes.library import Library, Report
from stubserver.dummy import DEFAULT_TEXT, DummySettings
from stubserver.errors import ProtocolError
from stubserver.messages import Answer, Request, header

GZIP = gzip.compress(json.dumps(completion("packed")).encode(), mtime=0)
STREAM = events(*chunks({"role": "assistant", "content": ""}, {"content": "Hi"}))


def app(folder: Path, *items: dict[str, Any], **options: Any) -> App:
    """Make an app that serves one cassette, ``tapes/chat.yaml``."""
    library_options = {name: options.pop(name) for name in ("drift", "on_exhausted") if name in options}
    rules = options.pop("rules", None)
    return App(Library([tape(folder / "tapes" / "chat.yaml", *items).parent], rules, **library_options), **options)


def said(answer: Answer, name: str) -> str | None:
    return header(answer.response.headers, f"x-stubserver-{name}")


def text(answer: Answer) -> str:
    return json.loads(answer.response.body)["choices"][0]["message"]["content"]


def error(answer: Answer) -> dict[str, Any]:
    return json.loads(answer.response.body)["error"]


def send(to: App, made: Request) -> Answer:
    return to.answer(to.prepare(made))


# --- recordings and fallbacks -------------------------------------------------------------------------------------


def test_without_cassettes_every_answer_is_the_dummys() -> None:
    answer = send(App(Library([])), request(ask()))
    assert text(answer) == DEFAULT_TEXT
    assert answer.source == said(answer, "source") == "dummy"
    assert said(answer, "cassette") is None


def test_recordings_come_first_and_the_dummy_answers_the_rest(tmp_path: Path) -> None:
    to = app(tmp_path, recorded(ask("known"), completion("recorded")))
    assert text(send(to, request(ask("known")))) == "recorded"
    assert text(send(to, request(ask("unknown")))) == DEFAULT_TEXT
    assert [entry.source for entry in to.journal] == ["replayed", "dummy"]


def test_the_dummys_text_and_models_can_be_set() -> None:
    to = App(Library([]), settings=DummySettings(text="Short.", models=("m",)))
    assert text(send(to, request(ask()))) == "Short."
    assert json.loads(send(to, request(None, "/v1/models", "GET")).response.body)["data"][0]["id"] == "m"


@pytest.mark.parametrize("status", [404, 422])
def test_with_the_error_fallback_a_miss_is_an_error(tmp_path: Path, status: int) -> None:
    answer = send(app(tmp_path, recorded(ask("a")), fallback="error", error_status=status), request(ask("b")))
    assert answer.response.status == status
    assert error(answer)["code"] == "no_recording"
    assert len(error(answer)["near_misses"]) == 1
    assert header(answer.response.headers, "x-should-retry") == "false"
    assert said(answer, "source") == "unmatched"


def test_with_the_error_fallback_and_no_cassettes_everything_is_a_miss() -> None:
    answer = send(App(Library([]), fallback="error"), request(ask()))
    assert error(answer)["near_misses"] == []
    assert "no cassettes are loaded" in error(answer)["message"]


@pytest.mark.parametrize(("policy", "expected"), [("last", "abbb"), ("cycle", "abab"), ("error", "ab--")])
def test_repeats_are_played_in_order_then_as_was_chosen(tmp_path: Path, policy: str, expected: str) -> None:
    items = [recorded(ask(), completion(name)) for name in "ab"]
    to = app(tmp_path, *items, fallback="error", on_exhausted=policy)
    answers = [send(to, request(ask())) for _ in expected]
    assert "".join(text(a) if a.response.status == 200 else "-" for a in answers) == expected


def test_what_is_used_up_goes_to_the_dummy_when_that_is_the_fallback(tmp_path: Path) -> None:
    to = app(tmp_path, recorded(ask(), completion("once")), on_exhausted="error")
    assert [text(send(to, request(ask()))) for _ in range(2)] == ["once", DEFAULT_TEXT]


def test_drift_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    item = recorded(ask("old"), completion("recorded"))
    assert error(send(app(tmp_path, item, fallback="error"), request(ask("new"))))["code"] == "no_recording"
    to = app(tmp_path, item, drift=True, fallback="error")
    answer = send(to, request(ask("new")))
    assert text(answer) == "recorded"
    assert said(answer, "drift") == "messages[0].content"
    assert to.journal[-1].drift == ("messages[0].content",)
    assert send(to, request(ask("newer"))).response.status == 404


def test_vcrpys_own_matching_plays_in_recorded_order_whatever_the_body(tmp_path: Path) -> None:
    rules = Rules(("method", "path", "query"))
    to = app(tmp_path, *(recorded(ask(name), completion(name)) for name in "abc"), rules=rules)
    assert [text(send(to, request(ask("other")))) for _ in range(4)] == ["a", "b", "c", "c"]


def test_a_recorded_error_is_replayed(tmp_path: Path) -> None:
    to = app(tmp_path, recorded(ask(), {"error": {"message": "slow down"}}, status=429))
    answer = send(to, request(ask()))
    assert answer.response.status == 429
    assert answer.source == "replayed"


def test_the_base_url_may_be_another_one_than_the_recorded(tmp_path: Path) -> None:
    to = app(
        tmp_path,
        recorded(ask(), completion("recorded"), base="https://h/openai/deployments/x", path="/chat/completions"),
    )
    for target in (CHAT, "/chat/completions", "/openai/v1/chat/completions"):
        assert text(send(to, request(ask(), target))) == "recorded"


def test_what_was_changed_a_moment_ago_is_read_again_before_it_is_answered(tmp_path: Path) -> None:
    reports: list[Report] = []
    to = app(tmp_path, recorded(ask("a")), recorded(ask("b")), on_report=reports.append)
    file = to.library.files[0]
    file.text = None  # as of one that is not small
    file.path.write_bytes(file.path.read_bytes().replace(b"Hello", b"HELLO"))
    assert "HELLO" in text(send(to, request(ask("a"))))
    assert len(reports) == 1


def test_a_damaged_recording_is_an_error_and_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = app(tmp_path, recorded(ask("a")), recorded(ask("b")))
    monkeypatch.setattr(to.library, "changed", lambda: False)
    file = to.library.files[0]
    file.text = None
    file.path.write_bytes(file.path.read_bytes().replace(b"Hello", b"HELLO"))
    answer = send(to, request(ask("a")))
    assert (answer.response.status, error(answer)["code"]) == (500, "damaged_recording")
    assert to.journal[-1].note.startswith("the recording cannot be read: ")
    assert text(send(to, request(ask("unknown")))) == DEFAULT_TEXT


# --- named cassettes ----------------------------------------------------------------------------------------------


def named(folder: Path, **options: Any) -> App:
    for name in ("one", "sub/two", "sub", "with space"):
        tape(folder / "tapes" / f"{name}.yaml", *(recorded(ask(), completion(f"{name} {i}")) for i in range(2)))
    return App(Library([folder / "tapes"]), **options)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ("one/v1", "one"),
        ("one", "one"),
        ("sub/two/v1", "sub/two"),
        ("sub/v1", "sub"),
        ("with%20space/v1", "with space"),
    ],
)
def test_a_named_cassette_is_served_alone(tmp_path: Path, start: str, name: str) -> None:
    answer = send(named(tmp_path), request(ask(), f"/__cassette/{start}/chat/completions"))
    assert text(answer) == f"{name} 0"
    assert said(answer, "cassette") == f"tapes/{name}.yaml#1"


def test_a_named_cassette_has_positions_of_its_own(tmp_path: Path) -> None:
    to = named(tmp_path)
    target = "/__cassette/one/v1/chat/completions"
    assert [text(send(to, request(ask(), target))) for _ in range(3)] == ["one 0", "one 1", "one 1"]
    assert text(send(to, request(ask(), "/__cassette/sub/two/v1/chat/completions"))) == "sub/two 0"
    assert text(send(to, request(ask()))) == "one 0"


def test_what_a_named_cassette_does_not_hold_goes_to_the_fallback(tmp_path: Path) -> None:
    target = "/__cassette/one/v1/chat/completions"
    assert text(send(named(tmp_path), request(ask("other"), target))) == DEFAULT_TEXT
    answer = send(named(tmp_path, fallback="error"), request(ask("other"), target))
    assert error(answer)["message"].startswith(f"no recording for POST {CHAT}: none of the 2 recordings")
    assert {near["cassette"].partition("#")[0] for near in error(answer)["near_misses"]} == {"tapes/one.yaml"}


def test_the_query_belongs_to_the_request_and_not_to_the_name(tmp_path: Path) -> None:
    to = app(tmp_path, recorded(None, {"data": []}, method="GET", path="/v1/models?after=a"), fallback="error")
    made = request(None, "/__cassette/chat/v1/models?after=a", "GET")
    assert send(to, made).source == "replayed"
    assert send(to, made._replace(target="/__cassette/chat/v1/models?after=b")).source == "unmatched"


@pytest.mark.parametrize(
    "start", ["unknown/v1/models", "", "one.yaml/v1/models", "on/v1/models", "?a", "../x", "x" * 9000]
)
@pytest.mark.parametrize("fallback", ["dummy", "error"])
def test_an_unknown_name_is_an_error_that_lists_the_names(tmp_path: Path, start: str, fallback: str) -> None:
    answer = send(named(tmp_path, fallback=fallback), request(None, f"/__cassette/{start}", "GET"))
    assert answer.response.status == 404
    assert error(answer)["code"] == "no_cassette"
    assert "one, sub" in error(answer)["message"]
    assert len(error(answer)["message"]) < 400
    assert said(answer, "source") == "unmatched"


# --- the journal --------------------------------------------------------------------------------------------------


def test_each_request_is_one_entry(tmp_path: Path) -> None:
    to = app(tmp_path, recorded(ask("a")), fallback="error")
    for made in (request(ask("a")), request(ask("b")), request(None, "/__cassette/none/x", "GET")):
        send(to, made)
    assert [entry.source for entry in to.journal] == ["replayed", "unmatched", "unmatched"]
    assert [entry.cassette for entry in to.journal] == ["tapes/chat.yaml#1", "", ""]
    assert [bool(entry.note) for entry in to.journal] == [False, True, True]
    assert [entry.request.target for entry in to.journal] == [CHAT, CHAT, "/__cassette/none/x"]


def test_the_entry_is_there_when_the_answer_is(tmp_path: Path) -> None:
    to = app(tmp_path, recorded(ask()))
    for number in range(1, 4):
        answer = send(to, request(ask()))
        assert to.journal.total == number
        assert to.journal[-1].response == answer.response


# --- caches -------------------------------------------------------------------------------------------------------

ITEMS = [
    recorded(ask("whole"), completion("w")),
    recorded(ask("stream", stream=True), STREAM),
    recorded(ask("packed"), GZIP, headers={"content-encoding": ["gzip"]}),
    recorded(ask("twice"), completion("1")),
    recorded(ask("twice"), completion("2")),
]
ASKED = [
    *(ask(name) for name in ("whole", "packed", "twice", "none")),
    *(ask("stream", stream=True), ask("whole", stream=True), ask("stream"), ask("none", stream=True)),
]


@pytest.mark.parametrize("body", ASKED)
@pytest.mark.parametrize("accepted", ["gzip", ""])
@pytest.mark.parametrize("flags", [0, wire.CLOSE, wire.HTTP10])
@pytest.mark.parametrize("fallback", ["dummy", "error"])
def test_what_is_cached_gives_the_bytes_of_the_cold_way(
    tmp_path: Path, body: dict[str, Any], accepted: str, flags: int, fallback: str
) -> None:
    warm, made = app(tmp_path, *ITEMS, fallback=fallback), request(body, accept_encoding=accepted)
    prepared = warm.prepare(made)
    for _ in range(2):
        warm.answer(prepared)  # all of a sequence is played, and everything is made
    cold = app(tmp_path, *ITEMS, fallback=fallback)
    for _ in range(2):
        cold_answer = send(cold, made)
    answer = warm.answer(prepared)
    assert wire.render(answer.response, flags) == wire.render(cold_answer.response, flags)


def test_a_prepared_request_gets_the_same_dummy_each_time() -> None:
    to = App(Library([]))
    prepared = to.prepare(request(ask()))
    assert to.answer(prepared) is to.answer(prepared)


def test_a_large_dummy_is_made_each_time_and_kept_nowhere() -> None:
    to = App(Library([]))
    prepared = to.prepare(request({"model": "m", "input": ["a"] * 100}, "/v1/embeddings"))
    assert to.answer(prepared).response == to.answer(prepared).response
    assert prepared.dummy is None


# --- files that change --------------------------------------------------------------------------------------------


def awake(to: App) -> App:
    """Let the app look at the files at once."""
    to._looked = float("-inf")
    return to


def test_a_miss_looks_whether_the_files_have_changed(tmp_path: Path) -> None:
    reports: list[Report] = []
    to = app(tmp_path, recorded(ask("a")), fallback="error", on_report=reports.append)
    assert send(awake(to), request(ask("b"))).source == "unmatched"
    tape(tmp_path / "tapes" / "more.yaml", recorded(ask("b"), completion("new")))
    assert text(send(awake(to), request(ask("b")))) == "new"
    assert len(reports) == 1


def test_a_miss_in_a_named_cassette_is_not_looked_for_in_others(tmp_path: Path) -> None:
    to = named(tmp_path, fallback="error")
    tape(tmp_path / "tapes" / "more.yaml", recorded(ask("elsewhere")))
    made = request(ask("elsewhere"), "/__cassette/one/v1/chat/completions")
    assert send(awake(to), made).source == "unmatched"


def test_the_files_are_not_looked_at_for_every_miss(tmp_path: Path) -> None:
    to = awake(app(tmp_path, recorded(ask("a"))))
    tape(tmp_path / "tapes" / "more.yaml", recorded(ask("b")))
    assert to.look_again()
    tape(tmp_path / "tapes" / "third.yaml", recorded(ask("c")))
    to._looked = float("inf")
    assert not to.look_again()
    assert awake(to).look_again()
    assert not awake(to).look_again()


# --- whatever comes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (413, "invalid_request_error"), (503, "server_error")]
)
def test_a_request_that_is_no_http_is_refused_in_the_envelope(status: int, kind: str) -> None:
    response = App(Library([])).refused(ProtocolError(status, "It is wrong.", "wrong"))
    expected = {"message": "It is wrong.", "type": kind, "param": None, "code": "wrong"}
    assert json.loads(response.body) == {"error": expected}
    assert response.status == status
    assert header(response.headers, "x-stubserver-source") == "unmatched"


METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
TARGETS = st.one_of(
    st.sampled_from(
        [CHAT, "/__cassette/chat/v1/chat/completions", "/__cassette/", "/__cassette/chat", "/", "*", "//", "/?"]
    ),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30).map("/".__add__),
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([json.dumps(body).encode() for body in ASKED]),
    st.sampled_from([b"[" * 100_000, b'{"stream": true', b'{"a": 1e999}', b'{"m": ' + b"[" * 900 + b"]" * 900 + b"}"]),
)


@pytest.fixture(scope="module", params=["dummy", "error", "drift"])
def odd_app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> App:
    options = {"drift": True} if request.param == "drift" else {"fallback": request.param}
    return app(tmp_path_factory.mktemp("odd"), *ITEMS, recorded(b"\xff\x00", b"\x89PNG"), **options)


@given(method=METHODS, target=TARGETS, body=BODIES)
def test_every_request_is_answered_and_written_down(odd_app: App, method: str, target: str, body: bytes) -> None:
    before = odd_app.journal.total
    answer = send(odd_app, Request(method, target, (("Accept-Encoding", "gzip"),), body))
    assert b"".join(wire.render(answer.response, 0)).startswith(b"HTTP/1.1 ")
    assert odd_app.journal.total == before + 1
    assert odd_app.journal[-1].source == answer.source == header(answer.response.headers, "x-stubserver-source")


def test_a_sequence_is_played_once_between_many_threads(tmp_path: Path) -> None:
    to = app(
        tmp_path, *(recorded(ask(), completion(str(i))) for i in range(40)), fallback="error", on_exhausted="error"
    )
    heard: list[str] = []

    def client() -> None:
        heard.extend(text(send(to, request(ask()))) for _ in range(5))

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard, key=int) == [str(i) for i in range(40)]
    assert send(to, request(ask())).response.status == 404


@pytest.mark.parametrize("policy", ["last", "error", "cycle"])
def test_only_what_has_no_recording_left_may_wait_for_the_upstream(tmp_path: Path, policy: str) -> None:
    path = tape(tmp_path / "a.yaml", recorded(ask("a")), recorded(ask("twice")), recorded(ask("twice")))
    to = App(Library([path], on_exhausted=policy), fallback="error")
    waits = {name: to.may_wait(to.prepare(request(ask(name)))) for name in ("a", "twice", "b")}
    assert waits == {"a": False, "twice": False, "b": False}
    to.forwarder = SimpleNamespace(always=False)  # type: ignore[assignment]
    assert not to.may_wait(to.prepare(request(ask("a"))))
    assert to.may_wait(to.prepare(request(ask("b"))))
    to.library.playlist.play(to.prepare(request(ask("a"))).key, request(ask("a")))
    assert to.may_wait(to.prepare(request(ask("a")))) == (policy == "error")
    to.forwarder = SimpleNamespace(always=True)  # type: ignore[assignment]
    assert to.may_wait(to.prepare(request(ask("a"))))
