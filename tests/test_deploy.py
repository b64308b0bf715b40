"""What is in tools/deploy, as far as it can be checked without Docker, Kubernetes and Slurm."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from stubserver.cli import main

DEPLOY = Path(__file__).resolve().parent.parent / "tools" / "deploy"


def options_of_serve() -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", CliRunner().invoke(main, ["serve", "--help"]).output))


def dockerfile() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.setdefault(word, []).append(rest)
    return found


def test_the_image_starts_a_command_that_exists() -> None:
    steps = dockerfile()
    command = [*json.loads(steps["ENTRYPOINT"][0]), *json.loads(steps["CMD"][0])]

    assert command[:2] == ["stubserver", "serve"]
    assert {word for word in command if word.startswith("--")} <= options_of_serve()
    assert command[command.index("--port") + 1] == steps["EXPOSE"][0]


def test_what_the_image_copies_is_there() -> None:
    for step in dockerfile()["COPY"]:
        for name in step.split()[:-1]:
            assert (DEPLOY.parents[1] / name).exists(), name


@pytest.fixture
def manifests() -> dict[str, Any]:
    found = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    return {manifest["kind"]: manifest for manifest in found}


def test_the_service_finds_its_replicas(manifests: dict[str, Any]) -> None:
    template = manifests["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"]

    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == labels
    (container,) = template["spec"]["containers"]
    names = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert names[manifests["Service"]["spec"]["ports"][0]["targetPort"]] == int(dockerfile()["EXPOSE"][0])
    assert {container[probe]["tcpSocket"]["port"] for probe in ("readinessProbe", "livenessProbe")} <= set(names)


def test_the_replicas_only_read_and_mount_what_there_is(manifests: dict[str, Any]) -> None:
    spec = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}

    assert mounts.keys() == volumes.keys()
    assert mounts["tapes"]["readOnly"]
    claim = volumes["tapes"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]
    assert {word for word in container["args"] if word.startswith("--")} <= options_of_serve()
    assert mounts["tapes"]["mountPath"] == container["args"][0]


def test_the_script_that_slurm_gets(tmp_path: Path) -> None:
    pytest.importorskip("datatrove", reason="make datatrove runs this, in an environment of its own")
    spec = importlib.util.spec_from_file_location("slurm_example", DEPLOY / "slurm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    executor = module.executor(str(tmp_path / "tapes"), str(tmp_path / "out"), "http://model:8000", tasks=12, workers=4)

    script = executor.get_launch_file_contents(executor.get_sbatch_args(12), "launch_pickled_pipeline executor.pik")

    assert "#SBATCH --cpus-per-task=2" in script
    assert "#SBATCH --partition=cpu" in script
    assert "launch_pickled_pipeline executor.pik" in script
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert executor.pipeline[0].options == {"cassettes": str(tmp_path / "tapes"), "upstream": "http://model:8000"}
