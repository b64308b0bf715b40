"""The answers made of recordings; and for a request without one, the error that names those which came nearest."""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Final

from stubserver import replay
from stubserver.answers import printable, source_headers
from stubserver.canonical import Rules
from stubserver.cassettes.playlist import Exhausted, Played, Playlist
from stubserver.cassettes.recordings import Recording
from stubserver.dummy.errors import envelope
from stubserver.errors import CassetteError
from stubserver.jsonvalue import json_value
from stubserver.messages import Answer, Request, Response
from stubserver.newcomers import Newcomers

__all__ = ["Fallbacks", "Recorder", "source_headers"]

_CACHED_BYTES: Final = 128 * 1024 * 1024
_CACHED_OF_INDEX: Final = 16 * 1024 * 1024
"""Less of what can be had again in microseconds."""
_SHOWN_PATHS: Final = 10
_BAD_REQUEST: Final = 400


class Fallbacks(StrEnum):
    """What answers a request that has no recording."""

    DUMMY = "dummy"
    ERROR = "error"
    FORWARD = "forward"


_Name = tuple[int, int, str]
"""What an answer is kept by: the serial of its file, its number there, and the encodings its client takes."""


class Recorder:
    """Finds recordings and makes answers of them; what was made once is kept, bounded by bytes."""

    def __init__(self, rules: Rules, error_status: int) -> None:
        self._rules = rules
        self._error_status = error_status
        self._made: OrderedDict[_Name, Answer] = OrderedDict()
        self._made_bytes = 0
        self._newcomers = Newcomers()
        self._lock = Lock()

    def replayed(self, played: Played, request: Request, accepted: str) -> Answer:
        """Make the answer of a recording for a client that takes the encodings *accepted*."""
        recording = played.recording
        name = recording.file.serial, recording.number, accepted
        answer = None if played.other_mode else self._made.get(name)
        if answer is None:
            answer = self._make(played, request, name)
        return self._drifted(answer, recording, request) if played.drifted else answer

    def _make(self, played: Played, request: Request, name: _Name) -> Answer:
        recording, accepted = played.recording, name[2]
        mode = _mode(request) if played.other_mode else None
        if mode is None and recording.file.index is not None:
            answer = self._stored(recording)
            if answer is not None:
                self._keep(name, answer, _CACHED_OF_INDEX)
                return answer
        try:
            recorded = recording.response()
        except CassetteError as error:
            return _damaged(error)
        response = replay.replayed(recorded, accepted, mode)
        headers = (*response.headers, *source_headers("replayed", recording.label))
        answer = Answer(response._replace(headers=headers), "replayed", recording.label)
        if mode is None:
            self._keep(name, answer, _CACHED_BYTES)
        return answer

    def _stored(self, recording: Recording) -> Answer | None:
        """Return the answer that the index has; or let the index have it, from now on."""
        stored = recording.stored()
        if stored is None:
            try:
                stored = self._sealing.seal(recording.response())
            except CassetteError:
                return None  # it is told where the answer would be made
            if stored is None:
                return None
            recording.store(stored)
        answer: Answer = self._sealing.StoredAnswer(stored, recording.file.label, recording.number)
        return answer

    @cached_property
    def _sealing(self) -> ModuleType:
        return import_module("stubserver.stored")  # start-up: only an index needs it

    def _keep(self, name: _Name, answer: Answer, most: int) -> None:
        if self._made_bytes > most // 2 and self._newcomers.add(name):
            return
        with self._lock:
            if name in self._made:
                return  # another thread was quicker
            self._made[name] = answer
            self._made_bytes += _cost(answer)
            while self._made_bytes > most:
                # Not next(iter()) of a dict, which walks over all that was deleted before.
                self._made_bytes -= _cost(self._made.popitem(last=False)[1])

    def _drifted(self, answer: Answer, recording: Recording, request: Request) -> Answer:
        """Say in the answer in which paths the recording differs from the request."""
        try:
            recorded = recording.interaction().request
        except CassetteError as error:
            return _damaged(error)
        from stubserver.matchers import differences  # noqa: PLC0415  # start-up: only drift needs it

        paths = tuple(d.path for d in differences(recorded, request, self._rules))
        value = ", ".join(printable(path) for path in paths[:_SHOWN_PATHS])
        headers = (*answer.response.headers, ("x-stubserver-drift", value))
        return Answer(answer.response._replace(headers=headers), answer.source, answer.cassette, paths)

    def unmatched(self, playlist: Playlist, key: bytes, request: Request, used_up: Exhausted | None) -> Answer:
        """Make the error for a request without a recording: what came nearest, and how it differs."""
        from stubserver.misses import miss  # noqa: PLC0415  # start-up: only a miss needs it

        text, near = miss(playlist, key, request, self._rules, used_up=used_up and used_up.recording)
        headers = (("x-should-retry", "false"), *source_headers("unmatched"))
        extra = {"near_misses": [found.as_json() for found in near]}
        kind = "invalid_request_error"
        if self._error_status == _BAD_REQUEST:
            # vLLM's type of a 400. datatrove looks for the word to skip a document, and openai's errors show the text.
            kind = "BadRequestError"
            text = f"{kind}: {text}"
        response = envelope(self._error_status, text, kind=kind, code="no_recording", headers=headers, extra=extra)
        return Answer(response, "unmatched")


def _mode(request: Request) -> replay.Mode:
    body = json_value(request.body)
    if not isinstance(body, dict):
        return replay.Mode(stream=False, usage=False)
    options = body.get("stream_options")
    usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return replay.Mode(stream=body.get("stream") is True, usage=usage)


def _damaged(error: CassetteError) -> Answer:
    headers = (("x-should-retry", "false"), *source_headers("unmatched"))
    response: Response = envelope(
        500, f"the recording cannot be read: {error}", code="damaged_recording", headers=headers
    )
    return Answer(response, "unmatched")


def _cost(answer: Answer) -> int:
    return 2 * answer.size + 2048
