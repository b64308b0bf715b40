"""Faults, limits and triggers as settings of the admin API."""

from __future__ import annotations

from typing import Any

import pytest
from asking import call, chat, get

from stubserver import StubServer


def test_faults_and_limits_are_settings() -> None:
    with StubServer() as stub:
        before = get(stub, "/settings").json
        assert {name: before[name] for name in ("faults", "limits", "fault_triggers", "fault_seed")} == {
            "faults": [],
            "limits": [],
            "fault_triggers": False,
            "fault_seed": 0,
        }
        wanted: dict[str, Any] = {
            "faults": ["503,once", {"fault": "429", "retry-after": 2, "times": 1}],
            "limits": ["rpm=60"],
            "fault_triggers": True,
            "fault_seed": 7,
        }
        after = call(stub, "PUT", "/__admin/settings", wanted).json
        assert after["faults"] == ["status=503,once", "rate-limit,retry-after=2,times=1"]
        assert (after["limits"], after["fault_triggers"], after["fault_seed"]) == (["rpm=60"], True, 7)
        assert [chat(stub).status for _ in range(3)] == [503, 429, 200]
        assert chat(stub, "hi [[fault 502]]").status == 502
        assert [row["fault"] for row in get(stub, "/requests").json["requests"]] == [
            *("status=502", "", "rate-limit,retry-after=2", "status=503")
        ]
        assert get(stub, "/requests?source=fault").json["meta"]["total"] == 3
        assert call(stub, "PUT", "/__admin/settings", {"faults": after["faults"]}).json["faults"] == after["faults"]
        assert chat(stub).status == 503  # counted anew
        assert call(stub, "PUT", "/__admin/settings", {"faults": [], "limits": []}).json["faults"] == []
        assert chat(stub).status == 200


@pytest.mark.parametrize(
    "wanted",
    [
        {"faults": ["rest"]},
        {"faults": "reset"},
        {"faults": [5]},
        {"faults": [{"what": "reset"}]},
        {"faults": ["reset"] * 1001},
        {"limits": ["rpm"]},
        {"limits": [{}]},
        {"fault_triggers": 1},
        {"fault_seed": -1},
        {"fault_seed": True},
        {"fault_seed": "x"},
    ],
)
def test_what_cannot_be_set_changes_nothing(wanted: dict[str, Any]) -> None:
    with StubServer() as stub:
        refused = call(stub, "PUT", "/__admin/settings", {"fault_seed": 3, **wanted})
        assert (refused.status, refused.code) == (400, "bad_setting")
        assert get(stub, "/settings").json["fault_seed"] == 0
        assert chat(stub).status == 200
