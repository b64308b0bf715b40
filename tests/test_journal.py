"""The journal: what was asked and what was done, bounded, and shown without secrets."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from tapes import ask, request

from stubserver.dummy.errors import envelope
from stubserver.journal import Entry, Journal
from stubserver.messages import Answer, Delivery, Request, Response, header

PASSWORD = "correct-horse-battery"
KEY = "sk-proj-" + "a1B2c3D4" * 5


def answer(body: bytes = b"{}", source: str = "dummy", **more: Any) -> Answer:
    return Answer(Response(200, (("content-type", "application/json"),), body), source, **more)


def only_entry(made: Request, given: Answer) -> Entry:
    journal = Journal()
    journal.add(made, given)
    (entry,) = journal
    return entry


def test_an_entry_says_what_was_asked_and_what_was_done() -> None:
    made = request(ask())
    entry = only_entry(made, answer(b'{"a": 1}', "replayed", cassette="chat.yaml#2", drift=("seed",)))
    assert entry.request == made
    assert entry.response.body == b'{"a": 1}'
    assert (entry.source, entry.cassette, entry.drift, entry.number) == ("replayed", "chat.yaml#2", ("seed",), 1)
    assert entry.note == ""
    assert repr(entry) == "<Entry 1 POST /v1/chat/completions replayed 200>"


def test_the_note_says_why_nothing_was_found() -> None:
    missed = Answer(envelope(404, "no recording for GET /x", code="no_recording"), "unmatched")
    assert only_entry(request(), missed).note == "no recording for GET /x"


def test_entries_are_numbered_from_1_and_in_order_of_time() -> None:
    journal = Journal()
    for i in range(3):
        journal.add(request(ask(str(i))), answer())
    assert [entry.number for entry in journal] == [1, 2, 3]
    assert [entry.time for entry in journal] == sorted(entry.time for entry in journal)
    assert journal[0].number == 1
    assert journal[-1].number == 3
    assert len(journal) == journal.total == 3
    with pytest.raises(IndexError):
        journal[3]


def test_the_oldest_entries_leave_when_there_are_too_many() -> None:
    journal = Journal(most=3)
    for _ in range(10):
        journal.add(request(ask()), answer())
    assert [entry.number for entry in journal] == [8, 9, 10]
    assert journal.total == 10


def test_the_oldest_entries_leave_when_there_are_too_many_bytes() -> None:
    journal = Journal(most_bytes=100_000)
    for _ in range(10):
        journal.add(request(b"x" * 20_000), answer(b"y" * 20_000))
    assert [entry.number for entry in journal] == [9, 10]
    journal.add(request(b"x" * 500_000), answer())
    assert [entry.number for entry in journal] == [11]
    journal.add(request(), answer())
    assert [entry.number for entry in journal] == [12]


def test_a_cleared_journal_counts_on() -> None:
    journal = Journal(most_bytes=10_000)
    for _ in range(3):
        journal.add(request(b"x" * 1000), answer())
    journal.clear()
    assert len(journal) == 0
    assert list(journal) == []
    for _ in range(3):
        journal.add(request(b"x" * 1000), answer())
    assert [entry.number for entry in journal] == [4, 5, 6]


def test_iterating_shows_a_moment_whatever_comes_in_meanwhile() -> None:
    journal = Journal()
    journal.add(request(), answer())
    seen = []
    for entry in journal:
        journal.add(request(), answer())
        seen.append(entry.number)
    assert seen == [1]


def test_no_entry_is_lost_between_threads() -> None:
    journal = Journal(most=10_000)

    def write() -> None:
        for _ in range(200):
            journal.add(request(), answer())

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.number for entry in journal] == list(range(1, 1601))


def test_nothing_that_is_shown_holds_a_secret() -> None:
    body = json.dumps({"api_key": PASSWORD, "text": KEY}).encode()
    made = Request(
        "POST", f"/v1/x?key={PASSWORD}", (("Authorization", f"Bearer {KEY}"),), body, "http", f"u:{PASSWORD}@h"
    )
    given = Answer(Response(200, (("Set-Cookie", f"a={PASSWORD}"),), body), "replayed")
    entry = only_entry(made, given)
    shown = f"{entry.request}{entry.response}{entry!r}{entry.note}"
    assert PASSWORD not in shown
    assert KEY[:20] not in shown
    assert header(entry.response.headers, "set-cookie") == "REDACTED"


def test_bytes_that_are_no_text_are_shown_as_they_are() -> None:
    entry = only_entry(request(b"\xff\x00\xfe"), answer(b"\x89PNG\xff"))
    assert entry.request.body == b"\xff\x00\xfe"
    assert entry.response.body == b"\x89PNG\xff"


def test_a_long_body_is_cut_and_says_how_long_it_was() -> None:
    entry = only_entry(request(b"x" * 200_000), answer(b"y" * 300_000))
    assert entry.request.body == b"x" * 65_536 + b" [cut here: 200000 bytes in all]"
    assert entry.response.body == b"y" * 65_536 + b" [cut here: 300000 bytes in all]"


@pytest.mark.parametrize("size", [65_536, 65_537, 70_000, 73_728, 73_729])
def test_bodies_about_the_limit(size: int) -> None:
    body = only_entry(request(b"x" * size), answer()).request.body
    expected = b"x" * size if size <= 65_536 else b"x" * 65_536 + b" [cut here: %d bytes in all]" % size
    assert body == expected


@pytest.mark.parametrize("start", [65_536 - 10, 65_536 - 30, 65_536 - 200])
@pytest.mark.parametrize("secret", [KEY, f'"password": "{PASSWORD * 100}"'])
def test_a_secret_where_a_long_body_is_cut_is_not_shown(start: int, secret: str) -> None:
    body = (" " * start + secret + " " * 100_000).encode()
    entry = only_entry(request(body), answer(body))
    for shown in (entry.request.body, entry.response.body):
        assert KEY[:9].encode() not in shown
        assert PASSWORD[:9].encode() not in shown


def test_an_entry_is_had_by_its_number_and_removed() -> None:
    journal = Journal()
    for i in range(3):
        journal.add(request(ask(str(i))), answer())
    found = journal.get(2)
    assert found is not None
    assert found.request == request(ask("1"))
    assert journal.remove(2)
    assert not journal.remove(2)
    assert journal.get(2) is None
    assert [entry.number for entry in journal] == [1, 3]
    assert [entry.number for entry in journal.since(1)] == [3]
    journal.remove(1)
    journal.remove(3)
    assert journal.bytes == 0


def test_a_journal_that_is_off_keeps_nothing() -> None:
    journal = Journal(most=0)
    journal.add(request(ask()), answer())
    assert (len(journal), journal.total, journal.bytes, journal.is_on) == (0, 0, 0, False)


def stream(delivery: Delivery, times: int) -> Entry:
    journal = Journal()
    journal.add(request(ask()), Answer(Response(200, (), b"data: a\n\n" * 3, events=True), "dummy"), delivery)
    for i in range(times):
        delivery.sent(100.5 + i)
    (entry,) = journal
    return entry


@pytest.mark.parametrize(
    ("pieces", "times"),
    [
        (5, [1.5, 2.5, 3.5]),  # the head, three events, the end
        (4, [1.5, 2.5, 3.5]),  # without an end, as HTTP/1.0 has none
        (3, [0.5, 1.5, 2.5]),  # the head went with the first
        (2, [None, None, None]),
        (1, [None, None, None]),
    ],
)
def test_when_each_event_was_sent(pieces: int, times: list[float | None]) -> None:
    delivery = Delivery()
    delivery.received = 100.0
    entry = stream(delivery, pieces)
    assert entry.event_times(3) == times
    assert entry.first_byte == 0.5
    assert (entry.done, entry.duration) == (False, None)
    delivery.last = 110.0
    assert (entry.done, entry.duration) == (True, 10.0)


def test_of_very_many_events_the_first_are_timed() -> None:
    delivery = Delivery()
    delivery.received = 100.0
    for i in range(5000):
        delivery.sent(100.0 + i)
    journal = Journal()
    journal.add(request(ask()), answer(), delivery)
    times = journal[0].event_times(4998)
    assert times[:2] == [1.0, 2.0]
    assert times[1998:2000] == [1999.0, None]
    assert len(times) == 4998
