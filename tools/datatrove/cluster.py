"""Record pipelines on a Ray cluster of several nodes, kill a node meanwhile, and replay by other numbers of ranks.

    python tools/datatrove/cluster.py                     a made-up upstream, whose answers differ each time
    python tools/datatrove/cluster.py --upstream URL      a real model's; it is told when the model may be stopped

Needs the environment of `make datatrove`, and ray. The nodes are processes on this machine (ray.cluster_utils.Cluster).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, (str(ROOT / "tests"), os.environ.get("PYTHONPATH")))
)  # the nodes'

import pipelines  # noqa: E402  # from tests/, which is no package
import ray  # noqa: E402
from datatrove.executor.ray import RayPipelineExecutor  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

COUNT = 24


def on_ray(out: Path, options: dict[str, Any], tasks: int) -> list[dict[str, Any]]:
    """Run the pipeline in so many tasks on the cluster, and return the documents it wrote."""
    steps = [pipelines.Documents(COUNT), pipelines.runner(out, "class", options, max_concurrent_generations=4)]
    RayPipelineExecutor(
        steps, tasks=tasks, cpus_per_task=1, mem_per_cpu_gb=0.1, logging_dir=str(out.with_name(f"{out.name}-logs"))
    ).run()
    found: list[dict[str, Any]] = pipelines.written(out)
    return found


def kill_when_recording(cluster: Cluster, tapes: Path, over: threading.Event) -> None:
    """Kill the second node as soon as something was recorded; not when it is *over* before."""
    while not any(tapes.glob("rank-*.yaml")):
        if over.wait(0.05):
            return
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    print(f"killed a node with {recorded(tapes)} answers recorded", flush=True)


def recorded(tapes: Path) -> int:
    """Count what is in the folder."""
    return sum(path.read_bytes().count(b"- request:") for path in tapes.glob("*.yaml"))


def scene(cluster: Cluster, folder: Path, upstream: str, stop: Any) -> bool:  # noqa: ANN401  # what ends the model
    """Record, stop the model, replay; return whether all outputs are the recorded one."""
    tapes = folder / "tapes"
    over = threading.Event()
    killer = threading.Thread(target=kill_when_recording, args=(cluster, tapes, over))
    killer.start()
    try:
        first = on_ray(folder / "recorded", {"cassettes": str(tapes), "upstream": upstream}, 4)
    finally:
        over.set()
        killer.join()
    print(f"recorded {recorded(tapes)} answers for {len(first)} documents: {sorted(p.name for p in tapes.iterdir())}")
    stop()
    print("the model is gone; replaying")
    options = {"cassettes": str(tapes)}
    outputs = {
        "Ray, 4 tasks": on_ray(folder / "ray-4", options, 4),
        "Ray, 3 tasks": on_ray(folder / "ray-3", options, 3),
        "here, 1 task": pipelines.run(folder / "here-1", "class", options, count=COUNT),
        "here, 5 tasks, 2 workers": pipelines.run(folder / "here-5", "class", options, count=COUNT, tasks=5, workers=2),
    }
    for name, documents in outputs.items():
        print(f"{name}: {len(documents)} documents, {'identical' if documents == first else 'DIFFERENT'}")
    return len(first) == COUNT and all(documents == first for documents in outputs.values())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="record and replay on a Ray cluster of two nodes")
    parser.add_argument("--upstream", help="a real model's URL; without it, one that is made up")
    parser.add_argument("--stop", type=int, metavar="PID", help="the model's process, ended before the replay")
    given = parser.parse_args()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            if given.upstream:
                same = scene(cluster, Path(folder), given.upstream, lambda: end(given.stop))
            else:
                with pipelines.model() as model:
                    same = scene(cluster, Path(folder), model.url, nullcontext)
    finally:
        ray.shutdown()
        cluster.shutdown()
    sys.exit(0 if same else 1)


def end(process: int | None) -> None:
    """End the model."""
    if process is not None:
        import signal  # noqa: PLC0415  # one use

        os.kill(process, signal.SIGTERM)


if __name__ == "__main__":
    main()
