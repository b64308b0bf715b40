"""The pytest plugin: a stub for a test, on the test's own cassette. The only door to pytest.

Loaded with pytest wherever stubserver is installed, so nothing is imported here before a fixture or an option asks for
it. Fixtures: ``stub_server`` and ``stub_server_session``; what they serve, and how, is said by ``stub_cassette``,
``stub_session_cassette``, ``stub_options`` and ``stub_environment``, which may be overridden; by the markers
``stub_cassette`` and ``stub``; by the options ``--stub-...`` and their ini settings.
"""

from __future__ import annotations

import unittest
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from stubserver.pytest_plugin.stub import StubFixture

__all__ = [
    "OF_ITEM",
    "OF_SESSION",
    "stub_cassette",
    "stub_environment",
    "stub_options",
    "stub_server",
    "stub_server_session",
]

_MARKERS: Final = (
    "stub_cassette(path, ...): serve these cassettes in place of the test's own; relative to the test's folder.",
    "stub(record_mode=, upstream=, fallback=, strict=, max_age=, allow_unmatched=, **StubServer's): how it is served.",
)

OF_ITEM: Final = pytest.StashKey["StubFixture"]()
"""Where a test has its stub."""
OF_SESSION: Final = pytest.StashKey["StubFixture"]()
"""Where the session has the one that its tests share."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini settings."""
    from stubserver.pytest_plugin.settings import add_options  # noqa: PLC0415  # see above

    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


@pytest.fixture
def stub_cassette(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401  # a path, or several
    """Return the cassette, or cassettes, of this test: override it to choose others; the first one is recorded to."""
    from stubserver.pytest_plugin.naming import cassettes_of  # noqa: PLC0415  # see above

    return cassettes_of(request.node)


@pytest.fixture(scope="session")
def stub_session_cassette(pytestconfig: pytest.Config) -> Any:  # noqa: ANN401  # a path, or several
    """Return the cassette, or cassettes, of ``stub_server_session``."""
    return pytestconfig.rootpath / "cassettes" / "session.yaml"


@pytest.fixture(scope="session")
def stub_options() -> dict[str, Any]:
    """Return options of StubServer for every stub: override it, say with ``{"match_on": "method,path,query"}``."""
    return {}


@pytest.fixture(scope="session")
def stub_environment() -> dict[str, str]:
    """Return the variables that are set for a stub; ``{url}``, ``{base_url}`` and ``{key}`` are filled in."""
    from stubserver.pytest_plugin.stub import ENVIRONMENT  # noqa: PLC0415  # see above

    return dict(ENVIRONMENT)


@pytest.fixture
def stub_server(
    request: pytest.FixtureRequest,
    stub_cassette: Any,  # noqa: ANN401  # a path, or several
    stub_options: dict[str, Any],
    stub_environment: dict[str, str],
) -> Iterator[StubFixture]:
    """Serve this test on its own cassette; clients find the stub through the environment."""
    from stubserver.pytest_plugin import stub as stubs  # noqa: PLC0415  # see above
    from stubserver.pytest_plugin.settings import settings_of  # noqa: PLC0415

    settings = settings_of(request.config, request.node)
    with stubs.started(request.config, settings, stub_cassette, stub_options, stub_environment) as stub:
        request.node.stash[OF_ITEM] = stub
        yield stub


@pytest.fixture(scope="session")
def stub_server_session(
    pytestconfig: pytest.Config,
    stub_session_cassette: Any,  # noqa: ANN401  # a path, or several
    stub_options: dict[str, Any],
    stub_environment: dict[str, str],
) -> Iterator[StubFixture]:
    """Serve all tests that ask for it by one stub; their misses are told apart by when they came."""
    from stubserver.pytest_plugin import stub as stubs  # noqa: PLC0415  # see above
    from stubserver.pytest_plugin.settings import settings_of  # noqa: PLC0415

    settings = settings_of(pytestconfig, None)
    with stubs.started(pytestconfig, settings, stub_session_cassette, stub_options, stub_environment) as stub:
        pytestconfig.stash[OF_SESSION] = stub
        yield stub


@pytest.fixture(autouse=True)
def _marked_for_a_stub(request: pytest.FixtureRequest) -> None:
    """Give a stub to tests that are marked for one, and to those of unittest as an attribute."""
    if request.node.get_closest_marker("stub_cassette") or request.node.get_closest_marker("stub"):
        stub = request.getfixturevalue("stub_server")
        if isinstance(request.instance, unittest.TestCase):
            request.instance.stub_server = stub  # type: ignore[attr-defined]  # that is the point


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After a test: what its stub has to say makes it fail, or stands beside why it failed."""
    if OF_ITEM not in item.stash and OF_SESSION not in item.config.stash:
        return (yield)
    from stubserver.pytest_plugin.verdicts import judged  # noqa: PLC0415  # see above

    with judged(item):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under pytest-xdist, tell the main process what was played in this one."""
    from stubserver.pytest_plugin.usage import send  # noqa: PLC0415  # see above

    send(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401  # pytest-xdist's
    """Take in what was played in another process."""
    from stubserver.pytest_plugin.usage import receive  # noqa: PLC0415  # see above

    del error
    receive(node.config, getattr(node, "workeroutput", {}))


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember that not all tests run: what these would play is not unused."""
    if items:
        from stubserver.pytest_plugin.usage import usage_of  # noqa: PLC0415  # see above

        usage_of(items[0].config).left_out += len(items)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:  # noqa: ANN401
    """Report what was played, and drop what was not, if that was asked for."""
    if config.getoption("stub_report") or config.getoption("stub_drop_unused"):
        from stubserver.pytest_plugin.usage import conclude  # noqa: PLC0415  # see above

        conclude(terminalreporter, exitstatus, config)
