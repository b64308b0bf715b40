"""datatrove's DummyServer and ours over the same pipelines: whether the output is the same, and how long it takes.

    make datatrove                                         the tests, then this, in some six minutes
    python tools/datatrove/compare.py [--quick] [--only NAME]    --quick: fewer documents, in half a minute

Each run is a process of its own with datatrove's own runner, writer and executor. The exit status is 1 if any output
differs from the original's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers.jsonl import JsonlWriter

from stubserver.datatrove import install

Generate = Callable[[dict[str, Any]], Any]


class Pipeline(NamedTuple):
    """So many documents, each rolled out so many times, over so many requests in so many tasks."""

    documents: int
    rollout: str
    rollouts: int = 1
    tasks: int = 1
    workers: int = 1
    ways: tuple[str, ...] = ("original", "step", "custom")


PIPELINES = {
    "3 000 documents, a request each": Pipeline(3_000, "one"),
    "3 000 documents, 2 rollouts, 2 requests each": Pipeline(3_000, "two", rollouts=2),
    "the same in 4 tasks, 2 at a time": Pipeline(3_000, "two", rollouts=2, tasks=4, workers=2),
    "3 documents, 100 pages of each at once": Pipeline(3, "pages"),
    "3 000 completions": Pipeline(3_000, "completion", ways=("step", "custom")),
}
QUICK = {
    "500 documents, a request each": Pipeline(500, "one"),
    "100 documents, 2 rollouts, 2 requests each, 2 tasks": Pipeline(100, "two", rollouts=2, tasks=2),
    "3 documents, 10 pages of each at once": Pipeline(3, "few_pages"),
    "500 completions": Pipeline(500, "completion", ways=("step", "custom")),
}


def chat(text: str, page: int | None = None) -> dict[str, Any]:
    """Return a chat request: a text, or a page as OCR pipelines send it."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if page is not None:
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{page:036d}"}})
    return {"messages": [{"role": "user", "content": text if page is None else parts}], "max_tokens": 64}


async def one(document: Any, generate: Generate) -> Any:  # noqa: ANN401  # datatrove's
    """Ask once."""
    return await generate(chat(document.text))


async def two(document: Any, generate: Generate) -> Any:  # noqa: ANN401  # datatrove's
    """Ask twice, the second time about the first answer."""
    first = await generate(chat(document.text))
    return await generate(chat(first.text + document.id))


async def pages(document: Any, generate: Generate, count: int = 100) -> Any:  # noqa: ANN401  # datatrove's
    """Ask about all pages at once."""
    found = await asyncio.gather(*(generate(chat(document.text, page)) for page in range(count)))
    return [[result.text, result.finish_reason, result.usage] for result in found]


async def few_pages(document: Any, generate: Generate) -> Any:  # noqa: ANN401  # datatrove's
    """Ask about ten pages at once."""
    return await pages(document, generate, 10)


async def completion(document: Any, generate: Generate) -> Any:  # noqa: ANN401  # datatrove's
    """Ask for a completion."""
    return await generate({"prompt": document.text, "max_tokens": 64})


def documents(_data: Any, rank: int, world_size: int, count: int) -> Iterator[Any]:  # noqa: ANN401  # datatrove's
    """Yield a rank's share of the documents, 400 characters each."""
    for number in range(rank, count, world_size):
        yield Document(text=f"{number:08d}" * 50, id=str(number))


class Reader:
    """The first step that yields something; a class, so that other processes can have it."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, data: Any, rank: int, world_size: int) -> Iterator[Any]:  # noqa: ANN401  # datatrove's
        """Read."""
        return documents(data, rank, world_size, self.count)


def run(pipeline: Pipeline, way: str) -> None:
    """Run one pipeline in this process; print its seconds and the digest of its output."""
    with tempfile.TemporaryDirectory() as folder:
        kwargs = {"server_script": "-mstubserver", "style": "datatrove"} if way == "custom" else None
        config = InferenceConfig(
            server_type="custom" if way == "custom" else "dummy",
            model_name_or_path="dummy-model",
            model_kwargs=kwargs,
            use_chat=pipeline.rollout != "completion",
            rollouts_per_document=pipeline.rollouts,
        )
        out = Path(folder, "out")
        writer = JsonlWriter(str(out), output_filename="${rank}.jsonl", compression=None)
        steps = [Reader(pipeline.documents), InferenceRunner(globals()[pipeline.rollout], config, writer)]
        begun = time.monotonic()
        LocalPipelineExecutor(
            [install(), *steps] if way == "step" else steps,
            tasks=pipeline.tasks,
            workers=pipeline.workers,
            logging_dir=str(Path(folder, "logs")),
        ).run()
        seconds = time.monotonic() - begun
        lines = sorted(line for path in out.glob("*.jsonl") for line in path.read_text("utf-8").splitlines())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    sys.stdout.write(json.dumps({"seconds": seconds, "documents": len(lines), "digest": digest[:12]}) + "\n")


def measured(pipelines: str, name: str, way: str) -> dict[str, Any]:
    """Run one pipeline in a new process, and count the connections that datatrove's client lost."""
    command = [sys.executable, __file__, "--run", pipelines, name, way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}, {way}: it failed\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["resets"] = done.stderr.count("Client error:")
    return found


def compare(pipelines: str, only: str) -> bool:
    """Run everything; print a line for each run; return whether all outputs were the original's."""
    same = True
    for name, pipeline in (QUICK if pipelines == "quick" else PIPELINES).items():
        if only not in name:
            continue
        print(f"\n{name}", flush=True)
        first: dict[str, Any] = {}
        for way in pipeline.ways:
            found = measured(pipelines, name, way)
            first = first or found
            equal = (found["documents"], found["digest"]) == (pipeline.documents, first["digest"])
            same = same and equal
            ratio = f"x {first['seconds'] / found['seconds']:.1f}" if first is not found else ""
            lost = f"{found['resets']} connections lost" if found["resets"] else ""
            note = f"output {found['digest']}{'' if equal else ' DIFFERS'}"
            print(f"  {way:<10}{found['seconds']:8.1f} s  {ratio:<8}{note}  {lost}", flush=True)
    print("\nall outputs are the same" if same else "\noutputs differ")
    return same


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="datatrove's DummyServer and ours over the same pipelines")
    parser.add_argument("--quick", action="store_true", help="fewer documents")
    parser.add_argument("--only", default="", help="pipelines whose name has this in it")
    parser.add_argument("--run", nargs=3, metavar=("SET", "NAME", "WAY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        chosen, name, way = given.run
        run((QUICK if chosen == "quick" else PIPELINES)[name], way)
    elif not compare("quick" if given.quick else "all", given.only):
        sys.exit(1)


if __name__ == "__main__":
    main()
