"""Who may use the admin API: asked under a name of this server's, from no foreign page, with the token if there is one.

A page of another site can make a browser send requests here. By DNS rebinding they come under that site's own name,
which is why the Host is compared; all others carry an Origin, or say by ``Sec-Fetch-Site`` where they come from.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from stubserver.admin.calls import RefusedError
from stubserver.messages import Headers, Request, header

__all__ = ["Guard"]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})
_CHALLENGE: Final[Headers] = (("www-authenticate", 'Basic realm="stubserver admin", charset="UTF-8"'),)


class Guard:
    """Checks each request to the admin API. *bound* is the address listened on, *allowed* are more host names."""

    def __init__(self, bound: str, allowed: Iterable[str] = (), token: str | None = None) -> None:
        self._hosts = _LOOPBACK | {bound.lower()} | {_host_of(host) for host in allowed}
        # Listening everywhere, every address is a bound one. No rebinding can lead to an address: it needs a name.
        self._any_address = bound in {"0.0.0.0", "::", ""}  # noqa: S104  # compared, not bound
        self._token = token.encode() if token else None

    def check(self, request: Request, *, is_open: bool = False) -> None:
        """Raise RefusedError unless *request* may be served; *is_open*: whoever may reach us may ask this."""
        self._check_host(request)
        self._check_site(request)
        if self._token is not None and not is_open and not self._is_known(request):
            msg = "the admin API needs its token: send Authorization: Bearer TOKEN (or Basic, with it as password)"
            raise RefusedError(401, msg, "no_admin_token", _CHALLENGE)

    def _check_host(self, request: Request) -> None:
        # What stands in an absolute target goes before the Host, for HTTP; here neither may be another's.
        hosts = {request.host, _host_of(header(request.headers, "host") or "")}
        if all(host in self._hosts or (self._any_address and _is_address(host)) for host in hosts):
            return
        msg = "the admin API is not served under this host name: use the address, localhost, or --allowed-host NAME"
        raise RefusedError(403, msg, "host_not_allowed")

    @staticmethod
    def _check_site(request: Request) -> None:
        origins = {value.lower() for name, value in request.headers if name.lower() == "origin"}
        if origins - {f"{scheme}://{request.authority}".lower() for scheme in ("http", "https")}:
            raise RefusedError(403, "the admin API takes no requests from pages of other origins", "foreign_origin")
        site = header(request.headers, "sec-fetch-site")
        if site is not None and site.lower() not in _OWN_SITE and not _is_visit(request):
            raise RefusedError(403, "the admin API takes no requests from pages of other sites", "foreign_origin")

    def _is_known(self, request: Request) -> bool:
        scheme, _, given = (header(request.headers, "authorization") or "").partition(" ")
        given = given.strip()
        if scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token or b"")


def _host_of(authority: str) -> str:
    """Return the host of ``host:port``, of ``[::1]:port``, and of either without the port."""
    return Request("GET", "/", authority=authority).host


def _is_address(host: str) -> bool:
    """Tell an IP address from a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_visit(request: Request) -> bool:
    """Tell whether somebody follows a link to the page: it is shown by itself, and nothing is changed."""
    mode, kind = header(request.headers, "sec-fetch-mode"), header(request.headers, "sec-fetch-dest")
    return request.method == "GET" and mode == "navigate" and kind == "document"


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
