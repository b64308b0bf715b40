"""A request -> its match key.

Two requests are the same when their keys are. A key is 24 bytes: 8 for the route (method, path, query and whatever
else ``match_on`` names beside the body) and 16 for the canonical body. What may differ between two runs of the same
program without meaning anything is left out before hashing: the order of JSON members, null members,
``"stream": false``, ``1`` written as ``1.0``, the volatile fields, a multipart boundary.

A *loose* key leaves out more (ids that a server made, the stream mode) and is looked at only when the exact one misses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson

from stubserver import fields
from stubserver.errors import UsageError
from stubserver.jsonvalue import DEEPEST, LONG_NUMBER, NOT_JSON, brackets, json_value
from stubserver.messages import Request

__all__ = [
    "DEFAULT_MATCH_ON",
    "MATCHERS",
    "VOLATILE",
    "Rules",
    "asks_for_stream",
    "normal_path",
]

MATCHERS: Final = ("method", "scheme", "host", "port", "path", "query", "body", "raw_body", "headers", "uri")
DEFAULT_MATCH_ON: Final = ("method", "path", "query", "body")

VOLATILE: Final = frozenset(
    {
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "metadata",
        "store",
        "service_tier",
        "request_id",
    }
)
"""Top-level members that cannot change what an answer means; vLLM's request_id among them."""

_MAY_GO: Final = VOLATILE | {"stream"}

ROUTE_SIZE: Final = 8
_BODY_SIZE: Final = 16
_MOST_ROUTES: Final = 4096
KEY_SIZE: Final = ROUTE_SIZE + _BODY_SIZE

# Digits and points, and the letter of an exponent: enough to tell in which bodies a number may have two spellings.
_NUMBERS_ALIKE: Final = bytes(48 if chr(b) in "0123456789." else 101 if chr(b) in "eE" else 32 for b in range(256))
# Versions of orjson differ in this. Where it is another way, canonical bodies are made the longer one.
_EXPONENT_HAS_SIGN: Final = orjson.dumps(1e16) == b"1e+16"
_POINT: Final = ord(".")
_PLUS: Final = ord("+")
_SERVER_ID: Final = re.compile(rb'"(?:(?:call|msg|resp|rs|fc)_|chatcmpl-)[A-Za-z0-9_|.-]+"')
_LOOSE_HINT: Final = re.compile(rb'"(?:(?:call|msg|resp|rs|fc)_|chatcmpl-)|"stream|"encrypted_content"')
_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_PREFIX: Final = re.compile(r"(?:/v1(?=/|$)|/openai/v1(?=/|$)|/openai/deployments/[^/]+)+")
_BOUNDARY: Final = re.compile(rb"--([^\r\n]{1,70})\r\n")
_BEYOND_TARGET: Final = frozenset({"scheme", "host", "port", "headers", "uri"})


def normal_path(path: str) -> str:
    """Return *path* without ``/v1``, ``/openai/v1`` or Azure's ``/openai/deployments/<name>`` in front, decoded."""
    found = _PREFIX.match(path)
    rest = path[found.end() :] if found else path
    return unquote(rest) or "/"


def asks_for_stream(request: Request) -> bool:
    """Tell whether the request's JSON body says ``"stream": true`` at its top level."""
    if not _STREAM.search(request.body):
        return False
    value = json_value(request.body)
    return isinstance(value, dict) and value.get("stream") is True


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes two requests the same: vcrpy's matcher names, and JSON fields to leave out of the body.

    ``ignore`` adds to the volatile fields: a top-level member (``seed``) or a path to one
    (``stream_options.include_obfuscation``, ``messages[].name``, ``messages[0]``). Raises UsageError.
    """

    match_on: tuple[str, ...] = DEFAULT_MATCH_ON
    ignore: tuple[str, ...] = ()
    _routes: dict[tuple[str, str], bytes] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Keys of routes that came before."""
    _plain: bool = field(default=False, init=False, repr=False, compare=False)
    """Whether of most bodies the key can be made by the shortest way."""

    def __post_init__(self) -> None:
        """Refuse names that are no matchers, and fields that lead nowhere."""
        for name in self.match_on:
            if name not in MATCHERS:
                msg = f"{name!r} is no matcher: choose from {', '.join(MATCHERS)}"
                raise UsageError(msg)
        if not self.match_on:
            msg = f"match_on is empty: choose from {', '.join(MATCHERS)}"
            raise UsageError(msg)
        for path in self.ignore:
            if not fields.PATH.fullmatch(path):
                msg = f"{path!r} is no JSON field: give a member (seed) or a path to one (messages[].name)"
                raise UsageError(msg)
        compared_as_json = "body" in self.match_on and "raw_body" not in self.match_on
        object.__setattr__(self, "_plain", compared_as_json and not self.ignore and _EXPONENT_HAS_SIGN)

    @property
    def reads_body(self) -> bool:
        """Whether the body takes part at all."""
        return "body" in self.match_on or "raw_body" in self.match_on

    def route(self, request: Request, *, normal: bool = False) -> str:
        """Return everything that is compared beside the body; *normal*: with the path's prefix taken off."""
        parts = [_COMPONENTS[name](request) for name in MATCHERS if name in self.match_on and name in _COMPONENTS]
        if "path" in self.match_on:
            parts.append(normal_path(request.path) if normal else request.path or "/")
        return "\n".join(parts)

    def value(self, request: Request) -> Any:  # noqa: ANN401  # any JSON value
        """Return the request's JSON body as it is compared, or NOT_JSON."""
        return self._reduced(json_value(request.body), request.body)

    def body(self, request: Request) -> bytes:
        """Return the canonical body: equal for two requests exactly when their bodies match."""
        if self._plain:
            straight = _straight(request.body)
            if straight is not None:
                return straight
        if "raw_body" in self.match_on:
            return request.body
        if "body" not in self.match_on:
            return b""
        value = self.value(request)
        return _one_boundary(request.body) if value is NOT_JSON else _dump(value)

    def key(self, request: Request) -> bytes:
        """Return the match key: 8 bytes of the route, 16 of the canonical body."""
        route = self._routes.get((request.method, request.target))
        return (route or self._route_key(request)) + _digest(self.body(request))

    def _route_key(self, request: Request) -> bytes:
        key = route_key(self.route(request))
        if _BEYOND_TARGET.isdisjoint(self.match_on):  # what is compared beside the body follows from these two
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            self._routes[request.method, request.target] = key
        return key

    def may_be_loose(self, request: Request) -> bool:
        """Tell whether the loose key can differ from the exact one; False is certain."""
        return "body" in self.match_on and _LOOSE_HINT.search(request.body) is not None

    def loose_body_key(self, request: Request) -> bytes:
        """Return the body's half of the loose key: server-made ids by order of appearance, no stream mode."""
        if not self.may_be_loose(request):
            return _digest(self.body(request))
        value = self.value(request)
        if not isinstance(value, dict):
            return _digest(self.body(request))
        value = {k: v for k, v in value.items() if k not in {"stream", "stream_options"}}
        return _digest(_numbered_ids(_dump(_without_encrypted(value))))

    def _reduced(self, value: Any, body: bytes) -> Any:  # noqa: ANN401  # any JSON value
        if value is NOT_JSON:
            return value
        if b"null" in body or _may_be_whole(body):
            value = _plain(value)
        value = _without_volatile(value)
        for path in self.ignore:
            fields.drop(value, path)
        return value


def _straight(body: bytes) -> bytes | None:
    """Return the canonical body of plain JSON, by the shortest way; None where it has to be looked at closer.

    It has to wherever something could be written in two ways. That shows in what was written: a null, a whole number as
    a fraction (``1.0``) or with an exponent, as which orjson also writes integers that it could not read exactly.
    """
    try:
        value = orjson.loads(body)
        if not isinstance(value, (dict, list)):
            return None
        canonical = orjson.dumps(_without_volatile(value), option=orjson.OPT_SORT_KEYS)
    except (ValueError, TypeError):
        return None
    # The search for one byte takes a tenth of that for two, and that from the end half of that from the begin.
    if canonical.rfind(b":null") >= 0 or (_POINT in canonical and canonical.rfind(b".0") >= 0):
        return None
    if _PLUS in canonical and b"e+" in canonical:
        return None
    return None if len(canonical) > 2 * DEEPEST and brackets(canonical) > DEEPEST else canonical


def _without_volatile(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Drop the volatile members of what was just parsed."""
    if isinstance(value, dict) and not _MAY_GO.isdisjoint(value):
        for name in _MAY_GO.intersection(value):
            if name != "stream" or value[name] is False:
                del value[name]
    return value


def _may_be_whole(body: bytes) -> bool:
    """Tell whether a whole number may be written as a fraction (a long one may be read as one); False is certain."""
    if b".0" in body:
        return True
    alike = body.translate(_NUMBERS_ALIKE)
    return b"0e" in alike or LONG_NUMBER in alike


def route_key(route: str) -> bytes:
    """Return the 8 bytes that stand for *route* in a key."""
    return blake2b(route.encode("utf-8", "surrogatepass"), digest_size=ROUTE_SIZE).digest()


def _digest(body: bytes) -> bytes:
    # Processors have instructions for SHA-256: of a long prompt it takes a third of the time that BLAKE2 does.
    return sha256(body).digest()[:_BODY_SIZE]


def _query(request: Request) -> str:
    if not request.query:
        return ""
    return repr(sorted(parse_qsl(request.query, keep_blank_values=True, errors="surrogateescape")))


def _headers(request: Request) -> str:
    return repr(sorted((name.lower(), value) for name, value in request.headers))


_COMPONENTS: Final[dict[str, Callable[[Request], str]]] = {
    "method": lambda request: request.method.upper(),
    "scheme": lambda request: request.scheme,
    "host": lambda request: request.host,
    "port": lambda request: str(request.port),
    "query": _query,
    "headers": _headers,
    "uri": lambda request: request.uri,
}


def _plain(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Drop null members and write whole floats as integers, at every depth."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _without_encrypted(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Drop ``encrypted_content``: the server's own state, new in every answer."""
    if isinstance(value, dict):
        return {k: _without_encrypted(v) for k, v in value.items() if k != "encrypted_content"}
    if isinstance(value, list):
        return [_without_encrypted(v) for v in value]
    return value


def _dump(value: Any) -> bytes:  # noqa: ANN401  # any JSON value
    """Write JSON with sorted keys, compact; the same bytes whichever of the two writers can do it."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # lone surrogates, integers beyond 64 bits, more than 254 levels
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")


def _numbered_ids(canonical: bytes) -> bytes:
    """Replace server-made ids in canonical JSON by the order in which they first appear."""
    seen: dict[bytes, bytes] = {}
    return _SERVER_ID.sub(lambda found: seen.setdefault(found[0], b'"id#%d"' % len(seen)), canonical)


def _one_boundary(body: bytes) -> bytes:
    """Give a multipart body a boundary that does not change from run to run."""
    found = _BOUNDARY.match(body)
    if not found or not body.rstrip(b"\r\n").endswith(b"--%b--" % found[1]):
        return body
    return body.replace(b"--%b" % found[1], b"--boundary")
