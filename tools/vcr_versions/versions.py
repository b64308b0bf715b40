"""Prove that vcrpy 7, 8 and 9 and pytest-recording read what we write: `make vcr-versions`.

Each version is installed into an environment of its own, `.venv-vcr-<version>/`, and replays the bundled cassettes,
which our own proxy recorded, and one with all that is odd. What a client gets is compared with what we read ourselves.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from stubserver.cassettes.library import Library
from stubserver.cassettes.writer import cassette_text
from stubserver.messages import Interaction, Request, Response, header

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
# One of each: the newest patch of it.
VERSIONS = {
    "7": ("vcrpy>=7,<8", "pytest-recording==0.13.4"),
    "8": ("vcrpy>=8,<9", "pytest-recording"),
    "9": ("vcrpy>=9,<10", "pytest-recording"),
}
JSON = (("content-type", "application/json"),)
SSE = (("content-type", "text/event-stream"),)


def odd() -> list[Interaction]:
    """Make interactions that hold everything a cassette can."""
    bodies = {
        "binary": bytes(range(256)) * 20,
        "text": "Grüße ✓ 🙂 \u2028\u2029 \x85 \ufeff\x00\x1f\r\n\t".encode(),
        "yaml": b"- request:\nversion: 1\n&a *a !!python/object: x\n",
        "long": b'{"a": "' + b"many words and more " * 500 + b'"}',
        "empty": b"",
    }
    found = [made(name, body, Response(200, JSON, body, "OK")) for name, body in bodies.items()]
    stream = b'data: {"a": "\xc3\xa9"}\n\n' * 20 + b"data: [DONE]\n\n"
    found.append(made("stream", b"{}", Response(200, SSE, stream, "OK", times=tuple(range(5, 26)), events=True)))
    found.append(made("error", b"{}", Response(404, JSON, b'{"error": 1}', "Not Found")))
    repeats = [made("again", b"{}", Response(200, JSON, b"%d" % number, "OK")) for number in range(3)]
    return [*found, *repeats]


def made(name: str, body: bytes, response: Response) -> Interaction:
    """Make one interaction."""
    request = Request.from_uri("POST", f"https://api.example.com/v1/{name}?x=%20'", JSON, body)
    return Interaction(request, response)


def expected(path: Path) -> list[str]:
    """Return the lines that play_with_vcr.py is to print of a cassette."""
    found = []
    for recording in Library([path]).playlist:
        response = recording.response()
        digest = hashlib.sha256(response.body).hexdigest()
        found.append(json.dumps([response.status, digest, header(response.headers, "content-type")]))
    return found


def environment(version: str, packages: tuple[str, ...]) -> Path:
    """Return the Python of the environment with that version, made if it is not there."""
    folder = ROOT / f".venv-vcr-{version}"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run([*command, "requests", "pytest"], check=True)
    return python


def replays(python: Path, cassettes: list[Path]) -> bool:
    """Compare what vcrpy plays of each cassette with what we read."""
    good = True
    for path in cassettes:
        done = subprocess.run([python, HERE / "play_with_vcr.py", path], capture_output=True, text=True, check=False)
        if done.returncode or done.stdout.splitlines() != expected(path):
            print(f"  {path.name}: NOT as we read it\n{done.stderr}")
            good = False
    return good


def plays_in_pytest(python: Path, folder: Path) -> bool:
    """Run pytest-recording's own marker over a cassette of ours, at its default place."""
    place = folder / "cassettes" / "test_recording" / "test_models.yaml"
    place.parent.mkdir(parents=True)
    shutil.copy(HERE / "with_pytest_recording.py", folder / "test_recording.py")
    shutil.copy(ROOT / "cassettes" / "local-model" / "models.yaml", place)
    command = [str(python), "-m", "pytest", "-q", "--record-mode=none", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ})
    if done.returncode:
        print(done.stdout)
    return done.returncode == 0


def versions_in(python: Path) -> str:
    """Name what is installed there."""
    code = "from importlib.metadata import version as v; print(*(f'{p} {v(p)}' for p in ('vcrpy', 'pytest-recording')))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Try each version, and return the exit status."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="stubserver-vcr-") as name:
        path = Path(name) / "odd.yaml"
        path.write_bytes(cassette_text(odd()))
        cassettes = [*sorted((ROOT / "cassettes").rglob("*.yaml")), path]
        count = sum(len(expected(cassette)) for cassette in cassettes)
        for version in sys.argv[1:] or VERSIONS:
            python = environment(version, VERSIONS[version])
            good = replays(python, cassettes)
            in_pytest = plays_in_pytest(python, Path(name) / version)
            result = "reads all of them" if good and in_pytest else "FAILED"
            print(f"{versions_in(python)}: {count} interactions in {len(cassettes)} cassettes: {result}")
            failed = failed or not (good and in_pytest)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
