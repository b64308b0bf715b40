"""A bucket: several ranks record to it, another number of them plays it. On a real S3 server: moto's, on loopback."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moto", reason="make datatrove runs these, in an environment of their own")
pytest.importorskip("s3fs", reason="make datatrove runs these, in an environment of their own")
pytest.importorskip("datatrove", reason="make datatrove runs these, in an environment of their own")

import pipelines
import s3fs
from moto.server import ThreadedMotoServer
from pipelines import run

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Give the server's address: one for all tests, as the processes that workers come from keep their environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    settings = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ENDPOINT_URL": endpoint,
        "FSSPEC_S3": json.dumps({"endpoint_url": endpoint}),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(endpoint_url=endpoint, key="testing", secret="testing")
    if system.exists("tapes"):  # moto keeps them beyond a server
        system.rm("tapes", recursive=True)
    system.mkdir("tapes")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("way", ["step", "custom"])
def test_ranks_record_to_a_bucket_and_any_number_plays_it(way: str, bucket: Any, tmp_path: Path) -> None:
    url = "s3://tapes/run"
    with pipelines.model() as upstream:
        got = run(tmp_path / "recorded", way, {"cassettes": url, "upstream": upstream.url}, tasks=3, workers=2)
        assert upstream.asked == 60

    names = sorted(path.rpartition("/")[2][:10] for path in bucket.find("tapes/run"))
    assert names == ["rank-00000", "rank-00001", "rank-00002"]
    for tasks in (1, 4):
        os.environ["XDG_CACHE_HOME"] = str(tmp_path / f"other-node-{tasks}")
        assert run(tmp_path / f"played-{tasks}", way, {"cassettes": url}, tasks=tasks, workers=2) == got


def test_a_rank_that_is_run_again_elsewhere_asks_only_what_was_not_sent(bucket: Any, tmp_path: Path) -> None:
    options = {"cassettes": "s3://tapes/run"}
    with pipelines.model() as upstream:
        options["upstream"] = upstream.url
        first = run(tmp_path / "first", "class", options, count=20)
        os.environ["XDG_CACHE_HOME"] = str(tmp_path / "other-node")
        second = run(tmp_path / "second", "class", options, count=30)

        assert upstream.asked == 30
    assert second[:20] == first
    assert len(bucket.find("tapes/run")) == 2
