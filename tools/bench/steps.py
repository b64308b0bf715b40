"""Steps: what each step of a request's way takes, in one thread without sockets, so that a regression shows where.

The inputs are the same in every run: a thousand distinct recorded chat completions, and the bytes that a client sends
to ask for them. Each step goes through all of them in one pass, on the inputs that the step before gives; a pass gives
one value, its time divided by their number. Look at the smallest: whatever else the machine does only adds to it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import generate
from report import Part, Series

from stubserver import wire
from stubserver.app import App, Prepared
from stubserver.bodies import Limits
from stubserver.cassettes.library import Library
from stubserver.cassettes.playlist import Played
from stubserver.journal import Journal
from stubserver.known import Known
from stubserver.messages import Answer, Delivery, Request
from stubserver.recorder import Recorder

HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: application/json\r\n"
    "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"
    "User-Agent: OpenAI/Python 1.109.1\r\nAuthorization: Bearer none\r\nContent-Length: {length}\r\n\r\n"
)

ACCEPTED = "gzip, deflate"


class Step(NamedTuple):
    """One step: what is done in a pass, on how many inputs; *before* a pass, uncounted, everything is as it was."""

    name: str
    run: Callable[[], object]
    before: Callable[[], object] = gc.collect


def asked(bodies: Sequence[str]) -> list[bytes]:
    """Return the bytes of requests with these bodies."""
    return [f"{HEAD.format(length=len(body.encode()))}{body}".encode() for body in bodies]


def measure(count: int, passes: int, folder: Path) -> Part:
    """Take all steps so many times, interleaved."""
    cassette = folder / "steps.yaml"
    generate.write(cassette, range(count))
    raw = asked(cassette.with_suffix(".bodies").read_text(encoding="utf-8").splitlines())
    steps = [*_Apart(Library([cassette]), raw).steps(), *_whole(cassette, raw), *_dummy(raw)]
    times: dict[str, list[float]] = {step.name: [] for step in steps}
    for number in range(-1, passes):
        for step in steps:
            took = _timed(step) * 1e6 / count
            if number >= 0:
                times[step.name].append(took)
    title = f"a request's way, in one thread: {count:,} distinct requests, {passes} passes"
    return Part("steps", title, [Series(name, values, "us") for name, values in times.items()])


def _timed(step: Step) -> float:
    step.before()
    gc.disable()
    try:
        begun = time.perf_counter()
        step.run()
        return time.perf_counter() - begun
    finally:
        gc.enable()


class _Apart:
    """The steps one by one; what each works on is made here."""

    def __init__(self, library: Library, raw: Sequence[bytes]) -> None:
        self._library, self._raw, self._limits = library, raw, Limits()
        self._requests = [_parsed(data, self._limits) for data in raw]
        self._keys = [library.rules.key(request) for request in self._requests]
        pairs = zip(self._keys, self._requests, strict=True)
        self._played = [_found(library, key, request) for key, request in pairs]
        self._kept, self._journal = Recorder(library.rules, 404), Journal()
        self._fresh = self._kept
        self._answers = self._replayed(self._kept)

    def steps(self) -> list[Step]:
        """Return all of them, in their order."""
        return [
            Step("parse, head known", self._parse),
            Step("parse, through the buffer", self._parse_in_pieces),
            Step("key", self._key),
            Step("lookup", self._look_up, self._library.playlist.reset),
            Step("answer, read and made", lambda: self._replayed(self._fresh), self._forget),
            Step("answer, made before", lambda: self._replayed(self._kept)),
            Step("render", self._render),
            Step("journal", self._note, self._journal.clear),
        ]

    def _parse(self) -> None:
        parser = wire.RequestParser(self._limits)
        for data in self._raw:
            parser.whole(data)

    def _parse_in_pieces(self) -> None:
        parser = wire.RequestParser(self._limits)
        for data in self._raw:
            parser.receive(data)
            parser.next_request()

    def _key(self) -> None:
        for request in self._requests:
            self._library.rules.key(request)

    def _look_up(self) -> None:
        for key, request in zip(self._keys, self._requests, strict=True):
            self._library.playlist.play(key, request)

    def _replayed(self, recorder: Recorder) -> list[Answer]:
        pairs = zip(self._played, self._requests, strict=True)
        return [recorder.replayed(played, request, ACCEPTED) for played, request in pairs]

    def _forget(self) -> None:
        self._fresh = Recorder(self._library.rules, 404)
        gc.collect()

    def _render(self) -> None:
        for answer in self._answers:
            wire.render(answer.response, 0)

    def _note(self) -> None:
        for request, answer in zip(self._requests, self._answers, strict=True):
            self._journal.add(request, answer, Delivery())


def _whole(cassette: Path, raw: Sequence[bytes]) -> list[Step]:
    """Return the whole way: of requests that never came before, and of those that did."""
    library = Library([cassette])
    way = [_Way(App(library))]

    def forget() -> None:
        library.playlist.reset()
        way[0] = _Way(App(library))
        gc.collect()

    warm = _Way(App(library))
    warm.walk(raw)
    return [
        Step("whole, never asked before", lambda: way[0].walk(raw), forget),
        Step("whole, asked before", lambda: warm.walk(raw)),
    ]


def _dummy(raw: Sequence[bytes]) -> list[Step]:
    way = _Way(App(Library([])))
    way.walk(raw)
    return [Step("whole, the dummy, asked before", lambda: way.walk(raw))]


class _Way:
    """The way of a request as a connection takes it, from bytes to bytes."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._known = Known()
        self._parser = wire.RequestParser(Limits())

    def walk(self, raw: Sequence[bytes]) -> None:
        """Answer all of them."""
        for data in raw:
            prepared, flags = self._known.get(data) or self._prepared(data)
            answer = self._app.answer(prepared, Delivery())
            if flags not in answer.rendered:
                answer.rendered[flags] = wire.render(answer.response, flags)

    def _prepared(self, data: bytes) -> tuple[Prepared, int]:
        parsed = self._parser.whole(data)
        if parsed is None:
            self._parser.receive(data)
            parsed = self._parser.next_request()
        if parsed is None:
            raise AssertionError(data)
        prepared = self._app.prepare(parsed.request, self._parser.notes)
        self._known.add(data, prepared, parsed.flags)
        return prepared, parsed.flags


def _parsed(data: bytes, limits: Limits) -> Request:
    parser = wire.RequestParser(limits)
    parser.receive(data)
    parsed = parser.next_request()
    if parsed is None:
        raise AssertionError(data)
    return parsed.request


def _found(library: Library, key: bytes, request: Request) -> Played:
    played = library.playlist.play(key, request)
    if not isinstance(played, Played):
        raise TypeError(played)
    return played
