"""The pytest plugin: a stub for a test, on the test's own cassette. The only door to pytest.

Loaded with pytest wherever stubserver is installed, so nothing is imported here before a fixture or an option asks for
it. Fixtures: ``stub_server`` and ``stub_server_session``; what they serve, and how, is said by ``stub_cassette``,
``stub_session_cassette``, ``stub_options`` and ``stub_environment``, which may be overridden; by the markers
``stub_cassette`` and ``stub``; by the options ``--stub-...`` and their ini settings.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from stubserver.pytest_plugin.stub import AskedRequest, StubFixture
    from stubserver.pytest_plugin.usage import Usage  # noqa: F401  # named in a text below

__all__ = [
    "LEFT_OUT",
    "OF_ITEM",
    "OF_SESSION",
    "SINCE",
    "USAGE",
    "AskedRequest",
    "StubFixture",
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

_SINCE_KEY: Final = "stubserver_since"
OUTPUT: Final = "stubserver"
"""Under which a process of pytest-xdist tells the main one what was played."""
OF_ITEM: Final = pytest.StashKey["StubFixture"]()
"""Where a test has its stub."""
OF_SESSION: Final = pytest.StashKey["StubFixture"]()
"""Where the session has the one that its tests share."""
SINCE: Final = pytest.StashKey[float]()
"""Where the session has when it began, in seconds since the epoch; the same in all of its processes."""
LEFT_OUT: Final = pytest.StashKey[int]()
"""Where the session has how many tests were deselected."""
USAGE: Final = pytest.StashKey["Usage"]()
"""Where the session has what was played in it."""


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    """Import the types of the fixtures when they are asked for, to annotate with."""
    if name not in {"AskedRequest", "StubFixture"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stubserver.pytest_plugin import stub  # noqa: PLC0415  # see above

    return getattr(stub, name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini settings."""
    from stubserver.pytest_plugin.settings import add_options  # noqa: PLC0415  # see above

    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers, and take the time: what is older was there before."""
    config.stash[SINCE] = getattr(config, "workerinput", {}).get(_SINCE_KEY) or time.time()
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

    settings = settings_of(request.config, request.node, stub_options)
    with stubs.started(request.config, settings, stub_cassette, stub_environment) as stub:
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
    from stubserver.pytest_plugin.usage import usage_of  # noqa: PLC0415

    settings = settings_of(pytestconfig, None, stub_options)
    with stubs.started(pytestconfig, settings, stub_session_cassette, stub_environment) as stub:
        pytestconfig.stash[OF_SESSION] = stub
        yield stub
    served = {str(file.path.resolve()) for file in stub.library.files}
    usage_of(pytestconfig).of_session.update(served)
    if settings.strict:
        usage_of(pytestconfig).strict.update(served)


@pytest.fixture(autouse=True)
def _marked_for_a_stub(request: pytest.FixtureRequest) -> None:
    """Give a stub to tests that are marked for one, and to those of unittest as an attribute."""
    if request.node.get_closest_marker("stub_cassette") or request.node.get_closest_marker("stub"):
        stub = request.getfixturevalue("stub_server")
        if isinstance(request.instance, unittest.TestCase):
            request.instance.stub_server = stub  # type: ignore[attr-defined]  # that is the point


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Where the setup fails, what the stubs have to say stands beside why."""
    __tracebackhide__ = True
    return (yield from _judged(item, "setup"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After a test: what its stubs have to say makes it fail, or stands beside why it failed."""
    __tracebackhide__ = True
    return (yield from _judged(item, "call"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """After the teardown: what was asked behind the test's end counts, too."""
    __tracebackhide__ = True
    return (yield from _judged(item, "teardown"))


def _judged(item: pytest.Item, phase: str) -> Generator[None, object, object]:
    __tracebackhide__ = True
    if not _uses_a_stub(item):
        return (yield)
    from stubserver.pytest_plugin.verdicts import judged  # noqa: PLC0415  # see above

    with judged(item, phase):
        return (yield)


def _uses_a_stub(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return OF_ITEM in item.stash or "stub_server" in names or "stub_server_session" in names


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember whose cassettes there are, where that will be asked for."""
    if config.getoption("stub_report") or config.getoption("stub_drop_unused"):
        from stubserver.pytest_plugin.summary import claim  # noqa: PLC0415  # see above

        claim(config, items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember that not all tests run: what these would play is not unused."""
    if items:
        stash = items[0].config.stash
        stash[LEFT_OUT] = stash.get(LEFT_OUT, 0) + len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401  # pytest-xdist's
    """Tell another process when the session began."""
    node.workerinput[_SINCE_KEY] = node.config.stash[SINCE]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under pytest-xdist, tell the main process what was played in this one; there, look at what the tests share."""
    if USAGE not in session.config.stash:
        return
    if hasattr(session.config, "workeroutput"):
        from stubserver.pytest_plugin.usage import usage_of  # noqa: PLC0415  # see above

        usage = usage_of(session.config)
        usage.left_out = session.config.stash.get(LEFT_OUT, 0)
        session.config.workeroutput[OUTPUT] = usage.as_json()
    elif exitstatus == pytest.ExitCode.OK:
        from stubserver.pytest_plugin.summary import strict_left  # noqa: PLC0415  # see above

        if strict_left(session.config):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401  # pytest-xdist's
    """Take in what was played in another process."""
    del error
    told = getattr(node, "workeroutput", {}).get(OUTPUT)
    if told is not None or node.config.getoption("stub_drop_unused"):
        from stubserver.pytest_plugin.usage import usage_of  # noqa: PLC0415  # see above

        usage_of(node.config).take(told)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:  # noqa: ANN401
    """Report what was played, and drop what was not, if that was asked for."""
    if hasattr(config, "workerinput"):  # a process of pytest-xdist knows its own tests alone
        return
    if USAGE in config.stash or config.getoption("stub_report") or config.getoption("stub_drop_unused"):
        from stubserver.pytest_plugin.summary import conclude  # noqa: PLC0415  # see above

        conclude(terminalreporter, exitstatus, config)
