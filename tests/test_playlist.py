"""What is played for which request, in which order, and what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cassette_texts import dump, read
from tapes import CHAT, ask, chunks, completion, events, recorded, request, tape

from stubserver.canonical import Rules
from stubserver.cassettes.library import Library
from stubserver.cassettes.playlist import Exhausted, OnExhausted, Played, Playlist, clean_secrets
from stubserver.cassettes.recordings import Recording, Reel
from stubserver.messages import Request

AZURE = "/openai/deployments/gpt-4o/chat/completions"
BODILESS = Rules(("method", "path", "query"))

Make = Callable[..., Playlist]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a playlist of items."""

    def making(
        *items: dict[str, Any], rules: Rules | None = None, policy: str = "last", drift: bool = False
    ) -> Playlist:
        rules = rules or Rules()
        file = read(tmp_path / "tape.yaml", dump({"interactions": list(items)}), rules)
        return Playlist([file.recordings], rules, OnExhausted(policy), drift=drift)

    return making


def play(playlist: Playlist, asked: Request, rules: Rules | None = None) -> Played | Exhausted | None:
    return playlist.play((rules or Rules()).key(asked), asked)


def number(playlist: Playlist, asked: Request, rules: Rules | None = None) -> int | None:
    """Play, and tell which item it was; negative when it would have been that one once more."""
    found = play(playlist, asked, rules)
    if found is None:
        return None
    return found.recording.number if isinstance(found, Played) else -found.recording.number


ONE, TWO = ask("one"), ask("two")


def test_repeats_are_played_in_recorded_order_within_their_key(make: Make) -> None:
    playlist = make(recorded(ONE), recorded(TWO), recorded(ONE), recorded(TWO), recorded(ONE))
    played = [number(playlist, request(body)) for body in (TWO, ONE, ONE, TWO, ONE)]
    assert played == [2, 1, 3, 4, 5]


@pytest.mark.parametrize(
    ("policy", "played"), [("last", [1, 3, 3, 3, 3]), ("cycle", [1, 3, 1, 3, 1]), ("error", [1, 3, -3, -3, -3])]
)
def test_what_is_played_when_every_recording_was(make: Make, policy: str, played: list[int]) -> None:
    playlist = make(recorded(ONE), recorded(TWO), recorded(ONE), policy=policy)
    assert [number(playlist, request(ONE)) for _ in played] == played


def test_nothing_is_played_for_an_unknown_request(make: Make) -> None:
    playlist = make(recorded(ONE))
    for asked in (
        request(TWO),
        request(ONE, target="/v1/embeddings"),
        request(ONE, method="PUT"),
        request(ONE, f"{CHAT}?a=1"),
    ):
        assert play(playlist, asked) is None
    assert [r.number for r in playlist.unplayed()] == [1]
    assert play(make(), request(ONE)) is None


def with_ids(call: str, message: str = "msg_1") -> dict[str, Any]:
    calls = [{"id": call, "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = {"role": "tool", "tool_call_id": call, "content": "42"}
    return ask(messages=[{"role": "assistant", "id": message, "tool_calls": calls}, answer])


def test_ids_that_a_server_made_may_differ(make: Make) -> None:
    playlist = make(recorded(with_ids("call_abc")), recorded(with_ids("call_def")))
    assert number(playlist, request(with_ids("call_def"))) == 2
    assert number(playlist, request(with_ids("call_new", "msg_new"))) == 1
    assert number(playlist, request(with_ids("call_newer"))) == 2
    mixed = with_ids("call_abc")
    mixed["messages"][1]["tool_call_id"] = "call_other"
    assert number(playlist, request(mixed)) is None


@pytest.mark.parametrize("asked", [CHAT, "/chat/completions", "/openai/v1/chat/completions", AZURE])
@pytest.mark.parametrize("path", [CHAT, AZURE])
def test_the_prefix_of_the_path_may_differ(make: Make, path: str, asked: str) -> None:
    playlist = make(recorded(TWO, path=path), recorded(ONE, path=path))
    assert number(playlist, request(ONE, asked)) == 2
    assert number(playlist, request(ONE, f"{asked}?api-version=1")) is None


def test_the_exact_path_comes_before_one_with_another_prefix(make: Make) -> None:
    playlist = make(recorded(ONE, path=AZURE), recorded(ONE), recorded(ONE, path=AZURE), policy="error")
    assert [number(playlist, request(ONE)) for _ in range(2)] == [2, -2]
    assert [number(playlist, request(ONE, "/chat/completions")) for _ in range(3)] == [1, 3, -3]


STREAM = recorded(
    {**ONE, "stream": True, "stream_options": {"include_usage": True}}, events(*chunks({"content": "hi"}))
)


@pytest.mark.parametrize(
    ("items", "body", "found"),
    [
        ([recorded(ONE)], {**ONE, "stream": True}, (1, True)),
        ([STREAM], ONE, (1, True)),
        ([STREAM], {**ONE, "stream": False}, (1, True)),
        ([STREAM, recorded(ONE)], ONE, (2, False)),
        ([recorded(ONE), STREAM], {**ONE, "stream": True}, (2, False)),
        ([recorded(with_ids("call_1"))], {**with_ids("call_2"), "stream": True}, (1, True)),
        ([recorded(TWO)], {**ONE, "stream": True}, None),
    ],
)
def test_the_other_stream_mode_is_played_when_the_own_was_not_recorded(
    make: Make, items: list[Any], body: Any, found: tuple[int, bool] | None
) -> None:
    played = play(make(*items), request(body))
    assert (played and (played.recording.number, played.other_mode)) == found


@pytest.mark.parametrize(
    ("policy", "played"), [("last", [1, 3, 3, 3]), ("cycle", [1, 3, 1, 3]), ("error", [1, 3, -3, -3])]
)
def test_a_second_look_keeps_the_recorded_order_and_the_policy(make: Make, policy: str, played: list[int]) -> None:
    playlist = make(recorded(with_ids("call_1")), recorded(TWO), recorded(with_ids("call_3")), policy=policy)
    assert [number(playlist, request(with_ids("call_9"))) for _ in played] == played


def test_a_recording_is_played_once_whichever_way_it_is_found(make: Make) -> None:
    playlist = make(recorded(with_ids("call_1")), recorded(with_ids("call_1")), policy="error")
    assert number(playlist, request(with_ids("call_9"))) == 1
    assert number(playlist, request(with_ids("call_1"))) == 2
    assert number(playlist, request(with_ids("call_9"))) == -2
    assert number(playlist, request(with_ids("call_1"))) == -2


def test_without_bodies_every_recording_of_a_path_is_played_once_in_order(make: Make) -> None:
    """This is vcrpy's own default."""
    items = [recorded(ONE), recorded(TWO, path="/v1/embeddings"), STREAM, recorded(TWO)]
    playlist = make(*items, rules=BODILESS, policy="error")
    asked = [{"any": 1}, None, {**TWO, "stream": True}, ONE]
    assert [number(playlist, request(body), BODILESS) for body in asked] == [1, 3, 4, -4]
    assert number(playlist, request(ONE, "/v1/embeddings"), BODILESS) == 2


def test_without_bodies_the_prefix_may_differ_and_the_stream_mode_is_not_looked_at(make: Make) -> None:
    playlist = make(recorded(ONE), STREAM, rules=BODILESS)
    found = [play(playlist, request(ONE, AZURE), BODILESS) for _ in range(2)]
    assert [(f.recording.number, f.other_mode) for f in found if isinstance(f, Played)] == [(1, False), (2, False)]


def test_drift_is_refused_unless_allowed(make: Make) -> None:
    assert play(make(recorded(ONE)), request(TWO)) is None


def test_drift_takes_the_next_recording_of_the_path_that_was_not_played(make: Make) -> None:
    playlist = make(recorded(ONE), recorded(TWO, path="/v1/embeddings"), STREAM, recorded(TWO), drift=True)
    assert number(playlist, request(TWO)) == 4
    found = [play(playlist, request(ask(f"new {n}"))) for n in range(3)]
    assert [f and (f.recording.number, f.drifted, f.other_mode) for f in found] == [
        (1, True, False),
        (3, True, True),
        None,
    ]
    assert play(playlist, request(ONE)) == Played(playlist.recordings[0])


def test_drift_looks_at_other_prefixes_but_never_at_other_paths(make: Make) -> None:
    playlist = make(recorded(ONE, path=AZURE), recorded(ONE, path="/v1/embeddings"), drift=True)
    assert [number(playlist, request(TWO)) for _ in range(2)] == [1, None]
    assert number(playlist, request(TWO, "/v1/embeddings?a=1")) is None


@pytest.mark.parametrize("mark", ["**REDACTED**", "<REDACTED-URI>"])
def test_a_redacted_address_is_played_for_every_path(make: Make, mark: str) -> None:
    items = [recorded(ONE, base="", path=mark), recorded(TWO)]
    playlist = make(*items)
    assert number(playlist, request(ONE, "/v1/responses")) == 1
    assert number(playlist, request(ONE, method="PUT")) is None
    assert number(playlist, request(ask("three"))) is None


def test_a_request_with_a_secret_is_found_by_a_recording_without(make: Make) -> None:
    asked = request(ask(f"my key is sk-proj-{'a1B2' * 12}"))
    playlist = make(recorded(TWO), recorded(clean_secrets(asked).body.decode()))
    assert b"sk-proj" not in playlist.recordings[1].interaction().request.body
    assert number(playlist, asked) == 2


def test_what_was_played_can_be_forgotten(make: Make) -> None:
    playlist = make(recorded(ONE), recorded(ONE), recorded(TWO), drift=True)
    for body in (ONE, ONE, ask("drifted")):
        play(playlist, request(body))
    assert playlist.unplayed() == []
    playlist.reset()
    assert playlist.unplayed() == playlist.recordings
    assert [number(playlist, request(body)) for body in (ONE, ask("drifted"), ONE, TWO)] == [1, 2, 2, 3]


@pytest.mark.parametrize("rules", [Rules(), BODILESS])
def test_threads_never_share_a_recording_nor_skip_one(make: Make, rules: Rules) -> None:
    playlist = make(*(recorded(ONE, {"n": n}) for n in range(400)), rules=rules, policy="error")
    asked = request(ONE)
    with ThreadPoolExecutor(8) as threads:
        played = list(threads.map(lambda _: number(playlist, asked, rules), range(400)))
    assert sorted(played, key=str) == sorted(range(1, 401), key=str)
    assert number(playlist, asked, rules) == -400


def test_threads_share_a_second_look_as_well(make: Make) -> None:
    playlist = make(*(recorded(with_ids(f"call_{n}")) for n in range(100)), policy="error")
    with ThreadPoolExecutor(8) as threads:
        played = list(threads.map(lambda n: number(playlist, request(with_ids(f"call_new{n}"))), range(100)))
    assert sorted(played, key=str) == sorted(range(1, 101), key=str)


@pytest.mark.parametrize("write", [dump, json.dumps], ids=["in parts", "as a whole"])
def test_a_renewed_playlist_knows_what_was_played(tmp_path: Path, write: Callable[[Any], str]) -> None:
    def reading(*items: Any) -> Any:
        return read(tmp_path / "tape.yaml", write({"interactions": items})).recordings

    items = [recorded(ONE, {"n": 1}), recorded(ONE, {"n": 2}), recorded(TWO), recorded(TWO)]
    playlist = Playlist([reading(*items)], Rules(), OnExhausted.ERROR, drift=False)
    for body in (ONE, ONE, TWO):
        play(playlist, request(body))
    items[1] = recorded(ONE, {"n": "changed"})
    playlist.renew([reading(*items, recorded(ONE))])
    assert [r.number for r in playlist.unplayed()] == [2, 4, 5]
    assert [number(playlist, request(body)) for body in (ONE, ONE, ONE, TWO, TWO)] == [2, 5, -5, 4, -4]


def test_a_renewed_playlist_keeps_its_rules(make: Make) -> None:
    playlist = make(recorded(ONE), rules=BODILESS, policy="error", drift=True)
    playlist.renew([playlist.recordings[0].file.recordings])
    assert [number(playlist, request(TWO), BODILESS) for _ in range(2)] == [1, -1]


def without_last(playlist: Playlist) -> tuple[Reel, Recording]:
    """Return the recordings of a playlist in a reel of their own, but for the last one."""
    *others, last = playlist.recordings
    reel = Reel(last.file)
    for recording in others:
        reel.append(recording)
    return reel, last


def test_a_recording_just_made_counts_as_played(make: Make) -> None:
    reel, made = without_last(make(recorded(ONE), recorded(with_ids("call_1"), path=AZURE)))
    playlist = Playlist([reel], Rules(), OnExhausted.ERROR, drift=False)
    assert number(playlist, request(with_ids("call_2"))) is None
    reel.append(made)
    playlist.add(reel)
    assert playlist.recordings[-1] == made
    assert [r.number for r in playlist.unplayed()] == [1]
    assert number(playlist, request(with_ids("call_2"))) == -2
    playlist.reset()
    assert number(playlist, request(with_ids("call_2"))) == 2


def test_a_recording_just_made_comes_last_in_a_second_look(make: Make) -> None:
    reel, made = without_last(make(*(recorded(with_ids(f"call_{n}")) for n in (1, 2, 3))))
    playlist = Playlist([reel], Rules(), OnExhausted.LAST)
    assert number(playlist, request(with_ids("call_9"))) == 1
    reel.append(made)
    playlist.add(reel)
    assert [number(playlist, request(with_ids("call_9"))) for _ in range(3)] == [2, 3, 3]


def test_what_is_similar_is_of_the_same_path_and_length(make: Make) -> None:
    items = [recorded(ask("x" * length)) for length in (10, 1000, 30, 20)]
    playlist = make(*items, recorded({"input": "y"}, path="/v1/embeddings"))
    asked = request(ask("z" * 19))
    assert [r.number for r in playlist.similar(Rules().key(asked), asked, 3)] == [4, 1, 3]
    elsewhere = request({"input": "z"}, "/v1/responses")
    found = playlist.similar(Rules().key(elsewhere), elsewhere, 2)
    assert [r.number for r in found] == [5, 1]
    assert make().similar(Rules().key(asked), asked, 3) == []


@pytest.mark.parametrize("policy", ["last", "cycle", "error"])
def test_a_rehearsal_says_what_comes_and_changes_nothing(tmp_path: Path, policy: str) -> None:
    library = Library(
        [tape(tmp_path / "a.yaml", *(recorded(ask("one"), completion(str(i))) for i in range(3)))], on_exhausted=policy
    )
    playlist, made = library.playlist, request(ask("one"))
    key = library.rules.key(made)
    for _ in range(7):
        said = [playlist.rehearsal().play(key, made) for _ in range(3)]
        assert said == [playlist.play(key, made)] * 3
