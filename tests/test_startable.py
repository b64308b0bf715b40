"""Started and stopped as a context manager, with an address meanwhile."""

from __future__ import annotations

from typing import Self

import pytest

from stubserver.startable import Startable


class Thing(Startable):
    def __init__(self, host: str) -> None:
        self._address = (host, 0)
        self.started = 0

    def start(self) -> Self:
        self.started += 1
        return self

    def stop(self) -> None:
        self.started -= 1

    @property
    def port(self) -> int:
        return 8080


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080")])
def test_it_has_an_address_while_it_runs(host: str, url: str) -> None:
    thing = Thing(host)
    with thing as entered:
        assert (entered, thing.started) == (thing, 1)
        assert (thing.url, thing.base_url) == (url, f"{url}/v1")
    assert thing.started == 0


def test_the_rest_is_for_what_is_startable() -> None:
    bare = Startable()
    for use in (bare.start, bare.stop, lambda: bare.port):
        with pytest.raises(NotImplementedError):
            use()
