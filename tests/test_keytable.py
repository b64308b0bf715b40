"""Numbers to entries, against a dictionary of lists."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.cassettes import keytable
from stubserver.cassettes.keytable import KeyTable

NUMBERS = st.integers(1, 40) | st.integers(1, 2**64 - 1) | st.integers(0, 30).map(lambda n: 1 + (n << 32))
FILE = 1 << 32


@given(st.lists(NUMBERS, max_size=300), st.integers(0, 300))
def test_it_is_a_dictionary_of_lists(numbers: list[int], expected: int) -> None:
    table, model = KeyTable(expected), dict[int, list[int]]()
    for row, number in enumerate(numbers):
        entry = (1 + row % 3) * FILE + row
        table.add(number, entry)
        model.setdefault(number, []).append(entry)
    assert {number: table.find(number) for number in model} == model
    assert len(table) == len(model)
    assert table.find(2**63 + 12345) == model.get(2**63 + 12345, [])


@given(st.lists(NUMBERS, max_size=300, unique=True), st.lists(st.integers(0, 40), max_size=9))
def test_room_is_made_beside_what_is_there(numbers: list[int], reserved: list[int]) -> None:
    table = KeyTable()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keytable, "_LARGE", 20)
        for row, number in enumerate(numbers):
            if row % 30 == 29 and reserved:
                table.reserve(reserved.pop())
            table.add(number, FILE + row)
            table.add(number, 2 * FILE + row)
    expected = {number: [FILE + row, 2 * FILE + row] for row, number in enumerate(numbers)}
    for found in (table, KeyTable.of_parts(*table.parts())):
        assert {number: found.find(number) for number in numbers} == expected
        assert (len(found), found.find(2**63 + 12345)) == (len(numbers), expected.get(2**63 + 12345, []))


def test_a_large_one_that_is_full_stays_where_it_is() -> None:
    draw = random.Random(7)
    table, numbers = KeyTable(10_000), [draw.getrandbits(64) | 1 for _ in range(20_000)]
    (before,) = table._tables
    table.extend(numbers, FILE)
    assert table._tables[0] is before
    assert len(table._tables) == 2
    assert all(table.find(number) == [FILE + entry] for entry, number in enumerate(numbers))


def test_entries_are_counted_on() -> None:
    table = KeyTable()
    table.extend([5, 7, 5], FILE)
    assert (table.find(5), table.find(7), table.find(6)) == ([FILE, FILE + 2], [FILE + 1], [])


def test_many_of_one_number_take_a_time_that_does_not_grow() -> None:
    table = KeyTable()
    table.extend([3] * 50_000, FILE)
    assert table.find(3) == list(range(FILE, FILE + 50_000))


def test_it_is_read_while_it_grows() -> None:
    table, ended = KeyTable(), threading.Event()
    table.extend(range(1, 100), FILE)
    wrong: list[list[int]] = []

    def read() -> None:
        while not ended.is_set():
            wrong.extend(found for n in range(1, 100) if FILE + n - 1 not in (found := table.find(n)))

    reader = threading.Thread(target=read)
    reader.start()
    table.extend((n % 5000 + 1 for n in range(30_000)), 2 * FILE)
    ended.set()
    reader.join()
    assert wrong == []
    assert len(table.find(50)) == 7
