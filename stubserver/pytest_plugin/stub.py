"""What a test gets: a started StubServer that can be asked what it was asked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from stubserver.canonical import NOT_JSON, json_value
from stubserver.errors import StubserverError
from stubserver.journal import Entry
from stubserver.options import StrPath, flat
from stubserver.pytest_plugin.settings import Settings
from stubserver.pytest_plugin.usage import usage_of
from stubserver.stub import StubServer

__all__ = ["ENVIRONMENT", "AskedRequest", "StubFixture", "started"]

ENVIRONMENT: Final = {
    "OPENAI_BASE_URL": "{base_url}",
    "OPENAI_API_BASE": "{base_url}",
    "OPENAI_API_KEY": "{key}",
    "AZURE_OPENAI_ENDPOINT": "{url}",
    "AZURE_OPENAI_API_KEY": "{key}",
    "ANTHROPIC_BASE_URL": "{url}",
    "ANTHROPIC_API_KEY": "{key}",
}
"""Variables that clients take the address and the key from."""

_KEY: Final = "stubserver"
_PROXIES_LEFT_OUT: Final = ("NO_PROXY", "no_proxy")
_LOOK_SECONDS: Final = 0.005
_SHOWN: Final = 20


class AskedRequest(NamedTuple):
    """One request as it came, without secrets, and where its answer came from. ``json`` is None for another body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    json: Any
    source: str
    cassette: str
    status: int

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        model = self.json.get("model") if isinstance(self.json, dict) else None
        return model if isinstance(model, str) else None

    def __str__(self) -> str:
        """Say it in one line."""
        model = f" ({self.model})" if self.model else ""
        return f"{self.method} {self.path}{model}: {self.source} {self.cassette or self.status}"


class StubFixture(StubServer):
    """A :class:`StubServer` in a test. Set ``allow_unmatched`` where a request without a recording is meant to be."""

    settings: Settings
    cassettes: list[Path]
    allow_unmatched = False

    @property
    def requests(self) -> list[AskedRequest]:
        """What was asked, the first request first; at most the last thousand."""
        return [_asked(entry) for entry in self.journal]

    def assert_called(
        self,
        times: int | None = None,
        *,
        model: str | None = None,
        path: str | None = None,
        body_contains: str | None = None,
    ) -> None:
        """Fail unless requests like this came: *times* of them, or at least one. *path* may lack a prefix."""
        found = [one for one in self.requests if _is_like(one, model, path, body_contains)]
        if len(found) == times or (times is None and found):
            return
        asked = {"model": model, "path": path, "body_contains": body_contains}
        like = ", ".join(f"{name}={value!r}" for name, value in asked.items() if value is not None) or "at all"
        wanted = "at least 1 request" if times is None else f"{times} request{'' if times == 1 else 's'}"
        raise AssertionError(f"expected {wanted} {like}, {len(found)} came; {self._told()}")

    def wait_for(self, number: int, timeout: float = 5.0) -> list[AskedRequest]:
        """Wait until *number* requests were answered; return them. Fails after *timeout* seconds."""
        until = time.monotonic() + timeout
        while self.journal.total < number:
            if time.monotonic() > until:
                raise AssertionError(f"expected {number} requests within {timeout} s; {self._told()}")
            time.sleep(_LOOK_SECONDS)
        return self.requests

    def _told(self) -> str:
        requests = self.requests
        if not requests:
            return "nothing was asked"
        lines = [f"\n  {one}" for one in requests[-_SHOWN:]]
        return f"asked was{' at last' if len(requests) > _SHOWN else ''}:{''.join(lines)}"


def _asked(entry: Entry) -> AskedRequest:
    request = entry.request
    body = json_value(request.body)
    headers = {name.lower(): value for name, value in request.headers}
    value = None if body is NOT_JSON else body
    status = entry.response.status
    return AskedRequest(
        request.method, request.target, headers, request.body, value, entry.source, entry.cassette, status
    )


def _is_like(one: AskedRequest, model: str | None, path: str | None, text: str | None) -> bool:
    return (
        (model is None or one.model == model)
        and (path is None or one.path.partition("?")[0].endswith(path))
        and (text is None or text in one.body.decode("utf-8", "replace") or _holds(one.json, text))
    )


def _holds(value: Any, text: str) -> bool:  # noqa: ANN401  # any JSON value
    """Tell whether a text within *value* holds *text*: in the bytes, it may be written with escapes."""
    if isinstance(value, str):
        return text in value
    if isinstance(value, dict):
        return any(_holds(v, text) for v in value.values())
    return isinstance(value, list) and any(_holds(v, text) for v in value)


@contextmanager
def started(
    config: pytest.Config,
    settings: Settings,
    cassettes: StrPath | Iterable[StrPath],
    options: dict[str, Any],
    environment: dict[str, str],
) -> Iterator[StubFixture]:
    """Start a stub and point clients at it, as long as this lasts; a stub that cannot be is the test's error."""
    paths = [Path(path) for path in flat([cassettes])]
    try:
        stub = _made(settings, paths, options).start()
    except (StubserverError, OSError) as error:
        pytest.fail(f"stubserver: {error}", pytrace=False)
    stub.settings, stub.cassettes, stub.allow_unmatched = settings, paths, settings.allow_unmatched
    with stub_stops(stub), pytest.MonkeyPatch.context() as patch:
        _point(patch, stub, environment)
        try:
            yield stub
        finally:
            usage_of(config).add(stub.library)


@contextmanager
def stub_stops(stub: StubFixture) -> Iterator[None]:
    """Stop it at the end."""
    try:
        yield
    finally:
        stub.stop()


def _made(settings: Settings, paths: list[Path], options: dict[str, Any]) -> StubFixture:
    mode, target = settings.record_mode, paths[0] if paths else None
    if mode == "once" and target is not None and target.exists():
        mode = "none"  # needs no upstream then
    if mode == "rewrite":
        mode = "new_episodes"
        if target is not None and target.exists():
            target.replace(target.with_name(f"{target.name}.before"))
    if mode == "none":
        paths = [path for path in paths if path.exists()]
    elif settings.upstream is None:
        raise StubserverError(f"recording ({mode}) needs the upstream: name it with --stub-upstream URL")
    elif target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "fallback": settings.fallback,
        "record_mode": mode,
        "upstream": settings.upstream if mode != "none" or settings.fallback == "forward" else None,
        **options,
        **settings.options,
    }
    return StubFixture(paths, **given)


def _point(patch: pytest.MonkeyPatch, stub: StubFixture, environment: dict[str, str]) -> None:
    """Set the variables. A real key is left where the upstream needs it, and is not to be seen otherwise."""
    reaches = stub.upstream is not None
    for name, value in environment.items():
        if not (reaches and "{key}" in value and os.environ.get(name)):
            patch.setenv(name, value.format(url=stub.url, base_url=stub.base_url, key=_KEY))
    for name in _PROXIES_LEFT_OUT:
        patch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost"))))
