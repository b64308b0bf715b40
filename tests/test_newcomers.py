"""What came once, and what came again."""

from __future__ import annotations

from stubserver.newcomers import Newcomers

KEYS = [f"key {number}" for number in range(40_000)]


def test_the_second_time_it_is_no_newcomer() -> None:
    newcomers = Newcomers()
    assert [newcomers.add(key) for key in ("a", "b", "a", "b", "a")] == [True, True, False, False, True]


def test_what_came_long_ago_is_a_newcomer_again() -> None:
    newcomers = Newcomers()
    for key in KEYS:
        newcomers.add(key)
    assert sum(map(newcomers.add, KEYS[:1000])) > 700


def test_few_are_taken_for_another() -> None:
    newcomers = Newcomers()
    assert sum(map(newcomers.add, KEYS)) > 0.98 * len(KEYS)
