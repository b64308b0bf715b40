"""SECURITY.md and tests/RELIABILITY.md held to the tests: every item is shown by tests that exist, or says why not."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
ITEMS = {"H": 12, "R": 10, "S": 12, "D": 13, "L": 10, "F": 6}
ROWS = re.findall(r"^\| ([A-Z][0-9]+) \| (.+?) \| (.+?) \|$", (TESTS / "RELIABILITY.md").read_text(), re.MULTILINE)
FLOORS = {"vcrpy": "8.2.1", "urllib3": "2.6.3"}


def functions_of(name: str) -> set[str]:
    tree = ast.parse((TESTS / name).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_every_item_stands_there_once_and_in_its_order() -> None:
    assert [row[0] for row in ROWS] == [f"{letter}{n}" for letter, most in ITEMS.items() for n in range(1, most + 1)]


@pytest.mark.parametrize(("item", "shown"), [(row[0], row[2]) for row in ROWS])
def test_an_item_is_shown_by_tests_that_exist_or_says_why_not(item: str, shown: str) -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", shown)
    commands = re.findall(r"`make ([a-z-]+)`", shown)
    makefile = (ROOT / "Makefile").read_text()

    assert named or commands or re.match(r"not applicable: .{20,}", shown), item
    assert [test for file, test in named if test not in functions_of(file)] == []
    assert [name for name in commands if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_the_files_that_the_threats_name_are_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", (ROOT / "SECURITY.md").read_text()))

    assert len(named) > 10
    assert [name for name in sorted(named) if not (TESTS / name).exists()] == []


@pytest.mark.parametrize("name", FLOORS)
def test_dependencies_begin_behind_their_known_holes(name: str) -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirement = next(r for r in map(Requirement, needed) if r.name == name)
    floor = Version(FLOORS[name])

    assert floor in requirement.specifier
    assert f"{floor.major}.{floor.minor}.{floor.micro - 1}" not in requirement.specifier
    assert Version(version(name)) >= floor
