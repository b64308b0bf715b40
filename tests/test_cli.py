"""The command line, as a user meets it: real processes for ``serve``, click's runner for the rest."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stubserver import __version__
from stubserver.cli import main

ROOT = Path(__file__).resolve().parent.parent
CASSETTES = str(ROOT / "cassettes")

ITEM = """\
- request:
    body: '{{"model":"m","messages":[{{"role":"user","content":"{prompt}"}}]}}'
    headers: {{}}
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body:
      string: '{{"answer":"{answer}"}}'
    headers:
      content-type:
      - application/json
      set-cookie:
      - {cookie}
    status:
      code: 200
      message: OK
"""


def cassette(path: Path, *prompts: str, cookie: str = "REDACTED", answer: str = "yes") -> Path:
    items = "".join(ITEM.format(prompt=prompt, cookie=cookie, answer=answer) for prompt in prompts)
    path.write_text(f"interactions:\n{items}version: 1\n")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Served:
    """A ``stubserver serve`` that has said it is ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.lines = []
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Application startup complete" in line:
                break
        else:
            pytest.fail(f"ended with {process.wait()}: {self.lines}")
        self.url = self.lines[0].removeprefix("stubserver listening on ")
        self.port = int(self.url.rpartition(":")[2])

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        assert self.process.stderr is not None
        return self.process.wait(10), self.process.stderr.read()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> Served:
        command = [sys.executable, "-m", "stubserver", "serve", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return Served(process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ask(url: str, prompt: str = "hello") -> tuple[int, dict[str, str], bytes]:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_where_and_what_and_ends_quietly(serve: Callable[..., Served], number: int) -> None:
    served = serve(CASSETTES)

    assert re.fullmatch(r"stubserver listening on http://127\.0\.0\.1:\d+", served.lines[0])
    assert re.fullmatch(r"serving \d+ interactions from \d+ cassettes", served.lines[1])
    assert "Application startup complete" in served.lines[-1]
    assert ask(served.url)[1]["x-stubserver-source"] == "dummy"
    assert served.end(number) == (0, "")


def test_serve_without_paths_is_the_dummy(serve: Callable[..., Served]) -> None:
    served = serve("--dummy-text", "ahoy", "--model", "a/b", "--model", "c")

    assert served.lines[1] == "serving no cassettes: every answer is the dummy's"
    assert json.loads(ask(served.url)[2])["choices"][0]["message"]["content"] == "ahoy"
    with urllib.request.urlopen(f"{served.url}/v1/models", timeout=10) as answer:
        assert [model["id"] for model in json.load(answer)["data"]] == ["a/b", "c"]


def test_options_reach_the_server(serve: Callable[..., Served], tmp_path: Path) -> None:
    path = cassette(tmp_path / "a.yaml", "one", "two")
    served = serve(
        path,
        "--fallback",
        "error",
        "--error-status",
        "400",
        "--match-on",
        "method,path,query",
        "--on-exhausted",
        "error",
    )

    answers = [ask(served.url, "whatever") for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 400]
    assert [headers.get("x-stubserver-cassette") for _, headers, _ in answers] == [f"{path}#1", f"{path}#2", None]
    assert json.loads(answers[2][2])["error"]["code"] == "no_recording"


def test_a_damaged_cassette_is_named_and_the_others_are_served(serve: Callable[..., Served], tmp_path: Path) -> None:
    cassette(tmp_path / "good.yaml", "one")
    (tmp_path / "bad.yaml").write_text("interactions:\n- request: !!python/object/apply:os.system ['true']\n")
    (tmp_path / "other.yaml").write_text("name: value\n")
    served = serve(tmp_path)

    assert served.lines[1] == "serving 1 interaction from 1 cassette"
    assert ask(served.url, "one")[1]["x-stubserver-source"] == "replayed"
    status, errors = served.end(signal.SIGTERM)
    assert status == 0
    assert re.search(r"error: \S*bad\.yaml.*python/object/apply:os\.system", errors)
    assert re.search(r"warning: \S*other\.yaml: not a cassette, skipped", errors)


def test_sigterm_lets_an_answer_under_way_finish(serve: Callable[..., Served], tmp_path: Path) -> None:
    size = 20_000_000
    served = serve(cassette(tmp_path / "long.yaml", "long", answer="x" * size))
    body = b'{"model":"m","messages":[{"role":"user","content":"long"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(head + body)
        received = len(client.recv(1000))
        ended: list[tuple[int, str]] = []
        ending = threading.Thread(target=lambda: ended.append(served.end(signal.SIGTERM)))
        ending.start()
        while chunk := client.recv(1_000_000):
            received += len(chunk)
        ending.join()

    assert received > size
    assert ended == [(0, "")]


def test_a_closed_standard_output_does_not_stop_it(tmp_path: Path) -> None:
    del tmp_path
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = f"{sys.executable} -m stubserver serve --port {port} | true"
    process = subprocess.Popen(["bash", "-c", command], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                status = ask(f"http://127.0.0.1:{port}")[0]
                break
            except urllib.error.URLError:
                time.sleep(0.05)
        assert status == 200
    finally:
        subprocess.run(["pkill", "-f", f"serve --port {port}"], check=False)
        assert process.communicate(timeout=10)[1] == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fallback", "forward"], "need the upstream: name it with --upstream"),
        (["--record-mode", "once", "a.yaml"], "need the upstream: name it with --upstream"),
        (["--record-mode", "once", "--upstream", "http://127.0.0.1:1"], "recording needs a cassette to write to"),
        (["--record-mode", "all", "--upstream", "ftp://x", "a.yaml"], "the upstream 'ftp://x' is no address"),
        (["--record-mode", "all", "--upstream", "http://127.0.0.1:1", "a.json"], "cassettes are recorded as YAML"),
        (["--match-on", "method,paht"], "'paht' is no matcher: choose from method, scheme"),
        (["--error-status", "200"], "error_status 200 is no error"),
        (["--port", "70000"], "70000 is not in the range"),
        (["nowhere.yaml"], "nowhere.yaml: no such file or folder"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--max-body", "0"], "range"),
    ],
)
def test_serve_refuses_what_cannot_be(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "stubserver", "serve", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "stubserver", "serve", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 2
    assert "is in use: choose another with --port" in done.stderr


def test_show_lists_every_interaction(tmp_path: Path) -> None:
    cassette(tmp_path / "a.yaml", "one", "two", "one")

    result = run("show", tmp_path)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["file", "#", "method", "path", "status", "model", "stream", "size", "repeats"]
    assert lines[1].split() == [f"{tmp_path.name}/a.yaml", "1", "POST", "/v1/chat/completions", "200", "m", "16", "2"]
    assert lines[-1] == "3 interactions"


def test_show_for_programs(tmp_path: Path) -> None:
    cassette(tmp_path / "a.yaml", "one", "two")

    rows = json.loads(run("show", "--json", "--match-on", "method,path", tmp_path / "a.yaml").stdout)

    assert [(row["number"], row["method"], row["path"], row["status"], row["repeats"]) for row in rows] == [
        (1, "POST", "/v1/chat/completions", 200, 2),
        (2, "POST", "/v1/chat/completions", 200, 2),
    ]
    assert rows[0]["host"] == "api.openai.com"


def test_check_finds_nothing_in_the_bundled_cassettes() -> None:
    result = run("check", CASSETTES)

    assert result.stdout.startswith("no problems in ")
    assert result.exit_code == 0


def test_check_names_each_problem_and_never_the_secret(tmp_path: Path) -> None:
    secret = "__cf_bm=9fJ3kd02mLsPq8vXyZ"
    cassette(tmp_path / "leak.yaml", "one", cookie=secret)
    (tmp_path / "bomb.yaml").write_text("interactions: " + "[" * 5000 + "]" * 5000)
    (tmp_path / "note.yaml").write_text("a: b\n")

    result = run("check", tmp_path)

    assert result.exit_code == 1
    assert re.search(r"leak\.yaml, item 1: looks like a secret: response header set-cookie", result.stdout)
    assert re.search(r"bomb\.yaml: line 1: .*(nested deeper than \d+ levels|nesting depth)", result.stdout)
    assert re.search(r"note\.yaml: not a cassette", result.stdout)
    assert result.stdout.splitlines()[-1] == "3 problems in 1 cassette, 1 interaction"
    assert secret not in result.output


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m.yaml").write_text("a: b\n")

    assert "\x1b" not in run("check", tmp_path).output


def test_version_and_help() -> None:
    assert run("--version").stdout == f"stubserver, version {__version__}\n"
    for arguments in (["--help"], ["serve", "--help"]):
        text = run(*arguments).stdout
        assert "Examples:" in text
        assert "stubserver serve chat.yaml --fallback error" in text


def test_without_a_command_it_shows_the_help() -> None:
    result = run()

    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_options_alone_are_those_of_serve(tmp_path: Path) -> None:
    assert "No such option '--nothing'" in run("--nothing").output
    missing = run("--port", 0, f"--cassettes={tmp_path / 'none.yaml'}")
    assert (missing.exit_code, "no such file or folder" in missing.output) == (2, True)


def test_cassettes_may_be_an_option_and_options_may_have_underscores(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    path = cassette(tmp_path / "a.yaml", "hello")
    served = serve(f"--cassettes={path}", "--style=datatrove", "--record_mode=none", "--error_status=400")

    assert served.lines[1] == "serving 1 interaction from 1 cassette"
    assert ask(served.url)[1]["x-stubserver-source"] == "replayed"
    assert ask(served.url, "other")[0] == 400
