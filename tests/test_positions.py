"""What was played how often, in this process's memory and in shared memory."""

from __future__ import annotations

import mmap
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.cassettes.positions import Positions, bytes_for

MARKS = st.integers(1, 20) | st.integers(1, 2**64 - 1) | st.integers(1, 50).map(lambda n: n << 40)


@given(st.lists(MARKS, max_size=200))
def test_it_is_a_counter(marks: list[int]) -> None:
    positions, model = Positions(), Counter(marks)
    for mark in marks:
        positions.add(mark)
    assert {mark: positions.get(mark) for mark in model} == model
    assert positions.get(2**62 + 99) == model[2**62 + 99]


def test_it_grows_and_keeps_what_it_knows() -> None:
    positions = Positions()
    epoch = positions.epoch
    for mark in range(1, 20_001):
        positions.add(mark)
    positions.add(7)
    assert [positions.get(mark) for mark in (1, 7, 20_000, 20_001)] == [1, 2, 1, 0]
    assert positions.epoch == epoch


@pytest.mark.parametrize("reserved", [0, 10_000])
def test_nobody_waits_for_a_large_table_to_be_moved(reserved: int) -> None:
    positions, marks = Positions(), [mark * 0x9E3779B97F4A7C15 % 2**64 for mark in range(1, 40_001)]
    positions.reserve(reserved)
    for mark in marks:
        before = positions._tables
        positions.add(mark)
        moved = set(map(id, before)) - set(map(id, positions._tables))
        assert sum(table.head[1] for table in before if id(table) in moved) <= 4096
    assert 2 <= len(positions._tables) <= 4
    assert all(positions.again(mark) for mark in marks)
    assert {positions.get(mark) for mark in marks} == {2}
    assert not positions.again(5)
    twin, epoch = positions.copy(), positions.epoch
    positions.forget(marks[-1])
    assert (positions.get(marks[-1]), twin.get(marks[-1])) == (0, 2)
    positions.clear()
    assert {positions.get(mark) for mark in marks} == {0}
    assert positions.epoch > epoch
    assert len(positions._tables) == 1


def test_room_is_made_ahead() -> None:
    positions = Positions()
    positions.add(7)
    for room in (100_000, 10, 200_000):
        positions.reserve(room)
        positions.add(room)
    assert [positions.get(mark) for mark in (7, 10, 100_000, 200_000, 5)] == [1, 1, 1, 1, 0]
    twin = positions.copy()
    twin.add(7)
    assert (positions.get(7), twin.get(7)) == (1, 2)


def test_shared_memory_is_left_as_it_is() -> None:
    with mmap.mmap(-1, bytes_for(10)) as memory:
        positions = Positions(memory)
        positions.reserve(1_000_000)
        positions.add(1)
        assert Positions(memory).get(1) == 1
        positions.close()


def test_what_was_played_can_be_forgotten() -> None:
    positions = Positions()
    for mark in (5, 6):
        positions.add(mark)
    positions.forget(5)
    positions.forget(99)
    assert (positions.get(5), positions.get(6)) == (0, 1)
    before = positions.epoch
    positions.clear()
    assert (positions.get(5), positions.get(6)) == (0, 0)
    assert positions.epoch != before
    positions.add(5)
    assert positions.get(5) == 1


def test_two_share_one_memory() -> None:
    with mmap.mmap(-1, bytes_for(100)) as memory:
        one, two = Positions(memory), Positions(memory)
        one.add(5)
        two.add(5)
        assert (one.get(5), two.get(5)) == (2, 2)
        epoch = one.epoch
        two.clear()
        assert one.get(5) == 0
        assert one.epoch != epoch
        one.close()
        two.close()


def test_what_does_not_fit_into_shared_memory_is_not_counted() -> None:
    positions = Positions(bytearray(bytes_for(10)))
    for mark in range(1, 2000):
        positions.add(mark)
    assert (positions.get(1), positions.get(1999)) == (1, 0)
    positions.add(1)
    assert positions.get(1) == 2


@pytest.mark.parametrize("marks", [0, 1, 1000, 10**6])
def test_the_memory_that_is_asked_for_is_enough(marks: int) -> None:
    size = bytes_for(marks)
    assert size < 40 * max(marks, 1024)
    if marks <= 1000:
        positions = Positions(bytearray(size))
        for mark in range(1, marks + 1):
            positions.add(mark << 33)
        assert all(positions.get(mark << 33) == 1 for mark in range(1, marks + 1))
