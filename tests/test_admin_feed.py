"""The journal as it grows: in order, once each, resumed, bounded; and nobody waits for a reader."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asking import call, chat, get
from raw import PATIENCE, Raw, eventually
from tapes import ask, request

from stubserver import StubServer
from stubserver.admin import feed
from stubserver.admin.follower import Follower
from stubserver.journal import Journal
from stubserver.messages import Answer, Delivery, Response


class Events:
    """What a reader gets, event by event."""

    def __init__(self, stub: StubServer, **headers: str) -> None:
        self.client = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=PATIENCE)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.client.request("GET", "/__admin/events", headers=sent)
        self.answer = self.client.getresponse()

    def next(self, kind: str) -> tuple[str, Any]:
        fields: dict[str, str] = {}
        while fields.get("event") != kind:
            lines = []
            while line := self.answer.readline().decode().rstrip("\n"):
                lines.append(line)
            fields = dict(line.split(": ", 1) for line in lines)
        return fields.get("id", ""), json.loads(fields["data"])


@contextmanager
def reading(stub: StubServer, **headers: str) -> Iterator[Events]:
    events = Events(stub, **headers)
    try:
        yield events
    finally:
        events.client.close()


def test_a_reader_resumes_where_it_was() -> None:
    with StubServer() as stub:
        for _ in range(3):
            chat(stub)
        with reading(stub, Last_Event_ID="1") as events:
            assert [events.next("request")[1]["id"] for _ in range(2)] == [2, 3]
        with reading(stub) as events:
            events.next("stats")
            chat(stub)
            assert events.next("request")[1]["id"] == 4


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 30, "99"])
def test_a_reader_that_was_nowhere_begins_now(last: str) -> None:
    with StubServer() as stub:
        chat(stub)
        with reading(stub, Last_Event_ID=last) as events:
            events.next("stats")
            chat(stub)
            assert events.next("request")[1]["id"] == 2


def test_the_numbers_of_the_moment() -> None:
    with StubServer() as stub, reading(stub) as events:
        chat(stub)
        numbers = eventually(lambda: (found := events.next("stats")[1])["total"] and found)
        assert numbers["sources"]["dummy"] == 1
        assert (numbers["kept"], numbers["missed"], numbers["unplayed"], numbers["interactions"]) == (1, 0, 0, 0)
        assert numbers["connections"] >= 1


def test_there_are_not_endlessly_many_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_MOST_READERS", 2)
    with StubServer() as stub:
        with reading(stub) as first, reading(stub) as second:
            first.next("stats")
            second.next("stats")
            got = get(stub, "/events")
            assert (got.status, got.code) == (503, "too_many_readers")
        # The first one that left is noticed when something is sent to it.
        assert eventually(lambda: stub._admin is not None and stub._admin._context.readers == 0)
        with reading(stub) as again:
            again.next("stats")


def test_a_reader_that_reads_nothing_is_dropped_and_nobody_waits() -> None:
    with StubServer(timeout=0.2) as stub:
        deaf = Raw(("127.0.0.1", stub.port))
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.send(b"GET /__admin/events?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: stub._admin is not None and stub._admin._context.readers == 1)

        def is_gone() -> bool:
            for _ in range(50):
                assert call(stub, "GET", f"/v1/models?{'x' * 1900}").status == 200
            return bool(stub._admin is not None and stub._admin._context.readers == 0)

        assert eventually(is_gone)
        deaf.sock.close()


def test_the_server_ends_at_once_though_somebody_reads() -> None:
    stub = StubServer().start()
    with reading(stub) as events:
        events.next("stats")
        stub.stop(grace=PATIENCE)
        assert events.answer.read().endswith(b"\n\n") or events.answer.isclosed()


def add(journal: Journal, *, done: bool = True) -> Delivery:
    delivery = Delivery()
    delivery.received = 1.0
    if done:
        delivery.first = delivery.last = 2.0
    journal.add(request(ask()), Answer(Response(200), "dummy"), delivery)
    return delivery


def news(follower: Follower) -> list[tuple[int, int]]:
    return [(mark, entry.number) for mark, entry in follower.news()]


def test_each_entry_is_told_once_when_it_is_done() -> None:
    journal = Journal()
    follower = Follower(journal, 0)
    add(journal)
    slow = add(journal, done=False)
    add(journal)
    assert news(follower) == [(1, 1), (1, 3)]
    assert news(follower) == []
    add(journal)
    assert news(follower) == [(1, 4)]
    slow.last = 3.0
    assert news(follower) == [(2, 2)]
    assert news(follower) == []
    add(journal)
    assert news(follower) == [(5, 5)]
    assert follower.missed == 0


def test_whoever_stops_anywhere_and_begins_at_the_mark_misses_nothing() -> None:
    journal = Journal()
    slow = add(journal, done=False)
    add(journal)
    add(journal)
    marks = [mark for mark, _ in Follower(journal, 0).news()]
    slow.last = 3.0
    for mark in marks:
        assert [entry.number for _, entry in Follower(journal, mark).news()] == [1, 2, 3]


def test_what_left_before_it_was_told_is_counted() -> None:
    journal = Journal(most=10)
    follower = Follower(journal, 0)
    for _ in range(25):
        add(journal)
    assert [number for _, number in news(follower)] == list(range(16, 26))
    assert follower.missed == 15
    for _ in range(5):
        add(journal)
    assert len(news(follower)) == 5
    assert follower.missed == 15


def test_of_very_many_the_newest_are_told() -> None:
    journal = Journal()
    follower = Follower(journal, 0)
    for _ in range(900):
        add(journal)
    told = news(follower)
    assert [number for _, number in told] == list(range(701, 901))
    assert follower.missed == 700
    assert news(follower) == []


def test_a_cleared_journal_was_not_missed() -> None:
    journal = Journal()
    follower = Follower(journal, 0)
    for _ in range(5):
        add(journal)
    journal.clear()
    assert news(follower) == []
    assert follower.missed == 0
