"""Rate limits that count: token buckets for each key and model, as the API has them for requests and tokens a minute.

A request costs one request, and as many tokens as it is long and may be answered with. One that is refused costs
nothing. The waiting time that a refusal states is the true one: who comes then is served, unless others were faster.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from hashlib import blake2b
from threading import Lock
from typing import Any, Final, NamedTuple

from stubserver.dummy.api_headers import duration
from stubserver.dummy.errors import envelope
from stubserver.errors import UsageError
from stubserver.faults.choosing import Asked
from stubserver.faults.errors import too_many
from stubserver.messages import Headers, Request, Response

__all__ = ["Limit", "Limits", "Taken", "limit_of"]

_MINUTE: Final = 60.0
_ROUNDING: Final = 1e-6  # who comes at the very time that was said is not turned away for it
_MOST: Final = 10**9
_MOST_BUCKETS: Final = 10_000
_BYTES_A_TOKEN: Final = 4
_ANSWER: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_KEY_FIELDS: Final = ("authorization", "api-key", "x-api-key")


class Limit(NamedTuple):
    """So many requests and tokens a minute, None: any number; for the models that ``model`` names (``*``: any part)."""

    rpm: int | None = None
    tpm: int | None = None
    model: str = ""

    def __str__(self) -> str:
        """Write it as it is given."""
        said = (f"{name}={value}" for name, value in zip(self._fields, self, strict=True) if value not in (None, ""))
        return ",".join(said)


class Taken(NamedTuple):
    """What is left, as header fields for the answer; ``refusal`` is the 429 where there was not enough."""

    headers: Headers
    refusal: Response | None = None


def limit_of(given: str) -> Limit:
    """Read ``rpm=60,tpm=90000,model=gpt-4o*``. Raises UsageError."""
    found: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in given.split(","))):
        name, _, value = part.partition("=")
        name, value = name.strip().lower(), value.strip()
        if name == "model" and value:
            found[name] = value
        elif name in {"rpm", "tpm"} and value.isascii() and value.isdigit() and 1 <= int(value[:20]) <= _MOST:
            found[name] = int(value)
        else:
            raise UsageError(
                f"limit {part[:40]!a} cannot be: give rpm=60, tpm=90000 or both, and model=NAME if you like"
            )
    if not found.keys() & {"rpm", "tpm"}:
        raise UsageError(f"limit {given[:40]!a} limits nothing: give rpm=60, tpm=90000 or both")
    return Limit(**found)


class _Bucket:
    """Holds what may be used; fills up evenly within a minute."""

    __slots__ = ("at", "capacity", "level")

    def __init__(self, capacity: int, now: float) -> None:
        self.capacity = capacity
        self.level = float(capacity)
        self.at = now

    def fill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + max(now - self.at, 0.0) * self.capacity / _MINUTE)
        self.at = now

    def wait(self, cost: int) -> float:
        """Return the seconds until there is enough."""
        return max(cost - self.level, 0.0) * _MINUTE / self.capacity

    def headers(self, what: str) -> Headers:
        full = math.ceil((self.capacity - self.level) * _MINUTE / self.capacity * 1000)
        return (
            (f"x-ratelimit-limit-{what}", str(self.capacity)),
            (f"x-ratelimit-remaining-{what}", str(max(int(self.level), 0))),
            (f"x-ratelimit-reset-{what}", duration(full)),
        )


_Pair = tuple[_Bucket | None, _Bucket | None]


class Limits:
    """Counts what each key uses of each model. Thread-safe; *clock* is in seconds."""

    def __init__(self, limits: Iterable[Limit], clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = tuple(limits)
        self._clock = clock
        self._buckets: OrderedDict[tuple[bytes, str, int], _Pair] = OrderedDict()
        self._lock = Lock()

    def take(self, asked: Asked) -> Taken | None:
        """Take what a request costs; None for one that no limit is for."""
        if asked.request.method != "POST":
            return None
        which = next((i for i, limit in enumerate(self.limits) if fnmatchcase(asked.model, limit.model or "*")), None)
        if which is None:
            return None
        costs = (1, _tokens(asked))
        with self._lock:
            pair = self._pair(asked, which)
            refusal = _refusal(asked, pair, costs)
            if refusal is None:
                for bucket, cost in zip(pair, costs, strict=True):
                    if bucket is not None:
                        bucket.level -= cost
            return Taken(_headers(pair), refusal)

    def _pair(self, asked: Asked, which: int) -> _Pair:
        """Return the buckets of a key and model, filled up to now; those that were not used for longest are let go."""
        place = (_key_of(asked.request), asked.model, which)
        now, limit = self._clock(), self.limits[which]
        pair = self._buckets.get(place)
        if pair is None:
            pair = (
                None if limit.rpm is None else _Bucket(limit.rpm, now),
                None if limit.tpm is None else _Bucket(limit.tpm, now),
            )
            self._buckets[place] = pair
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(place)
        for bucket in filter(None, pair):
            bucket.fill(now)
        return pair


def _key_of(request: Request) -> bytes:
    given = [value for name, value in request.headers if name.lower() in _KEY_FIELDS]
    return blake2b("\n".join(given).encode(), digest_size=16).digest()


def _tokens(asked: Asked) -> int:
    """Estimate what the API counts before it answers: the length of the request, and how long the answer may be."""
    most = next((value for name in _ANSWER if isinstance(value := asked.json.get(name), int)), 0)
    several = asked.json.get("n")
    answers = several if isinstance(several, int) and 1 <= several <= 128 else 1  # noqa: PLR2004  # the API's own bound
    return len(asked.request.body) // _BYTES_A_TOKEN + 1 + min(max(most, 0) * answers, _MOST)


def _refusal(asked: Asked, pair: _Pair, costs: tuple[int, int]) -> Response | None:
    for bucket, cost, what in zip(pair, costs, ("requests", "tokens"), strict=True):
        if bucket is None or bucket.level >= cost - _ROUNDING:
            continue
        if cost > bucket.capacity:
            return _too_large(asked, what, bucket.capacity, cost, _headers(pair))
        used = bucket.capacity - int(bucket.level)
        limit, wait = bucket.capacity, bucket.wait(cost)
        fields = _headers(pair)
        return too_many(asked.model, what, limit=limit, used=used, requested=cost, wait=wait, headers=fields)
    return None


def _too_large(asked: Asked, what: str, limit: int, cost: int, headers: Headers) -> Response:
    text = (
        f"Request too large for {asked.model[:80] or 'this model'} on {what} per min (TPM): Limit {limit}, Requested "
        f"{cost}. The input or output tokens must be reduced in order to run successfully."
    )
    fields = (("x-should-retry", "false"), *headers)
    return envelope(429, text, kind=what, code="rate_limit_exceeded", headers=fields)


def _headers(pair: _Pair) -> Headers:
    found = [bucket.headers(what) if bucket else () for bucket, what in zip(pair, ("requests", "tokens"), strict=True)]
    return (*found[0], *found[1])
