"""What came once, and what came again."""

from __future__ import annotations

from stubserver.newcomers import Newcomers


def test_the_second_time_it_is_no_newcomer() -> None:
    newcomers = Newcomers()
    assert [newcomers.add(key) for key in ("a", "b", "a", "b", "a")] == [True, True, False, False, True]


def test_what_came_long_ago_is_a_newcomer_again() -> None:
    newcomers = Newcomers()
    for key in range(20_000):
        newcomers.add(key)
    assert newcomers.add(0)
    assert len(newcomers._seen) <= 16_384
