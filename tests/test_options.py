"""What the options of StubServer may be: what cannot be is a UsageError that says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stubserver import options
from stubserver.errors import UsageError


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (lambda: options.choice_of("drift", "maybe", ("refuse", "allow")), "choose from refuse, allow"),
        (lambda: options.error_status(200), "give a status from 400 to 599"),
        (lambda: options.admin_token(""), "the admin token is empty"),
        (lambda: options.refuse_strangers("::", "::"), "--admin-token"),
        (lambda: options.token_count(-1), "give 0 or more"),
        (lambda: options.seconds(0), "more than 0"),
        (lambda: options.seconds(86_401), "a day at most"),
        (lambda: options.at_least_one("max_body", 0), "max_body 0 cannot be"),
    ],
)
def test_what_cannot_be_is_refused(check: Callable[[], object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        check()


def test_what_can_be_comes_back() -> None:
    assert options.choice_of("drift", "allow", ("refuse", "allow")) == "allow"
    assert (options.error_status(400), options.error_status(599)) == (400, 599)
    assert (options.admin_token(None), options.admin_token("t")) == (None, "t")
    assert (options.token_count(0), options.seconds(86_400), options.at_least_one("n", 1)) == (0, 86_400, 1)
    options.refuse_strangers("localhost", "127.0.0.1")


def test_paths_come_alone_and_in_lists() -> None:
    assert options.flat(("a", Path("b"), ["c", Path("d")])) == ["a", Path("b"), "c", Path("d")]
