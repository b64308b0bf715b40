"""How entries and recordings are shown: cut, cleaned, with their tokens; and what is said when a file is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asking import call, chat, get
from tapes import CHAT, ask, chunks, completion, events, recorded, request, tape

from stubserver import StubServer
from stubserver.admin.bodies import shown_json
from stubserver.admin.entries import detail, summary, tokens
from stubserver.journal import Entry, Journal
from stubserver.messages import Answer, Response

KEY = "sk-proj-" + "a1B2c3D4" * 5


def entry_of(body: bytes, *, events: bool = False, asked: Any = None, **more: Any) -> Entry:
    journal = Journal()
    made = request(ask() if asked is None else asked)
    journal.add(made, Answer(Response(200, (), body, events=events), more.pop("source", "dummy"), **more))
    return journal[0]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (completion(), {"prompt": 8, "completion": 3}),
        ({"usage": {"prompt_tokens": 5, "total_tokens": 5}}, {"prompt": 5, "completion": 0}),
        ({"usage": {"input_tokens": 7, "output_tokens": 2}}, {"prompt": 7, "completion": 2}),
        ({"usage": None}, None),
        ({"usage": {"prompt_tokens": "8"}}, None),
        ({}, None),
        ([], None),
    ],
)
def test_tokens_of_an_answer(body: Any, told: Any) -> None:
    assert tokens(Response(200, (), json.dumps(body).encode())) == told


def test_tokens_of_a_stream_stand_at_its_end() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
    streamed = events(*chunks({"content": "Hi"}, usage=None), usage)
    assert tokens(Response(200, (), streamed.encode(), events=True)) == {"prompt": 4, "completion": 2}
    last = {"type": "response.completed", "response": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
    whole = events({"type": "response.created"}, last, end="")
    assert tokens(Response(200, (), whole.encode(), events=True)) == {"prompt": 9, "completion": 1}
    assert tokens(Response(200, (), b": nothing\n\ndata: x\n\n", events=True)) is None


def test_a_conversation_can_be_read_whose_pictures_are_cut() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:" + "A" * 200_000}},
        {"type": "text", "text": "What is it?"},
    ]
    shown = detail(entry_of(b"{}", asked={"model": "m", "messages": [{"role": "user", "content": parts}]}))
    assert shown["request"]["body"].endswith("bytes in all]")
    (message,) = shown["request"]["json"]["messages"]
    assert message["content"][1]["text"] == "What is it?"
    assert message["content"][0]["image_url"]["url"].endswith("[cut here: 200005 characters in all]")
    assert len(message["content"][0]["image_url"]["url"]) < 17_000


def test_a_secret_where_a_text_is_cut_is_not_shown() -> None:
    for before in (16_384 - 10, 16_384 - 30, 16_384 - 47):
        shown = shown_json(json.dumps({"text": " " * before + KEY + " " * 20_000}).encode())
        assert KEY[:14] not in shown["text"]


def test_json_of_too_many_values_is_left_to_its_text() -> None:
    assert shown_json(json.dumps([0] * 30_000).encode()) is None
    assert shown_json(b'"text"') is None
    assert shown_json(b"{" * 300) is None
    assert shown_json(json.dumps({"password": {"a": 1}, KEY: [KEY]}).encode()) == {
        "password": "REDACTED",
        "REDACTED": ["REDACTED"],
    }


def test_a_long_stream_shows_its_first_events() -> None:
    body = b"".join(b"data: %04d%s\n\n" % (i, b"x" * 1000) for i in range(200))
    shown = detail(entry_of(body, events=True))["response"]
    assert len(shown["events"]) == 64
    assert shown["events"][63]["data"].startswith("0063x")
    assert shown["events"][0]["at_ms"] is None


def test_events_without_data_are_shown_as_they_are() -> None:
    shown = detail(entry_of(b": comment\n\ndata: a\ndata: b\n\n", events=True))["response"]["events"]
    assert [event["data"] for event in shown] == [": comment\n\n", "a\nb"]


def test_what_is_no_json_and_no_text_is_shown_nevertheless() -> None:
    row = summary(entry_of(b"\xff\xfe", asked=b"\x00\xff"))
    assert (row["model"], row["stream"], row["tokens"]) == (None, False, None)
    assert detail(entry_of(b"\xff\xfe", asked=b"\x00\xff"))["request"]["body"] == "\x00\ufffd"


def test_an_answer_that_was_cut_says_so() -> None:
    entry = entry_of(b"{}", note="not recorded: too large")
    entry.delivery.cut = True
    assert summary(entry)["note"] == "not recorded: too large; the client left"


def test_a_recording_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    path = tape(tmp_path / "a.json", recorded(ask("one")))
    path = tape(tmp_path / "a.yaml", recorded(ask("one")), recorded(ask("two")))
    (tmp_path / "a.json").unlink()
    with StubServer(path, fallback="error") as stub:
        stub.library.files[0].text = None  # as of a library that does not fit into memory
        label = get(stub, "/interactions").json["interactions"][0]["id"].replace("/", "%2F").replace("#", "%23")
        assert get(stub, f"/interactions/{label}").status == 200
        path.write_bytes(path.read_bytes().replace(b"one", b"eno"))
        assert get(stub, f"/interactions/{label}").code in {"damaged_recording", "no_such_interaction"}
        path.unlink()
        assert get(stub, "/cassettes/a/file").code in {"file_gone", "no_cassette"}
        assert get(stub, "/interactions?q=two").status == 200


def test_a_cassette_comes_whole_though_it_is_large(tmp_path: Path) -> None:
    path = tape(tmp_path / "ä b.yaml", recorded(ask("one"), completion("x" * 1_000_000)))
    with StubServer(path) as stub:
        got = get(stub, "/cassettes/%C3%A4%20b/file")
        assert got.body == path.read_bytes()
        assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A4%20b.yaml"


def test_a_query_of_very_many_parameters_is_refused() -> None:
    with StubServer() as stub:
        assert get(stub, "/requests?" + "&".join(f"a{i}=1" for i in range(100))).code == "bad_parameter"
        assert get(stub, "/interactions?played=maybe").code == "bad_parameter"
        assert get(stub, "/requests?q=" + "x" * 501).code == "bad_parameter"


def test_a_request_to_a_cassette_of_no_name_has_no_near_misses(tmp_path: Path) -> None:
    with StubServer(tape(tmp_path / "a.yaml", recorded(ask("one")))) as stub:
        call(stub, "POST", f"/__cassette/none{CHAT}", ask("one"))
        call(stub, "POST", f"/__cassette/a{CHAT}", ask("onE"))
        chat(stub, "onE")
        found = [get(stub, f"/requests/{number}").json for number in (1, 2, 3)]
        assert [one["source"] for one in found] == ["unmatched", "dummy", "dummy"]
        assert found[0]["near_misses"] == []
        assert found[1]["near_misses"] == found[2]["near_misses"]
