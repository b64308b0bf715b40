from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stubserver.interchange import elements as module
from stubserver.interchange.elements import ElementsError, elements, lines, root_keys, value_of

KEY = st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(KEY, v, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(KEY, JSON, max_size=3)


class Dripping(io.BytesIO):
    """Gives a few bytes at a time, whatever was asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        del size
        return super().read(3)


def found(text: bytes, *path: str) -> list[Any]:
    return [json.loads(raw) for raw in elements(io.BytesIO(text), *path)]


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # as slow as the machine is busy
@given(st.lists(OBJECT, max_size=4), OBJECT, st.booleans())
def test_objects_of_the_array_come_one_by_one(objects: list[Any], others: dict[str, Any], ascii_only: bool) -> None:  # noqa: FBT001
    document = {**others, "log": {**others, "entries": objects, "x": others}, "y": [{"entries": [{"no": 1}]}]}
    text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    assert [json.loads(raw) for raw in elements(Dripping(text), "log", "entries")] == objects
    assert found(text, "log", "entries") == objects


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"log": {}}', b'{"log": []}', b'{"entries": [{}]}'])
def test_no_such_array_is_no_object(text: bytes) -> None:
    assert found(text, "log", "entries") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": [{}', "ends too early"),
        (b'{"a": [{"b": "', "ends too early"),
        (b'{"a": [}', "brackets do not agree"),
        (b"]", "brackets do not agree"),
        (b"[" * 100, "nested too deep"),
    ],
)
def test_what_is_no_json_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ElementsError, match=why):
        found(text, "a")


def test_depth_within_an_object_costs_nothing_and_is_refused_when_parsed() -> None:
    (raw,) = elements(io.BytesIO(b'{"a": [{"b":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"), "a")

    assert value_of(raw) is None


def test_memory_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 64 * 1024)
    each = b'{"body": "%b"}' % (b"x" * 10_000)

    class Long(io.RawIOBase):
        def __init__(self, count: int) -> None:
            self.parts = self.made(count)

        def made(self, count: int) -> Iterator[bytes]:
            yield b'{"a": ['
            for _ in range(count):
                yield each + b","
            yield b"{}]}"

        def read(self, size: int = -1, /) -> bytes:
            del size
            return next(self.parts, b"")

    def peak(count: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in elements(Long(count), "a")) == count + 1  # type: ignore[arg-type]
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(4000) < peak(200) + 200_000


def test_an_element_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 100)

    with pytest.raises(ElementsError, match="entry 2 is larger"):
        found(b'{"a": [{}, {"b": "' + b"x" * 200, "a")
    with pytest.raises(ElementsError, match="line 2 is longer"):
        list(lines(io.BytesIO(b"1\n" + b"2" * 200)))


def test_lines_are_numbered_and_empty_ones_passed_over() -> None:
    assert list(lines(io.BytesIO(b"\xef\xbb\xbf1\r\n\n 3"))) == [(1, 0, 6, b"1"), (3, 7, 2, b"3")]


@pytest.mark.parametrize(
    ("head", "keys"),
    [
        (b'\xef\xbb\xbf {"log" : {"a": 1}, "b": "c", "d', {"log", "b"}),
        (b'{"a": 1}\n{"b": 2}', {"a"}),
        (b"[]", set()),
        (b"12:abc", set()),
    ],
)
def test_root_keys(head: bytes, keys: set[str]) -> None:
    assert root_keys(head) == keys
