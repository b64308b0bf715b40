"""Where a test's cassette is: as pytest-recording names it, so that the folders that exist go on being used."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["cassettes_of", "default_cassette"]

_UNFIT = str.maketrans(dict.fromkeys("<>?%*:|\"'/\\", "-"))
"""Characters that pytest-recording replaces, since a file's name may not hold them everywhere."""


def cassettes_of(item: pytest.Item) -> list[Path]:
    """Return the cassettes that the test's marker names, the nearest one; else its own, by its name."""
    marker = item.get_closest_marker("stub_cassette")
    if marker is None:
        return [default_cassette(item)]
    if not marker.args:
        raise pytest.UsageError(f"{item.nodeid}: name a cassette: @pytest.mark.stub_cassette('chat.yaml')")
    return [item.path.parent / path for path in marker.args]


def default_cassette(item: pytest.Item) -> Path:
    """Return ``cassettes/<module>/<Class.test[parameters]>.yaml`` beside the test's module."""
    owner = getattr(item, "cls", None)
    name = f"{owner.__name__}.{item.name}" if owner else item.name
    return item.path.parent / "cassettes" / item.path.stem / f"{name.translate(_UNFIT)}.yaml"
