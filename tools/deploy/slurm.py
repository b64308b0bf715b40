"""A datatrove pipeline on Slurm that records, or replays what was recorded: a stub for each task, one shared folder.

    python tools/deploy/slurm.py TAPES OUT --upstream http://model:8000    record: TAPES/rank-00000.yaml, ...
    python tools/deploy/slurm.py TAPES OUT                                 replay, by any number of tasks

TAPES and OUT are on a file system that all nodes share, or URLs. Put your own reader and rollout in.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from datatrove.data import Document
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers.jsonl import JsonlWriter

from stubserver.datatrove import install


def documents(_data: Any, rank: int, world_size: int) -> Iterator[Any]:  # noqa: ANN401  # datatrove's
    """Yield a task's share of the documents."""
    for number in range(rank, 1000, world_size):
        yield Document(text=f"What is {number} plus {number}?", id=str(number))


async def rollout(document: Any, generate: Callable[[dict[str, Any]], Any]) -> Any:  # noqa: ANN401  # datatrove's
    """Ask once about each document."""
    return await generate({"messages": [{"role": "user", "content": document.text}], "max_tokens": 64})


def executor(tapes: str, out: str, upstream: str | None, **options: Any) -> SlurmPipelineExecutor:  # noqa: ANN401  # Slurm's
    """Make the executor; *options* are its own, beside what is usual here."""
    recorded = {"cassettes": tapes, **({"upstream": upstream} if upstream else {})}
    config = InferenceConfig(server_type="dummy", model_name_or_path="m")
    runner = InferenceRunner(rollout, config, JsonlWriter(out), skip_bad_requests=upstream is None)
    usual = {"tasks": 8, "time": "01:00:00", "partition": "cpu", "cpus_per_task": 2, "job_name": "stubserver"}
    return SlurmPipelineExecutor(
        pipeline=[install(**recorded), documents, runner], logging_dir=f"{out}/logs", **{**usual, **options}
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="record or replay a datatrove pipeline on Slurm")
    parser.add_argument("tapes")
    parser.add_argument("out")
    parser.add_argument("--upstream")
    given = parser.parse_args()
    executor(given.tapes, given.out, given.upstream).run()
