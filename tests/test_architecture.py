"""DESIGN.md held to the code: the layers, the doors, and a test file for every module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "stubserver"

# From the ground up; a module may import from the floors below its own, and from its own.
FLOORS = (
    ("__init__", "early", "errors", "messages", "threads", "poller", "loop", "line", "leaving", "newcomers"),
    ("wrapped", "fields", "process", "jsonvalue"),
    ("canonical", "redaction", "sse", "bodies", "calls"),
    ("matchers", "answers"),
    ("wire", "scrubbing", "comparison", "upstream"),
    ("cassettes", "dummy", "journal", "tally", "keeping", "relay"),
    ("folding", "rewriting"),
    ("replay", "misses", "listing", "keeper", "pacing", "verdict", "drift", "interchange"),
    ("stored",),
    ("recorder", "building", "places", "remote", "merging"),
    ("forwarder", "keys", "faults"),
    ("app",),
    ("known", "connection", "recording", "admin"),
    ("server", "options", "startable"),
    ("view", "alone", "crew"),
    ("stub",),
    ("worker",),
    ("cli", "datatrove", "pytest_plugin"),
    ("__main__",),
)

DOORS = {
    "httptools": {"wire"},
    "yaml": {"cassettes"},
    "click": {"cli"},
    "rich": {"cli"},
    "socket": {"connection", "leaving", "line", "poller", "server", "recording", "calls"},
    "http.server": {"server"},
    "vcr": {"cassettes"},
    "requests": {"upstream"},
    "prometheus_client": {"admin"},
    "pytest": {"pytest_plugin"},
    "datatrove": {"datatrove"},
    "fsspec": {"remote"},
}

TESTED_TOGETHER = {
    "admin": {"test_admin.py"},
    "cli": {"test_cli.py"},
    "faults": {"test_faults.py"},
    "pytest_plugin": {"test_pytest_plugin.py"},
    "cassettes": {"test_reader.py"},
}
"""Rooms, and the test files that any of their modules may have its tests in."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """Name the module, or the folder it is in."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> set[str]:
    """List what a module imports at run time, anywhere in it."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    skipped = {id(n) for b in ast.walk(tree) if isinstance(b, ast.If) and is_type_checking(b) for n in ast.walk(b)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_type_checking(block: ast.If) -> bool:
    return isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"


def rooms_of(path: Path) -> set[str]:
    """List our own rooms that a module imports from."""
    known = {name for floor in FLOORS for name in floor}
    parts = [name.split(".") for name in imports(path) if name.startswith("stubserver.")]
    return {p[1] for p in parts if p[1] in known}


def test_every_module_has_its_floor() -> None:
    assert {room(path) for path in MODULES} == {name for floor in FLOORS for name in floor}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    floor = next(i for i, names in enumerate(FLOORS) if room(path) in names)

    too_high = {name for name in rooms_of(path) for i, names in enumerate(FLOORS) if name in names and i > floor}

    assert too_high == set()


@pytest.mark.parametrize("door", DOORS)
def test_only_the_door_imports(door: str) -> None:
    users = {room(path) for path in MODULES if any(n == door or n.startswith(f"{door}.") for n in imports(path))}

    assert users == DOORS[door]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_module_has_its_test_file(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    in_room = len(relative.parts) > 1
    stem = relative.parts[0] if in_room and relative.stem == "__init__" else relative.stem
    stem = {"__init__": "package", "__main__": "cli", "answers": "wire", "bodies": "wire"}.get(stem, stem)
    names = {f"test_{stem}.py", f"test_{relative.parts[0]}_{stem}.py"} if in_room else {f"test_{stem}.py"}
    names |= TESTED_TOGETHER.get(relative.parts[0], set())

    assert any((ROOT / "tests" / name).exists() for name in names)


def test_modules_are_small() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in MODULES}

    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_every_module_stands_in_the_design() -> None:
    design = (ROOT / "DESIGN.md").read_text()

    families = "schema_|pattern"
    names = [p.stem for p in MODULES if p.stem != "__init__" and not re.match(families, p.stem)]
    missing = [name for name in names if not re.search(rf"\b{name}\b", design)]

    assert missing == []
