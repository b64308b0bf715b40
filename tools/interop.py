"""Give what we export to the tools themselves, and see that they play and read it: WireMock and mitmproxy.

Installs both below build/interop (npm and Java are needed for WireMock); ends with status 1 when anything differs.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stubserver.cassettes.library import Library
from stubserver.interchange import Carried, formats
from stubserver.messages import Interaction, header

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "interop"
STUBSERVER = [sys.executable, "-m", "stubserver"]
PATIENCE = 60.0


def main() -> int:
    """Try both tools on the bundled cassettes."""
    for program in ("npm", "java"):
        if shutil.which(program) is None:
            print(f"{program} is not on this machine: nothing was tried")
            return 1
    BUILD.mkdir(parents=True, exist_ok=True)
    found = [recording.interaction() for recording in Library([ROOT / "cassettes"]).playlist]
    problems = [*wiremock(found), *mitmproxy(found)]
    for line in problems:
        print(line)
    print(f"{len(found)} interactions played by WireMock and read by mitmproxy, {len(problems)} differ")
    return 1 if problems else 0


def wiremock(found: list[Interaction]) -> Iterator[str]:
    """Yield what WireMock answers in another way than was recorded; each request is asked as often as it is there."""
    subprocess.run(["npm", "install", "--silent", "--prefix", BUILD, "wiremock@3"], check=True)
    mappings = BUILD / "wiremock" / "mappings"
    mappings.mkdir(parents=True, exist_ok=True)
    export("wiremock", mappings / "stubserver.json")
    wanted: dict[tuple[str, str, bytes], list[Interaction]] = defaultdict(list)
    for each in found:
        wanted[each.request.method, each.request.target, each.request.body].append(each)
    with serving() as url:
        for same in wanted.values():
            # Behind the last answer, the last one again.
            for turn, each in enumerate([*same, same[-1]]):
                status, body = asked(url, each)
                if (status, body) != (each.response.status, each.response.body):
                    yield f"WireMock, {each.request.target}, turn {turn + 1}: {status} {body[:80]!r}"


@contextmanager
def serving() -> Iterator[str]:
    """Run WireMock until the end of the block; give its address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command: list[str | Path] = [
        BUILD / "node_modules" / ".bin" / "wiremock",
        "--port",
        str(port),
        "--root-dir",
        BUILD / "wiremock",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until:
            with suppress(OSError), urllib.request.urlopen(f"{url}/__admin/health"):
                break
            time.sleep(0.2)
        yield url
    finally:
        with (
            suppress(OSError),
            urllib.request.urlopen(urllib.request.Request(f"{url}/__admin/shutdown", method="POST")),
        ):
            pass
        process.wait(PATIENCE)


def asked(url: str, each: Interaction) -> tuple[int, bytes]:
    """Ask what was asked when it was recorded."""
    request = each.request
    kind = header(request.headers, "content-type") or "application/json"
    to = urllib.request.Request(
        url + request.target, request.body or None, {"content-type": kind}, method=request.method
    )
    try:
        with urllib.request.urlopen(to, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def mitmproxy(found: list[Interaction]) -> Iterator[str]:
    """Yield what is another one after mitmproxy has read our archive and written it as flows."""
    home = BUILD / "mitmproxy"
    if not (home / "bin" / "mitmdump").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "--quiet", "mitmproxy"], check=True)
    archive, flows = BUILD / "stubserver.har", BUILD / "mitmproxy.flows"
    export("har", archive)
    flows.unlink(missing_ok=True)
    subprocess.run([home / "bin" / "mitmdump", "-q", "-n", "-r", archive, "-w", flows], check=True)
    again = [each.interaction for each in formats.read([flows], "") if isinstance(each, Carried)]
    if len(again) != len(found):
        yield f"mitmproxy: {len(again)} of {len(found)} interactions"
    for was, now in zip(found, again, strict=False):
        if (was.request.body, was.response.body, was.response.status) != (
            now.request.body,
            now.response.body,
            now.response.status,
        ):
            yield f"mitmproxy, {was.request.target}: {now.response.status} {now.response.body[:80]!r}"


def export(name: str, target: Path) -> None:
    """Export the bundled cassettes."""
    subprocess.run([*STUBSERVER, "export", "--format", name, ROOT / "cassettes", target], check=True)


if __name__ == "__main__":
    sys.exit(main())
