"""datatrove's DummyServer, made anew after what it does: what stubserver's dummy mode is compared with.

One thread, the standard library's HTTPServer with its listen queue of 5, HTTP/1.0, one request a connection.

    python tools/bench/original.py PORT
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

TEXT = "This is dummy text content for debugging purposes. Page contains sample text to simulate OCR output."
MODELS = {"object": "list", "data": [{"id": "dummy-model", "object": "model"}]}


def completion(raw: bytes) -> dict[str, Any]:
    """Return the answer to a chat request: the text never changes, and tokens are guessed from the request's repr."""
    try:
        prompt = len(str(json.loads(raw.decode("utf-8")))) // 4
    except ValueError:
        prompt = 50
    return {
        "choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": 100, "total_tokens": prompt + 100},
    }


class Handler(BaseHTTPRequestHandler):
    """Knows two paths; everything else is an empty 404."""

    def do_GET(self) -> None:
        """List the models."""
        self._answer(MODELS if self.path == "/v1/models" else None)

    def do_POST(self) -> None:
        """Answer a chat completion."""
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(completion(raw) if self.path == "/v1/chat/completions" else None)

    def _answer(self, value: dict[str, Any] | None) -> None:
        if value is None:
            self.send_response(404)
            self.end_headers()
            return
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Log nothing."""


if __name__ == "__main__":
    HTTPServer(("localhost", int(sys.argv[1])), Handler).serve_forever()
