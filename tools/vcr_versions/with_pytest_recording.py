"""What pytest-recording makes of a cassette of ours; run by versions.py, the cassette at its default place."""

from __future__ import annotations

import pytest
import requests

URL = "http://localhost:8000/v1/models"


@pytest.mark.vcr
@pytest.mark.block_network
def test_models() -> None:
    """The client gets what was recorded, with the network blocked."""
    assert requests.get(URL, timeout=5).json()["data"][0]["id"] == "gemma-3-270m"
