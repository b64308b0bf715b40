"""``faults``: the list of what can go wrong on purpose."""

from __future__ import annotations

import json

import click

__all__ = ["faults"]

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
