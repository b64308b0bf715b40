"""The pytest plugin, by running pytest on small projects: record, replay offline, drift, leftovers, processes."""

from __future__ import annotations

import glob
import json
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
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\n")
    pytester.syspathinsert()
    return pytester


@pytest.fixture
def api() -> Iterator[Upstream]:
    with upstream() as api:
        yield api


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest in this process, so that coverage sees it; the plugin is there once, by its entry point or not."""
    return project.runpytest_inprocess(*plugin(), *arguments)


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
            "To record what is missing: pytest --stub-record-mode new_episodes --stub-upstream URL 'test_it.py::*",
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
    assert passed(run(project, "--stub-fallback", "forward", "--stub-upstream", api.url))
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
        (["test_it.py", "test_other.py"], "1 tests were skipped*"),
        (["test_it.py", "test_broken.py"], "not every test passed"),
    ],
)
def test_drop_unused_removes_nothing_where_more_may_be_needed(
    project: pytest.Pytester, arguments: list[str], why: str
) -> None:
    paths = leftovers(project)
    before = [path.read_bytes() for path in paths]
    project.makepyfile(test_other="import pytest\n\ndef test_three():\n    pytest.skip('not today')\n")
    project.makepyfile(test_broken="def test_four():\n    assert False\n")
    result = run(project, "--stub-drop-unused", *arguments)
    result.stdout.fnmatch_lines([f"nothing was removed: {why}"])
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


def test_the_fixture_is_a_stub_server() -> None:
    assert {"requests", "assert_called", "wait_for"} <= set(dir(StubFixture))


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
