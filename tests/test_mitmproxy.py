from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stubserver.interchange import Carried, Lost, har, mitmproxy
from stubserver.keeping import decoded

DATA = Path(__file__).parent / "data" / "interchange"


def netstring(value: Any) -> bytes:
    """Write a value as mitmproxy does."""
    if isinstance(value, dict):
        return framed(b"".join(netstring(k) + netstring(v) for k, v in value.items()), b"}")
    if isinstance(value, list):
        return framed(b"".join(map(netstring, value)), b"]")
    if isinstance(value, bytes):
        return framed(value, b",")
    if isinstance(value, str):
        return framed(value.encode(), b";")
    if value is None or isinstance(value, bool):
        return framed(b"" if value is None else str(value).lower().encode(), b"~" if value is None else b"!")
    return framed(repr(value).encode(), b"^" if isinstance(value, float) else b"#")


def framed(payload: bytes, kind: bytes) -> bytes:
    return b"%d:%b%b" % (len(payload), payload, kind)


def flow(**changes: Any) -> dict[str, Any]:
    """Make a flow; ``request__content`` changes a part of its request."""
    made: dict[str, Any] = {
        "version": 21,
        "type": "http",
        "websocket": None,
        "error": None,
        "request": {
            "method": b"POST",
            "scheme": b"https",
            "host": "10.0.0.1",
            "port": 443,
            "authority": b"",
            "path": b"/v1/x?y=1",
            "headers": [[b"Host", b"a.test"], [b"X", b"\xff"]],
            "content": b"{}",
            "timestamp_start": 1.5,
        },
        "response": {"status_code": 200, "reason": b"OK", "headers": [], "content": b"hi"},
    }
    for name, value in changes.items():
        *parts, last = name.split("__")
        place = made
        for part in parts:
            place = place[part]
        place[last] = value
    return made


def read(path: Path, *flows: Any) -> list[Carried | Lost]:
    path.write_bytes(b"".join(map(netstring, flows)))
    return list(mitmproxy.read(path))


def test_flows_hold_what_mitmproxys_own_archive_holds() -> None:
    flows = [each[1] for each in mitmproxy.read(DATA / "mitmproxy.flows") if isinstance(each, Carried)]
    entries = [each[1] for each in har.read(DATA / "mitmproxy.har") if isinstance(each, Carried)]

    assert len(flows) == len(entries) == 10
    for one, other in zip(flows, entries, strict=True):
        assert one.request == other.request
        assert decoded(one.response.headers, one.response.body) == other.response.body
        assert (one.response.status, one.response.events) == (other.response.status, other.response.events)


@pytest.mark.parametrize(
    ("changes", "uri"),
    [
        ({}, "https://a.test/v1/x?y=1"),
        ({"request__headers": []}, "https://10.0.0.1/v1/x?y=1"),
        ({"request__headers": [], "request__port": 8443}, "https://10.0.0.1:8443/v1/x?y=1"),
        ({"request__authority": b"b.test:1"}, "https://b.test:1/v1/x?y=1"),
        ({"request__path": b"*"}, "https://a.test/*"),
    ],
)
def test_the_server_is_called_as_the_client_did(tmp_path: Path, changes: dict[str, Any], uri: str) -> None:
    (found,) = read(tmp_path / "a.flows", flow(**changes))

    assert isinstance(found, Carried)
    assert found.interaction.request.uri == uri


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"type": "tcp"}, "it is no HTTP exchange but tcp"),
        (flow(websocket={"messages": []}), "it is no HTTP exchange but WebSocket"),
        (flow(response=None), "it has no answer"),
        (flow(error={"msg": "Client disconnected."}), "it was cut off: Client disconnected."),
        (flow(response__content=None), "its answer's body was streamed, and not saved"),
        (flow(request__content=None), "its request's body was streamed, and not saved"),
        (flow(response__status_code=0), "the response has no status code"),
        ([1, True, 2.5, None], "it is no flow"),
    ],
)
def test_what_cannot_be_carried_says_why(tmp_path: Path, made: Any, why: str) -> None:
    path = tmp_path / "a.flows"

    assert read(path, flow(), made)[1:] == [Lost(f"{path}, flow 2", why)]


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (b"12", "no flow file"),
        (b":", "no flow file"),
        (b"x", "no flow file"),
        (b"9" * 13 + b":", "no flow file"),
        (b"99999999999:", "larger than 256 MB"),
        (b"10:abc", "ends too early"),
        (b"3:1:}}", "ends too early"),
        (b"3:9:,}", "a value ends too early"),
        (b"3:abc}", "a length is missing"),
        (b"4:1:a,}", "a mapping is damaged"),
        (b"1:a#", "a value is damaged"),
        (b"1:a?", "a value is of no known type"),
    ],
)
def test_a_damaged_file_gives_what_is_before(tmp_path: Path, tail: bytes, why: str) -> None:
    path = tmp_path / "a.flows"
    path.write_bytes(netstring(flow()) + tail)

    first, last = mitmproxy.read(path)

    assert isinstance(first, Carried)
    assert isinstance(last, Lost)
    assert why in last.why


def test_depth_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.flows"
    deep = b""
    for _ in range(1000):
        deep = framed(deep, b"]")
    path.write_bytes(deep)

    assert list(mitmproxy.read(path)) == [Lost(f"{path}, after flow 0", "it is nested too deep")]
