"""Near misses: the recordings that came closest, and why they were not played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tapes import CHAT, ask, recorded, request, tape

from stubserver.canonical import Rules
from stubserver.cassettes.library import Library
from stubserver.messages import Request
from stubserver.misses import miss, near_misses

RULES = Rules()


def library(path: Path, *items: dict[str, Any]) -> Library:
    return Library([tape(path / "tapes" / "chat.yaml", *items).parent])


def nearest(found: Library, made: Request) -> list[tuple[str, list[str]]]:
    near = near_misses(found.playlist, RULES.key(made), made, RULES)
    return [(one.cassette, [d.path for d in one.differences]) for one in near]


def told(found: Library, made: Request, **more: Any) -> str:
    return miss(found.playlist, RULES.key(made), made, RULES, used_up=more.get("used_up"))[0]


def test_the_three_nearest_are_named_the_nearest_first(tmp_path: Path) -> None:
    found = library(
        tmp_path,
        recorded(ask("four", seed=9, n=2, top_p=0.5)),
        recorded(ask("one", seed=1)),
        recorded(ask("two", seed=2)),
        recorded(ask("three", seed=1, n=3)),
        recorded(ask("five", seed=8, n=7, top_p=0.1, stop="x")),
    )
    assert nearest(found, request(ask("other", seed=1))) == [
        ("tapes/chat.yaml#2", ["messages[0].content"]),
        ("tapes/chat.yaml#3", ["messages[0].content", "seed"]),
        ("tapes/chat.yaml#4", ["messages[0].content", "n"]),
    ]


def test_the_fewest_differences_count_before_the_nearest_length(tmp_path: Path) -> None:
    found = library(
        tmp_path,
        recorded(ask("abcd", seed=1, n=2)),
        recorded(ask("a much longer question than the one that was asked", seed=3, n=4)),
    )
    assert nearest(found, request(ask("efgh", seed=3, n=4))) == [
        ("tapes/chat.yaml#2", ["messages[0].content"]),
        ("tapes/chat.yaml#1", ["messages[0].content", "n", "seed"]),
    ]


def test_recordings_of_the_same_path_come_before_all_others(tmp_path: Path) -> None:
    found = library(
        tmp_path,
        recorded(ask("one", seed=1), path="/v1/other"),
        recorded(ask("quite another question", seed=5, n=3)),
    )
    assert nearest(found, request(ask("one", seed=2))) == [("tapes/chat.yaml#2", ["messages[0].content", "n", "seed"])]


def test_of_another_path_the_path_is_a_difference(tmp_path: Path) -> None:
    found = library(tmp_path, recorded(ask(), path="/v1/other"), recorded(None, method="GET", path="/v1/models?a=1"))
    assert nearest(found, request(ask())) == [
        ("tapes/chat.yaml#1", ["path"]),
        ("tapes/chat.yaml#2", ["method", "path", "query", "body"]),
    ]


def test_nothing_is_near_where_nothing_is(tmp_path: Path) -> None:
    assert nearest(library(tmp_path), request(ask())) == []
    text = told(library(tmp_path), request(ask()))
    assert text == f"no recording for POST {CHAT}: no cassettes are loaded"


def test_a_sentence_says_what_is_missing_and_what_came_closest(tmp_path: Path) -> None:
    found = library(tmp_path, recorded(ask("one", seed=1)), recorded(ask("two", n=2, seed=3, top_p=1, stop="x")))
    assert told(found, request(ask("other", seed=1))) == (
        f"no recording for POST {CHAT}: none of the 2 recordings matches "
        "(closest: tapes/chat.yaml#1, which differs at messages[0].content)"
    )
    many = request(ask("other", seed=9, n=5, top_p=0.5, stop="y"))
    assert told(found, many).endswith("differs at messages[0].content, n, seed and 2 more)")


def test_a_used_up_recording_is_named(tmp_path: Path) -> None:
    found = library(tmp_path, recorded(ask("one")))
    text = told(found, request(ask("one")), used_up=found.playlist.recordings[0])
    assert "every recording of this request was played; the last one is tapes/chat.yaml#1" in text
    assert text.endswith("(closest: tapes/chat.yaml#1, which is equal)")


def test_secrets_are_in_neither_the_sentence_nor_the_differences(tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    found = library(tmp_path, recorded(ask(api_key=secret), path=f"{CHAT}?key=a"))
    made = request(ask(api_key="another-long-secret"), f"{CHAT}?key={secret}")
    text, near = miss(found.playlist, RULES.key(made), made, RULES, used_up=None)
    shown = text + json.dumps([one.as_json() for one in near])
    assert "query, api_key" in text
    assert secret not in shown
    assert "another-long-secret" not in shown


def test_a_very_long_target_is_shortened(tmp_path: Path) -> None:
    text = told(library(tmp_path), request(ask(), "/" + "x" * 5000))
    assert len(text) < 300


@pytest.mark.parametrize("change", ["removed", "overwritten"])
def test_a_recording_that_can_no_longer_be_read_is_passed_over(tmp_path: Path, change: str) -> None:
    found = library(tmp_path, recorded(ask("one")), recorded(ask("two")))
    file = found.files[0]
    file.text = None
    if change == "removed":
        file.path.unlink()
    else:
        file.path.write_text("interactions: []\n")
    assert nearest(found, request(ask("other"))) == []


def test_only_so_many_recordings_are_compared_the_nearest_in_length(tmp_path: Path) -> None:
    found = library(tmp_path, *(recorded(ask("x" * size, seed=size)) for size in range(100)))
    near = nearest(found, request(ask("y" * 50, seed=50)))
    assert near[0] == ("tapes/chat.yaml#51", ["messages[0].content"])
    assert len(near) == 3
