"""What a server shows of itself, running or not."""

from __future__ import annotations

from stubserver import StubServer
from stubserver.view import View


def test_all_is_there_before_the_start() -> None:
    stub = StubServer()

    assert isinstance(stub, View)
    assert len(stub.journal) == len(stub.unplayed) == 0
    assert stub.upstream is None
    assert not stub.records
    assert not stub.report.errors
    assert stub.faults is stub.faults
    assert stub.faults.counts == []
