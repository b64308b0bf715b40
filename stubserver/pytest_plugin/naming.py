"""Where a test's cassette is: as pytest-recording names it, so that the folders that exist go on being used."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["cassettes_of", "default_cassette"]

_UNFIT: Final = str.maketrans(dict.fromkeys("<>?%*:|\"'/\\", "-"))
"""Characters that pytest-recording replaces, since a file's name may not hold them everywhere."""
_LONGEST: Final = 255
_ENDINGS: Final = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")


def cassettes_of(item: pytest.Item) -> list[Path]:
    """Return the cassettes that the test's marker names, the nearest one; else its own, by its name."""
    marker = item.get_closest_marker("stub_cassette")
    if marker is None:
        return [default_cassette(item)]
    if not marker.args:
        pytest.fail(f"{item.nodeid}: name a cassette: @pytest.mark.stub_cassette('chat.yaml')", pytrace=False)
    return [item.path.parent / path for path in marker.args]


def default_cassette(item: pytest.Item) -> Path:
    """Return ``cassettes/<module>/<Class.test[parameters]>.yaml`` beside the test's module, or what is there instead.

    A name that is too long for a file is cut, with the MD5 of the whole behind it.
    """
    owner = getattr(item, "cls", None)
    folder = item.path.parent / "cassettes" / item.path.stem
    name = (f"{owner.__name__}.{item.name}" if owner else item.name).translate(_UNFIT)
    name = _short_enough(name, ".yaml")
    there = (folder / f"{name}{ending}" for ending in _ENDINGS)
    return next((path for path in there if path.exists()), folder / f"{name}.yaml")


def _short_enough(name: str, ending: str) -> str:
    """Cut a name where pytest-recording does; it counts characters, the system bytes."""
    if len(name) + len(ending) > _LONGEST:
        mark = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        return f"{name[: _LONGEST - len(ending) - len(mark) - 3]}...{mark}"
    if len(os.fsencode(name + ending)) <= _LONGEST:
        return name
    mark = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return f"{os.fsencode(name)[: _LONGEST - len(ending) - len(mark) - 3].decode(errors='ignore')}...{mark}"
