"""The README's table of clients says what ``make clients`` saw pass, of the suites and the versions that are here."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = ROOT / "tests" / "clients"


def runner() -> Any:
    """Load the file that runs the suites; it is no part of a package."""
    spec = importlib.util.spec_from_file_location("run_clients", CLIENTS / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


RUN = runner()
RESULTS = json.loads((CLIENTS / "results.json").read_text())


def test_every_client_was_run() -> None:
    assert list(RESULTS) == list(RUN.CLIENTS)


@pytest.mark.parametrize("name", RUN.CLIENTS)
def test_what_passed_is_of_the_suite_that_is_here(name: str) -> None:
    client = RUN.CLIENTS[name]
    assert RESULTS[name]["fingerprint"] == client.fingerprint(), f"make clients ARGS='{name} --update'"
    assert RESULTS[name]["version"] == client.version()
    assert RESULTS[name]["passed"] > 0


def test_the_table_says_what_passed() -> None:
    readme = (ROOT / "README.md").read_text()
    assert RUN.table(RESULTS) in readme, "make clients ARGS=--update"


def test_the_suites_are_those_that_are_run() -> None:
    found = {path.name for path in CLIENTS.glob("test_*.py")} | {f"node/{p.name}" for p in CLIENTS.glob("node/*.mjs")}
    assert found == {client.suite for client in RUN.CLIENTS.values()}


@pytest.mark.parametrize("path", sorted((CLIENTS / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_versions_are_pinned_by_name_alone(path: Path) -> None:
    for line in path.read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[0-9.]+", line), line


def test_the_count_of_the_official_client_is_what_is_collected() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:cov"]
    done = subprocess.run(
        [*command, str(CLIENTS / "test_openai.py")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    collected = sum("::test_" in line for line in done.stdout.splitlines())
    assert RESULTS["openai-3"]["passed"] == collected


def test_what_cannot_be_run_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(CLIENTS / "run.py"), "nobody"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unknown: nobody" in done.stderr
