"""What a route is without the path's prefix."""

from __future__ import annotations

import pytest
from tapes import request

from stubserver.canonical import Rules
from stubserver.cassettes.routes import any_route, normal_route


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/v1/chat/completions", "/chat/completions", True),
        ("/v1/chat/completions", "/openai/deployments/gpt-4o/chat/completions", True),
        ("/v1/chat/completions", "/v1/embeddings", False),
        ("/v1/models?a=1", "/models?a=2", False),
        ("/**REDACTED**", "/[FILTERED]", True),
        ("/**REDACTED**", "/v1/models", False),
    ],
)
def test_routes_without_their_prefix(one: str, other: str, same: bool) -> None:  # noqa: FBT001
    rules = Rules()
    found = [normal_route(request(target=target)._replace(scheme=""), rules) for target in (one, other)]
    assert (found[0] == found[1]) is same


@pytest.mark.parametrize(
    ("target", "scheme", "any_path"),
    [
        ("/**REDACTED**", "", True),
        ("/<URI>", "", True),
        ("/REDACTED", "", False),
        ("/**REDACTED**", "https", False),
        ("/**a/b**", "", False),
        ("/" + "*" * 100, "", False),
    ],
)
def test_a_redacted_address_stands_for_every_path(target: str, scheme: str, any_path: bool) -> None:  # noqa: FBT001
    found = normal_route(request(target=target)._replace(scheme=scheme), Rules())
    assert (found == any_route("post")) is any_path
