"""What is wrong with the content of an answer: the answer -> another one, whole or still coming."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple

from stubserver import sse
from stubserver.faults.calls import breaker
from stubserver.faults.choosing import Chosen
from stubserver.faults.events import TRANSFORMS
from stubserver.messages import Answer, Headers, Live, Response

__all__ = ["Headed", "broken", "with_headers"]

_Events = Callable[[Iterator[bytes]], Iterator[bytes]]
_Whole = Callable[[bytes], bytes]


class _Changes(NamedTuple):
    """What becomes of the events of a stream, of a whole body, and of the header fields; None: nothing."""

    events: _Events | None = None
    whole: _Whole | None = None
    content_type: str | None = None


def broken(answer: Answer, chosen: Chosen) -> Answer | None:
    """Return *answer* with the fault in its content; None when there is nothing in it to break."""
    changes = _changes(chosen)
    response = answer.response
    if changes.content_type is not None:
        headers = (
            *(h for h in response.headers if h[0].lower() != "content-type"),
            ("content-type", changes.content_type),
        )
        return with_headers(answer, headers)
    if answer.live is not None:
        change = changes.events if response.events else _of_pieces(changes.whole)
        if change is None:
            return None
        return answer.changed(live=_Broken(answer.live, change, drains=answer.source == "recorded"))
    body = _body(response, changes)
    if body is None or body == response.body:
        return None
    return answer.changed(response=response._replace(body=body), rendered={})


def with_headers(answer: Answer, headers: Headers) -> Answer:
    """Return *answer* with other header fields; what is kept of it, where it is recorded, stays as it is."""
    response = answer.response._replace(headers=headers)
    live = Headed(answer.live, response) if answer.live is not None else None
    return answer.changed(response=response, live=live, rendered={})


def _changes(chosen: Chosen) -> _Changes:
    rule = chosen.rule
    name = rule.kind.name
    if name in TRANSFORMS:
        number = rule.number if rule.kind.takes else 0
        return _Changes(events=lambda events: TRANSFORMS[name](events, number))
    if name in {"bad-arguments", "unknown-tool"}:
        return _Changes(*breaker(name, str(rule.value)))
    if name == "content-type":
        return _Changes(content_type=str(rule.value))
    return _Changes(whole=_halved)


def _halved(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _body(response: Response, changes: _Changes) -> bytes | None:
    if response.events:
        return b"".join(changes.events(iter(sse.split(response.body)))) if changes.events is not None else None
    return changes.whole(response.body) if changes.whole is not None else None


def _of_pieces(whole: _Whole | None) -> _Events | None:
    """Make a change of a whole body one of its pieces, which have to be waited for."""
    if whole is None:
        return None

    def change(pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield whole(b"".join(pieces))

    return change


class Headed:
    """An answer that is still coming, with another head."""

    def __init__(self, live: Live, head: Response) -> None:
        self._live = live
        self.head = head
        self.length = live.length

    def pieces(self) -> Generator[bytes]:
        """Yield what is to be sent. Raises UpstreamError."""
        return self._live.pieces()


class _Broken:
    """An answer that is still coming, with a change of its events or its body.

    ``drains``: what the client does not get is read all the same, because it is being recorded.
    """

    def __init__(self, live: Live, change: _Events, *, drains: bool) -> None:
        self._live = live
        self._change = change
        self._drains = drains
        self.head = live.head
        self.length: int | None = None  # it is another one now

    def pieces(self) -> Generator[bytes]:
        """Yield what is to be sent: at first nothing, as every answer does. Raises UpstreamError."""
        with closing(self._live.pieces()) as pieces:
            yield next(pieces, b"")
            yield from self._change(pieces)
            if self._drains:
                for _ in pieces:
                    pass
