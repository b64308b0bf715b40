"""What serve says: on a terminal, in a pipe, as JSON; and that nothing in it is obeyed by the terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from raw import PATIENCE
from tapes import CHAT, ask, recorded, tape

HOSTILE = "\x1b]0;title\x07\x1b[2J\u202emodel\r\n\x9b31m"


class Running:
    """A server whose stdout is read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes], out: int) -> None:
        self.process = process
        self._out = out
        self.text = ""
        self.until("Application startup complete")
        self.url = re.findall(r"http://[0-9.:]+", self.text)[0]

    def until(self, mark: str) -> str:
        """Read until *mark* was said; return all that was said so far."""
        deadline = time.monotonic() + PATIENCE
        while mark not in self.text:
            assert time.monotonic() < deadline, self.text
            data = os.read(self._out, 65_536)
            assert data, self.text
            self.text += data.decode()
        return self.text

    def chat(self, **body: object) -> None:
        request = urllib.request.Request(f"{self.url}{CHAT}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()

    def rest(self) -> str:
        """End it; return all that it said."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0
        try:
            while data := os.read(self._out, 65_536):
                self.text += data.decode()
        except OSError:  # how a terminal says that the other side is gone
            pass
        return self.text


@contextmanager
def running(*arguments: object, columns: int = 0) -> Iterator[Running]:
    """Run serve with its output in a pipe; with *columns*, on a terminal of that width."""
    ours, theirs = pty.openpty() if columns else os.pipe()
    if columns:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "stubserver", "serve", "--port", "0", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm"}
    for name in ("NO_COLOR", "COLUMNS"):
        environment.pop(name, None)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        yield Running(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_piped_there_are_plain_lines_and_none_for_requests() -> None:
    with running() as served:
        served.chat(model="m", messages=[])
        said = served.rest()
    assert said.splitlines()[1:] == [
        "serving no cassettes: every answer is the dummy's",
        "Application startup complete",
    ]


def test_verbose_says_a_line_for_each_request(tmp_path: Path) -> None:
    cassette = tape(tmp_path / "a.yaml", recorded(ask("one")))
    with running(cassette, "--fallback", "error", "-v") as served:
        served.chat(**ask("one"))
        served.until("replayed")
        served.chat(**ask("other", stream=True))
        served.until("unmatched")
        said = served.rest()
    first, second = said.splitlines()[-2:]
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d 200 replayed POST {CHAT} gpt-4o-mini \d+\.\dms 8\+3 tokens \S*a\.yaml#1", first
    )
    assert " 404 unmatched POST " in second
    assert "none of the 1 recordings matches" in second


def test_on_a_terminal_the_last_line_counts() -> None:
    with running(columns=100) as served:
        served.until("0 requests, 0 errors")
        served.chat(model="m", messages=[{"role": "user", "content": "hi"}])
        served.until("\r\x1b[K1 request, 1 dummy, 0 errors")
        served.chat(model=1)
        said = served.until("2 requests, 2 dummy, 1 error")
        assert served.rest().endswith("\r\n")
    assert "POST" not in said


def test_a_narrow_terminal_gets_a_line_that_fits() -> None:
    with running(columns=12) as served:
        served.until("\r\x1b[K0 requests,")
        assert "0 requests, " not in served.rest()


def test_no_prompt_reaches_the_terminal_as_it_is() -> None:
    with running("-v", columns=200) as served:
        served.chat(model=HOSTILE, messages=[{"role": "user", "content": HOSTILE}])
        said = served.until("title")
        said = served.rest()
    obeyed = set(re.findall(r"\x1b\[[0-9;?]*[A-Za-z]", said)) - {"\x1b[K"}
    assert all(code.endswith("m") for code in obeyed)
    rest = re.sub(r"\x1b\[[0-9;]*[Km]", "", said)
    assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", rest)
    assert r"\x1b]0;title\x07" in rest


def test_json_has_an_object_on_every_line(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("interactions: [{")
    with running(tmp_path, "-v", "--log-format", "json") as served:
        served.chat(model=HOSTILE, messages=[{"role": "user", "content": "hi"}])
        served.until('"request"')
        events = [json.loads(line) for line in served.rest().splitlines()]
    assert [event["event"] for event in events] == ["error", "listening", "serving", "ready", "request"]
    assert events[1]["url"] == served.url
    assert events[4]["model"] == HOSTILE
    assert events[4]["source"] == "dummy"
    assert all(event["time"] > 1e9 for event in events)


def test_verbose_needs_the_journal() -> None:
    command = [sys.executable, "-m", "stubserver", "serve", "--port", "0", "-v", "--no-journal"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert "drop --no-journal" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("-v",)])
def test_it_ends_though_nobody_reads_what_it_says(arguments: tuple[str, ...]) -> None:
    with running(*arguments, columns=4000) as served:
        for _ in range(300):
            served.chat(model="m" * 150, messages=[{"role": "user", "content": "x" * 100}])
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE) == 0
