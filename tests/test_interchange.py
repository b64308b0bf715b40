"""Import and export as a user has them: the commands, the files of real tools, and a real client that asks again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from openai import BadRequestError, OpenAI

from stubserver import StubServer
from stubserver.cli import main
from stubserver.interchange import Carried, Lost, times_of
from stubserver.messages import Interaction, Request, Response

DATA = Path(__file__).parent / "data" / "interchange"
PARIS: dict[str, Any] = {
    "model": "gemma-3-270m",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 32,
    "temperature": 0,
}


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_what_is_found_says_where() -> None:
    carried = Carried("a.har, entry 1", Interaction(Request("GET", "/"), Response(200)))

    assert carried.notes == ()
    assert Lost("a.har, entry 2", "why") == ("a.har, entry 2", "why")


@pytest.mark.parametrize(
    ("value", "times"), [([0, 5], (0, 5)), ([-1], ()), (["1"], ()), ([True], ()), (None, ()), ([1 << 50], ())]
)
def test_times(value: object, times: tuple[int, ...]) -> None:
    assert times_of(value) == times


def test_the_samples_say_how_they_were_made() -> None:
    note = (DATA / "README.md").read_text()

    assert [path.name for path in sorted(DATA.iterdir()) if f"`{path.name}`" not in note] == ["README.md"]


@pytest.mark.parametrize(
    ("source", "status"), [("mitmproxy.har", 0), ("mitmproxy.flows", 0), ("wiremock", 1), ("wiremock-mappings.json", 1)]
)
def test_the_same_client_gets_the_same_answers_as_through_the_tool(tmp_path: Path, source: str, status: int) -> None:
    target = tmp_path / "tape.yaml"
    assert run("import", DATA / source, target).exit_code == status

    with StubServer(target, fallback="error") as stub:
        client = OpenAI(base_url=stub.base_url, api_key="none", max_retries=0)
        assert client.chat.completions.create(**PARIS).choices[0].message.content == " Paris\n"
        chunks = list(client.chat.completions.create(**PARIS, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == " Paris\n"
        embedding = client.embeddings.create(model="text-embedding-3-small", input="Hello there", dimensions=8)
        assert len(embedding.data[0].embedding) == 8
        assert [model.id for model in client.models.list()] == ["gemma-3-270m"]
        assert client.completions.create(model="any", prompt="Once upon a time", max_tokens=5).usage
        with pytest.raises(BadRequestError):
            client.chat.completions.create(model="any", messages=[])
        assert requests.get(f"{stub.base_url}/models?limit=2&after=a%20b", timeout=5).ok
        assert {entry.source for entry in stub.journal} == {"replayed"}


def test_a_fixture_of_aimock_plays_where_drift_is_allowed(tmp_path: Path) -> None:
    target = tmp_path / "tape.yaml"
    assert run("import", DATA / "aimock", target).exit_code == 1

    with StubServer(target, fallback="error", drift="allow") as stub:
        client = OpenAI(base_url=stub.base_url, api_key="none", max_retries=0)
        assert client.chat.completions.create(**PARIS).choices[0].message.content == " Paris\n"


def test_a_batch_plays_as_single_requests(tmp_path: Path) -> None:
    target = tmp_path / "tape.yaml"
    assert run("import", *sorted((DATA / "batch").iterdir()), target).exit_code == 0

    with StubServer(target, fallback="error") as stub:
        client = OpenAI(base_url=stub.base_url, api_key="none", max_retries=0)
        assert client.chat.completions.create(**PARIS).choices[0].message.content == "Mock batch completion"


def test_the_report_names_each_cause_once(tmp_path: Path) -> None:
    done = run("import", DATA / "wiremock", tmp_path / "tape.yaml")

    lines = done.output.splitlines()
    assert lines[0].endswith("tape.yaml: 8 interactions imported")
    assert lines[1] == "not carried over:"
    assert lines[2].startswith("  1 x it matches the parts of a form, or by a program (")
    assert lines[3] == "carried over without a part:"
    assert lines[4].startswith("  6 x the stub takes bodies with more in them")
    assert lines[4].endswith(" and 3 more)")


def test_the_report_for_programs(tmp_path: Path) -> None:
    done = json.loads(run("import", "--json", "--only", "models", DATA / "wiremock", tmp_path / "tape.yaml").output)
    back = json.loads(run("export", "--json", tmp_path / "tape.yaml", tmp_path / "tape.har").output)

    assert (done["imported"], done["passed_over"], len(done["lost"]), done["notes"]) == (2, 6, 1, [])
    assert back == {"exported": 2, "lost": [], "notes": []}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("import", DATA / "README.md", "x.yaml"), "none of the formats"),
        (("import", DATA / "mitmproxy.har", "x.txt"), "give a name that ends in .yaml"),
        (("import", "--only", "(", DATA / "mitmproxy.har", "x.yaml"), "no regular expression"),
        (("import", "--upstream", "x", DATA / "mitmproxy.har", "x.yaml"), "a URL such as"),
        (("import", DATA / "mitmproxy.har", "/proc/none/x.yaml"), "No such file or directory"),
        (("export", "none.yaml", "x.har"), "no such file or folder"),
        (("export", DATA / "README.md", "x.txt"), "give a name that ends in .har"),
        (("export", DATA / "README.md", "/proc/none/x.har"), "No such file or directory"),
    ],
)
def test_mistakes_say_what_to_do(args: tuple[str | Path, ...], message: str) -> None:
    done = run(*args)

    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ").replace("  ", " ")


def test_redaction_takes_the_options_of_recording(tmp_path: Path) -> None:
    target = tmp_path / "tape.yaml"

    run("import", "--redact", "Par[a-z]s", "--keep-header", "openai-organization", DATA / "mitmproxy.har", target)

    text = target.read_text()
    assert "Paris" not in text
    assert "org-madeup" in text
    assert "sk-proj" not in text
