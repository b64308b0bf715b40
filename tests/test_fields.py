"""What a path leads to is left out, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stubserver.fields import PATH, drop

BODY: dict[str, Any] = {"seed": 1, "a": {"b": {"c": 1, "d": 2}}, "m": [{"n": 1, "o": 2}, {"n": 3}, 4]}


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("seed", {k: v for k, v in BODY.items() if k != "seed"}),
        ("$.a.b.c", {**BODY, "a": {"b": {"d": 2}}}),
        ("m[].n", {**BODY, "m": [{"o": 2}, {}, 4]}),
        ("m[*].n", {**BODY, "m": [{"o": 2}, {}, 4]}),
        ("m[0]", {**BODY, "m": [{"n": 3}, 4]}),
        ("m[1].n", {**BODY, "m": [{"n": 1, "o": 2}, {}, 4]}),
        ("m[]", {**BODY, "m": []}),
        ("m[7]", BODY),
        ("a.x.c", BODY),
        ("seed.x", BODY),
        ("a[0]", BODY),
        ("m.n", BODY),
    ],
)
def test_what_a_path_leads_to_is_left_out(path: str, left: object) -> None:
    body = copy.deepcopy(BODY)
    assert PATH.fullmatch(path)
    drop(body, path)
    assert body == left


@pytest.mark.parametrize("path", ["", ".", "a..b", "a[x]", "a[", "a]", "a[0", "a.", "[-1]"])
def test_what_is_no_path(path: str) -> None:
    assert not PATH.fullmatch(path)
