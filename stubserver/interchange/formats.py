"""Which formats there are, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from stubserver.errors import UsageError
from stubserver.interchange import Carried, Lost, aimock, batch, har, hoverfly, jsonl, mitmproxy, wiremock
from stubserver.interchange.elements import root_keys

__all__ = ["NAMES", "detect", "read"]

_PEEKED: Final = 64 * 1024
_READERS: Final[dict[str, Callable[[Path, str], Iterator[Carried | Lost]]]] = {
    "har": har.read,
    "mitmproxy": mitmproxy.read,
    "wiremock": wiremock.read,
    "hoverfly": hoverfly.read,
    "aimock": aimock.read,
    "jsonl": jsonl.read,
}
NAMES: Final = (*_READERS, "batch")


def detect(path: Path) -> str:
    """Return the format of a file or folder by what is in it. Raises UsageError when it is none of ours; OSError."""
    if path.is_dir():
        if (path / "mappings").is_dir():
            return "wiremock"
        file = next((each for each in sorted(path.rglob("*.json")) if each.is_file()), None)
        if file is None:
            raise UsageError(f"{path}: there are no .json files in this folder; name a file, or another folder")
        return detect(file)
    with path.open("rb") as stream:
        head = stream.read(_PEEKED).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1].isdigit() and head[:12].partition(b":")[0].isdigit():
        return "mitmproxy"
    keys = root_keys(head)
    name = "hoverfly" if "data" in keys and b'"pairs"' in head else _by_keys(keys)
    if name is None:
        raise UsageError(f"{path}: it is in none of the formats {', '.join(NAMES)}; if it is, name it with --format")
    return name


def _by_keys(keys: set[str]) -> str | None:
    if "log" in keys:
        return "har"
    if "custom_id" in keys:
        return "batch"
    if "fixtures" in keys:
        return "aimock"
    if "mappings" in keys or keys & {"uuid", "scenarioName", "priority", "persistent"}:
        return "wiremock"
    return "jsonl" if {"request", "response"} <= keys else "wiremock" if "request" in keys else None


def read(paths: Iterable[Path], base: str, name: str | None = None) -> Iterator[Carried | Lost]:
    """Yield what is in the files at *paths*, each in the format *name*, or in the one that it seems to be in.

    *base* is where requests went that do not say so themselves. The files of batches are put together, at the end.
    """
    named = [(path, name or detect(path)) for path in paths]
    for path, format_name in named:
        if format_name != "batch":
            yield from _READERS[format_name](path, base)
    batches = [path for path, format_name in named if format_name == "batch"]
    if batches:
        yield from batch.read(batches, base)
