"""The README tells the truth: its examples are run, its options are the command's, its commands are make's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from stubserver import StubServer
from stubserver.cli import COMMANDS, main
from stubserver.faults.kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```(sh|python|js)\n((?:(?!```).)*)```\n\n```text\n(.*?)```", README, re.DOTALL)
RUNNERS = {"sh": ["bash", "-euo", "pipefail"], "python": [sys.executable, "-"], "js": ["node", "--input-type=module"]}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with StubServer(ROOT / "cassettes") as stub:
        yield stub.url


def test_every_language_has_an_example() -> None:
    assert {language for language, _, _ in EXAMPLES} == RUNNERS.keys()


@pytest.mark.parametrize(
    ("language", "code", "expected"), EXAMPLES, ids=[f"{i}-{e[0]}" for i, e in enumerate(EXAMPLES)]
)
def test_example_prints_what_the_readme_says(language: str, code: str, expected: str, url: str) -> None:
    command = RUNNERS[language]
    if shutil.which(command[0]) is None and not os.environ.get("CI"):
        pytest.skip(f"{command[0]} is not on this machine; CI has it")

    code = code.replace("http://127.0.0.1:8080", url)
    # The command itself is where this Python is.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, input=code, capture_output=True, text=True, cwd=ROOT, env=env, timeout=60, check=False
    )

    assert done.stderr == ""
    assert done.stdout == expected


def options_of(name: str) -> set[str]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    names = [name for option in command.params for name in (*option.opts, *option.secondary_opts)]
    return {name for name in names if name.startswith("--")}


PLUGIN = set(re.findall(r"--stub-[a-z-]+", (ROOT / "stubserver" / "pytest_plugin" / "settings.py").read_text()))


def test_every_option_of_serve_is_described() -> None:
    described = set(re.findall(r"`(--[a-z-]+)", README))

    assert options_of("serve") - described == set()
    assert PLUGIN - {"--stub-"} - described == set()
    assert described - set().union(*map(options_of, COMMANDS)) == {name for name in described if name in PLUGIN}


def test_the_two_commands_are_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()

    for target in re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_lead_to_files() -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_every_fault_stands_in_the_table() -> None:
    rows = "".join(line.split("|")[1] for line in README.splitlines() if line.startswith("| `"))

    assert [name for name in KINDS if f"`{name}`" not in rows] == []
