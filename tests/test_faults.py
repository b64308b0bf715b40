"""Faults as values: how they are given, which request gets which, and that it comes out the same again."""

from __future__ import annotations

import random
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tapes import request

from stubserver.errors import UsageError
from stubserver.faults.asking import Wishes, said_in_prompt
from stubserver.faults.choosing import Asked, Chooser
from stubserver.faults.draws import Time, rng, time_of
from stubserver.faults.kinds import KINDS
from stubserver.faults.scenario import Scenario, scenario_of
from stubserver.faults.spec import Match, Place, When, parsed


def chosen(chooser: Chooser, count: int, body: Any = None) -> list[str]:
    asked = request({"model": "m"} if body is None else body)
    return ["+".join(c.rule.what for c in chooser.choose(Asked(asked))) for _ in range(count)]


def chooser(*specs: str, seed: int = 0) -> Chooser:
    return Chooser(map(parsed, specs), seed)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_example_is_one_of_its_kind(kind: Any) -> None:
    assert parsed(kind.example or kind.name).kind is kind
    assert parsed(kind.name).kind is kind
    assert parsed({"fault": kind.name}) == parsed(kind.name)


def test_a_rule_is_read() -> None:
    rule = parsed(
        "reset, after-events=3, p=0.25, skip=1, first=9, every=2, times=4, path=/chat/*, model=gpt-4o*, body=hi"
    )

    assert rule.place == Place(events=3)
    assert rule.when == When(0.25, 1, 9, 2, 4)
    assert rule.match == Match("/chat/*", "", "gpt-4o*", b"hi")
    assert rule.what == "reset,after-events=3"


def test_the_same_rule_as_a_mapping_and_with_arguments() -> None:
    text = "reset,after-events=3,p=0.5"

    assert parsed({"fault": "reset", "after_events": 3, "p": 0.5}) == parsed(text)
    assert parsed({"fault": "reset,after-events=3", "p": 0.5, "model": None, "in-head": False}) == parsed(text)
    assert parsed("reset", after_events=3, p=0.5) == parsed(text)
    assert parsed({"fault": "stall", "value": 50}) == parsed("stall=50")
    assert parsed({"fault": 503}) == parsed("503")
    assert parsed({"fault": "close", "in-head": True}) == parsed("close,in-head")


@pytest.mark.parametrize(
    ("given", "kind", "what"),
    [("429", "rate-limit", "rate-limit"), ("503", "status", "status=503"), ("429,retry-after=2", "rate-limit", "")],
)
def test_a_status_is_a_fault(given: str, kind: str, what: str) -> None:
    rule = parsed(given)

    assert rule.kind.name == kind
    assert rule.what == (what or "rate-limit,retry-after=2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "names no fault"),
        ("rest", "perhaps reset"),
        ("zzzzzz", "stubserver faults"),
        ("reset,prob=1", "has no option 'prob'"),
        ("reset,p=2", "from 0 to 1"),
        ("reset,p=nan", "from 0 to 1"),
        ("reset,p", "from 0 to 1"),
        ("reset,first=0", "1 or more"),
        ("reset,first=-1", "1 or more"),
        ("reset,first=" + "9" * 900, "1 or more"),
        ("reset,after-bytes=x", "0 or more"),
        ("reset,in-head=1", "takes no value"),
        ("reset=1", "takes no value"),
        ("no-done,after-events=1", "reset, close and stall do"),
        ("html,retry-after=1", "status and rate-limit do"),
        ("status=200", "from 400 to 599"),
        ("status=999", "from 400 to 599"),
        ("42", "from 400 to 599"),
        ("delay=fast", "lognormal"),
        ("delay=5..1", "from less to more"),
        ("delay=999999999", "a day"),
        ("bandwidth=0", "1 or more"),
        ("content-type=\n", "printable"),
        ("content-type=\u00e9", "printable"),
        ("reset,path=", "needs a text"),
        ("x" * 2000, "too long"),
        ({"what": "reset"}, "needs a member `fault`"),
        ({"fault": ["reset"]}, "is no value"),
    ],
)
def test_what_is_no_fault_is_said(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parsed(given)


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("200", Time(200)),
        ("0.5", Time(0.5)),
        ("200..800", Time(200, 800)),
        ("uniform(200, 800)", Time(200, 800)),
        ("lognormal(200,0.5)", Time(200, None, 0.5)),
    ],
)
def test_times_are_fixed_or_drawn(said: str, time: Time) -> None:
    assert time_of("delay", said) == time


def test_draws_are_of_their_distribution() -> None:
    chance = random.Random(1)
    uniform = [Time(200, 800).draw(chance) for _ in range(2000)]
    lognormal = sorted(Time(200, None, 0.5).draw(chance) for _ in range(2001))

    assert 200 <= min(uniform) < 230
    assert 770 < max(uniform) <= 800
    assert 180 < lognormal[1000] < 220
    assert lognormal[1681] / lognormal[1000] == pytest.approx(1.65, abs=0.2)  # one sigma: e ** 0.5
    assert Time(10, None, 1e9).draw(chance) <= 86_400_000


def test_the_first_n_the_every_nth_and_so_often_at_most() -> None:
    assert chosen(chooser("500,first=2"), 4) == ["status=500"] * 2 + ["", ""]
    assert chosen(chooser("500,every=3"), 6) == ["", "", "status=500"] * 2
    assert chosen(chooser("500,skip=2,times=1"), 4) == ["", "", "status=500", ""]
    assert chosen(chooser("500,once"), 2) == ["status=500", ""]
    assert chosen(chooser("500,skip=1,first=2,every=2"), 5) == ["", "", "status=500", "", ""]


def test_rules_come_in_their_order_each_with_its_own_count() -> None:
    assert chosen(chooser("429,first=2", "500,once", "reset,every=2"), 6) == [
        *("rate-limit", "rate-limit", "status=500"),
        *("", "reset", ""),
    ]


def test_all_that_is_about_time_comes_beside_one_other() -> None:
    assert chosen(chooser("delay=5", "500", "502", "bandwidth=9"), 1) == ["delay=5+status=500+bandwidth=9"]


def test_the_same_seed_gives_the_same_sequence() -> None:
    one, again, other = (chosen(chooser("500,p=0.5", seed=seed), 200) for seed in (1, 1, 2))

    assert one == again
    assert one != other
    assert 70 < one.count("status=500") < 130


def test_what_is_drawn_follows_from_the_number_alone() -> None:
    first, second = (chooser("delay=1..1000", seed=3) for _ in range(2))
    drawn = [
        [c.rule.value.draw(c.chance) for _ in range(5) for c in each.choose(Asked(request({})))]
        for each in (first, second)
    ]

    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 5


def test_counting_is_exact_with_many_threads() -> None:
    rules = chooser("429,first=50", "500,p=0.5")
    found: list[str] = []
    threads = [Thread(target=lambda: found.extend(chosen(rules, 40))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    alone = chosen(chooser("429,first=50", "500,p=0.5"), 400)
    assert sorted(found) == sorted(alone)
    assert found.count("rate-limit") == 50


@pytest.mark.parametrize(
    ("spec", "target", "body", "fits"),
    [
        ("500", "/v1/chat/completions", {}, True),
        ("500,path=/chat/completions", "/v1/chat/completions", {}, True),
        ("500,path=/v1/chat/*", "/chat/completions", {}, True),
        ("500,path=/embeddings", "/v1/chat/completions", {}, False),
        ("500,model=gpt-*", "/v1/chat/completions", {"model": "gpt-4o"}, True),
        ("500,model=gpt", "/v1/chat/completions", {"model": "gpt-4o"}, False),
        ("500,model=gpt", "/v1/chat/completions", [], False),
        ("500,body=needle", "/v1/chat/completions", {"x": "a needle"}, True),
        ("500,body=needle", "/v1/chat/completions", {"x": "hay"}, False),
        ("no-done", "/v1/chat/completions", {"stream": True}, True),
        ("no-done", "/v1/chat/completions", {}, False),
        ("reset,after-events=1", "/v1/chat/completions", {}, False),
        ("reset,after-bytes=1", "/v1/chat/completions", {}, True),
        ("split-utf8", "/v1/chat/completions", {}, False),
        ("bad-json", "/v1/chat/completions", {"stream": True}, False),
        ("bad-arguments", "/v1/chat/completions", {"tools": [{}]}, True),
        ("unknown-tool", "/v1/chat/completions", {"tools": []}, False),
    ],
)
def test_a_rule_counts_what_it_is_for(spec: str, target: str, body: Any, fits: bool) -> None:  # noqa: FBT001  # expected
    assert bool(chooser(spec).choose(Asked(request(body, target)))) is fits


def test_only_posts_are_counted_unless_it_is_said() -> None:
    models = Asked(request(target="/v1/models", method="GET"))

    assert not chooser("500").choose(models)
    assert chooser("500,method=get").choose(models)
    assert chooser("500,method=any").choose(models)


def test_faults_are_queued_before_all_others() -> None:
    rules = chooser("500")
    rules.add([parsed("429", times=1), parsed("reset", times=1)], first=True)

    assert chosen(rules, 3) == ["rate-limit", "reset", "status=500"]
    assert [(rule.text, seen, came) for rule, seen, came in rules.counts] == [
        ("rate-limit,times=1", 1, 1),
        ("reset,times=1", 1, 1),
        ("status=500", 1, 1),
    ]


def test_connections_that_are_hung_up_on_are_counted_by_themselves() -> None:
    rules = chooser("hang-up,first=2", "500,once")

    assert chosen(rules, 2) == ["status=500", ""]
    assert [bool(rules.hangs_up()) for _ in range(3)] == [True, True, False]


def test_sources_of_chance_differ_by_rule_and_by_number() -> None:
    assert len({rng(seed, place, number).random() for seed in (0, 1) for place in "ab" for number in (1, 2)}) == 8


def test_a_prompt_asks_for_faults_and_is_looked_up_without_them() -> None:
    found, said = said_in_prompt(request({"m": "Say hi. [[fault 429, first=1]] [[fault: reset]]"}))

    assert found.body == b'{"m": "Say hi."}'
    assert said == ("429, first=1", "reset")
    assert said_in_prompt(request({"m": "[[fault]] [fault x]"}))[1] == ()


def test_wishes_are_counted_for_each_request_by_itself() -> None:
    wishes = Wishes()

    def asks(key: bytes) -> list[str]:
        return chosen(wishes.chooser(key, ("429,first=1 | 503,first=1",)), 1)

    assert [asks(b"a"), asks(b"b"), asks(b"a"), asks(b"a")] == [["rate-limit"], ["rate-limit"], ["status=503"], [""]]
    for number in range(1500):
        wishes.chooser(str(number).encode(), ("500",))
    assert len(wishes._choosers) == 1000


@pytest.mark.parametrize("spec", ["refuse", "hang-up"])
def test_a_request_cannot_ask_for_what_all_would_have(spec: str) -> None:
    with pytest.raises(UsageError, match="for all clients"):
        Wishes().chooser(b"", (spec,))


def scenario(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    return scenario_of(path)


def test_a_file_of_faults_is_read(tmp_path: Path) -> None:
    text = (
        "seed: 7\ntriggers: true\n"
        "faults:\n  - 429,first=2\n  - fault: reset\n    after-events: 3\n    p: 0.1\n  - 503\n"
        "limits:\n  - rpm=60\n  - {tpm: 9, model: m}\n"
    )

    assert scenario(tmp_path, text) == Scenario(
        ("429,first=2", {"fault": "reset", "after-events": 3, "p": 0.1}, "503"),
        ("rpm=60", "tpm=9,model=m"),
        7,
        triggers=True,
    )
    assert scenario(tmp_path, "- 429\n") == Scenario(("429",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults: [rest]", "perhaps reset"),
        ("fault: reset", "'fault' is not known"),
        ("just text", "a mapping is needed"),
        ("faults: reset", "has to be a list"),
        ("seed: x", "whole number"),
        ("triggers: 1", "true or false"),
        ("limits: [rpm]", "limit 'rpm'"),
        ("a: !!python/object/apply:os.system [x]", "faults.yaml"),
        ("a: [", "faults.yaml"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        scenario(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: No such file"):
        scenario_of(tmp_path / "none.yaml")
