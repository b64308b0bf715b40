"""What ``serve`` says while it runs: plain lines, one line of JSON each, or, on a terminal, with a live line below."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import suppress
from threading import Lock
from typing import Any, Final, TextIO

import click

from stubserver.cli.printing import plain

__all__ = ["FORMATS", "Log"]

FORMATS: Final = ("text", "json")

_COLOURS: Final = {"replayed": "green", "recorded": "cyan", "forwarded": "cyan", "dummy": "yellow", "unmatched": "red"}
_ERROR: Final = 400
_CLEAR: Final = "\r\x1b[K"


class Log:
    """Writes lines of *kind*, text or json; what is wrong goes to stderr. Thread-safe.

    With ``live``, the last line of a terminal is kept for :meth:`status`.
    """

    def __init__(self, kind: str = "text") -> None:
        self._json = kind == "json"
        self.live = not self._json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._coloured = self.live and not os.environ.get("NO_COLOR")
        self._status = ""
        self._locks = {sys.stdout: Lock(), sys.stderr: Lock()}  # one that nobody reads does not hold up the other

    def say(self, event: str, text: str, **more: object) -> None:
        """Say what happens to the server: *event* and *more* are for programs, *text* is for people."""
        self._write(sys.stdout, {"event": event, "message": text, **more}, text)

    def report(self, report: Any) -> None:  # noqa: ANN401  # Report, imported late
        """Say what a load found."""
        for level, lines in (("warning", report.warnings), ("error", report.errors)):
            for line in lines:
                self._write(sys.stderr, {"event": level, "message": str(line)}, f"{level}: {line}")

    def request(self, row: dict[str, Any]) -> None:
        """Say what was asked and what was done: one row of the admin API's list of requests."""
        if self._json:
            self._write(sys.stdout, {"event": "request", **row}, "")
            return
        tokens = row["tokens"]
        words = [
            time.strftime("%H:%M:%S", time.localtime(row["time"])),
            self._in_colour(str(row["status"]), "red" if row["status"] >= _ERROR else None),
            self._in_colour(row["source"], _COLOURS.get(row["source"])),
            row["method"],
            plain(row["path"]),
            plain(row["model"] or "-"),
            "-" if row["duration_ms"] is None else f"{row['duration_ms']:.1f}ms",
            f"{tokens['prompt']}+{tokens['completion']} tokens" if tokens else "",
            plain(row["cassette"]),
            plain(f"({row['note']})") if row["note"] else "",
        ]
        self._write(sys.stdout, {}, " ".join(filter(None, words)), is_plain=True)

    def status(self, text: str) -> None:
        """Show *text* in the live line, if there is one and it is not there yet."""
        if not self.live or text == self._status:
            return
        with self._locks[sys.stdout], suppress(OSError):
            self._status = text
            self._show()

    def _show(self) -> None:
        width = shutil.get_terminal_size().columns
        sys.stdout.write(_CLEAR + self._status[: max(0, width - 1)])
        sys.stdout.flush()

    def _write(self, stream: TextIO, fields: dict[str, object], text: str, *, is_plain: bool = False) -> None:
        line = json.dumps({"time": time.time(), **fields}) if self._json else text if is_plain else plain(text)
        with self._locks[stream], suppress(OSError):  # nobody may be there to read it any more
            stream.write(f"{_CLEAR if self._status else ''}{line}\n")
            stream.flush()
            if self._status and stream is sys.stdout:
                self._show()

    def _in_colour(self, text: str, colour: str | None) -> str:
        return click.style(text, fg=colour) if self._coloured and colour else text

    def end(self) -> None:
        """Leave the live line as it is, and begin another."""
        if self._status:
            with suppress(OSError):
                sys.stdout.write("\n")
                sys.stdout.flush()
            self._status = ""
