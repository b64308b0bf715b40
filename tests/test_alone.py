"""One process has nobody to tell."""

from __future__ import annotations

from stubserver.alone import Alone
from stubserver.app import App
from stubserver.cassettes.library import Library
from stubserver.connection import ServerSettings
from stubserver.server import Server


def test_it_accepts_by_itself() -> None:
    app = App(Library(()))
    server = Server("127.0.0.1", 0, app, ServerSettings())
    alone = Alone()
    assert alone.can_record
    assert alone.serve(server, None) == server.serve_forever
    assert (alone.collect(server), alone.collect(None)) == (0, 0)
    alone.settings_changed(app)
    alone.cleared()
    alone.end()
    alone.close()
    server.server_close()
