"""A worker, in this process: what it is told, and what it tells."""

from __future__ import annotations

import mmap
import tempfile
import threading
from multiprocessing import Pipe
from pathlib import Path

import httpx
import pytest  # noqa: TC002  # as in every test
from cassette_texts import dump
from tapes import ask, recorded

from stubserver import worker
from stubserver.app import App
from stubserver.cassettes.library import Library
from stubserver.cassettes.positions import Positions, bytes_for
from stubserver.connection import ServerSettings
from stubserver.crew import News, Share
from stubserver.server import Server


def test_it_serves_at_the_parents_socket_and_does_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = tmp_path / "chat.yaml"
    tape.write_text(dump({"interactions": [recorded(ask("a"))], "version": 1}))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(worker, "settle_down", lambda: None)  # this process goes on
    server = Server("127.0.0.1", 0, App(Library(())), ServerSettings())
    with tempfile.TemporaryFile() as file:
        size = bytes_for(10, 2)
        file.truncate(size)
        ours, theirs = Pipe()
        listeners = [(host, server.socket.dup().detach()) for host, _ in server.listeners]
        shared = file.fileno(), size, 0, 2
        monkeypatch.setattr(worker, "Connection", lambda _: theirs)
        thread = threading.Thread(target=worker.main, args=(-1,))
        thread.start()
        ours.send(Share([str(tape)], {"fallback": "error"}, listeners, server.server_port, shared, None))
        assert ours.recv() == "ready"
        url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        for question in ("a", "b"):
            httpx.post(url, json=ask(question), timeout=10)
        ours.send(("news", (0, [])))
        news: News = ours.recv()
        assert [entry[4][0] for entry in news.entries] == ["replayed", "unmatched"]
        assert (news.total, sum(cell.count for cell in news.cells.values())) == (2, 2)
        ours.send(("news", (2, [1])))
        again: News = ours.recv()
        assert (again.entries, list(again.done)) == ([], [1])
        for order in (("settings", ("dummy", None)), ("clear", ())):
            ours.send(order)
            assert ours.recv() is None
        assert httpx.post(url, json=ask("b"), timeout=10).status_code == 200
        memory = mmap.mmap(file.fileno(), size)
        positions = Positions(memory, lane=1, lanes=2)
        library = Library([tape])
        assert positions.get(library.playlist.recordings[0].mark) == 1
        positions.close()
        memory.close()
        ours.close()
        thread.join()
    server.server_close()
