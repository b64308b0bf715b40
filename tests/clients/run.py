"""Run the suites of real clients, each in an environment of its own: ``make clients``, or this file itself.

    python tests/clients/run.py [CLIENT ...] [--base-url URL | --replayed] [--update]

Without ``--base-url`` they talk to a stub that is started here, of which they need nothing but its address. With
``--replayed`` each suite is recorded through a stub first, and then runs on the recordings alone. ``--update`` writes
what passed into ``results.json`` and the README's table; ``tests/test_works_with.py`` holds both to the suites.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree as ET

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = HERE / "results.json"
README = ROOT / "README.md"
NODE = HERE / "node"
START, END = "<!-- works with: make clients ARGS=--update -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Client:
    """One client: ``title`` for people; ``suite`` is the file of its checks, ``pins`` the one of its versions."""

    name: str
    title: str
    suite: str
    pins: str

    @property
    def is_node(self) -> bool:
        """Whether it is one for Node."""
        return self.suite.endswith(".mjs")

    def version(self) -> str:
        """Return the version that is pinned first in its file, or under its name in package.json; none for sockets."""
        text = (HERE / self.pins).read_text()
        if text.startswith("pytest"):
            return "-"
        if self.is_node:
            return str(json.loads(text)["dependencies"][self.name.removeprefix("node-")])
        return text.partition("==")[2].partition("\n")[0]

    def fingerprint(self) -> str:
        """Return what changes with its checks or its versions."""
        files = [HERE / self.suite, HERE / self.pins] + ([] if self.is_node else [HERE / "conftest.py"])
        return sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _python(name: str, title: str, suite: str | None = None) -> Client:
    return Client(name, title, f"test_{suite or name.replace('-', '_')}.py", f"requirements/{name}.txt")


CLIENTS = {
    client.name: client
    for client in (
        _python("openai-3", "openai for Python", "openai"),
        _python("openai-2", "openai for Python", "openai"),
        _python("langchain", "langchain-openai"),
        _python("litellm", "litellm"),
        _python("instructor", "instructor"),
        _python("pydantic-ai", "pydantic-ai"),
        _python("llama-index", "llama-index"),
        Client("node-openai", "openai for Node", "node/openai.test.mjs", "node/package.json"),
        Client("node-ai", "AI SDK", "node/ai.test.mjs", "node/package.json"),
        _python("sockets", "plain sockets"),
    )
}


@dataclass(frozen=True)
class Counts:
    """How many checks of a run passed, failed and were skipped; ``failed`` names them."""

    passed: int
    failed: tuple[str, ...]
    skipped: int


# --- environments -------------------------------------------------------------------------------------------------


def prepare(client: Client) -> None:
    """Install what *client* needs, unless its pins are those of the last time."""
    place = NODE if client.is_node else ROOT / f".venv-clients-{client.name}"
    stamp = (NODE / "node_modules" if client.is_node else place) / ".pins"
    pins = (HERE / client.pins).read_text()
    if stamp.exists() and stamp.read_text() == pins:
        return
    print(f"{client.name}: installing", flush=True)
    if client.is_node:
        _do(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *_node_package()], cwd=NODE)
    else:
        _do([sys.executable, "-m", "venv", str(place)])
        _do([str(place / "bin/python"), "-m", "pip", "install", "-q", "-r", str(HERE / client.pins)])
    stamp.write_text(pins)


def _node_package() -> list[str]:
    """Return the package that holds Node itself, where the machine's is too old for the clients."""
    wanted = json.loads((NODE / "package.json").read_text())["engines"]["node"].removeprefix(">=")
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    if int(re.sub(r"\D.*", "", found.lstrip("v")) or 0) >= int(wanted):
        return []
    system, machine = os.uname().sysname.lower(), {"x86_64": "x64", "aarch64": "arm64"}.get(os.uname().machine, "arm64")
    return ["--no-save", f"node-{system}-{machine}@{wanted}"]


def _node() -> str:
    own = sorted((NODE / "node_modules").glob("node-*-*/bin/node"))
    return str(own[0]) if own else "node"


def _do(command: list[str], cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, check=False, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


# --- one run ------------------------------------------------------------------------------------------------------


def check(client: Client, base_url: str) -> Counts:
    """Run the suite of *client* against the server at *base_url*."""
    environment = {**os.environ, "CLIENTS_BASE_URL": base_url, "NO_PROXY": "127.0.0.1,localhost"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        if client.is_node:
            to = f"--test-reporter-destination={report}"
            command = [_node(), "--test", "--test-reporter=junit", to, str(HERE / client.suite)]
        else:
            python = ROOT / f".venv-clients-{client.name}/bin/python"
            command = [str(python), "-m", "pytest", "-q", "-c", str(HERE / "pytest.ini"), f"--junitxml={report}"]
            command.append(str(HERE / client.suite))
        # Not from our own folder, whose pytest plugin would be taken for one that is installed.
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
        found = _counts(report) if report.exists() else None
    if found is None or found.failed or done.returncode:
        sys.stdout.write(done.stdout[-8000:] + done.stderr[-4000:])
    if found is None or (done.returncode and not found.failed):
        return Counts(found.passed if found else 0, (f"the suite did not end well: {done.returncode}",), 0)
    return found


def _counts(report: Path) -> Counts:
    cases = list(ET.parse(report).iter("testcase"))
    failed = [case.get("name", "?") for case in cases if any(e.tag in {"failure", "error"} for e in case)]
    skipped = sum(any(e.tag == "skipped" for e in case) for case in cases)
    return Counts(len(cases) - len(failed) - skipped, tuple(failed), skipped)


@contextmanager
def stub(*options: str) -> Iterator[str]:
    """Serve, in a process of its own; gives the base URL."""
    command = [sys.executable, "-m", "stubserver", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            first = server.stdout.readline() if server.stdout else ""
            yield first.rpartition(" ")[2].strip() + "/v1"
        finally:
            server.terminate()


def replayed(client: Client) -> Counts:
    """Run the suite on its own recordings: first recorded through a stub, then played with nothing behind them."""
    with tempfile.TemporaryDirectory() as folder:
        tape = str(Path(folder) / f"{client.name}.yaml")
        record = ("--record-mode", "new_episodes", *(f"--record-status={code}" for code in (400, 404, 405)))
        with stub() as dummy, stub(tape, *record, "--upstream", dummy.removesuffix("/v1")) as recorder:
            made = check(client, recorder)
        if made.failed:
            return made
        with stub(tape, "--fallback", "error") as player:
            return check(client, player)


# --- what passed --------------------------------------------------------------------------------------------------


def table(results: dict[str, dict[str, object]]) -> str:
    """Return the README's table."""
    rows = ["| client | version | checks passed |", "| --- | --- | --- |"]
    for name, client in CLIENTS.items():
        if name in results:
            rows.append(f"| {client.title} | {client.version()} | {results[name]['passed']} |")
    return "\n".join(rows) + "\n"


def update(found: dict[str, Counts]) -> None:
    """Write down what passed."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, counts in found.items():
        client = CLIENTS[name]
        results[name] = {"version": client.version(), "passed": counts.passed, "fingerprint": client.fingerprint()}
    results = {name: results[name] for name in CLIENTS if name in results}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    before, _, rest = README.read_text().partition(START)
    if rest:
        README.write_text(before + START + "\n" + table(results) + "\n" + END + rest.partition(END)[2])


def main() -> int:
    """Run what is asked for; 1 if a check failed."""
    parser = argparse.ArgumentParser(description="Run the suites of real clients.")
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(CLIENTS)}; all without one")
    parser.add_argument("--base-url", metavar="URL", help="a server that is running, …/v1 at its end")
    parser.add_argument("--replayed", action="store_true", help="on recordings of themselves")
    parser.add_argument("--update", action="store_true", help="write results.json and the README's table")
    asked = parser.parse_args()
    unknown = [name for name in asked.clients if name not in CLIENTS]
    if unknown or (asked.update and (asked.base_url or asked.replayed)):
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "--update is for a run against the stub itself")
    chosen = [CLIENTS[name] for name in asked.clients or CLIENTS]
    for client in chosen:
        prepare(client)
    found = _run(chosen, asked.base_url, on_recordings=asked.replayed)
    failed = sum(len(counts.failed) for counts in found.values())
    if asked.update and not failed:
        update(found)
    print(f"{sum(counts.passed for counts in found.values())} passed, {failed} failed")
    return 1 if failed else 0


def _run(chosen: list[Client], base_url: str | None, *, on_recordings: bool) -> dict[str, Counts]:
    found = {}
    for client in chosen:
        if on_recordings:
            counts = replayed(client)
        elif base_url:
            counts = check(client, base_url)
        else:
            with stub() as started:
                counts = check(client, started)
        skipped = f", {counts.skipped} skipped" if counts.skipped else ""
        print(
            f"{client.name} {client.version()}: {counts.passed} passed, {len(counts.failed)} failed{skipped}",
            flush=True,
        )
        for name in counts.failed:
            print(f"  failed: {name}")
        found[client.name] = counts
    return found


if __name__ == "__main__":
    sys.exit(main())
