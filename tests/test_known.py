"""Requests that are remembered by their bytes: which, and how many."""

from __future__ import annotations

import tracemalloc

from raw import chat

from stubserver.answers import render
from stubserver.app import App, Prepared
from stubserver.cassettes.library import Library
from stubserver.known import Known
from stubserver.messages import Request
from stubserver.wire import Limits, RequestParser


def anything() -> Prepared:
    return Prepared(Request("GET", "/"), b"", "")


def known_after(sizes: list[int], times: int = 1) -> list[int]:
    """Return which of several requests of these sizes are remembered in the end, by their place."""
    known = Known()
    raws = [b"%d" % i + b"x" * size for i, size in enumerate(sizes)]
    for raw in [raw for raw in raws for _ in range(times)]:
        known.add(raw, anything(), 0)
    return [i for i, raw in enumerate(raws) if known.get(raw) is not None]


def test_known_requests_are_bounded_and_the_oldest_leave_first() -> None:
    kept = known_after([16_000] * 4000, times=2)
    assert 500 < len(kept) < 4000
    assert kept == list(range(4000 - len(kept), 4000))


def test_what_is_counted_is_about_what_it_takes() -> None:
    app, known = App(Library(())), Known()
    tracemalloc.start()
    try:
        for number in range(2000):
            raw = chat(f"{number} " + "x" * (number % 500))
            known.add(raw, prepared_and_answered(app, raw), 0)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1.5 * known._bytes


def test_what_has_no_answer_of_the_dummys_takes_little() -> None:
    known = Known()
    for number in range(10_000):
        raw = chat(f"{number} " + "x" * 500)
        known.add(raw, Prepared(Request("POST", "/", (), raw), b"", ""), 0)
    assert known._bytes < 20_000_000


def prepared_and_answered(app: App, raw: bytes) -> Prepared:
    parser = RequestParser(Limits())
    parser.receive(raw)
    parsed = parser.next_request()
    assert parsed is not None
    prepared = app.prepare(parsed.request)
    answer = app.answer(prepared)
    answer.rendered[0] = render(answer.response, 0)
    return prepared


def test_what_comes_once_does_not_push_out_what_is_known() -> None:
    kept = known_after([16_000] * 4000)
    assert 100 < len(kept) < 4000
    others = set(kept) - set(range(len(kept)))
    assert len(others) < len(kept) // 10  # a few are taken for what was here before


def test_long_requests_are_not_kept() -> None:
    assert known_after([10, 20_000, 10]) == [0, 2]


def test_request_kept_twice_counts_once() -> None:
    known = Known()
    for _ in range(10_000):
        known.add(b"x" * 16_000, anything(), 0)
    known.add(b"y", anything(), 0)
    assert known.get(b"x" * 16_000) is not None
