"""Prove on a real model that a replay gives clients what the recording gave them: `make real-model`.

The model of the bundled cassettes is served, stubserver records in front of it, and every client asks everything once.
Then the model is stopped, and the clients ask again: each line of theirs has to be the same. The clients are openai's
newest, the newest openai 2 in an environment of its own (`.venv-openai-2/`), and Node's fetch where there is Node.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from record_examples import (  # noqa: E402  # it is no package
    ROOT,
    SERVER_OPTIONS,
    RecordingError,
    model_python,
    model_server,
    prepare_environment,
    unpack_model,
)

from stubserver import StubServer  # noqa: E402

# By default it cuts a stream off when another request comes in, right behind a [DONE] that is not true; what is cut is
# passed on, and rightly not recorded.
OPTIONS = (*SERVER_OPTIONS, "--interrupt_requests", "false")
OLDER = ROOT / ".venv-openai-2"


def clients() -> dict[str, list[str]]:
    """Return the command that asks everything, by the client's name."""
    python = OLDER / "bin" / "python"
    if not python.exists():
        venv.create(OLDER, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "openai>=2,<3"], check=True)
    found = {
        "openai": [sys.executable, str(HERE / "ask_all.py")],
        "openai 2": [str(python), str(HERE / "ask_all.py")],
    }
    node = shutil.which("node")
    return found | ({"Node's fetch": [node, str(HERE / "ask_all.mjs")]} if node else {})


def ask(command: list[str], url: str) -> list[str]:
    """Let a client ask everything at *url*; return its lines."""
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"The client failed:\n{done.stderr}"
        raise RecordingError(msg)
    return done.stdout.splitlines()


def record(folder: Path, commands: dict[str, list[str]]) -> dict[str, list[str]]:
    """Record what each client asks, into a cassette of its own; return the lines of each."""
    python = model_python()
    prepare_environment(python)
    unpack_model(python, folder / "model.gguf")
    lines: dict[str, list[str]] = {}
    with model_server(python, folder / "model.gguf", folder / "server.log", OPTIONS) as url:
        for name, command in commands.items():
            with StubServer(
                cassette(folder, name), record_mode="all", upstream=url, record_status=[400, 404, 500]
            ) as stub:
                lines[name] = ask(command, stub.base_url)
                lost = [entry.note for entry in stub.journal if entry.note]
            if lost:
                msg = f"{name}: not all was recorded: {lost}"
                raise RecordingError(msg)
    return lines


def cassette(folder: Path, name: str) -> Path:
    """Return the place of a client's cassette."""
    return folder / f"{name.replace(' ', '-')}.yaml"


def differences(name: str, recorded: list[str], folder: Path, command: list[str]) -> int:
    """Let a client ask the replay; print and count the lines that are not as recorded."""
    with StubServer(cassette(folder, name), fallback="error", on_exhausted="error") as stub:
        replayed = ask(command, stub.base_url)
        unplayed = stub.unplayed
    different = [pair for pair in zip(recorded, replayed, strict=False) if pair[0] != pair[1]]
    for old, new in different:
        print(f"{name}: NOT the same:\n  recorded {old[:500]}\n  replayed {new[:500]}")
    print(f"{name}: {len(recorded) - len(different)} of {len(recorded)} results are the same, {len(unplayed)} unplayed")
    return len(different) + abs(len(recorded) - len(replayed)) + len(unplayed)


def main() -> int:
    """Record, replay, compare; return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        commands = clients()
        with tempfile.TemporaryDirectory(prefix="stubserver-real-", ignore_cleanup_errors=True) as folder:
            lines = record(Path(folder), commands)
            print("The model is stopped")
            wrong = sum(differences(name, lines[name], Path(folder), commands[name]) for name in commands)
    except RecordingError as error:
        print(error, file=sys.stderr)
        return 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
