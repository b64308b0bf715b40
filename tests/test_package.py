"""The package itself: its public names, and that importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stubserver


@pytest.mark.parametrize("name", stubserver.__all__)
def test_public_name_is_there(name: str) -> None:
    assert getattr(stubserver, name)
    assert name in dir(stubserver)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Stub'"):
        _ = stubserver.Stub


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_imports_nothing_of_it() -> None:
    assert not {name for name in loaded_after("import stubserver") if name.startswith("stubserver.")}


def test_serving_needs_neither_vcrpy_nor_yaml_nor_rich_nor_requests() -> None:
    loaded = loaded_after("import stubserver.cli; from stubserver import StubServer; StubServer().start().stop()")

    assert not loaded & {"vcr", "yaml", "rich", "requests", "pytest", "stubserver.redaction", "stubserver.folding"}
    assert not loaded & {
        "argparse",
        "asyncio",
        "importlib.metadata",
        "logging",
        "multiprocessing",
        "sqlite3",
        "tempfile",
    }


def test_what_the_first_miss_needs_is_there_before_it() -> None:
    until = "[time.sleep(0.05) for _ in range(400) if 'stubserver.scrubbing' not in sys.modules]"

    loaded = loaded_after(
        f"import time; from stubserver import StubServer; stub = StubServer('cassettes').start(); {until}; stub.stop()"
    )

    assert "stubserver.scrubbing" in loaded


def test_playing_an_ordinary_cassette_needs_no_yaml_parser() -> None:
    play = "StubServer('cassettes').library.playlist.recordings[0].interaction()"

    assert "yaml" not in loaded_after(f"from stubserver import StubServer; {play}")
