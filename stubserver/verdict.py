"""A verdict on the client, from the journal: what it did when something went wrong.

Attempts at one thing are the same request with the same key, where each begins after the one before has failed: equal
requests that overlap are not retries of each other. What is judged, and by which figures, stands in :func:`judge`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from stubserver.journal import Entry
from stubserver.jsonvalue import json_value
from stubserver.messages import Request, Response, header
from stubserver.redaction import clean_text

__all__ = ["Finding", "Verdict", "judge"]

_LEAST_PAUSE: Final = 0.1
_TOLERANCE: Final = 0.95
_STORM: Final = 5
_STORM_SECONDS: Final = 2.0
_MOST_ATTEMPTS: Final = 10
_ENOUGH_ATTEMPTS: Final = 3
_LONGEST_WAIT: Final = 60.0
_NOT_RELATED: Final = 300.0
_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_TRANSIENT: Final = frozenset({408, 409, 425, 429})
_SILENT: Final = frozenset({"truncate", "no-done", "no-finish"})
_BROKEN: Final = frozenset(
    {"reset", "close", "refuse", "garbage", "black-hole", "length-long", "no-last-chunk", "bad-chunk", "error-event"}
)
_SLOW: Final = frozenset({"delay", "event-delay", "bandwidth", "stall"})
_SHOWN: Final = 200


class Finding(NamedTuple):
    """One thing that a client should not have done; ``entries`` are the numbers of the requests in the journal."""

    what: str
    request: str
    detail: str
    entries: tuple[int, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        numbers = ", ".join(f"#{number}" for number in self.entries)
        return f"{self.what}: {self.request} ({numbers}): {self.detail}"


class Verdict(NamedTuple):
    """``requests`` are counted with all their attempts as one each; ``failed`` attempts are those that went wrong.

    ``forgotten`` entries were not judged, for the journal has let them go.
    """

    requests: int
    attempts: int
    failed: int
    findings: tuple[Finding, ...] = ()
    forgotten: int = 0

    @property
    def passed(self) -> bool:
        """Whether there is nothing to say against the client."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        findings = [{**finding._asdict(), "entries": list(finding.entries)} for finding in self.findings]
        return {"passed": self.passed, **self._asdict(), "findings": findings}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Verdict:
        """Make one of what :meth:`as_json` returned."""
        findings = (Finding(**{**finding, "entries": tuple(finding["entries"])}) for finding in data["findings"])
        return cls(data["requests"], data["attempts"], data["failed"], tuple(findings), data["forgotten"])

    def __str__(self) -> str:
        """Say it in a line for each finding, and one for all."""
        more = f"; {self.forgotten} older ones are not in the journal any more" if self.forgotten else ""
        counted = f"{self.requests} requests in {self.attempts} attempts, {self.failed} of which failed{more}"
        lines = [str(finding) for finding in self.findings]
        return "\n".join([*lines, f"{'passed' if self.passed else 'failed'}: {counted}"])


class _Attempt(NamedTuple):
    """``outcome`` is ok, silent (cut short, and no client is told), final (a retry is of no use) or failed."""

    number: int
    label: str
    received: float
    ended: float
    outcome: str
    status: int
    fault: str
    retry_after: float | None


def judge(entries: Iterable[Entry], key: Callable[[Request], bytes], forgotten: int = 0) -> Verdict:
    """Judge the client behind *entries*; *key* is what equal requests share. Ask when the client is done.

    Retried what must not be: a 4xx that is not 408, 409, 425 or 429, ``x-should-retry: false``, an exhausted quota.
    Ignored Retry-After: came again in less than 95 % of it. No backoff: no pause between attempts is 100 ms or more.
    Retry storm: 5 attempts within 2 s, or more than 10. Gave up: fewer than 3 attempts at what could be tried again,
    and where no more than a minute was to be waited. Took a truncated stream for whole: it ended before its time,
    cleanly, and was not asked for again.
    """
    groups: dict[tuple[bytes, str], list[_Attempt]] = defaultdict(list)
    for entry in entries:
        request, _ = entry.raw()
        if request.method != "CONNECT":
            groups[key(request), header(request.headers, "authorization") or ""].append(_attempt(entry))
    chains = [chain for attempts in groups.values() for chain in _chains(attempts)]
    attempts = [attempt for chain in chains for attempt in chain]
    findings = sorted((f for chain in chains for f in _findings(chain)), key=lambda finding: finding.entries)
    failed = sum(attempt.outcome != "ok" for attempt in attempts)
    return Verdict(len(chains), len(attempts), failed, tuple(findings), forgotten)


def _attempt(entry: Entry) -> _Attempt:
    request, answer = entry.raw()
    received = entry.delivery.received or entry.time
    ended = entry.delivery.last or (time.perf_counter() if entry.delivery.received else entry.time)
    label = clean_text(f"{request.method} {request.target}"[:_SHOWN])
    wait = _retry_after(answer.response)
    outcome = _outcome(answer.response, answer.fault, cut=entry.delivery.cut)
    return _Attempt(entry.number, label, received, ended, outcome, answer.response.status, answer.fault, wait)


def _outcome(response: Response, fault: str, *, cut: bool) -> str:
    names = {part.partition("=")[0].partition(",")[0] for part in fault.split("; ")}
    if names & _BROKEN or (cut and names & _SLOW):  # too slow for a client that left is as good as broken
        return "failed"
    if names & _SILENT:
        return "silent"
    if response.status < _ERROR:
        return "ok"
    return "failed" if _may_retry(response) else "final"


def _may_retry(response: Response) -> bool:
    said = header(response.headers, "x-should-retry")
    if said in {"true", "false"}:
        return said == "true"
    if response.status in _TRANSIENT:
        value = json_value(response.body)
        error = value.get("error") if isinstance(value, dict) else None
        return not (isinstance(error, dict) and error.get("code") == "insufficient_quota")
    return response.status >= _SERVER_ERROR


def _retry_after(response: Response) -> float | None:
    """Return the seconds that an answer asks to wait; None where it says nothing of that."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = header(response.headers, name)
        if said is None:
            continue
        try:
            return max(float(said), 0.0) / unit
        except ValueError:
            pass
        try:
            return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _chains(attempts: list[_Attempt]) -> list[list[_Attempt]]:
    """Put each attempt behind the failed one that ended last before it; else it is the first at something else."""
    chains: list[list[_Attempt]] = []
    for attempt in sorted(attempts, key=lambda each: each.received):
        failed = [
            chain
            for chain in chains
            if chain[-1].outcome != "ok" and 0 <= attempt.received - chain[-1].ended < _NOT_RELATED
        ]
        if failed:
            max(failed, key=lambda chain: chain[-1].ended).append(attempt)
        else:
            chains.append([attempt])
    return chains


def _findings(chain: list[_Attempt]) -> Iterator[Finding]:
    for what, detail, attempts in (*_retries(chain), *_pace(chain), *_end(chain)):
        yield Finding(what, chain[0].label, detail, tuple(attempt.number for attempt in attempts))


_Said = tuple[str, str, list[_Attempt]]


def _retries(chain: list[_Attempt]) -> Iterator[_Said]:
    for before, after in pairwise(chain):
        waited = after.received - before.ended
        if before.outcome == "final":
            yield "retried what must not be", f"{_said(before)} is the same next time", [before, after]
        elif before.retry_after is not None and waited < before.retry_after * _TOLERANCE:
            text = f"asked to wait {before.retry_after:.3f} s, came again after {waited:.3f} s"
            yield "ignored Retry-After", text, [before, after]


def _pace(chain: list[_Attempt]) -> Iterator[_Said]:
    pairs = pairwise(chain)
    pauses = [after.received - before.ended for before, after in pairs if before.retry_after is None]
    if pauses and max(pauses) < _LEAST_PAUSE:
        yield "no backoff", f"the longest pause was {max(pauses) * 1000:.0f} ms", chain
    storm = next(
        (
            chain[start : start + _STORM]
            for start in range(len(chain) - _STORM + 1)
            if chain[start + _STORM - 1].received - chain[start].received < _STORM_SECONDS
        ),
        None,
    )
    if storm is not None:
        yield "retry storm", f"{_STORM} attempts within {storm[-1].received - storm[0].received:.1f} s", storm
    elif len(chain) > _MOST_ATTEMPTS:
        yield "retry storm", f"{len(chain)} attempts", chain


def _end(chain: list[_Attempt]) -> Iterator[_Said]:
    last = chain[-1]
    if last.outcome == "silent":
        yield "took a truncated stream for whole", f"{_said(last)}, and it was not asked for again", [last]
    too_long = last.retry_after is not None and last.retry_after > _LONGEST_WAIT
    if last.outcome == "failed" and len(chain) < _ENOUGH_ATTEMPTS and not too_long:
        tried = "one attempt" if len(chain) == 1 else f"{len(chain)} attempts"
        yield "gave up", f"{_said(last)}, and there was no more than {tried}", chain


def _said(attempt: _Attempt) -> str:
    """Name what went wrong."""
    return attempt.fault or str(attempt.status)
