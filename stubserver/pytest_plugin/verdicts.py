"""What a stub has to say after a test: requests without a recording, recordings that were not played, or are old."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import pytest

from stubserver.cassettes.recordings import Recording
from stubserver.errors import CassetteError
from stubserver.journal import Entry
from stubserver.jsonvalue import json_value
from stubserver.messages import Response, header
from stubserver.pytest_plugin import OF_ITEM, OF_SESSION
from stubserver.pytest_plugin.stub import StubFixture

__all__ = ["judged", "recorded_at"]

_DAY: Final = 86_400.0
_SHOWN: Final = 10


class _Judged(NamedTuple):
    """Up to which entry the journals of a test's stubs, its own and the session's, were looked at."""

    own: int
    shared: int


_JUDGED: Final = pytest.StashKey[_Judged]()


@contextmanager
def judged(item: pytest.Item, phase: str) -> Iterator[None]:
    """Run a phase of a test; what its stubs have to say then makes it fail, or is added to why it failed by itself.

    What was asked during the setup is judged with the test, what comes later with the teardown.
    """
    __tracebackhide__ = True
    shared = item.config.stash.get(OF_SESSION, None)
    if phase == "setup":
        item.stash[_JUDGED] = _Judged(0, shared.journal.total if shared is not None else 0)
    try:
        yield
    except BaseException as error:
        said = _said(item, phase)
        if said and not isinstance(error, (pytest.skip.Exception, KeyboardInterrupt)):
            item.add_report_section(phase, "stubserver", said)
        raise
    said = _said(item, phase) if phase != "setup" else ""
    if said:
        pytest.fail(said, pytrace=False)


def _said(item: pytest.Item, phase: str) -> str:
    own, shared = item.stash.get(OF_ITEM, None), item.config.stash.get(OF_SESSION, None)
    until = item.stash.get(_JUDGED, _Judged(0, 0))
    parts = []
    if own is not None:
        parts.append(_misses(own, until.own, item))
        if phase == "call":
            parts += [_unplayed(own), _old(own)]
        until = until._replace(own=own.journal.total)
    if shared is not None and "stub_server_session" in getattr(item, "fixturenames", ()):
        parts.append(_misses(shared, until.shared, item))
        if phase == "call":
            parts.append(_old(shared))
        until = until._replace(shared=shared.journal.total)
    item.stash[_JUDGED] = until
    # Labels of cassettes are paths; under the root they are told as pytest tells those of tests.
    return "\n\n".join(filter(None, parts)).replace(f"{item.config.rootpath}{os.sep}", "")


def _misses(stub: StubFixture, before: int, item: pytest.Item) -> str:
    if stub.allow_unmatched or stub.settings.allow_unmatched:
        return ""
    missed = [entry for entry in stub.journal.since(before) if entry.source == "unmatched"]
    if not missed:
        return ""
    asked = sum(1 for _ in stub.journal.since(before))
    lines = [f"stubserver: {len(missed)} of {asked} requests found no recording"]
    lines += [f"  {path} does not exist" for path in stub.cassettes if not path.exists()]
    for entry in missed[:_SHOWN]:
        lines += _miss(entry)
    lines.append(
        "To record what is missing: pytest --stub-record-mode new_episodes --stub-upstream URL "
        f"{shlex.quote(item.nodeid)}; to allow misses: @pytest.mark.stub(allow_unmatched=True)"
    )
    return "\n".join(lines)


def _miss(entry: Entry) -> list[str]:
    """Show one request with the recordings that came nearest."""
    request, answer = entry.request, entry.raw()[1]
    value = json_value(answer.response.body)
    error: Any = value.get("error") if isinstance(value, dict) else None
    near = error.get("near_misses", []) if isinstance(error, dict) else []
    lines = [f"  {request.method} {request.target}"]
    if not near:
        return [*lines, f"    {entry.note}"]
    for miss in near:
        lines.append(
            f"    {miss['cassette']} differs at" if miss["differences"] else f"    {miss['cassette']} was used up"
        )
        lines += [f"      {d['path']}: recorded {d['recorded']}, received {d['received']}" for d in miss["differences"]]
    return lines


def _unplayed(stub: StubFixture) -> str:
    left = stub.unplayed if stub.settings.strict else []
    if not left:
        return ""
    names = "".join(f"\n  {label}" for label in left[:_SHOWN])
    more = f"\n  and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    said = f"stubserver: {len(left)} recordings were not played (--stub-strict); --stub-drop-unused removes them"
    return said + names + more


def _old(stub: StubFixture) -> str:
    most = stub.settings.max_age
    if most is None:
        return ""
    now, lines = time.time(), []
    for recording in stub.library.playlist:
        age = _age(recording, now) if stub.library.played(recording) else None
        if age is not None and age > most:
            lines.append(f"\n  {recording.label}: {age:.0f} days")
    if not lines:
        return ""
    return (
        f"stubserver: {len(lines)} recordings are older than {most:g} days; record them anew{''.join(lines[:_SHOWN])}"
    )


def _age(recording: Recording, now: float) -> float | None:
    with suppress(CassetteError):
        when = recorded_at(recording.response())
        if when is not None:
            return (now - when) / _DAY
    return None


def recorded_at(response: Response) -> float | None:
    """Return when a recorded answer was given, in seconds since the epoch: by its Date, or its ``created``."""
    with suppress(TypeError, ValueError):
        return parsedate_to_datetime(header(response.headers, "date") or "").timestamp()
    value = json_value(response.body)
    created = (value.get("created") or value.get("created_at")) if isinstance(value, dict) else None
    return float(created) if isinstance(created, (int, float)) and created > 0 else None
