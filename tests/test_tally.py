"""Counting answers: bounded labels, nothing lost between threads, nothing counted before it left."""

from __future__ import annotations

import threading

import pytest

from stubserver.messages import Delivery
from stubserver.tally import BOUNDS, Tally, label_of

CHAT = "/v1/chat/completions"


def sent(took: float = 0.002, first: float | None = None, *, cut: bool = False) -> Delivery:
    delivery = Delivery()
    delivery.received = 100.0
    delivery.first = 100.0 + (took if first is None else first)
    delivery.last = 100.0 + took
    delivery.cut = cut
    return delivery


def test_answers_are_counted_by_path_source_and_status() -> None:
    tally = Tally()
    tally.add(f"{CHAT}?a=1", "dummy", 200, sent(0.002, 0.0005))
    tally.add(CHAT, "dummy", 200, sent(0.3, cut=True))
    tally.add(CHAT, "unmatched", 404, sent())
    cells = tally.cells()
    assert set(cells) == {(CHAT, "dummy", 200), (CHAT, "unmatched", 404)}
    cell = cells[CHAT, "dummy", 200]
    assert (cell.count, cell.cut) == (2, 1)
    assert cell.seconds == pytest.approx(0.302)
    assert cell.first_seconds == pytest.approx(0.3005)
    assert {bound: n for bound, n in zip(BOUNDS, cell.durations, strict=False) if n} == {0.0025: 1, 0.5: 1}
    assert sum(cell.first_bytes) == 2
    assert tally.sources() == {"replayed": 0, "recorded": 0, "forwarded": 0, "dummy": 2, "unmatched": 1}


def test_what_takes_longer_than_all_bounds_is_counted_behind_them() -> None:
    tally = Tally()
    tally.add(CHAT, "dummy", 200, sent(1000.0))
    assert tally.cells()[CHAT, "dummy", 200].durations[-1] == 1


def test_an_answer_is_counted_when_it_has_left() -> None:
    tally, delivery = Tally(), Delivery()
    delivery.received = 100.0
    tally.add(CHAT, "dummy", 200, delivery)
    for _ in range(5000):
        tally.add(CHAT, "replayed", 200, sent())
    assert tally.sources()["dummy"] == 0
    delivery.first = delivery.last = 101.0
    assert tally.sources()["dummy"] == 1
    assert tally.sources()["replayed"] == 5000


def test_nothing_is_lost_between_threads() -> None:
    tally = Tally()

    def add() -> None:
        for _ in range(5000):
            tally.add(CHAT, "dummy", 200, sent())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tally.cells()
    assert tally.sources()["dummy"] == 20_000


def test_paths_at_random_get_no_label_each() -> None:
    tally = Tally()
    for i in range(10_000):
        tally.add(f"/wp-admin/{i}x", "unmatched", 404, sent())
        tally.add(f"/v1/a{i}b", "replayed", 200, sent())
    assert len(tally.cells()) < 600
    assert tally.sources()["unmatched"] == 10_000
    assert tally.cells()["other", "unmatched", 404].count == 10_000


@pytest.mark.parametrize(
    ("target", "label"),
    [
        (f"{CHAT}?key=secret", CHAT),
        ("/v1/responses/resp_0a1b2c3d4e", "/v1/responses/{id}"),
        ("/v1/responses/resp_0a1b2c3d4e/input_items", "/v1/responses/{id}/input_items"),
        ("/v1/threads/123/runs", "/v1/threads/{id}/runs"),
        ("/v1/models", "/v1/models"),
        ("/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/gpt-4o/chat/completions"),
        ("/__cassette/a/b/v1/chat/completions", "/__cassette/{name}/v1/chat/completions"),
        ("/__cassette/a/b/chat/completions", "/__cassette/{name}/chat/completions"),
    ],
)
def test_labels(target: str, label: str) -> None:
    assert label_of(target) == label
