"""Who takes part: how each peer is installed, given its stubs and started, its journal off as its manual advises."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import servers

from peers import stubs
from peers.install import Absent, Installed, Package
from peers.stubs import Recorded

Words = list[str | Path]
Start = Callable[[Installed, Recorded, Path, int], Words]
"""Writes what the peer reads into a folder, and returns the command that serves it at a port."""


@dataclass(frozen=True)
class Peer:
    """A server that others wrote. ``java``: it runs on the JVM. ``fixed``: it has its own answer for everything."""

    name: str
    package: Package
    start: Start
    java: bool = False
    fixed: bool = False
    note: str = ""


def _jar(installed: Installed, pattern: str) -> str:
    """Return the jar that an npm package brings: run by itself it starts sooner than through node."""
    found = sorted(installed.folder.glob(f"node_modules/*/{pattern}"))
    if not found:
        raise servers.BenchError("its package holds no jar, and would fetch it from elsewhere at its first start")
    return str(found[-1])


def _wiremock(write: Callable[[Recorded, Path], Path]) -> Start:
    def start(installed: Installed, recordings: Recorded, folder: Path, port: int) -> Words:
        root = write(recordings, folder)
        quiet = ("--no-request-journal", "--disable-request-logging", "--disable-banner")
        jar = _jar(installed, "build/wiremock-standalone-*.jar")
        return ["java", "-jar", jar, "--port", str(port), "--bind-address", "127.0.0.1", "--root-dir", root, *quiet]

    return start


def _mockserver(installed: Installed, recordings: Recorded, folder: Path, port: int) -> Words:
    settings = {
        "logLevel": "WARN",
        "disableLogging": "true",
        "disableSystemOut": "true",
        "maxExpectations": str(len(recordings.numbers) + 100),
        "initializationJsonPath": str(stubs.mockserver(recordings, folder)),
        "localBoundIP": "127.0.0.1",
    }
    options = [f"-Dmockserver.{name}={value}" for name, value in settings.items()]
    return ["java", *options, "-jar", _jar(installed, "mockserver-netty-*.jar"), "-serverPort", str(port)]


def _mountebank(installed: Installed, recordings: Recorded, folder: Path, port: int) -> Words:
    path = stubs.mountebank(recordings, folder, port)
    admin = str(servers.free_port())
    quiet: Words = ["--nologfile", "--loglevel", "error", "--pidfile", folder / "mb.pid"]
    return [installed.program, "start", "--port", admin, "--localOnly", "--configfile", path, "--noParse", *quiet]


def _aimock(installed: Installed, recordings: Recorded, folder: Path, port: int) -> Words:
    quiet = ["--log-level", "silent", "--journal-max", "1"]
    fixtures = stubs.aimock(recordings, folder)
    return [installed.program, "--host", "127.0.0.1", "--port", str(port), "--strict", "--fixtures", fixtures, *quiet]


def _mitmproxy(installed: Installed, recordings: Recorded, folder: Path, port: int) -> Words:
    options = {
        "confdir": str(folder / "conf"),
        "connection_strategy": "lazy",
        "keepserving": "true",
        "server_replay": str(stubs.mitmproxy(recordings, folder)),
        "server_replay_extra": "404",
        "server_replay_ignore_host": "true",
        "server_replay_ignore_port": "true",
        "server_replay_refresh": "false",
        "server_replay_reuse": "true",
    }
    given = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    where = ["--listen-host", "127.0.0.1", "--listen-port", str(port), "--mode", f"reverse:{stubs.NOWHERE}"]
    return [installed.program, "-q", *where, *given]


def _prism(installed: Installed, recordings: Recorded, folder: Path, port: int) -> Words:
    return [
        installed.program,
        "mock",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-v",
        "silent",
        stubs.prism(recordings, folder),
    ]


def _llmock(installed: Installed, _recordings: Recorded, _folder: Path, port: int) -> Words:
    return [installed.program, "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]


def _fakellm(installed: Installed, recordings: Recorded, folder: Path, port: int) -> Words:
    config = stubs.fakellm(recordings, folder)
    return [installed.program, "serve", "--host", "127.0.0.1", "--port", str(port), "--config", config]


_WIREMOCK = Package("npm", "wiremock", "wiremock")

PEERS = (
    Peer("WireMock, JSON compared", _WIREMOCK, _wiremock(stubs.wiremock), java=True),
    Peer("WireMock, text compared", _WIREMOCK, _wiremock(stubs.wiremock_text), java=True),
    Peer("MockServer", Package("npm", "mockserver-node", "mockserver"), _mockserver, java=True),
    Peer("mountebank", Package("npm", "@mbtest/mountebank", "mb"), _mountebank),
    Peer(
        "aimock",
        Package("npm", "@copilotkit/aimock", "llmock"),
        _aimock,
        note="looks for a part of the last message only, and makes the answer around its text",
    ),
    Peer(
        "mitmproxy", Package("pypi", "mitmproxy", "mitmdump"), _mitmproxy, note="finds its answers by a hash, as we do"
    ),
    Peer(
        "Prism",
        Package("npm", "@stoplight/prism-cli", "prism", "@stoplight/prism-cli@5.14.2"),
        _prism,
        fixed=True,
        note="the last release for Node 20",
    ),
    Peer(
        "llmock", Package("pypi", "llmock", "llmock"), _llmock, fixed=True, note="has no option that ends its journal"
    ),
    Peer(
        "fakellm",
        Package("pypi", "fakellm", "fakellm"),
        _fakellm,
        fixed=True,
        note="logs each request, with no option against it",
    ),
)

NOT_TRIED = {"Hoverfly": "it is in none of the registries that this benchmark installs from"}
"""Peers that the goals name and that cannot be had here, with the reason."""


def lacks(peer: Peer) -> Absent | None:
    """Say what the machine lacks to run *peer*."""
    if peer.java and not _runs("java", "-version"):
        return Absent("there is no Java on this machine")
    if peer.package.registry == "npm" and not _runs("node", "--version"):
        return Absent("there is no Node on this machine")
    return None


def _runs(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )
