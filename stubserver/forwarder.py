"""Ask the upstream, pass its answer on, and keep it when we are recording."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Final, NamedTuple

from stubserver.dummy.errors import envelope
from stubserver.errors import UpstreamError
from stubserver.journal import Journal
from stubserver.keeper import Keeper, RecordMode
from stubserver.messages import Answer, Delivery, Interaction, Request, Response
from stubserver.recorder import source_headers
from stubserver.relay import Relay, Relayed
from stubserver.scrubbing import Scrubber
from stubserver.upstream import Upstream, interruptible

__all__ = ["Forwarder", "Once", "Recording"]

_MOST_AWAITED: Final = 1000
_ABSENT: Final = object()


class Recording(NamedTuple):
    """What is recorded, and how."""

    mode: RecordMode
    keeper: Keeper


class Forwarder:
    """Sends requests to the upstream; what comes back is kept when *recording* says so."""

    def __init__(self, upstream: Upstream, scrubber: Scrubber, journal: Journal, recording: Recording | None) -> None:
        self._upstream = upstream
        self._scrubber = scrubber
        self._journal = journal
        self._keeper = recording.keeper if recording else None
        self.records = recording is not None
        self.always = recording is not None and recording.mode is RecordMode.ALL

    def answer(self, request: Request, delivery: Delivery | None = None) -> Answer:
        """Ask the upstream; the answer is live, and writes its own journal entry when it is through."""
        sent = request._replace(scheme="", authority="")
        source = "recorded" if self._keeper is not None else "forwarded"
        started = time.monotonic()
        try:
            reply = self._upstream.send(request)
        except UpstreamError as error:
            return self._failed(sent, error, source, delivery)
        answer = Answer(Response(reply.status), source)

        def done(relayed: Relayed) -> None:
            self._journal.add(self._noted(self._addressed(request), answer, relay.head, relayed), answer, delivery)

        relay = Relay(reply, source_headers(source), started, done)
        answer.response, answer.live = relay.head, relay
        return answer

    def interruptible(self) -> AbstractContextManager[Callable[[], None]]:
        """Give what is to be called when the client has left: it ends what this thread asks the upstream for."""
        return interruptible()

    def _addressed(self, request: Request) -> Request:
        """Return *request* as it was sent to the upstream: its own address, and no other host."""
        uri = Request.from_uri(request.method, self._upstream.uri(request))
        headers = tuple((n, uri.authority if n.lower() == "host" else v) for n, v in request.headers)
        return uri._replace(headers=headers, body=request.body)

    def _noted(self, request: Request, answer: Answer, head: Response, relayed: Relayed) -> Request:
        """Keep what went through, before the client has the last byte; return the request as it is written down."""
        note, shown = relayed.cut, None
        if self._keeper is not None:
            kept = self._keeper.keep(request, head, relayed)
            answer.cassette, note = kept.label, kept.why_not and f"not recorded: {kept.why_not}"
            shown = kept.interaction
        answer.note, answer.live = note, None
        if shown is None:
            shown = self._scrubber.cleaned(Interaction(request, head._replace(body=relayed.body or b"")))
        answer.response = shown.response
        return shown.request

    def _failed(self, request: Request, error: UpstreamError, source: str, delivery: Delivery | None) -> Answer:
        headers = source_headers(source)
        response = envelope(error.status, str(error), kind="server_error", code="upstream_error", headers=headers)
        answer = Answer(response, source, note=str(error))
        self._journal.add(self._scrubber.request(request), answer, delivery)
        return answer


class Once:
    """Requests, by their keys, that *forwarder* is to record once, when they come again."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder
        self._keys: OrderedDict[bytes, object] = OrderedDict()
        self._lock = Lock()

    def add(self, key: bytes) -> None:
        """Wait for the request of this key; when there are too many, the oldest is waited for no longer."""
        with self._lock:
            self._keys[key] = None
            if len(self._keys) > _MOST_AWAITED:
                self._keys.popitem(last=False)

    def take(self, key: bytes) -> bool:
        """Tell whether the request of this key was waited for; it is no longer."""
        with self._lock:
            return self._keys.pop(key, _ABSENT) is None
