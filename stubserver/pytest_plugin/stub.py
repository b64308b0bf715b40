"""What a test gets: a started StubServer that can be asked what it was asked."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from stubserver.errors import StubserverError
from stubserver.journal import Entry, Journal
from stubserver.jsonvalue import NOT_JSON, json_value
from stubserver.options import StrPath, flat
from stubserver.pytest_plugin import SINCE
from stubserver.pytest_plugin.settings import Settings
from stubserver.pytest_plugin.targets import put_back, settled
from stubserver.pytest_plugin.usage import usage_of
from stubserver.recording import RecordOptions
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
    "AZURE_API_BASE": "{url}",
    "AZURE_API_KEY": "{key}",
    "HOSTED_VLLM_API_BASE": "{base_url}",
    "HOSTED_VLLM_API_KEY": "{key}",
    "LITELLM_PROXY_API_BASE": "{base_url}",
    "LITELLM_PROXY_API_KEY": "{key}",
    "GROQ_BASE_URL": "{url}",
    "GROQ_API_KEY": "{key}",
    "TOGETHER_BASE_URL": "{base_url}",
    "TOGETHER_API_KEY": "{key}",
    "OPENROUTER_API_BASE": "{base_url}",
    "OPENROUTER_API_KEY": "{key}",
    "DEEPSEEK_API_BASE": "{base_url}",
    "DEEPSEEK_API_KEY": "{key}",
    "MISTRAL_API_BASE": "{base_url}",
    "MISTRAL_API_KEY": "{key}",
}
"""Variables that clients take the address and the key from: openai, langchain, litellm, and those like them."""

_KEY: Final = "stubserver"
_PROXIES_LEFT_OUT: Final = ("NO_PROXY", "no_proxy")
_LOOK_SECONDS: Final = 0.005
_MOST_REQUESTS: Final = 100_000
_MOST_BYTES: Final = 1 << 36
"""No test is judged by a part of what it asked: its journal has no bound that a test comes near."""
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
        """What was asked, the first request first; all since the start, or since :meth:`reset`."""
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
        while len(self.journal) < number:
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
    environment: dict[str, str],
) -> Iterator[StubFixture]:
    """Start a stub and point clients at it, as long as this lasts; a stub that cannot be is the test's error."""
    paths = [Path(path) for path in flat([cassettes])]
    asides: list[Path] = []
    try:
        stub = _made(settings, paths, config.stash[SINCE], asides).start()
    except (StubserverError, OSError) as error:
        put_back(asides)
        pytest.fail(f"stubserver: {error}", pytrace=False)
    stub.settings, stub.cassettes, stub.allow_unmatched = settings, paths, settings.allow_unmatched
    with pytest.MonkeyPatch.context() as patch:
        _point(patch, stub, environment)
        try:
            yield stub
        finally:
            stub.stop()
            put_back(asides)
            usage_of(config).add(stub.library, stub.journal)


def _made(settings: Settings, paths: list[Path], since: float, asides: list[Path]) -> StubFixture:
    """Make the stub; into *asides* goes what was put aside for it."""
    _refuse_unknown(settings.options)
    mode, upstream = settings.record_mode, settings.upstream
    if mode != "none":
        if not paths:
            raise StubserverError("recording needs a cassette to write to: stub_cassette gave none")
        if mode in {"all", "rewrite"} and upstream is None:
            raise _no_upstream(mode)
        mode, aside = settled(mode, paths[0], since)
        asides += aside
    if mode == "none":
        paths = [path for path in paths if path.exists()]
    elif upstream is None:
        raise _no_upstream(settings.record_mode)
    else:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "journal": Journal(_MOST_REQUESTS, _MOST_BYTES),
        **settings.options,
        "fallback": settings.fallback,
        "record_mode": mode,
        "upstream": upstream if mode != "none" or settings.fallback == "forward" else None,
    }
    return StubFixture(paths[:1] if settings.record_mode == "all" else paths, **given)


def _refuse_unknown(options: dict[str, Any]) -> None:
    """Name options that there are not: StubServer itself takes some on trust."""
    known = inspect.signature(StubServer).parameters.keys() | RecordOptions.__annotations__.keys()
    unknown = sorted(options.keys() - known)
    if unknown:
        raise StubserverError(f"{', '.join(unknown)}: no option of the marker stub, of stub_options or of StubServer")


def _no_upstream(mode: str) -> StubserverError:
    return StubserverError(f"recording ({mode}) needs the upstream: name it with --stub-upstream URL")


def _point(patch: pytest.MonkeyPatch, stub: StubFixture, environment: dict[str, str]) -> None:
    """Set the variables. A real key is left where the upstream needs it, and is not to be seen otherwise."""
    reaches = stub.upstream is not None
    for name, value in environment.items():
        if not (reaches and "{key}" in value and os.environ.get(name)):
            patch.setenv(name, value.format(url=stub.url, base_url=stub.base_url, key=_KEY))
    for name in _PROXIES_LEFT_OUT:
        patch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost"))))
