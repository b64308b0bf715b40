"""Memory for large tables."""

from __future__ import annotations

import mmap

import pytest

from stubserver.cassettes.memory import zeros


@pytest.mark.parametrize(
    ("size", "kind"), [(0, bytearray), (100, bytearray), (1 << 20, mmap.mmap), (5 << 20, mmap.mmap)]
)
def test_it_is_zero_and_can_be_written_to(size: int, kind: type) -> None:
    memory = zeros(size)
    assert type(memory) is kind
    assert len(memory) == size
    assert not any(memory[:4096])
    view = memoryview(memory)
    view[-8:] = b"12345678"[:size]
    assert bytes(memory[-8:]) == b"12345678"[:size]


def test_what_is_large_is_taken_where_it_is_written_to() -> None:
    """It would take a second to fill four gigabytes."""
    memory = zeros(1 << 32)
    memory[1 << 31] = 1
    assert memory[1 << 31] == 1
