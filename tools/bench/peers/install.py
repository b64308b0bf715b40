"""Peers from their registries: npm packages and PyPI packages, each in a folder of its own below build/peers.

What is there is left as it is: delete the folder for newer versions. What cannot be had is an :class:`Absent` with the
reason, which the results name. Nothing is fetched from anywhere but the two registries, by their ordinary clients.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "build" / "peers"
PATIENCE_SECONDS = 600.0
PYTHONS = ("python3.13", "python3.12")
"""Asked for in this order, then our own: some peers' newest releases want a newer Python than we do."""


@dataclass(frozen=True)
class Package:
    """What is installed: a *spec* for ``npm install`` or ``pip install``; *program* is the command that it brings."""

    registry: str
    name: str
    program: str
    spec: str = ""


@dataclass(frozen=True)
class Installed:
    """A package that is there: the folder it is in, its command, its version."""

    folder: Path
    program: Path
    version: str


@dataclass(frozen=True)
class Absent:
    """A package that cannot be had, and why, in one line."""

    why: str


def ensure(package: Package, root: Path = FOLDER) -> Installed | Absent:
    """Install *package* unless it is there."""
    folder = root / package.registry / package.name.replace("/", "-").lstrip("@")
    found = _found(package, folder)
    if found is None:
        print(f"installing {package.name} into {folder}", flush=True)
        problem = _npm(package, folder) if package.registry == "npm" else _pip(package, folder)
        found = _found(package, folder)
        if found is None:
            return Absent(problem or f"its package brings no command {package.program}")
    return found


def _found(package: Package, folder: Path) -> Installed | None:
    bin_folder = folder / "node_modules" / ".bin" if package.registry == "npm" else folder / "bin"
    program = bin_folder / package.program
    version = _npm_version(package, folder) if package.registry == "npm" else _pip_version(package, folder)
    return Installed(folder, program, version) if version and program.exists() else None


def _npm_version(package: Package, folder: Path) -> str:
    path = folder / "node_modules" / package.name / "package.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["version"]) if path.exists() else ""


def _pip_version(package: Package, folder: Path) -> str:
    stem = package.name.replace("-", "_")
    found = sorted(folder.glob(f"lib/python3*/site-packages/{stem}-*.dist-info"))
    return found[-1].name.removeprefix(f"{stem}-").removesuffix(".dist-info") if found else ""


def _npm(package: Package, folder: Path) -> str:
    if shutil.which("npm") is None:
        return "npm is not on this machine"
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    return _run(["npm", "install", *options, "--prefix", str(folder), package.spec or package.name])


def _pip(package: Package, folder: Path) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    problem = _run([_python(), "-m", "venv", str(folder)])
    options = ["--quiet", "--disable-pip-version-check"]
    return problem or _run(
        [str(folder / "bin" / "python"), "-m", "pip", "install", *options, package.spec or package.name]
    )


def _python() -> str:
    """Return a newer Python if one starts: a name on the PATH may be a stand-in for a version that is not there."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for name in PYTHONS:
        candidates = [shutil.which(name), *versions.glob(f"{name.removeprefix('python')}.*/bin/python")]
        found = next((str(path) for path in candidates if path and not _run([str(path), "-c", "pass"])), None)
        if found:
            return found
    return sys.executable


def _run(command: Sequence[str]) -> str:
    """Run a program; return why it failed, empty when it did not."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            env={**os.environ, "CI": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{Path(command[0]).name}: {type(error).__name__}"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return f"{Path(command[0]).name} ended with status {done.returncode}: {lines[-1][:200] if lines else 'no word'}"
