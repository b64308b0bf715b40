"""Small datatrove pipelines, each of the ways to plug us in, and what comes out of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers.jsonl import JsonlWriter

from stubserver.datatrove import StubRunner, install

WAYS = ("step", "class", "custom", "endpoint")


class Documents(PipelineStep):
    """A reader of *count* documents, a rank's share of them each."""

    type = "Reader"
    name = "documents"

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        del data
        for number in range(rank, self.count, world_size):
            yield Document(text=f"This is document {number}. " * 5, id=str(number))


async def one_chat(document: Document, generate: Callable[..., Any]) -> Any:
    return await generate({"messages": [{"role": "user", "content": document.text}], "max_tokens": 4})


async def one_completion(document: Document, generate: Callable[..., Any]) -> Any:
    return await generate({"prompt": document.text, "max_tokens": 4})


def runner(out: Path, way: str, options: dict[str, Any], *, rollout: Any = one_chat, **more: Any) -> InferenceRunner:
    """Make the inference step; *options* are ours, *more* the config's and the runner's."""
    runner_options = {
        name: more.pop(name)
        for name in ("skip_bad_requests", "checkpoints_local_dir", "records_per_chunk")
        if name in more
    }
    kwargs = dict(options)
    kind = {"custom": "custom", "endpoint": "endpoint"}.get(way, "dummy")
    if way == "custom":
        kwargs = {"server_script": "-mstubserver", "style": "datatrove", **options}
    elif way == "endpoint":
        more["endpoint_url"] = kwargs.pop("url")
    elif way in {"step", "original"}:
        kwargs = {}
    config = InferenceConfig(server_type=kind, model_name_or_path="m", model_kwargs=kwargs, **more)
    name = "${rank}_${chunk_index}.jsonl" if "checkpoints_local_dir" in runner_options else "${rank}.jsonl"
    writer = JsonlWriter(str(out), output_filename=name, compression=None)
    return (StubRunner if way == "class" else InferenceRunner)(rollout, config, writer, **runner_options)


def run(  # what a pipeline is made of
    out: Path,
    way: str = "class",
    options: dict[str, Any] | None = None,
    *,
    count: int = 60,
    tasks: int = 1,
    workers: int = 1,
    **more: Any,
) -> list[dict[str, Any]]:
    """Run a pipeline and return the documents it wrote, by their ids."""
    options = options or {}
    first = [install(**options)] if way == "step" else [install()] if way == "custom" else []
    steps = [*first, Documents(count), runner(out, way, options, **more)]
    logs = out.with_name(f"{out.name}-logs")
    LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=str(logs)).run()
    return written(out)


def written(out: Path) -> list[dict[str, Any]]:
    """Return what was written to *out*, by document."""
    lines = [line for path in out.glob("*.jsonl") for line in path.read_text("utf-8").splitlines()]
    return sorted(map(json.loads, lines), key=lambda document: int(document["id"]))


def said(documents: list[dict[str, Any]]) -> list[list[str]]:
    """Return the texts of each document's rollouts."""
    return [[result["text"] for result in document["metadata"]["rollout_results"]] for document in documents]


class Model(ThreadingHTTPServer):
    """An upstream whose answers differ each time, even to the same request; ``asked`` counts them."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talks)
        self.asked = 0
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Talks(BaseHTTPRequestHandler):
    server: Model
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked += 1
            number = self.server.asked
            self.server.keys.add(self.headers["Authorization"])
        text = f"answer {number} to {str(body.get('messages') or body.get('prompt'))[:80]}"
        choice = {"message": {"content": text, "reasoning_content": f"because {number}"}, "finish_reason": "stop"}
        if "completions" in self.path and "chat" not in self.path:
            choice = {"text": text, "finish_reason": "length"}
        usage = {"prompt_tokens": number, "completion_tokens": 2, "total_tokens": number + 2}
        self._answer({"choices": [choice], "usage": usage})

    def do_GET(self) -> None:
        self._answer({"object": "list", "data": []})

    def _answer(self, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Log nothing."""


@contextmanager
def model() -> Iterator[Model]:
    server = Model()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
