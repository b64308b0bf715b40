"""A recorded response -> what is sent to this client.

The body goes out as it was recorded. Framing and hop-by-hop headers are ours; a ``Content-Encoding`` is kept only
when the stored bytes really have it and the client takes it. Where the client asked for the other stream mode, a
stream is folded into one answer, or an answer unfolded into a stream.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from stubserver.messages import Headers, Response, header
from stubserver.wire import HOP_BY_HOP

__all__ = ["Mode", "accepts", "replayed"]

_MOST_DECODED: Final = 256 * 1024 * 1024
_FRAMING: Final = HOP_BY_HOP | {"content-length", "content-encoding"}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE: Final = re.compile("[\0-\x08\x0a-\x1f\x7f]")
_OURS: Final = "x-stubserver-"
_LAST_STATUS: Final = 999
_PAIRS: Final[dict[tuple[str, str], tuple[str, str] | None]] = {}
_MOST_PAIRS: Final = 8192
_LONGEST_LENGTH: Final = 18
_INFORMATIONAL: Final = 200
_GZIP: Final = zlib.MAX_WBITS | 16
_ZERO: Final = re.compile(r"\s*q\s*=\s*0(?:\.0*)?\s*")


def accepts(headers: Headers) -> str:
    """Return what a request says of the encodings it takes, in a short form that equal clients share."""
    return ",".join(value for name, value in headers if name.lower() == "accept-encoding").lower()


class Mode(NamedTuple):
    """The stream mode a client asked for, when it is the other one than that of the recording."""

    stream: bool
    usage: bool


def replayed(recorded: Response, accepted: str, mode: Mode | None = None) -> Response:
    """Prepare *recorded* for a client that takes the encodings in *accepted*; in the stream *mode* if one is given."""
    encoding = (header(recorded.headers, "content-encoding") or "").strip().lower()
    encoding = "gzip" if encoding == "x-gzip" else encoding
    body, kept = _encoded(recorded.body, encoding, accepted if mode is None else "")
    headers = _clean(recorded.headers)
    if kept:
        headers = (*headers, _sendable("content-encoding", encoding))
    events = recorded.events and not kept
    response = recorded._replace(status=_status(recorded.status), headers=headers, body=body, events=events)
    response = response._replace(reason=_reason(recorded.reason), length=_stated_length(recorded))
    return response if mode is None else _in_mode(response, mode)


def _stated_length(recorded: Response) -> int | None:
    """Return what an answer without a body says of its length, as answers to HEAD do."""
    stated = header(recorded.headers, "content-length") or ""
    known = not recorded.body and stated.isascii() and stated.isdigit() and len(stated) <= _LONGEST_LENGTH
    return int(stated) if known else None


def _in_mode(response: Response, mode: Mode) -> Response:
    if response.status >= 400:  # noqa: PLR2004  # errors are whole answers in either mode
        return response
    from stubserver.folding import folded, unfolded  # noqa: PLC0415  # start-up: only the other stream mode needs it

    if mode.stream and not response.events:
        return unfolded(response, usage=mode.usage)
    if not mode.stream and response.events:
        return folded(response)
    return response


def _status(status: int) -> int:
    return status if _INFORMATIONAL <= status <= _LAST_STATUS else 200


def _reason(reason: str) -> str:
    return reason if reason.isascii() and reason.isprintable() else ""


def _clean(headers: Headers) -> Headers:
    """Drop what belongs to the recorded connection, what could not be sent at all, and what we say ourselves."""
    dropped = _FRAMING.union(
        name.strip().lower() for field, value in headers if field.lower() == "connection" for name in value.split(",")
    )
    kept = (_known(pair) for pair in headers)
    return tuple(pair for pair in kept if pair is not None and not _is_ours(pair[0].lower(), dropped))


def _known(pair: tuple[str, str]) -> tuple[str, str] | None:
    """Return *pair* as it can be sent, None when it cannot be; most recordings of a library share most of theirs."""
    try:
        return _PAIRS[pair]
    except KeyError:
        if len(_PAIRS) >= _MOST_PAIRS:
            _PAIRS.clear()
        return _PAIRS.setdefault(pair, _sendable(*pair) if _TOKEN.fullmatch(pair[0]) else None)


def _is_ours(name: str, dropped: frozenset[str]) -> bool:
    return name in dropped or name.startswith(_OURS)


def _sendable(name: str, value: str) -> tuple[str, str]:
    value = _UNSENDABLE.sub(" ", value)
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        value = value.encode("utf-8", "replace").decode("latin-1")
    return name, value


def _encoded(body: bytes, encoding: str, accepted: str) -> tuple[bytes, bool]:
    """Return the body to send and whether it has its Content-Encoding."""
    if not encoding or encoding == "identity" or not body:
        return body, False
    decode = _DECODERS.get(encoding)
    if decode is None:
        # br and zstd: what is text was stored decoded; what is not is sent as it is, it cannot be decoded here.
        return body, not _is_text(body)
    plain = decode(body)
    if plain is None:
        return body, False
    return (body, True) if _takes(accepted, encoding) else (plain, False)


def _takes(accepted: str, encoding: str) -> bool:
    """Tell whether an Accept-Encoding names *encoding*, or else ``*``, and not with ``q=0``."""
    weights = {name.strip().removeprefix("x-"): weight for name, _, weight in _parts(accepted)}
    weight = weights.get(encoding, weights.get("*"))
    return weight is not None and not _ZERO.fullmatch(weight)


def _parts(accepted: str) -> Iterator[tuple[str, str, str]]:
    return (part.partition(";") for part in accepted.split(","))


def _is_text(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _inflate(*wbits: int) -> Callable[[bytes], bytes | None]:
    def decode(body: bytes) -> bytes | None:
        for bits in wbits:
            inflater = zlib.decompressobj(bits)
            try:
                plain = inflater.decompress(body, _MOST_DECODED)
            except zlib.error:
                continue
            # A gzip stream that was cut off is still one; raw deflate has no mark by which to tell.
            if inflater.eof or (plain and bits == _GZIP and not inflater.unconsumed_tail):
                return plain
        return None

    return decode


_DECODERS: Final[dict[str, Callable[[bytes], bytes | None]]] = {
    "gzip": _inflate(_GZIP),
    "deflate": _inflate(zlib.MAX_WBITS, -zlib.MAX_WBITS),
}
