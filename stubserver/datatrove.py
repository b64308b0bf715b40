"""datatrove's DummyServer, with recordings: the drop-in for its inference pipelines. The only door to datatrove.

The ways to use it are in the README. What is said here of datatrove was seen in 0.7 to 0.10.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.inference import run_inference
from datatrove.pipeline.inference.run_inference import InferenceRunner
from datatrove.pipeline.inference.servers import InferenceServer
from loguru import logger

from stubserver.recording import RecordOptions
from stubserver.stub import StubServer

if TYPE_CHECKING:
    from datatrove.pipeline.inference.run_inference import InferenceConfig

__all__ = ["DummyServer", "Install", "StubRunner", "install"]

_LOOK_SECONDS: Final = 0.5
_DELIVERY_SECONDS: Final = 60.0
_OPTIONS: Final = frozenset(StubServer.__init__.__annotations__) - {"return", "recording", "paths", "port"} | frozenset(
    RecordOptions.__annotations__
)
_Value = TypeVar("_Value")


class DummyServer(InferenceServer):
    """An inference server in this process: recorded answers, or the very ones of datatrove's own DummyServer.

    ``config.model_kwargs`` are StubServer's options, and ``cassettes``, a path or a list of them; *options* are there
    for those who cannot change the config. With cassettes, a request that is not in them is answered with a 400 that
    ``skip_bad_requests`` skips (``fallback="dummy"`` makes an answer up). With ``upstream``, what is not there yet is
    asked there, and kept in ``<cassettes>/rank-<rank>.yaml``.
    """

    def __init__(self, config: InferenceConfig, rank: int, **options: Any) -> None:  # noqa: ANN401  # StubServer's
        super().__init__(config, rank)
        self._options = _known_options({**options, **(config.model_kwargs or {})})
        self._stub: StubServer | None = None

    async def start_server(self) -> None:
        """Listen on the port that was chosen; cassettes are read meanwhile, and the event loop goes on."""
        self._stub = await _in_thread(self._started, StubServer.stop)
        logger.info(f"Dummy server started on port {self._port}")

    def _started(self) -> StubServer:
        stub = _stub(self._options, self._port, self._rank)
        for line in (*stub.report.warnings, *map(str, stub.report.errors)):
            logger.warning(line)
        return stub.start()

    async def monitor_health(self) -> None:
        """Return when the server has ended."""
        while self._stub is not None and self._stub.running:  # noqa: ASYNC110  # its thread may end by itself
            await asyncio.sleep(_LOOK_SECONDS)

    def kill_server(self) -> None:
        """End the server at once, as if it had died."""
        stub, self._stub = self._stub, None
        if stub is not None:
            stub.stop(grace=0)

    async def server_cleanup(self) -> None:
        """End the server; the event loop goes on meanwhile."""
        await super().server_cleanup()
        stub, self._stub = self._stub, None
        if stub is not None:
            await _in_thread(stub.stop)


class StubRunner(InferenceRunner):
    """An InferenceRunner whose server is ours, whatever ``server_type`` says."""

    def _init_server(self, rank: int) -> InferenceServer:
        return DummyServer(self.config, rank)


class Install(PipelineStep):
    """The first step of a pipeline: from it on, in the process it runs in, ``server_type="dummy"`` is our DummyServer.

    Servers that the process starts (``server_type="custom"``) learn their rank by the variable STUBSERVER_RANK.
    """

    type = "Model call"
    name = "stubserver"

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  # StubServer's
        super().__init__()
        self.options = options

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:  # noqa: ANN401  # datatrove's
        """Put our server in the place of theirs. No generator: it has to be done before the next step begins."""
        del world_size
        os.environ["STUBSERVER_RANK"] = str(rank)
        run_inference.DummyServer = partial(DummyServer, **self.options) if self.options else DummyServer
        return data


def install(**options: Any) -> Install:  # noqa: ANN401  # StubServer's
    """Return the first step of a pipeline, with *options* for what its config does not say.

    >>> pipeline = [install(), reader, InferenceRunner(rollout_fn, config, writer)]

    It is a step, because the processes of an executor begin without what was changed in the one that starts them.
    """
    return Install(**options)


def _known_options(given: dict[str, Any]) -> dict[str, Any]:
    """Keep what StubServer knows: the original ignores model_kwargs, so a config may hold what another server wants."""
    options = {name.replace("-", "_"): value for name, value in given.items()}
    unknown = sorted(options.keys() - _OPTIONS - {"cassettes"})
    if unknown:
        logger.warning(f"not options of stubserver, so ignored: {', '.join(unknown)}")
    return {name: value for name, value in options.items() if name not in unknown}


def _stub(given: dict[str, Any], port: int, rank: int) -> StubServer:
    """Make the server of one rank: it records to files of its own, and plays those first."""
    options = {"style": "datatrove", "rank": rank, **given}
    return StubServer(options.pop("cassettes", ()), port=port, **options)


async def _in_thread(work: Callable[[], _Value], give_up: Callable[[_Value], object] | None = None) -> _Value:
    """Do *work* in a daemon thread; when nobody waits for its result any more, *give_up* gets it, in that thread.

    Not asyncio.to_thread: its threads are waited for when the loop ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Value] = loop.create_future()
    taken: Queue[bool] = Queue()

    def deliver(result: _Value | None, error: Exception | None) -> None:
        taken.put(not future.done())
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("_Value", result))

    def run() -> None:
        result, error = _outcome(work)
        try:
            loop.call_soon_threadsafe(deliver, result, error)
            wanted = taken.get(timeout=_DELIVERY_SECONDS)
        except (RuntimeError, Empty):  # the loop was closed
            wanted = False
        if not wanted and give_up is not None and result is not None:
            give_up(result)

    threading.Thread(target=run, name="stubserver-datatrove", daemon=True).start()
    return await future


def _outcome(work: Callable[[], _Value]) -> tuple[_Value | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001  # it is raised where the result is awaited
        return None, error
