"""``--require-key``: who may ask. A request without a key, or with a wrong one, gets the 401 that the API would give.

What proved a client to us is taken out of its request at once, so that nothing behind this can pass it on, keep it or
show it. A key of the client's own in another field stays, and is the upstream's to judge.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from hashlib import sha256
from hmac import compare_digest
from typing import Final, NamedTuple

from stubserver.canonical import normal_path
from stubserver.dummy.api_headers import request_id
from stubserver.dummy.errors import envelope
from stubserver.errors import UsageError
from stubserver.messages import Answer, Headers, Request
from stubserver.recorder import source_headers
from stubserver.redaction import MARK

__all__ = ["KEY_VARIABLE", "Keys", "Refusal", "required"]

KEY_VARIABLE: Final = "STUBSERVER_KEY"
OUR_HEADER: Final = "x-stubserver-key"
"""Where a client proves itself to us when ``Authorization`` holds its key for the upstream."""

_PLAIN: Final = ("api-key", "x-api-key", OUR_HEADER)
_PROBES: Final = frozenset({"/health", "/ping"})
_SHOWN_WHOLE: Final = 11  # so short a key comes back as it is
_SHOWN_FIRST: Final = 8
_SHOWN_LAST: Final = 4
_REALM: Final = ("www-authenticate", 'Bearer realm="OpenAI API"')
_MISSING: Final = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the "
    "API from your browser and are prompted for a username and password. You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)
_MISSING_BY_ROUTE: Final = {
    "models": "Missing bearer authentication in header",
    "responses": "Missing bearer or basic authentication in header",
}
_WRONG: Final = (
    "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys."
)


class Refusal(NamedTuple):
    """A 401 as the client gets it, and as it is noted: without even the parts of the key that the API quotes."""

    answer: Answer
    noted: Answer


class Keys:
    """Checks requests for *key*; None: any key will do. *open_probes*: health checks need none."""

    def __init__(self, key: str | None, *, open_probes: bool = True) -> None:
        self._digest = sha256(key.encode()).digest() if key is not None else None
        self._open_probes = open_probes

    def admit(self, request: Request) -> Request | Refusal:
        """Return *request* without what proved it to us, or the refusal that it gets."""
        if request.method == "OPTIONS" or (self._open_probes and request.path in _PROBES):
            return request
        given = list(_given(request.headers))
        if not given:
            return _missing(request)
        if self._digest is None:
            return request
        # All of them are compared, in the same time whatever they hold.
        proofs = {place for place, key in given if compare_digest(_digest(key), self._digest)}
        if not proofs:
            return _wrong(request, given[0][1])
        kept = (pair for place, pair in enumerate(request.headers) if place not in proofs)
        return request._replace(headers=tuple(pair for pair in kept if pair[0].lower() != OUR_HEADER))


def required(*, given: str | bool, ours: bool, forwards: bool) -> tuple[Keys, str | None]:
    """Settle which key is asked for: the one *given*; for True that of the variable STUBSERVER_KEY, or any.

    *ours*: requests go to the upstream with a key of ours; *forwards*: they go there. Also returns the key, to be kept
    out of everything that is written. Raises UsageError where anybody could spend our key, and for an empty one.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip() or None if given is True else str(given).strip()
    if key is None and ours:
        msg = f"with --upstream-key-env any key would spend ours: give --require-key a KEY, or set {KEY_VARIABLE}"
        raise UsageError(msg)
    if key == "":
        raise UsageError("the key of --require-key is empty: give one, or leave it out to take any")
    return Keys(key, open_probes=not forwards), key


def _digest(key: str) -> bytes:
    return sha256(key.encode("latin-1", "replace")).digest()


def _given(headers: Headers) -> Iterator[tuple[int, str]]:
    """Yield every key that is given, with the place of its field; ours is looked at first."""
    fields = [(place, name.lower(), value.strip()) for place, (name, value) in enumerate(headers)]
    for place, name, value in sorted(fields, key=lambda field: field[1] != OUR_HEADER):
        key = _of_scheme(value) if name == "authorization" else value if name in _PLAIN else ""
        if key:
            yield place, key


def _of_scheme(value: str) -> str:
    """Return the key of an ``Authorization`` field: behind Bearer, or the password of Basic; empty for none."""
    scheme, _, key = value.partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(key.strip(), validate=True).decode("latin-1").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _missing(request: Request) -> Refusal:
    routes = normal_path(request.path).split("/")
    found = next((text for name, text in _MISSING_BY_ROUTE.items() if name in routes), _MISSING)
    answer = _answer(request, found, None)
    return Refusal(answer, answer)


def _wrong(request: Request, key: str) -> Refusal:
    made = (_answer(request, _WRONG.format(shown), "invalid_api_key") for shown in (_masked(key), MARK))
    return Refusal(*made)


def _answer(request: Request, text: str, code: str | None) -> Answer:
    headers = (_REALM, ("x-request-id", request_id(request)), *source_headers("unmatched"))
    return Answer(envelope(401, text, code=code, headers=headers), "unmatched")


def _masked(key: str) -> str:
    """Quote a key as the API does: its first eight and last four characters, stars for all between."""
    if len(key) <= _SHOWN_WHOLE:
        return key
    last = min(_SHOWN_LAST, len(key) - _SHOWN_FIRST - 1)
    return key[:_SHOWN_FIRST] + "*" * (len(key) - _SHOWN_FIRST - last) + key[-last:]
