"""Several processes behind one listening socket: started, watched, replaced when they die, and asked as one.

Each worker is a server of its own, with its own library. Shared are the socket, and the memory in which plays are
counted. The parent serves no client: it keeps the port, and collects what the workers wrote down when somebody asks.
Calls of the admin API come to any worker, which passes them on to the parent.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Final, NamedTuple

from stubserver.app import App
from stubserver.cassettes.positions import Positions, SharedLock, bytes_for
from stubserver.dummy.errors import envelope
from stubserver.errors import UsageError
from stubserver.messages import Answer, Delivery, Request, Response
from stubserver.server import Server
from stubserver.tally import Cell

__all__ = ["Crew", "News", "Order", "Remote", "Share"]

_START_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 10.0
_END_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.25
_INTEREST_SECONDS: Final = 30.0
_SPARE_MARKS: Final = 1_000_000


class Share(NamedTuple):
    """What a worker is told when it begins: its options, and what it shares with the others."""

    paths: list[str]
    options: dict[str, Any]
    listeners: list[tuple[str, int]]
    port: int
    positions: tuple[int, int, int, int]
    """Descriptor, size, lane and lanes."""
    admin: tuple[str, bytes] | None


Order = tuple[str, tuple[Any, ...]]
"""What a worker is to do, and with what."""


class News(NamedTuple):
    """What a worker wrote down since it was asked before."""

    entries: list[tuple[int, float, Request, Response, tuple[str, str, tuple[str, ...], str], Delivery]]
    total: int
    done: dict[int, Delivery]
    cells: dict[tuple[str, str, int], Cell]
    connections: int
    faults: dict[str, int]
    """Faults that requests asked for themselves: how often each was done."""


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.seen = 0
        self.open: dict[int, Delivery] = {}
        """Entries whose answer had not left when they were told of."""

    def do(self, order: Order) -> Any:  # noqa: ANN401  # what the order gives
        """Let the worker do something. Raises OSError or EOFError when it does not answer."""
        self.pipe.send(order)
        if not self.pipe.poll(_ANSWER_SECONDS):
            raise TimeoutError
        return self.pipe.recv()


class Crew:
    """The *count* workers of a server, whose app collects what they do."""

    can_record = False

    def __init__(self, count: int, paths: list[str], options: dict[str, Any], app: App) -> None:
        self._count = count
        self._paths = paths
        self._options = options
        self._app = app
        self._workers: dict[int, _Worker] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._interest = 0.0
        self._listener: Listener | None = None
        self._key = b""
        self._listeners: list[tuple[str, int]] = []
        self._port = 0
        self._file = tempfile.TemporaryFile(prefix="stubserver-")  # noqa: SIM115  # closed by end
        self._size = bytes_for(4 * len(app.library.playlist) + _SPARE_MARKS, count + 1)
        os.ftruncate(self._file.fileno(), self._size)
        self._memory = mmap.mmap(self._file.fileno(), self._size)
        self._positions = Positions(self._memory, SharedLock(self._file.fileno()), count, count + 1)
        app.library.share(self._positions)

    def serve(self, server: Server, admin: Callable[[Request], Answer] | None) -> Callable[[], None]:
        """Start the workers, which accept at the sockets of *server*; return what watches over them.

        Raises UsageError when one does not start.
        """
        self._ended.clear()
        self._listeners, self._port = server.listeners, server.server_port
        if admin is not None:
            self._key = os.urandom(32)
            self._listener = Listener(family="AF_UNIX", backlog=128, authkey=self._key)
            threading.Thread(target=self._serve_admin, args=(admin,), name="stubserver-admin", daemon=True).start()
        begun = [(lane, self._spawn(lane)) for lane in range(self._count)]
        for lane, worker in begun:
            self._workers[lane] = worker
        for worker in self._workers.values():
            if not worker.pipe.poll(_START_SECONDS) or not _received(worker.pipe):
                self.end()
                msg = "a worker process did not start: see what it printed above"
                raise UsageError(msg)
        return self._watch

    def _spawn(self, lane: int) -> _Worker:
        from multiprocessing import Pipe  # noqa: PLC0415  # with the process it is for

        ours, theirs = Pipe()
        descriptors = [theirs.fileno(), self._file.fileno(), *(descriptor for _, descriptor in self._listeners)]
        command = [sys.executable, "-m", "stubserver.worker", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=descriptors, stdin=subprocess.DEVNULL)  # noqa: S603  # ourselves
        theirs.close()
        address = self._listener.address if self._listener is not None else None
        positions = (self._file.fileno(), self._size, lane, self._count + 1)
        admin = (str(address), self._key) if address else None
        ours.send(Share(self._paths, self._options, self._listeners, self._port, positions, admin))
        return _Worker(process, ours)

    # -- while it serves

    def _watch(self) -> None:
        """Replace workers that die, until :meth:`end`; collect what is new as long as somebody follows it."""
        while not self._ended.wait(_LOOK_SECONDS):
            for lane, worker in list(self._workers.items()):
                if worker.process.poll() is not None:
                    self._replace(lane, worker)
            if time.monotonic() < self._interest:
                self._collect()

    def _replace(self, lane: int, dead: _Worker) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            dead.pipe.close()
            worker = self._spawn(lane)
            self._workers[lane] = worker
            if worker.pipe.poll(_START_SECONDS):
                _received(worker.pipe)

    def _tell(self, what: str, *arguments: object) -> list[Any]:
        """Let every worker do something; one that does not answer is ended, and will be replaced."""
        answers = []
        with self._lock:
            for worker in self._workers.values():
                try:
                    answers.append(worker.do((what, arguments)))
                except (OSError, EOFError):
                    worker.process.kill()
        return answers

    def settings_changed(self, app: App) -> None:
        """Let the workers take over fallback and pace."""
        self._tell("settings", app.fallback, None if app.pacer is None else app.pacer.pace)

    def cleared(self) -> None:
        """Let the workers forget their journals."""
        self._tell("clear")
        self._collect()

    def collect(self, server: Server | None) -> int:
        """Bring journal and tally up to date, and keep them so for a while; return how many connections are open."""
        self._interest = time.monotonic() + _INTEREST_SECONDS
        return self._collect() if server is not None else 0

    def _collect(self) -> int:
        """Write into the app's journal and tally what the workers wrote into theirs."""
        connections = 0
        found = []
        with self._lock:
            for worker in self._workers.values():
                try:
                    news: News = worker.do(("news", (worker.seen, list(worker.open))))
                except (OSError, EOFError):
                    worker.process.kill()
                    continue
                connections += news.connections
                self._app.tally.merge(news.cells)
                if news.faults:
                    self._app.faulty().count(news.faults)
                self._app.journal.skip(news.total - worker.seen - len(news.entries))
                worker.seen = news.total
                for number, delivery in news.done.items():
                    _finish(worker.open.pop(number), delivery)
                found += [(worker, entry) for entry in news.entries]
            for worker, (number, when, request, response, about, delivery) in sorted(found, key=lambda f: f[1][1]):
                source, cassette, drift, note = about
                self._app.journal.add(request, Answer(response, source, cassette, drift, note=note), delivery, when)
                if not delivery.last:
                    worker.open[number] = delivery
        return connections

    # -- the admin API

    def _serve_admin(self, admin: Callable[[Request], Answer]) -> None:
        listener = self._listener
        while listener is not None and not self._ended.is_set():
            try:
                call = listener.accept()
            except (OSError, EOFError, AuthenticationError):  # somebody without the key, or the end
                continue
            threading.Thread(target=_answer, args=(call, admin), name="stubserver-admin-call", daemon=True).start()

    # -- the end

    def end(self) -> None:
        """End all workers: asked first, then made to; the port is free when this returns."""
        self._ended.set()
        with self._lock:
            for worker in self._workers.values():
                with suppress(OSError):
                    worker.pipe.close()  # which is how a worker hears of it
            for worker in self._workers.values():
                try:
                    worker.process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    worker.process.kill()
                    worker.process.wait()
            self._workers.clear()
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError, EOFError):
                Client(listener.address, family="AF_UNIX", authkey=self._key).close()  # wakes up who accepts
            listener.close()

    def close(self) -> None:
        """Let go of the shared memory."""
        self._app.library.share(self._positions.copy())
        self._positions.close()
        self._memory.close()
        self._file.close()


def _received(pipe: Connection) -> bool:
    try:
        return bool(pipe.recv() == "ready")
    except (OSError, EOFError):
        return False


def _finish(delivery: Delivery, later: Delivery) -> None:
    vars(delivery).update(vars(later))


def _answer(call: Connection, admin: Callable[[Request], Answer]) -> None:
    """Answer one call of the admin API that a worker passed on."""
    with suppress(OSError, EOFError), call:
        answer = admin(call.recv())
        if answer.live is None:
            call.send((answer.response, answer.source, None))
            return
        call.send((answer.live.head, answer.source, answer.live.length))
        pieces = answer.live.pieces()
        try:
            for piece in pieces:
                call.send_bytes(piece)
        finally:
            pieces.close()


class Remote:
    """In a worker: passes a call of the admin API on to the parent."""

    def __init__(self, address: str, key: bytes) -> None:
        self._address = address
        self._key = key

    def __call__(self, request: Request) -> Answer:
        """Return the parent's answer; one that is still coming is passed on as it comes."""
        try:
            call = Client(self._address, family="AF_UNIX", authkey=self._key)
            call.send(request)
            response, source, length = call.recv()
        except (OSError, EOFError):
            text = "the server is ending"
            return Answer(envelope(503, text, kind="server_error", code="ending"), "unmatched")
        if not response.events:
            call.close()
            return Answer(response, source)
        return Answer(response, source, live=_Passing(response, length, call))


class _Passing:
    """An answer that comes from the parent, piece by piece."""

    def __init__(self, head: Response, length: int | None, call: Connection) -> None:
        self.head = head
        self.length = length
        self._call = call

    def pieces(self) -> Any:  # noqa: ANN401  # a generator of bytes
        """Yield what the parent sends, until it ends."""
        with self._call, suppress(EOFError, OSError):
            while True:
                yield self._call.recv_bytes()
