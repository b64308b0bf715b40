"""``faults`` and ``verdict``: what can go wrong on purpose, and what a client did when it went wrong."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

import click

from stubserver.cli.printing import plain
from stubserver.errors import UsageError
from stubserver.verdict import Verdict

__all__ = ["faults", "verdict"]

_PATIENCE: Final = 30.0

_TITLES = {
    "timing": "Time (may come beside any other)",
    "instead": "In place of the answer",
    "server": "The server itself",
    "sending": "On the wire",
    "events": "In streams",
    "body": "In the content",
    "tools": "In calls of tools",
}
_OPTIONS = """Where:  in-head, after-bytes=N, after-events=N, after-ms=N (reset, close, stall; else before the head)
When:   p=0.1, first=N, every=N, skip=N, times=N, once
For:    path=/chat/*, model=gpt-4o*, body=TEXT, method=GET|any (else POST)
Wait:   retry-after=SECONDS (for status and rate-limit)
Times are in ms: 200, or drawn: 200..800, lognormal(MEDIAN,SIGMA). A number alone is a status: 503, 429."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def faults(*, as_json: bool) -> None:
    """List the faults that --fault, --faults FILE and the header x-stubserver-fault may name, with examples."""
    from stubserver.faults.kinds import KINDS  # noqa: PLC0415  # --help needs none of it

    if as_json:
        click.echo(json.dumps([kind._asdict() for kind in KINDS.values()], indent=2))
        return
    for family, title in _TITLES.items():
        click.echo(f"{title}:")
        for kind in KINDS.values():
            if kind.family == family:
                click.echo(
                    f"  {kind.example or kind.name:<30}{kind.text}{f' ({kind.default})' if kind.default else ''}"
                )
        click.echo()
    click.echo(_OPTIONS)


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the server is.")
@click.option("--admin-token", envvar="STUBSERVER_ADMIN_TOKEN", metavar="TOKEN", help="The server's, if it has one.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verdict(url: str, admin_token: str | None, *, as_json: bool) -> None:
    """Judge the client of a running server by what it did when something went wrong.

    The exit status is 1 when there is something to say against it.
    """
    found = _asked(url, admin_token)
    click.echo(
        json.dumps(found, indent=2) if as_json else "\n".join(map(plain, str(Verdict.of_json(found)).splitlines()))
    )
    if not found["passed"]:
        sys.exit(1)


def _asked(url: str, token: str | None) -> dict[str, Any]:
    """Ask the server at *url*. Raises UsageError when it cannot be asked."""
    place = urlsplit(url if "//" in url else f"//{url}")
    if not place.hostname or place.scheme not in {"", "http"}:
        raise UsageError(f"{url} is no address of a server: give http://127.0.0.1:8080")
    connection = HTTPConnection(place.hostname, place.port or 80, timeout=_PATIENCE)
    try:
        connection.request("GET", "/__admin/verdict", headers={"authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        value = json.loads(answer.read())
    except (OSError, HTTPException, ValueError) as error:
        raise UsageError(f"cannot ask {url}: {error}; is a stubserver running there, with its admin API?") from error
    finally:
        connection.close()
    if answer.status != HTTPStatus.OK:
        raise UsageError(f"{url} says: {value['error']['message']}")
    return dict(value)
