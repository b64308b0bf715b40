"""One request in, one answer out, one journal entry.

No sockets here, and nothing is kept between two requests but the cassettes' positions and the journal.
``prepare`` is what depends on the request alone, and may be kept for requests that come again; ``answer`` is what
happens each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from stubserver import dummy, replay
from stubserver.cassettes.library import Library, Report
from stubserver.cassettes.playlist import Exhausted, Played, Playlist
from stubserver.dummy.errors import envelope
from stubserver.dummy.settings import DummySettings
from stubserver.errors import ProtocolError
from stubserver.journal import Journal
from stubserver.messages import FORWARDED, Answer, Delivery, Notes, Request, Response, without_headers
from stubserver.recorder import Fallbacks, Recorder, source_headers
from stubserver.tally import Tally

if TYPE_CHECKING:
    from stubserver.dummy.response_store import ResponseStore
    from stubserver.faults import Faults
    from stubserver.forwarder import Forwarder, Once
    from stubserver.keys import Keys, Refusal
    from stubserver.pacing import Pacer

__all__ = ["App", "Prepared"]

NAMED: Final = "/__cassette/"
ADMIN: Final = "/__admin"
_KEPT_DUMMY: Final = 4096
"""A larger answer of the dummy (embeddings are megabytes) is made each time: thousands of them may be remembered."""
_FAULT: Final = "x-stubserver-fault"
_LOOK_AGAIN_SECONDS: Final = 0.25


@dataclass(slots=True, eq=False)
class Prepared:
    """A request with what follows from it alone.

    ``key`` is its match key, ``accepted`` the encodings its client takes, ``cassette`` what stood behind
    ``/__cassette/`` in its target, None where that is not how it begins. ``admin``: it is none for the API, but for
    whoever runs the server. ``dummy`` is the dummy's answer once it was made: a pure function of the request.
    ``refused`` is there where it lacks the key that is asked for; ``said`` are the faults that it asks for. ``cost`` is
    how many bytes it takes where it is remembered.
    """

    request: Request
    key: bytes
    accepted: str
    cassette: str | None = None
    dummy: Answer | None = None
    admin: bool = False
    refused: Refusal | None = None
    said: tuple[str, ...] = ()
    cost: int = 0


class _About(NamedTuple):
    """What follows from a request's head alone; ``special``: more than the recordings' and the dummy's may be asked."""

    accepted: str
    special: bool


class App:
    """Answers requests from the library, or by the fallback. Thread-safe."""

    def __init__(  # noqa: PLR0913  # the options of the command line
        self,
        library: Library,
        *,
        fallback: Fallbacks | str = Fallbacks.DUMMY,
        settings: DummySettings | None = None,
        error_status: int = 404,
        journal: Journal | None = None,
        on_report: Callable[[Report], None] | None = None,
    ) -> None:
        self.library = library
        self.journal = Journal() if journal is None else journal
        self.tally = Tally()
        self.fallback: Fallbacks = Fallbacks(fallback)
        self._settings = settings or DummySettings()
        self._recorder = Recorder(library.rules, error_status)
        self.forwarder: Forwarder | None = None
        self.once: Once | None = None
        """Requests to be recorded when they come again, though nothing else is."""
        self.pacer: Pacer | None = None
        """What gives answers their pace; None: they are sent at once. May be changed at any time."""
        self.faults: Faults | None = None
        """What goes wrong on purpose; None as long as nobody wants anything of that."""
        self.refuse: Callable[[float], None] | None = None
        """Lets connections be refused for so many seconds."""
        self.admin: Callable[[Request], Answer] | None = None
        self.keys: Keys | None = None
        """Who may ask; None: everybody."""
        self._on_report = on_report
        self._looked = time.monotonic()
        self._looking = Lock()

    def prepare(self, request: Request, notes: Notes | None = None) -> Prepared:
        """Work out what follows from the request alone; *notes* are kept with its head, for all that begin with it."""
        about = None if notes is None else notes.get(_About)
        if about is None:
            about = _about(request)
            if notes is not None:
                notes[_About] = about
        if about.special or self.keys is not None:
            return self._prepare_special(request, about.accepted)
        return Prepared(request, self.library.rules.key(request), about.accepted)

    def _prepare_special(self, request: Request, accepted: str) -> Prepared:
        if self.admin is not None and _is_admin(request.target):
            return Prepared(request, b"", accepted, "", admin=True)
        if self.keys is not None:
            admitted = self.keys.admit(request)
            if not isinstance(admitted, Request):
                return Prepared(request, b"", accepted, "", refused=admitted)
            request = admitted
        request, said = self._asked_fault(request)
        if request.target.startswith(NAMED):
            # Until the cassette is known (files come and go), the key cannot be: see _named.
            return Prepared(request, b"", accepted, request.target[len(NAMED) :], said=said)
        return Prepared(request, self.library.rules.key(request), accepted, said=said)

    def may_wait(self, prepared: Prepared) -> bool:
        """Tell whether the answer may wait for somebody else: an upstream, or whoever the admin API asks."""
        if prepared.admin or self.once is not None:
            return True
        forwarder, key = self.forwarder, prepared.key
        if forwarder is None:
            return False
        return forwarder.always or not key or not self.library.playlist.plays_next(key)

    def answer(self, prepared: Prepared, delivery: Delivery | None = None) -> Answer:
        """Answer a request and write it down. Never raises for anything that a client or a cassette holds.

        *delivery* is where whoever sends the answer writes when that was.
        """
        request = prepared.request
        if prepared.admin and self.admin is not None:
            return self.admin(request)
        if prepared.refused is not None:
            return self._refuse(request, prepared.refused, delivery)
        if self.faults is not None:
            request, answer = self._with_faults(self.faults, prepared, delivery)
        else:
            answer = self._found(prepared, delivery)
            if self.pacer is not None:
                answer = self.pacer(request, answer)
        source = answer.source
        if delivery is not None:
            self.tally.add(request.target, source, answer.status, delivery)
        if source not in FORWARDED:  # else whoever asked the upstream does, when the answer is through
            self.journal.add(request, answer, delivery)
        return answer

    def _with_faults(self, faults: Faults, prepared: Prepared, delivery: Delivery | None) -> tuple[Request, Answer]:
        """Return the request as it is looked up, and its answer, with what is done wrong to that."""
        request, said = faults.said(prepared.request)
        key = prepared.key
        if said or not key:
            key = self.library.rules.key(request)
        if said:
            prepared = replace(prepared, request=request, key=key if prepared.key else b"", dummy=None)
        answered = partial(self._found, prepared, delivery)
        return request, faults.around(request, key, (*prepared.said, *said), answered, self.pacer)

    def _asked_fault(self, request: Request) -> tuple[Request, tuple[str, ...]]:
        """Take the faults that a request asks for out of its header."""
        said = tuple(value for name, value in request.headers if name.lower() == _FAULT)
        if not said:
            return request, ()
        self.faulty()
        return request._replace(headers=without_headers(request.headers, frozenset({_FAULT}))), said

    def faulty(self) -> Faults:
        """Return what goes wrong on purpose, to be set; from now on, every request is asked about it."""
        if self.faults is None:
            from stubserver.faults import Faults  # noqa: PLC0415  # start-up: most servers do nothing wrong

            with self._looking:
                self.faults = self.faults or Faults(refuse=lambda seconds: self.refuse and self.refuse(seconds))
        return self.faults

    def hangs_up(self) -> bool:
        """Tell whether a connection that was just accepted is closed on purpose, and write that down."""
        what = self.faults.hangs_up() if self.faults is not None else ""
        if what:
            self.journal.add(Request("CONNECT", "/"), Answer(Response(0), "fault", fault=what))
        return bool(what)

    def _refuse(self, request: Request, refusal: Refusal, delivery: Delivery | None) -> Answer:
        answer = refusal.answer
        if delivery is not None:
            self.tally.add(request.target, answer.source, answer.status, delivery)
        self.journal.add(request, refusal.noted, delivery)
        return answer

    def _named(self, prepared: Prepared, target: str, delivery: Delivery | None) -> Answer:
        """Answer from one named cassette, which has its own positions."""
        path, mark, query = target.partition("?")
        found = self.library.named(path)
        if found is None:
            names = ", ".join(self.library.names[:10]) or "none"
            text = f"no cassette of that name: {NAMED}{path[:200]} (served are: {names})"
            return Answer(envelope(404, text, code="no_cassette", headers=source_headers("unmatched")), "unmatched")
        playlist, rest = found
        request = prepared.request._replace(target=rest + mark + query)
        return self._found(Prepared(request, self.library.rules.key(request), prepared.accepted), delivery, playlist)

    def _found(self, prepared: Prepared, delivery: Delivery | None, playlist: Playlist | None = None) -> Answer:
        """Answer from *playlist*, if not from that which the request names, or from all."""
        if prepared.cassette is not None:
            return self._named(prepared, prepared.cassette, delivery)
        if playlist is None:
            playlist = self.library.playlist
        request, key, forwarder = prepared.request, prepared.key, self.forwarder
        if self._is_the_dummys(request, playlist):
            return self._dummy(prepared)
        if forwarder is not None and forwarder.always:
            return forwarder.answer(request, delivery)
        found = playlist.play(key, request)
        if not isinstance(found, Played) and playlist is self.library.playlist and self.look_again():
            playlist = self.library.playlist
            found = playlist.play(key, request)
        if isinstance(found, Played):
            answer = self._recorder.replayed(found, request, prepared.accepted)
            return self._read_anew(prepared, answer) if answer.source == "unmatched" else answer
        return self._missed(prepared, playlist, found, delivery)

    def _read_anew(self, prepared: Prepared, damaged: Answer) -> Answer:
        """Answer from the cassettes as they are now, where one has changed since it was read."""
        if prepared.cassette is not None:
            return damaged
        with self._looking:
            report = self._reload()
        if report is not None and self._on_report is not None:
            self._on_report(report)
        found = self.library.playlist.play(prepared.key, prepared.request)
        if not isinstance(found, Played):
            return damaged
        return self._recorder.replayed(found, prepared.request, prepared.accepted)

    def _missed(
        self, prepared: Prepared, playlist: Playlist, used_up: Exhausted | None, delivery: Delivery | None
    ) -> Answer:
        """Answer a request that no recording answers, or that of which all were played as often as they may be."""
        request, key, forwarder = prepared.request, prepared.key, self.forwarder
        if self.once is not None and self.once.take(key):
            return self.once.forwarder.answer(request, delivery)
        if forwarder is not None and self.otherwise is Fallbacks.FORWARD:
            return forwarder.answer(request, delivery)
        if self.fallback is Fallbacks.ERROR:
            return self._recorder.unmatched(playlist, key, request, used_up)
        return self._dummy(prepared)

    @property
    def otherwise(self) -> Fallbacks:
        """What answers a request that has no recording: the fallback, or the upstream while we record from it."""
        return Fallbacks.FORWARD if self.forwarder is not None and self.forwarder.records else self.fallback

    def _is_the_dummys(self, request: Request, playlist: Playlist) -> bool:
        """Tell whether nothing has to be looked up: there is nothing, or a pipeline waits until we are ready."""
        if self.fallback is Fallbacks.DUMMY and self.forwarder is None and self.once is None and not playlist:
            return True
        return self._settings.style == "datatrove" and dummy.asks_whether_ready(request)

    def _dummy(self, prepared: Prepared) -> Answer:
        answer = prepared.dummy
        if answer is None:
            request = prepared.request
            pure = dummy.is_pure(request)
            response = dummy.respond(request, self._settings, None if pure else self._created)
            headers = (*response.headers, *source_headers("dummy"))
            answer = Answer(response._replace(headers=headers), "dummy")
            if pure and len(response.body) <= _KEPT_DUMMY:
                prepared.dummy = answer
        return answer

    @cached_property
    def _created(self) -> ResponseStore:
        """What the dummy's ``/responses`` created."""
        from stubserver.dummy.response_store import ResponseStore  # noqa: PLC0415  # start-up: one endpoint needs it

        return ResponseStore()

    def look_again(self) -> bool:
        """Read the cassettes again if they changed on disk; looked at four times a second at most. True: they did."""
        now = time.monotonic()
        if now - self._looked < _LOOK_AGAIN_SECONDS or not self._looking.acquire(blocking=False):
            return False
        try:
            self._looked = now
            notes = self.library.tend()
            if notes and self._on_report is not None:
                self._on_report(Report(warnings=notes))
            report = self._reload()
        finally:
            self._looking.release()
        if report is not None and self._on_report is not None:
            self._on_report(report)
        return report is not None

    def _reload(self) -> Report | None:
        """Read what changed on disk; None when nothing did. One at a time."""
        return self.library.reload() if self.library.changed() else None

    def refused(self, error: ProtocolError) -> Response:
        """Write a request that could not be served as HTTP as an error of the API."""
        headers = source_headers("unmatched")
        kind = "server_error" if error.status >= 500 else "invalid_request_error"  # noqa: PLR2004  # HTTP's
        return envelope(error.status, str(error), kind=kind, code=error.code, headers=headers)


def _about(request: Request) -> _About:
    asks_fault = any(name.lower() == _FAULT for name, _ in request.headers)
    special = asks_fault or request.target.startswith(NAMED) or _is_admin(request.target)
    return _About(replay.accepts(request.headers), special)


def _is_admin(target: str) -> bool:
    return target.startswith(ADMIN) and target[len(ADMIN) : len(ADMIN) + 1] in ("/", "?", "")
