"""Take secrets out of an interaction before it is kept: the registry's, the user's own, and those of this very request.

Fields of the head that hold a secret are dropped, not marked: nobody matches on headers, and a replay needs none of
them. What a client sent as its credential is removed wherever it comes up again, the answer included.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, quote

from stubserver.errors import UsageError
from stubserver.messages import Headers, Interaction, Request, Response
from stubserver.redaction import MARK, SECRET_QUERY, clean_plain, is_secret_header
from stubserver.wrapped import clean_wrapped

__all__ = ["Hook", "Scrubber"]

Hook = Callable[[Interaction], Interaction | None]
"""Changes an interaction before it is kept; None: it is not kept."""

_Known = tuple[str, ...]
"""Secrets that are known, in every form, the longest first."""

_REPLAYED: Final = re.compile(
    r"content-type|retry-after(?:-ms)?|openai-|x-ratelimit-|x-request-id|x-should-retry|date$"
)
_LEAST_SECRET: Final = 8
_SHORT: Final = 256
_LEAST_LEARNED: Final = 12
_WORDS: Final = re.compile(r"[A-Za-z_-]{1,23}")


class Scrubber:
    """Removes secrets. *patterns* are regular expressions of the user's; *secrets* are values known at the start.

    *keep_headers* names fields to keep although the registry has them; *allow_headers_only* drops every field that a
    replay does not need. Raises UsageError for a pattern that does not compile.
    """

    def __init__(
        self,
        *,
        patterns: Iterable[str] = (),
        keep_headers: Iterable[str] = (),
        allow_headers_only: bool = False,
        secrets: Iterable[str] = (),
        hooks: Iterable[Hook] = (),
    ) -> None:
        self._patterns = tuple(_compiled(pattern) for pattern in patterns)
        self._kept = frozenset(name.lower() for name in keep_headers)
        self._only = allow_headers_only
        self._secrets = tuple(secrets)
        self._hooks = tuple(hooks)

    def interaction(self, found: Interaction) -> Interaction | None:
        """Return *found* as it may be kept; None when a hook refuses it."""
        for hook in self._hooks:
            changed = hook(found)
            if changed is None:
                return None
            found = changed
        return self.cleaned(found)

    def cleaned(self, found: Interaction) -> Interaction:
        """Return *found* without secrets, whatever the hooks would make of it."""
        known = _forms((*self._secrets, *self._credentials(found.request)))
        return Interaction(self._request(found.request, known), self._response(found.response, known))

    def request(self, request: Request) -> Request:
        """Return *request* as it would be kept; the same for every client that differs in its credential alone."""
        return self._request(request, _forms((*self._secrets, *self._credentials(request))))

    def _request(self, request: Request, known: _Known) -> Request:
        return request._replace(
            target=self._text(request.target, known),
            headers=self._headers(request.headers, known),
            body=self._body(request.body, known),
            authority=request.authority.rpartition("@")[2],
        )

    def _response(self, response: Response, known: _Known) -> Response:
        headers = self._headers(response.headers, known)
        return response._replace(headers=headers, body=self._body(response.body, known))

    def _credentials(self, request: Request) -> list[str]:
        """Return the credentials of a request, to be removed wherever else they stand."""
        found = [value for name, value in parse_qsl(request.query) if name.lower() in SECRET_QUERY]
        for name, value in request.headers:
            if is_secret_header(name) and name.lower() not in self._kept:
                found += _cookies(value) if name.lower() == "cookie" else _of_scheme(value)
        found += request.authority.rpartition("@")[0].split(":")
        return [value for value in found if _is_telling(value)]

    def _headers(self, headers: Headers, known: _Known) -> Headers:
        return tuple((name, self._text(value, known)) for name, value in headers if self._keeps(name.lower()))

    def _keeps(self, name: str) -> bool:
        if name in self._kept:
            return True
        return not is_secret_header(name) and (not self._only or _REPLAYED.match(name) is not None)

    def _text(self, text: str, known: _Known) -> str:
        if len(text) <= _SHORT:  # most of the headers come again and again
            return _cleaned_short(text, known, self._patterns)
        return _cleaned(text, known, self._patterns)

    def _body(self, body: bytes, known: _Known) -> bytes:
        text = body.decode("utf-8", "surrogateescape")
        cleaned = self._text(text, known)
        return body if cleaned == text else cleaned.encode("utf-8", "surrogateescape")


def _cleaned(text: str, known: _Known, patterns: tuple[re.Pattern[str], ...]) -> str:
    """Take out of *text* what is known, what the user's patterns match, and what the registry does, in any form."""

    def clean(plain: str) -> str:
        for form in known:
            plain = plain.replace(form, MARK)
        for pattern in patterns:
            plain = pattern.sub(MARK, plain)
        return clean_plain(plain)

    return clean_wrapped(clean(text), clean)


_cleaned_short = lru_cache(maxsize=4096)(_cleaned)


def _cookies(value: str) -> list[str]:
    return [part.partition("=")[2].strip() for part in value.split(";")]


def _of_scheme(value: str) -> list[str]:
    """Return the credential behind a scheme such as Bearer; of Basic, the password too."""
    scheme, _, credential = value.rpartition(" ")
    if scheme.strip().lower() != "basic":
        return [credential]
    with suppress(ValueError):
        plain = base64.b64decode(credential, validate=True).decode("utf-8")
        return [credential, plain, plain.partition(":")[2]]
    return [credential]


def _is_telling(value: str) -> bool:
    """Tell a credential from the words people write where a local server wants none: they may be in any text."""
    return len(value) >= _LEAST_LEARNED and not _WORDS.fullmatch(value)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        msg = f"the pattern {pattern!r} to redact is no regular expression: {error}"
        raise UsageError(msg) from error


@lru_cache(maxsize=256)
def _forms(secrets: tuple[str, ...]) -> _Known:
    """Return each secret as it may be written: plain, in JSON, in a URL, in base64 at each of the three alignments."""
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) < _LEAST_SECRET or secret == MARK:
            continue
        raw = secret.encode("utf-8", "surrogatepass")  # a file may hold halves of a pair, which no client could send
        forms |= {secret, json.dumps(secret)[1:-1], quote(raw, safe=""), quote(raw)}
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + raw).decode("ascii").rstrip("=")
            # The first and last characters share bits with what stands beside the secret.
            inner = encoded[(0, 2, 3)[shift] : len(encoded) - (1 if (len(raw) + shift) % 3 else 0)]
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return tuple(sorted(forms, key=len, reverse=True))
