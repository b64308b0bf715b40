"""DummyServer in real pipelines of datatrove, in each of the ways to plug it in. ``make datatrove`` runs these."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datatrove", reason="make datatrove runs these, in an environment of their own")

import pipelines
from datatrove.pipeline.inference import run_inference
from datatrove.pipeline.inference.run_inference import InferenceConfig
from datatrove.pipeline.inference.servers import DummyServer as TheirDummyServer
from datatrove.pipeline.inference.types import InferenceError, ServerError
from loguru import logger
from pipelines import WAYS, run, said
from tapes import completion, recorded, tape

from stubserver import StubServer
from stubserver.datatrove import DummyServer, install
from stubserver.errors import StubserverError

# datatrove leaves sockets of its own to the garbage collector; that we leave none is what test_stub.py sees to.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def our_key() -> None:
    """Set before the first pool of workers is made: the process they come from keeps the environment it began with."""
    os.environ["MODEL_KEY"] = "sk-our-own-key-1234567890"


@pytest.fixture(autouse=True)
def theirs_again() -> Iterator[None]:
    yield
    run_inference.DummyServer = TheirDummyServer


@contextmanager
def plugged(way: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give what the *way* needs for *options*: the endpoint is a server that runs beside."""
    if way != "endpoint":
        yield options
        return
    given = dict(options)
    paths = [given.pop("cassettes")] if "cassettes" in given else []
    if "upstream" in given:
        given["record_mode"] = "new_episodes"
    with StubServer(*paths, style="datatrove", **given) as stub:
        yield {"url": stub.url}


def body(number: int, **more: Any) -> dict[str, Any]:
    """Return what one_chat sends for a document."""
    text = f"This is document {number}. " * 5
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 4, "model": "m", **more}


def config(**kwargs: Any) -> InferenceConfig:
    return InferenceConfig("dummy", "m", model_kwargs=kwargs, server_ready_delay_sec=0.05, server_ready_max_attempts=5)


# ------------------------------------------------------------------------------------------- the server itself


def test_a_request_waits_for_the_start_and_the_end_is_noticed() -> None:
    async def scene() -> None:
        server = DummyServer(config(), 3)
        async with server:
            answer = await server.make_request({"messages": [{"role": "user", "content": "test"}]})
            assert answer["usage"]["prompt_tokens"] == 12
            threads = [thread for thread in threading.enumerate() if thread.name.startswith("stubserver")]
            assert threads
            assert all(thread.daemon for thread in threads)
            server.kill_server()
            await asyncio.wait_for(server._server_monitoring_task, 5)
            with pytest.raises(ServerError, match="terminated"):
                await server.make_request({})
        with pytest.raises(OSError, match=r"refused|reset"):
            socket.create_connection(("127.0.0.1", server._port), 1)

    asyncio.run(scene())


def test_cleanup_may_come_before_the_start_and_twice() -> None:
    async def scene() -> None:
        server = DummyServer(config(), 0)
        await server.server_cleanup()
        async with server:
            await server.make_request({"messages": []})
            await server.server_cleanup()
        await server.server_cleanup()

    asyncio.run(scene())


def test_a_start_that_nobody_waits_for_any_more_leaves_no_server(tmp_path: Path) -> None:
    tape(tmp_path / "a.yaml", *(recorded(body(number)) for number in range(200)))

    async def scene() -> None:
        server = DummyServer(config(cassettes=str(tmp_path)), 0)
        server._port = free_port()
        task = asyncio.create_task(server.start_server())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(1000):
            if not any(thread.name == "stubserver-datatrove" for thread in threading.enumerate()):
                break
            await asyncio.sleep(0.01)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", server._port), 1)

    asyncio.run(scene())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_port_that_was_lost_is_an_error_at_once() -> None:
    async def scene(stub: StubServer) -> None:
        server = DummyServer(config(), 0)
        server._port = stub.port
        with pytest.raises(StubserverError, match="in use"):
            await server.start_server()

    with StubServer() as stub:
        asyncio.run(scene(stub))


def test_options_of_other_servers_are_named_and_ignored() -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")

    async def scene() -> None:
        async with DummyServer(config(dtype="bfloat16", **{"dummy-text": "ours"}), 0) as server:
            answer = await server.make_request({})
            assert answer["choices"][0]["message"]["content"] == "ours"

    try:
        asyncio.run(scene())
    finally:
        logger.remove(sink)
    assert [line for line in lines if "ignored" in line] == ["not options of stubserver, so ignored: dtype\n"]


def test_the_step_changes_the_process_it_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUBSERVER_RANK", "")
    step = install()
    assert run_inference.DummyServer is TheirDummyServer

    assert step.run("data", 5, 9) == "data"

    assert run_inference.DummyServer is DummyServer


# ------------------------------------------------------------------------------------------- the ways to plug it in


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_the_output_is_the_originals(way: str, workers: int, tmp_path: Path) -> None:
    expected = run(tmp_path / "original", "original", rollouts_per_document=2)

    with plugged(way, {}) as options:
        got = run(tmp_path / "ours", way, options, tasks=2, workers=workers, rollouts_per_document=2)

    assert len(expected) == 60
    assert got == expected


@pytest.mark.parametrize("way", WAYS)
def test_completions(way: str, tmp_path: Path) -> None:
    with plugged(way, {"dummy_text": "said"}) as options:
        got = run(tmp_path / "out", way, options, use_chat=False, rollout=pipelines.one_completion)

    assert said(got) == [["said"]] * 60


@pytest.mark.parametrize("tail", ["", "/v1", "/v1/", "/v1/v1"])
def test_an_endpoint_that_is_not_local_may_be_written_in_any_way(tail: str, tmp_path: Path) -> None:
    tapes = tape(tmp_path / "tapes" / "a.yaml", *(recorded(body(n), completion(f"to {n}")) for n in range(0, 20, 2)))
    with StubServer(tapes, host="127.0.0.2", style="datatrove") as stub:  # no name that datatrove takes for local
        more = {"api_key": "none", "skip_bad_requests": True}
        got = run(tmp_path / "out", "endpoint", {"url": stub.url + tail}, count=20, **more)

    assert said(got) == [[f"to {n}"] for n in range(0, 20, 2)]


# ------------------------------------------------------------------------------------------- recorded answers


@pytest.mark.parametrize("way", WAYS)
def test_what_was_recorded_is_played_and_what_was_not_is_skipped(way: str, tmp_path: Path) -> None:
    tape(tmp_path / "tapes" / "a.yaml", *(recorded(body(n), completion(f"to {n}")) for n in range(0, 60, 2)))

    with plugged(way, {"cassettes": str(tmp_path / "tapes")}) as options:
        got = run(tmp_path / "out", way, options, skip_bad_requests=True)

    assert said(got) == [[f"to {n}"] for n in range(0, 60, 2)]


@pytest.mark.parametrize("way", WAYS)
def test_a_miss_may_be_made_up(way: str, tmp_path: Path) -> None:
    tape(tmp_path / "tapes" / "a.yaml", recorded(body(0), completion("recorded")))

    options = {"cassettes": str(tmp_path / "tapes"), "fallback": "dummy", "dummy_text": "made up"}
    with plugged(way, options) as given:
        assert said(run(tmp_path / "out", way, given, count=2)) == [["recorded"], ["made up"]]


def test_a_miss_ends_the_job_unless_bad_requests_are_skipped(tmp_path: Path) -> None:
    tape(tmp_path / "tapes" / "a.yaml", recorded(body(0)))

    with pytest.raises(InferenceError, match=r"BadRequestError.*messages\[0\]\.content"):
        run(tmp_path / "out", "class", {"cassettes": str(tmp_path / "tapes")}, count=2)


def test_rollouts_get_the_recorded_answers_in_their_order(tmp_path: Path) -> None:
    items = [recorded(body(n), completion(f"{n}: {take}")) for take in range(3) for n in range(20)]
    tape(tmp_path / "tapes" / "a.yaml", *items)

    got = run(tmp_path / "out", "class", {"cassettes": str(tmp_path / "tapes")}, count=20, rollouts_per_document=3)

    assert [sorted(texts) for texts in said(got)] == [[f"{n}: {take}" for take in range(3)] for n in range(20)]


def test_reasoning_reaches_the_document(tmp_path: Path) -> None:
    items = [
        recorded(body(n), completion("so", **{name: f"why {n}"}))
        for n, name in enumerate(("reasoning", "reasoning_content"))
    ]
    tape(tmp_path / "tapes" / "a.yaml", *items)

    got = run(tmp_path / "out", "class", {"cassettes": str(tmp_path / "tapes")}, count=2)

    assert [d["metadata"]["rollout_results"][0].get("reasoning") for d in got] == ["why 0", "why 1"]


# ------------------------------------------------------------------------------------------- load


@pytest.mark.parametrize(("way", "at_once"), [("class", 500), ("custom", 500), ("custom", 5_000)])
def test_many_generations_at_once(way: str, at_once: int, tmp_path: Path) -> None:
    got = run(tmp_path / "out", way, count=at_once, max_concurrent_generations=at_once, server_ready_delay_sec=0.5)

    assert len(got) == at_once


async def pages(document: Any, generate: Any) -> Any:
    """Send the pages of a document at once, 3 MB each, as an OCR pipeline does."""
    image = "data:image/png;base64," + base64.b64encode(document.id.encode() * 2_300_000).decode()
    parts = [{"type": "text", "text": document.text}, {"type": "image_url", "image_url": {"url": image}}]
    asked = {"messages": [{"role": "user", "content": parts}]}
    return [result.text for result in await asyncio.gather(*(generate(dict(asked)) for _ in range(10)))]


@pytest.mark.parametrize("way", ["class", "custom"])
def test_page_images_of_megabytes(way: str, tmp_path: Path) -> None:
    got = run(tmp_path / "out", way, {"dummy_text": "page"}, count=3, rollout=pages)

    assert [document["metadata"]["rollout_results"] for document in got] == [[["page"] * 10]] * 3


# ------------------------------------------------------------------------------------------- jobs that end early


def test_a_job_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    tapes = tape(tmp_path / "a.yaml", *(recorded(body(n), completion(f"to {n}")) for n in range(200)))
    more = {
        "checkpoints_local_dir": str(tmp_path / "checkpoints"),
        "records_per_chunk": 20,
        "max_concurrent_generations": 5,
    }
    with pytest.raises(InferenceError, match="aborted"):
        run(tmp_path / "out", "class", {"cassettes": str(tapes)}, count=200, rollout=breaks_off, **more)

    got = run(tmp_path / "out", "class", {"cassettes": str(tapes)}, count=200, **more)

    assert said(got) == [[f"to {n}"] for n in range(200)]


async def breaks_off(document: Any, generate: Any) -> Any:
    result = await generate({"messages": [{"role": "user", "content": document.text}], "max_tokens": 4})
    if document.id == "57":
        msg = "the job is aborted"
        raise ValueError(msg)
    return result


@pytest.mark.parametrize("way", ["class", "custom"])
def test_a_job_that_is_aborted_ends_the_server_quietly(
    way: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InferenceError, match="aborted"):
        run(tmp_path / "out", way, count=600, rollout=breaks_off)

    assert "stubserver" not in "".join(line for line in capfd.readouterr().err.splitlines() if "Exception in" in line)
    assert not [t for t in threading.enumerate() if t.name.startswith("stubserver")]


# ------------------------------------------------------------------------------------------- recording


@pytest.mark.parametrize("way", WAYS)
def test_recording_and_replay_by_another_number_of_ranks(way: str, tmp_path: Path) -> None:
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    with pipelines.model() as upstream:
        options = {"cassettes": str(tapes), "upstream": upstream.url, "upstream_key_env": "MODEL_KEY"}
        with plugged(way, options) as given:
            got = run(tmp_path / "recorded", way, given, tasks=3, workers=2)
        assert (upstream.asked, upstream.keys) == (60, {"Bearer sk-our-own-key-1234567890"})

    names = sorted(path.name for path in tapes.iterdir())
    if way != "endpoint":  # one server for all ranks writes one file
        assert names == ["rank-00000.yaml", "rank-00001.yaml", "rank-00002.yaml"]
    assert len({tuple(texts) for texts in said(got)}) == 60
    assert not any(b"our-own-key" in path.read_bytes() for path in tapes.iterdir())
    for tasks in (1, 4):
        with plugged(way, {"cassettes": str(tapes)}) as given:
            assert run(tmp_path / f"replayed-{tasks}", way, given, tasks=tasks, workers=2) == got


def test_ranks_get_their_own_answers_to_equal_requests(tmp_path: Path) -> None:
    tapes = tmp_path / "tapes"
    more: dict[str, Any] = {"count": 6, "tasks": 3, "rollout": the_same}
    with pipelines.model() as upstream:
        got = run(tmp_path / "recorded", "class", {"cassettes": str(tapes), "upstream": upstream.url}, **more)

    replayed = run(tmp_path / "replayed", "class", {"cassettes": str(tapes)}, **more, max_concurrent_generations=1)

    def by_rank(documents: list[dict[str, Any]]) -> list[list[str]]:
        return [sorted(text for (text,) in said(documents)[rank::3]) for rank in range(3)]

    assert by_rank(replayed) == by_rank(got)


async def the_same(_document: Any, generate: Any) -> Any:
    return await generate({"messages": [{"role": "user", "content": "always this"}]})


def test_recording_goes_on_after_an_aborted_job(tmp_path: Path) -> None:
    tapes = tmp_path / "tapes"
    with pipelines.model() as upstream:
        options = {"cassettes": str(tapes), "upstream": upstream.url}
        with pytest.raises(InferenceError, match="aborted"):
            run(tmp_path / "aborted", "class", options, rollout=breaks_off, max_concurrent_generations=4)
        kept = tapes.joinpath("rank-00000.yaml").read_text().count("\n- request:")
        before = upstream.asked
        run(tmp_path / "whole", "class", options)

    assert kept >= 50
    assert upstream.asked - before == 60 - kept
