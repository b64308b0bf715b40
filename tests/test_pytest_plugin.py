"""The pytest plugin, by running pytest on small projects: record, replay offline, drift, leftovers, processes."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import requests
from faulty_upstream import Upstream, answer, upstream
from tapes import ask, completion, recorded, tape

from stubserver import pytest_plugin
from stubserver.cassettes.library import Library
from stubserver.messages import Response
from stubserver.pytest_plugin.naming import default_cassette
from stubserver.pytest_plugin.stub import StubFixture
from stubserver.pytest_plugin.usage import Usage
from stubserver.pytest_plugin.verdicts import recorded_at

pytest_plugins = ["pytester"]

ASKING = """
    import os
    import requests

    def say(question, **more):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}], **more}
        url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
        answer = requests.post(url, json=body, headers={"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
        return answer
"""
ASKS_ONCE = """
    from client_code import say

    def test_one(stub_server):
        assert say("hi").status_code == 200
"""


assert requests  # a project's run forgets what it imported, and requests does not bear to be imported twice


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of its own, where the plugin is loaded by its name, installed or not, and nothing is set already."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "STUBSERVER_UPSTREAM"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(client_code=ASKING)
    pytester.makeini(f"[pytest]\naddopts = -p no:cacheprovider {' '.join(ALONE)}\n")
    pytester.syspathinsert()
    return pytester


@pytest.fixture
def api() -> Iterator[Upstream]:
    with upstream() as api:
        yield api


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest in this process, so that coverage sees it; the plugin is there once, by its entry point or not."""
    return project.runpytest_inprocess(*plugin(), *ALONE, *arguments)


ALONE = ("-p", "no:asyncio", "-p", "no:recording")
"""Other plugins have a test of their own."""


def plugin() -> tuple[str, ...]:
    """Load the plugin by its name where its entry point is not installed."""
    is_installed = any(point.value == "stubserver.pytest_plugin" for point in entry_points(group="pytest11"))
    return () if is_installed else ("-p", "stubserver.pytest_plugin")


def passed(result: pytest.RunResult, number: int = 1) -> bool:
    return result.parseoutcomes() == {"passed": number}


def own_cassette(project: pytest.Pytester, *questions: str, test: str = "test_one", module: str = "test_it") -> Path:
    items = [recorded(ask(question), completion(f"answer to {question}")) for question in questions]
    return tape(project.path / "cassettes" / module / f"{test}.yaml", *items)


def test_records_then_replays_with_the_upstream_gone(project: pytest.Pytester, api: Upstream) -> None:
    project.makepyfile(test_it=ASKS_ONCE)
    first = run(project, "--stub-record-mode", "once", "--stub-upstream", api.url)
    assert passed(first)
    assert api.connections == 1
    path = project.path / "cassettes" / "test_it" / "test_one.yaml"
    assert "gpt-4o-mini" in path.read_text()

    again = run(project, "--stub-record-mode", "once", "--stub-upstream", api.url)
    alone = run(project)

    assert passed(again)
    assert passed(alone)
    assert api.connections == 1


def test_real_key_reaches_the_upstream_and_nothing_else(
    project: pytest.Pytester, api: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-proj-Zx81kQpLmN2vB7cT4yW6eR9uI3oP"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    project.makepyfile(test_it=ASKS_ONCE)
    assert passed(run(project, "--stub-record-mode", "once", "--stub-upstream", api.url))
    assert api.asked[0].fields["authorization"] == f"Bearer {key}"
    assert key not in (project.path / "cassettes" / "test_it" / "test_one.yaml").read_text()

    project.makepyfile(
        test_it="""
        import os

        def test_one(stub_server):
            assert os.environ["OPENAI_API_KEY"] == "stubserver"
        """
    )
    assert passed(run(project))


def test_mode_none_opens_no_connection_to_the_upstream(project: pytest.Pytester, api: Upstream) -> None:
    project.makepyfile(
        test_it="""
        import sys
        from client_code import say

        connected = []
        sys.addaudithook(lambda name, args: connected.append(args[1]) if name == "socket.connect" else None)

        def test_one(stub_server):
            stub_server.allow_unmatched = True
            assert say("never recorded").status_code == 404
            assert {address[1] for address in connected} == {stub_server.port}
        """
    )
    # In a process of its own: such a hook stays for ever, and sees what others do here.
    options = ("--stub-record-mode", "none", "--stub-upstream", api.url)
    assert passed(project.runpytest_subprocess(*plugin(), *options))
    assert api.connections == 0


def test_prompt_that_drifted_fails_the_test_and_names_the_path(project: pytest.Pytester) -> None:
    own_cassette(project, "hello")
    project.makepyfile(
        test_it="""
        from client_code import say

        def test_one(stub_server):
            say("hello!")
        """
    )
    result = run(project)
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "stubserver: 1 of 1 requests found no recording",
            "*POST /v1/chat/completions",
            "*test_one.yaml#1 differs at",
            "*messages[[]0[]].content: recorded hello, received hello!",
            "To record what is missing: pytest --stub-record-mode new_episodes --stub-upstream URL test_it.py::*",
        ]
    )


def test_test_that_fails_by_itself_has_the_misses_beside_it(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=ASKS_ONCE)
    result = run(project)
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*assert 404 == 200*", "*stubserver call*", "*test_one.yaml does not exist"])


@pytest.mark.parametrize("how", ["marker", "attribute"])
def test_misses_may_be_allowed(project: pytest.Pytester, how: str) -> None:
    marker = "@pytest.mark.stub(allow_unmatched=True)" if how == "marker" else ""
    line = "stub_server.allow_unmatched = True" if how == "attribute" else "pass"
    project.makepyfile(
        test_it=f"""
        import pytest
        from client_code import say

        {marker}
        def test_one(stub_server):
            {line}
            assert say("new").status_code == 404
        """
    )
    assert passed(run(project))


def test_names_are_pytest_recordings(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import pytest

        class TestGroup:
            @pytest.mark.parametrize("text", ["a/b", "c"])
            def test_in_it(self, stub_cassette, text):
                print(stub_cassette[0].name)
        """
    )
    result = run(project, "-s")
    assert {"TestGroup.test_in_it[a-b].yaml", "TestGroup.test_in_it[c].yaml"} <= set(
        re.findall(r"TestGroup\.test_in_it\S+\.yaml", result.stdout.str())
    )
    item = project.getitems("def test_plain(): pass")[0]
    assert default_cassette(item) == item.path.parent / "cassettes" / item.path.stem / "test_plain.yaml"


def test_marker_and_fixture_choose_cassettes(project: pytest.Pytester) -> None:
    tape(project.path / "shared" / "one.yaml", recorded(ask("one"), completion("first")))
    tape(project.path / "shared" / "two.yaml", recorded(ask("two"), completion("second")))
    project.makepyfile(
        test_it="""
        import pytest
        from client_code import say

        @pytest.mark.stub_cassette("shared/one.yaml", "shared/two.yaml")
        def test_marked(stub_server):
            assert say("one").ok and say("two").ok

        class TestOverridden:
            @pytest.fixture
            def stub_cassette(self):
                return "shared/two.yaml"

            def test_in_it(self, stub_server):
                assert say("two").ok
        """
    )
    assert passed(run(project), 2)


def test_marker_without_a_name_is_an_error_that_says_what_to_write(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.stub_cassette
        def test_one(stub_server):
            pass
        """
    )
    result = run(project)
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["*name a cassette: @pytest.mark.stub_cassette('chat.yaml')*"])


def test_unittest_and_asyncio_tests_are_served_too(project: pytest.Pytester) -> None:
    own_cassette(project, "hi", test="TestOld.test_one")
    project.makepyfile(
        test_it="""
        import asyncio
        import unittest
        import pytest
        from client_code import say

        @pytest.mark.stub
        class TestOld(unittest.TestCase):
            def test_one(self):
                assert say("hi").ok
                self.stub_server.assert_called(times=1)

        @pytest.mark.stub(allow_unmatched=True)
        class TestNew(unittest.IsolatedAsyncioTestCase):
            async def test_two(self):
                await asyncio.to_thread(say, "hi")
                assert self.stub_server.requests[0].source == "unmatched"
        """
    )
    assert passed(run(project), 2)


def test_what_was_asked_can_be_asserted(project: pytest.Pytester) -> None:
    own_cassette(project, "hi")
    project.makepyfile(
        test_it="""
        import threading
        import pytest
        from client_code import say

        def test_one(stub_server):
            with pytest.raises(AssertionError, match="expected at least 1 request at all, 0 came; nothing was asked"):
                stub_server.assert_called()
            threading.Timer(0.05, say, ["hi"]).start()
            one, = stub_server.wait_for(1)
            assert (one.method, one.path, one.model) == ("POST", "/v1/chat/completions", "gpt-4o-mini")
            assert (one.source, one.status, one.json["messages"][0]["content"]) == ("replayed", 200, "hi")
            assert one.headers["authorization"] == "REDACTED"
            stub_server.assert_called(times=1, model="gpt-4o-mini", path="/chat/completions", body_contains="hi")
            with pytest.raises(AssertionError, match="expected 2 requests model='other', 0 came; asked was:"):
                stub_server.assert_called(times=2, model="other")
            with pytest.raises(AssertionError, match="expected 2 requests within 0.01 s"):
                stub_server.wait_for(2, timeout=0.01)
            assert say("hi").ok
            stub_server.assert_called(times=2, body_contains="hi")
            stub_server.assert_called(times=0, path="/embeddings")
        """
    )
    assert passed(run(project))


def test_environment_is_set_for_the_test_alone(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://before")
    monkeypatch.setenv("NO_PROXY", "example.com")
    project.makepyfile(
        test_it="""
        import os

        def test_one(stub_server):
            assert os.environ["OPENAI_BASE_URL"] == os.environ["OPENAI_API_BASE"] == stub_server.base_url
            assert os.environ["ANTHROPIC_BASE_URL"] == os.environ["AZURE_OPENAI_ENDPOINT"] == stub_server.url
            assert os.environ["NO_PROXY"] == "example.com,127.0.0.1,localhost"

        def test_two():
            assert os.environ["OPENAI_BASE_URL"] == "http://before"
            assert os.environ["NO_PROXY"] == "example.com"
            assert "OPENAI_API_BASE" not in os.environ
        """
    )
    assert passed(run(project), 2)


def test_one_stub_for_the_session_knows_whose_misses_they_are(project: pytest.Pytester) -> None:
    tape(project.path / "all.yaml", recorded(ask("hi"), completion("yes")))
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def stub_session_cassette():
            return "all.yaml"

        @pytest.fixture(scope="session")
        def stub_options():
            return {"on_exhausted": "error"}
        """
    )
    project.makepyfile(
        test_it="""
        from client_code import say

        def test_first(stub_server_session):
            assert say("hi").ok

        def test_misses(stub_server_session):
            say("new")

        def test_used_up(stub_server_session):
            say("hi")

        def test_last(stub_server_session):
            pass
        """
    )
    result = run(project)
    assert result.parseoutcomes() == {"passed": 2, "failed": 2}
    result.stdout.fnmatch_lines(["*stubserver: 1 of 1 requests found no recording", "*all.yaml#1 was used up*"])


def test_strict_fails_for_what_was_not_played(project: pytest.Pytester) -> None:
    own_cassette(project, "hi", "left over")
    project.makepyfile(test_it=ASKS_ONCE)
    assert passed(run(project))
    result = run(project, "--stub-strict")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["stubserver: 1 recordings were not played*", "*test_one.yaml#2"])


def test_old_recordings_fail_when_that_is_asked_for(project: pytest.Pytester) -> None:
    date = {"date": ["Mon, 01 Jan 2024 00:00:00 GMT"]}
    tape(project.path / "cassettes" / "test_it" / "test_one.yaml", recorded(ask("hi"), completion(), headers=date))
    project.makepyfile(test_it=ASKS_ONCE)
    assert passed(run(project))
    result = run(project, "--stub-max-age", "30")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["stubserver: 1 recordings are older than 30 days*", "*test_one.yaml#1: * days"])
    project.makeini("[pytest]\nstub_max_age = soon\n")
    run(project).stdout.fnmatch_lines(["*stub_max_age 'soon' is no number of days*"])


def test_command_line_counts_more_than_the_marker_and_that_more_than_the_ini_file(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nstub_fallback = dummy\n")
    project.makepyfile(
        test_it="""
        import pytest
        from client_code import say

        def test_ini(stub_server):
            assert say("new").headers["x-stubserver-source"] == "dummy"

        @pytest.mark.stub(fallback="error", allow_unmatched=True, error_status=418)
        def test_marker(stub_server):
            assert say("new").status_code in (418, 200)
        """
    )
    assert passed(run(project), 2)
    assert passed(run(project, "--stub-fallback", "dummy"), 2)
    result = run(project, "--stub-fallback", "error")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1}
    project.makeini("[pytest]\nstub_fallback = nonsense\n")
    run(project).stdout.fnmatch_lines(["*stub_fallback 'nonsense' is not known: choose from error, dummy, forward*"])


def test_recording_without_an_upstream_says_what_to_give(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=ASKS_ONCE)
    result = run(project, "--stub-record-mode", "once")
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["stubserver: recording (once) needs the upstream: name it with --stub-upstream URL"])


def test_rewrite_records_anew_and_keeps_the_old_file(project: pytest.Pytester, api: Upstream) -> None:
    path = own_cassette(project, "hi", "of long ago")
    old = path.read_text()
    project.makepyfile(test_it=ASKS_ONCE)
    assert passed(run(project, "--stub-record-mode", "rewrite", "--stub-upstream", api.url))
    assert path.with_name("test_one.yaml.before").read_text() == old
    assert "of long ago" not in path.read_text()
    assert api.connections == 1


def test_forward_passes_misses_on_and_keeps_nothing(project: pytest.Pytester, api: Upstream) -> None:
    path = own_cassette(project, "known")
    before = path.read_bytes()
    project.makepyfile(test_it=ASKS_ONCE)
    assert passed(run(project, "--stub-record-mode", "once", "--stub-fallback", "forward", "--stub-upstream", api.url))
    assert (api.connections, path.read_bytes()) == (1, before)


LEFTOVERS = """
    from client_code import say

    def test_one(stub_server):
        assert say("hi").ok

    def test_two(stub_server):
        assert say("hi").ok
"""


def leftovers(project: pytest.Pytester) -> tuple[Path, Path, Path]:
    project.makepyfile(test_it=LEFTOVERS)
    own_cassette(project, "hi")
    unused = own_cassette(project, "hi", test="test_of_last_year")
    return own_cassette(project, "hi", test="test_two"), own_cassette(project, "a", "hi", "b", test="test_one"), unused


def test_report_names_what_was_played_partly_and_never(project: pytest.Pytester) -> None:
    leftovers(project)
    result = run(project, "--stub-report")
    result.stdout.fnmatch_lines(
        [
            "cassettes/test_it/test_one.yaml: partly played, 1 of 3",
            "cassettes/test_it/test_two.yaml: played, 1 of 1",
            "cassettes/test_it/test_of_last_year.yaml: never used",
        ]
    )


def test_drop_unused_removes_what_no_test_played_and_keeps_the_old_files(project: pytest.Pytester) -> None:
    whole, partly, unused = leftovers(project)
    before = whole.read_bytes(), partly.read_bytes(), unused.read_bytes()
    result = run(project, "--stub-drop-unused")
    result.stdout.fnmatch_lines(["cassettes/test_it/test_one.yaml: 2 removed, the old file is test_one.yaml.before"])
    assert whole.read_bytes() == before[0]
    assert partly.with_name("test_one.yaml.before").read_bytes() == before[1]
    assert not unused.exists()
    assert unused.with_name("test_of_last_year.yaml.before").read_bytes() == before[2]
    assert passed(run(project, "--stub-strict"), 2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-k", "two"], "not all tests ran*"),
        (["test_it.py::test_two"], "not all tests ran*"),
        (["test_it.py"], "not all tests ran*"),
        (["-x"], "not all tests ran*"),
        (["test_it.py", "test_skipped.py"], "1 tests with a stub were skipped*"),
        (["test_it.py", "test_broken.py"], "not every test passed"),
    ],
)
def test_drop_unused_removes_nothing_where_more_may_be_needed(
    project: pytest.Pytester, arguments: list[str], why: str
) -> None:
    paths = leftovers(project)
    before = [path.read_bytes() for path in paths]
    if "test_skipped.py" in arguments:
        project.makepyfile(test_skipped="import pytest\n\ndef test_three(stub_server):\n    pytest.skip('not today')\n")
    if "test_broken.py" in arguments:
        project.makepyfile(test_broken="def test_four():\n    assert False\n")
    result = run(project, "--stub-drop-unused", *arguments)
    result.stdout.fnmatch_lines([f"nothing was removed: {why}"])
    assert [path.read_bytes() for path in paths] == before


def in_processes(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest with real processes of pytest-xdist, in a process of its own."""
    return project.runpytest_subprocess(*plugin(), *ALONE, "-p", "no:cacheprovider", "-n", "2", *arguments, timeout=120)


@pytest.mark.parametrize("mode", ["load", "loadgroup"])
def test_drop_unused_knows_what_all_processes_played(project: pytest.Pytester, mode: str) -> None:
    whole, partly, unused = leftovers(project)
    shared = tape(project.path / "cassettes" / "shared.yaml", *(recorded(ask(text), completion()) for text in "abc"))
    project.makepyfile(
        test_shared="""
        import pytest
        from client_code import say

        @pytest.mark.parametrize("text", ["a", "b"])
        @pytest.mark.stub_cassette("cassettes/shared.yaml")
        def test_shared(text):
            assert say(text).ok
        """
    )
    before = whole.read_bytes()

    result = in_processes(project, "--dist", mode, "--stub-drop-unused")

    assert passed(result, 4)
    result.stdout.fnmatch_lines(
        [
            "cassettes/shared.yaml: 1 removed, the old file is shared.yaml.before",
            "cassettes/test_it/test_one.yaml: 2 removed, the old file is test_one.yaml.before",
            "cassettes/test_it/test_of_last_year.yaml: put aside as test_of_last_year.yaml.before",
        ]
    )
    assert (whole.read_bytes(), unused.exists(), len(Library([partly]).playlist.recordings)) == (before, False, 1)
    assert len(Library([shared]).playlist.recordings) == 2
    again = in_processes(project, "--dist", mode, "--stub-drop-unused")
    again.stdout.fnmatch_lines(["every recording was played"])


def test_drop_unused_sees_a_skipped_test_of_a_group_in_another_process(project: pytest.Pytester) -> None:
    paths = leftovers(project)
    before = [path.read_bytes() for path in paths]
    project.makepyfile(
        test_skipped="""
        import pytest

        @pytest.mark.xdist_group("g")
        def test_three(stub_server):
            pytest.skip("not today")
        """
    )

    result = in_processes(project, "--dist", "loadgroup", "--stub-drop-unused")

    result.stdout.fnmatch_lines(["nothing was removed: 1 tests with a stub were skipped*"])
    assert [path.read_bytes() for path in paths] == before


def test_drop_unused_leaves_alone_what_several_processes_played_from_its_beginning(project: pytest.Pytester) -> None:
    path = project.path / "cassettes" / "session.yaml"
    tape(path, *(recorded(ask("one"), completion()) for _ in range(2)))
    before = path.read_bytes()
    project.makepyfile(
        test_it="""
        import pytest
        from client_code import say

        @pytest.mark.parametrize("number", range(2))
        def test_one(stub_server_session, number):
            assert say("one").ok
        """
    )

    result = in_processes(project, "--stub-drop-unused")

    result.stdout.fnmatch_lines(["cassettes/session.yaml: not changed: 2 processes played it, each from its*"])
    assert path.read_bytes() == before
    run(project, "--stub-drop-unused").stdout.fnmatch_lines(["every recording was played"])


def test_drop_unused_removes_nothing_when_a_process_was_lost(project: pytest.Pytester) -> None:
    paths = leftovers(project)
    before = [path.read_bytes() for path in paths]
    project.makeconftest(
        """
        import os
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish(session):
            # Not by the environment, which this session has from the one that runs this test.
            if getattr(session.config, "workerinput", {}).get("workerid") == "gw0":
                os._exit(0)
        """
    )

    result = in_processes(project, "--stub-drop-unused")

    result.stdout.fnmatch_lines(["nothing was removed: *"])
    assert [path.read_bytes() for path in paths] == before


def test_four_processes_record_into_their_cassettes_and_report_as_one(project: pytest.Pytester, api: Upstream) -> None:
    project.makepyfile(
        test_it="""
        import pytest
        from client_code import say

        @pytest.mark.parametrize("number", range(8))
        def test_own(stub_server, number):
            assert say(f"question {number}").ok

        @pytest.mark.parametrize("number", range(8))
        @pytest.mark.stub_cassette("cassettes/shared.yaml")
        def test_shared(stub_server, number):
            assert say(f"question {number}").ok
        """
    )
    recording = run(project, "-n", "4", "--stub-record-mode", "new_episodes", "--stub-upstream", api.url)
    assert passed(recording, 16)
    connections = api.connections
    assert len(list((project.path / "cassettes" / "test_it").iterdir())) == 8

    replay = run(project, "-n", "4", "--stub-report")

    assert passed(replay, 16)
    replay.stdout.fnmatch_lines(
        ["cassettes/shared.yaml: played, 8 of 8", "cassettes/test_it/test_own[[]7[]].yaml: played*"]
    )
    assert api.connections == connections


def test_imports_nothing_before_it_is_used(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import sys

        def test_nothing_is_imported():
            mine = {name for name in sys.modules if name.startswith("stubserver")}
            assert mine <= {"stubserver", "stubserver.pytest_plugin", "stubserver.pytest_plugin.settings"}
            assert "vcr" not in sys.modules
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin()]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, timeout=60, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_usage_of_several_processes_adds_up() -> None:
    one, other, all_of_it = Usage(), Usage(), Usage()
    one._add("a.yaml", 2, [1])
    other._add("a.yaml", 3, [3])
    other.left_out = 2
    for part in (one, other):
        all_of_it.take(part.as_json())
    assert (all_of_it.totals, all_of_it.left_out) == ({"a.yaml": 3}, 2)
    assert all_of_it.unplayed() == {Path("a.yaml"): {2}}


def test_the_time_of_a_recording_is_its_date_or_when_it_was_created() -> None:
    dated = Response(200, (("Date", "Thu, 01 Jan 1970 00:01:40 GMT"),), b'{"created": 5}')
    assert [recorded_at(r) for r in (dated, Response(200, (), b'{"created": 5}'), Response(200, (), b"x"))] == [
        100,
        5,
        None,
    ]


def test_the_fixtures_class_is_public_and_typed(tmp_path: Path) -> None:
    assert pytest_plugin.StubFixture is StubFixture
    assert pytest_plugin.AskedRequest.__name__ == "AskedRequest"
    with pytest.raises(AttributeError, match="no attribute 'Fixture'"):
        _ = pytest_plugin.Fixture
    pytest.importorskip("mypy", reason="only the lint has it under other Pythons")
    code = tmp_path / "typed.py"
    code.write_text(
        "from stubserver.pytest_plugin import AskedRequest, StubFixture\n"
        "def test(stub_server: StubFixture) -> None:\n"
        "    first: AskedRequest = stub_server.wait_for(1, timeout=2.0)[0]\n"
        "    reveal_type(first.model)\n"
        "    stub_server.assert_called(times=1, model='m', path='/p', body_contains='b')\n"
        "    stub_server.assert_called(time=1)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path), str(code)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False).stdout
    assert 'Revealed type is "str | None"' in said.replace("builtins.", "")
    assert "typed.py:6: error: Unexpected keyword argument" in said
    assert said.count("error:") == 1


SHARED = """
    import pytest
    from client_code import say

    @pytest.mark.parametrize("question", ["one", "two", "three", "four"])
    @pytest.mark.stub_cassette("cassettes/shared.yaml")
    def test_shared(stub_server, question):
        assert say(question).ok
"""


@pytest.mark.parametrize("mode", ["once", "all", "rewrite"])
def test_tests_that_share_a_cassette_do_not_put_aside_what_the_others_recorded(
    project: pytest.Pytester, api: Upstream, mode: str
) -> None:
    path = project.path / "cassettes" / "shared.yaml"
    old = tape(path, recorded(ask("of long ago"), completion())).read_text()
    if mode == "once":
        path.unlink()
    os.utime(path.parent, (1, 1))
    project.makepyfile(test_it=SHARED)

    assert passed(run(project, "--stub-record-mode", mode, "--stub-upstream", api.url), 4)

    assert len(Library([path]).playlist.recordings) == 4
    assert "of long ago" not in path.read_text()
    if mode != "once":
        assert path.with_name("shared.yaml.before").read_text() == old
    assert passed(run(project), 4)


def test_processes_that_share_a_cassette_rewrite_it_together(project: pytest.Pytester, api: Upstream) -> None:
    path = tape(project.path / "cassettes" / "shared.yaml", recorded(ask("of long ago"), completion()))
    old = path.read_text()
    project.makepyfile(test_it=SHARED)

    assert passed(run(project, "-n", "2", "--stub-record-mode", "rewrite", "--stub-upstream", api.url), 4)

    assert len(Library([path]).playlist.recordings) == 4
    assert path.with_name("shared.yaml.before").read_text() == old


def test_cassette_is_put_back_when_nothing_could_be_recorded(project: pytest.Pytester, api: Upstream) -> None:
    path = own_cassette(project, "hi")
    old = path.read_bytes()
    api.otherwise = answer(b"{}", status="503 Busy")
    project.makepyfile(test_it=ASKS_ONCE)

    result = run(project, "--stub-record-mode", "rewrite", "--stub-upstream", api.url)

    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["not recorded: POST /v1/chat/completions: *503*"])
    assert path.read_bytes() == old
    assert not path.with_name("test_one.yaml.before").exists()


def test_what_was_recorded_is_counted(project: pytest.Pytester, api: Upstream) -> None:
    project.makepyfile(test_it=ASKS_ONCE)
    run(project, "--stub-record-mode", "once", "--stub-upstream", api.url).stdout.fnmatch_lines(["1 answer recorded"])


def test_forwarding_is_refused_where_no_connection_may_be_opened(project: pytest.Pytester, api: Upstream) -> None:
    project.makepyfile(test_it=ASKS_ONCE)
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def stub_options():
            return {"fallback": "forward"}
        """
    )
    result = run(project, "--stub-upstream", api.url)
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["stubserver: stub_fallback 'forward' asks the upstream*--stub-record-mode once*"])
    assert api.connections == 0


def test_option_that_there_is_not_is_named(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.stub(matchon="path")
        def test_one():
            pass
        """
    )
    run(project).stdout.fnmatch_lines(["stubserver: matchon: no option of the marker stub*"])


def test_drop_unused_leaves_other_plugins_cassettes_and_skipped_tests_alone(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\naddopts = -p no:cacheprovider\nmarkers = vcr\n")
    project.makepyfile(
        test_it=ASKS_ONCE.replace("def ", "@pytest.mark.vcr\n    def test_other(): pass\n\n    def ").replace(
            "    from", "    import pytest\n    from", 1
        )
    )
    own_cassette(project, "hi")
    others = [own_cassette(project, "hi", test="test_other"), own_cassette(project, "hi", test="named_by_a_marker")]

    run(project, "--stub-drop-unused").stdout.fnmatch_lines(["every recording was played"])

    assert all(path.exists() for path in others)


def test_drop_unused_leaves_a_skipped_tests_own_cassette_alone(project: pytest.Pytester) -> None:
    own_cassette(project, "hi")
    path = own_cassette(project, "hi", test="test_two")
    project.makepyfile(test_it=ASKS_ONCE + "\n    def test_two():\n        import pytest; pytest.skip('not today')\n")

    run(project, "--stub-drop-unused").stdout.fnmatch_lines(["every recording was played"])

    assert path.exists()


def test_what_the_setup_and_the_teardown_asked_counts_too(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest
        from client_code import say

        @pytest.fixture
        def early(stub_server_session):
            say("in the setup")

        @pytest.fixture
        def late(stub_server):
            yield
            say("in the teardown")

        @pytest.fixture
        def broken(stub_server):
            say("in the setup")
            raise ValueError
        """
    )
    project.makepyfile(
        test_it="""
        def test_before(stub_server_session): pass
        def test_early(early): pass
        def test_late(late): pass
        def test_broken(broken): pass
        """
    )
    result = run(project)
    assert result.parseoutcomes() == {"passed": 2, "failed": 1, "errors": 2}
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_late*", "*Captured stubserver setup*", "*test_early*"])


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_what_a_strict_session_leaves_makes_it_fail(project: pytest.Pytester, processes: tuple[str, ...]) -> None:
    path = project.path / "cassettes" / "session.yaml"
    tape(path, recorded(ask("one"), completion()), recorded(ask("two"), completion()), recorded(ask("x"), completion()))
    project.makepyfile(
        test_it="""
        from client_code import say

        def test_one(stub_server_session):
            assert say("one").ok

        def test_two(stub_server_session):
            assert say("two").ok
        """
    )
    result = run(project, "--stub-strict", *processes)
    assert (result.parseoutcomes(), result.ret) == ({"passed": 2}, 1)
    result.stdout.fnmatch_lines(["cassettes/session.yaml: no test played #3 (--stub-strict)"])
    assert run(project, "--stub-strict", "-k", "one", *processes).ret == 0


def test_more_requests_than_a_server_remembers_are_judged(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import http.client

        def test_one(stub_server):
            client = http.client.HTTPConnection("127.0.0.1", stub_server.port)
            for number in range(1100):
                client.request("GET", f"/v1/models/{number}")
                client.getresponse().read()
            client.close()
            stub_server.assert_called(times=1, path="/models/0")
        """
    )
    run(project).stdout.fnmatch_lines(["stubserver: 1100 of 1100 requests found no recording", "  GET /v1/models/0"])


def test_long_names_are_cut_as_pytest_recording_cuts_them(project: pytest.Pytester) -> None:
    name = "test_" + "x" * 300
    item = project.getitems(f"def {name}(): pass")[0]
    mark = hashlib.md5(name.encode()).hexdigest()
    assert default_cassette(item).name == f"{name[: 255 - 5 - 32 - 3]}...{mark}.yaml"
    wide = project.getitems(f"def test_{'é' * 200}(): pass")[0]
    assert len(os.fsencode(default_cassette(wide).name)) <= 255


def test_another_ending_is_found(project: pytest.Pytester) -> None:
    item = project.getitems("def test_one(): pass")[0]
    path = item.path.parent / "cassettes" / item.path.stem / "test_one.json"
    path.parent.mkdir(parents=True)
    path.touch()
    assert default_cassette(item) == path


def test_runs_beside_pytest_recording_and_pytest_asyncio(project: pytest.Pytester) -> None:
    """All three in one project, in a process of its own: these plugins are loaded by their entry points."""
    own_cassette(project, "hi")
    own_cassette(project, "hi", test="test_async")
    own_cassette(project, "by vcr", test="test_by_vcr")
    project.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    project.makepyfile(
        test_it=ASKS_ONCE
        + """
    import httpx
    import os
    import pytest
    import requests

    async def test_async(stub_server):
        async with httpx.AsyncClient() as client:
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
            answer = await client.post(os.environ["OPENAI_BASE_URL"] + "/chat/completions", json=body)
        assert answer.headers["x-stubserver-source"] == "replayed"

    @pytest.mark.vcr
    def test_by_vcr():
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "by vcr"}]}
        answer = requests.post("https://api.openai.com/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "answer to by vcr"
    """
    )
    result = project.runpytest_subprocess(*plugin(), "--stub-strict", "--record-mode", "none")
    assert passed(result, 3), result.stdout.str()


README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def test_walk_through_of_the_readme(project: pytest.Pytester, api: Upstream) -> None:
    """Do what the README says, with an upstream of our own in the place of the API."""
    section = README.partition("## In pytest")[2].partition("\n## ")[0]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    commands = re.findall(r"^pytest(.*?)(?:  #.*)?$", section, re.MULTILINE)
    api.otherwise = answer(json.dumps(completion("Paris")).encode())
    project.makepyfile(test_capital=code[0])
    recording, replay, report, *_ = [command.split() for command in commands]

    assert passed(run(project, *(api.url if word.startswith("https:") else word for word in recording)))
    api.otherwise = answer(b"gone", status="500 Gone")
    assert passed(run(project, *replay))
    assert passed(run(project, *report))

    project.makepyfile(test_capital=code[0].replace("France", "Italy"))
    result = run(project)
    said = section.partition("```text\n")[2].partition("```")[0]
    for line in said.splitlines():
        result.stdout.fnmatch_lines(["*" + glob.escape(line.strip().removeprefix("tests/"))])
