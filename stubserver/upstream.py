"""Send a request to the real API. The only door to requests, and the only place that opens a connection to anywhere.

Where it goes is settled at the start and by nothing that a client sends. Redirects are given back, not followed; no
proxy variables, no .netrc, no cookies, no retries. The body comes as it arrives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, RemoteDisconnected
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from stubserver.bodies import TOKEN
from stubserver.calls import Call, interruptible, pool_classes
from stubserver.errors import UpstreamError, UsageError
from stubserver.messages import Headers, Request, header, without_headers
from stubserver.redaction import is_secret_header
from stubserver.wire import HOP_BY_HOP

__all__ = ["Reply", "Timeouts", "Upstream", "interruptible"]

_PIECE: Final = 65_536
_POOL: Final = 256
_OURS: Final = HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect", "x-stubserver-key"}
_ACCOUNTS: Final = ("openai-", "anthropic-")  # these name an account, and prove nothing
_NAME: Final = re.compile(TOKEN.decode("ascii"))
_NOT_TEXT: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+[ \t]*")
_FINAL_STATUS: Final = 200
_FAILURES: Final = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)


class Timeouts(NamedTuple):
    """In seconds: to connect, between two pieces of an answer (reasoning models pause long), for all of it."""

    connect: float = 10.0
    read: float = 600.0
    total: float = 3600.0


class Reply:
    """An answer of the upstream whose body is still coming."""

    def __init__(self, response: requests.Response, until: float, call: Call) -> None:
        self._response = response
        self._until = until
        self._call = call
        self.status = response.status_code
        self.reason = _NOT_TEXT.sub(" ", response.reason or "").strip()
        self.headers: Headers = tuple(_pairs(response))
        self.length = _length(self.headers)
        self.received = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives, never an empty piece; as stored, nothing decompressed.

        Raises UpstreamError when it stops before its framing says so, or takes longer than it may.
        """
        raw = self._response.raw
        self._call.waits(raw.shutdown)
        while True:
            try:
                piece = raw.read1(_PIECE, decode_content=False)
            except _FAILURES as error:
                self._call.check()
                raise _translated(error) from error
            if not piece:
                break
            self.received += len(piece)
            yield piece
            if time.monotonic() > self._until:
                raise UpstreamError(504, "the upstream's answer took longer than it may in all")
        self._call.check()  # an interrupted wait may look like the end of the connection, and that like the end of all
        self._check_end()

    def _check_end(self) -> None:
        """Take nothing at all, ended by the connection's end, for an answer that was cut within its head.

        All other ends are checked by urllib3; where a head ends is not.
        """
        framed = self.length is not None or header(self.headers, "transfer-encoding") is not None
        if not framed and not self.received and self.has_body:
            raise UpstreamError(502, "the upstream's answer ended with its head")

    @property
    def has_body(self) -> bool:
        """Whether there may be a body."""
        return self._response.request.method != "HEAD" and self.status not in {204, 304} and self.length != 0

    def interrupt(self) -> None:
        """End, from another thread, a wait for the next piece."""
        with suppress(ValueError, RuntimeError, OSError):  # it has ended already
            self._response.raw.shutdown()

    def stay(self) -> None:
        """Say that what is still to come is worth to be waited for, also when the client leaves."""
        self._call.end()

    def close(self) -> None:
        """Let go of the connection; of an answer that was not read whole, it is closed."""
        self._call.end()
        self._response.close()


class Upstream:
    """The real API at *url*: scheme, host, port, and perhaps a path that goes before every target.

    *key* is a credential of ours; with it, the client's own are never sent. *ca_bundle* is a file of certificates to
    trust instead of the usual ones. Raises UsageError for an address that is none.
    """

    def __init__(
        self, url: str, *, key: str | None = None, ca_bundle: str | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self.url = _checked(url)
        self.timeouts = timeouts or Timeouts()
        self._key = key
        self._verify: str | bool = ca_bundle or True
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=_POOL, max_retries=0)
        self._adapter.poolmanager.pool_classes_by_scheme = pool_classes()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def uri(self, request: Request) -> str:
        """Return the absolute URI that *request* is sent to; a ``/v1`` that both have is there once."""
        base = self.url
        if base.endswith("/v1") and request.target.startswith("/v1/"):
            base = base.removesuffix("/v1")
        return base + ("/" if request.target == "*" else request.target)

    def send(self, request: Request) -> Reply:
        """Send *request* and return as soon as the head of the answer is here. Raises UpstreamError.

        Whoever was given what :func:`interruptible` yields may end the wait, and later that for the body.
        """
        call = Call()
        try:
            return self._sent(request, call)
        except BaseException:
            call.end()
            raise

    def _sent(self, request: Request, call: Call) -> Reply:
        call.check()
        prepared = self._prepared(request)
        until = time.monotonic() + self.timeouts.total
        timeout = (self.timeouts.connect, self.timeouts.read)
        while True:
            try:
                response = self._adapter.send(prepared, stream=True, timeout=timeout, verify=self._verify, proxies={})
                break
            except _FAILURES as error:
                call.check()
                if not (call.reuses and _was_closed(error)):
                    raise _translated(error) from error
        if response.status_code < _FINAL_STATUS:
            response.close()
            raise UpstreamError(502, f"the upstream answered with status {response.status_code}, which ends nothing")
        return Reply(response, until, call)

    def _prepared(self, request: Request) -> requests.PreparedRequest:
        """Build what requests sends without letting it add or change anything."""
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = self.uri(request)
        prepared.headers = CaseInsensitiveDict(self._headers(request))
        prepared.body = request.body or None
        return prepared

    def _headers(self, request: Request) -> dict[str, str]:
        connection = header(request.headers, "connection") or ""
        dropped = _OURS | {name.strip().lower() for name in connection.split(",")}
        if self._key is not None:
            dropped |= {name.lower() for name, _ in request.headers if _proves_identity(name.lower())}
        sent: dict[str, str] = {}
        for name, value in without_headers(request.headers, frozenset(dropped)):
            sent[name] = f"{sent[name]}, {value}" if name in sent else value
        sent["Accept-Encoding"] = "identity"
        if "user-agent" not in {name.lower() for name in sent}:
            sent["User-Agent"] = urllib3.util.SKIP_HEADER
        if request.body or request.method in {"POST", "PUT", "PATCH"}:
            sent["Content-Length"] = str(len(request.body))
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        return sent

    def close(self) -> None:
        """Close the idle connections."""
        pools = self._adapter.poolmanager.pools
        for key in list(pools.keys()):
            pool = pools.get(key)  # clearing alone leaves a pool open for as long as anyone knows it
            if pool is not None:
                pool.close()
        self._adapter.close()


def _checked(url: str) -> str:
    parts = urlsplit(url)
    try:
        bad_port = parts.port == 0
    except ValueError:
        bad_port = True
    if parts.scheme not in {"http", "https"} or not parts.hostname or bad_port or parts.query or parts.fragment:
        msg = f"the upstream {url.partition('@')[2] or url!r} is no address: give one such as https://api.openai.com"
        raise UsageError(msg)
    if parts.username is not None:
        msg = "the upstream's address holds a user or password: name a variable with --upstream-key-env instead"
        raise UsageError(msg)
    return url.rstrip("/")


def _pairs(response: requests.Response) -> Iterator[tuple[str, str]]:
    """Yield the fields as they may be passed on: folded lines unfolded, what is no field left out."""
    headers = response.raw.headers
    items = headers.iteritems() if hasattr(headers, "iteritems") else headers.items()
    for name, value in items:
        if _NAME.fullmatch(name):
            yield name, _NOT_TEXT.sub(" ", value).strip()


def _length(headers: Headers) -> int | None:
    """Return how long the body is said to be; None where something else says where it ends."""
    length = header(headers, "content-length")
    if length is None or not length.isdecimal() or header(headers, "transfer-encoding") is not None:
        return None
    return int(length)


def _proves_identity(name: str) -> bool:
    return is_secret_header(name) and not name.startswith(_ACCOUNTS)


def _was_closed(error: Exception) -> bool:
    """Tell whether the connection ended without a byte of an answer.

    To one that was used before, this happens when the upstream ends it for having been idle: the request never counted.
    """
    inner = error.args[0] if error.args else None
    reasons = inner.args if isinstance(inner, urllib3.exceptions.ProtocolError) else ()
    return any(isinstance(reason, (RemoteDisconnected, ConnectionResetError, BrokenPipeError)) for reason in reasons)


def _translated(error: Exception) -> UpstreamError:
    """Say what happened without the text of the library, which quotes URLs and addresses."""
    if isinstance(error, requests.exceptions.SSLError):
        return UpstreamError(502, "the upstream's certificate was not accepted (see --ca-bundle)")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return UpstreamError(504, "the upstream did not accept the connection in time")
    timeouts = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    if isinstance(error, timeouts):
        return UpstreamError(504, "the upstream did not answer in time")
    if "Name or service" in str(error) or "NameResolution" in str(error):
        return UpstreamError(502, "the upstream's name does not resolve")
    if "refused" in str(error):
        return UpstreamError(502, "the upstream refused the connection")
    return UpstreamError(502, f"the upstream broke off or sent no HTTP ({type(error).__name__})")
