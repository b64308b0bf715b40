"""For every suite of a client: where the server is that it talks to.

``CLIENTS_BASE_URL`` names one that is running, ``…/v1`` at its end; without it, a stub is started here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = "127.0.0.1,localhost"
os.environ.setdefault("OPENAI_API_KEY", "sk-none")

collect_ignore = []
if "CLIENTS_BASE_URL" not in os.environ:  # the project's own run: the other clients are not installed there
    here = Path(__file__).parent
    collect_ignore = [p.name for p in here.glob("test_*.py") if p.name not in {"test_openai.py", "test_sockets.py"}]


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """Return the server's address, as an OpenAI client wants it."""
    given = os.environ.get("CLIENTS_BASE_URL")
    if given:
        yield given.rstrip("/")
        return
    from stubserver import StubServer  # noqa: PLC0415  # a client's own environment does not have it

    with StubServer() as stub:
        yield stub.base_url


@pytest.fixture(scope="session")
def model() -> str:
    """Return the model to ask for."""
    return os.environ.get("CLIENTS_MODEL", "gpt-4o-mini")


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Return what runs a coroutine, always in the same loop: clients keep connections that belong to one."""
    with asyncio.Runner() as runner:
        yield runner.run
