"""vcrpy's serializer on its own: the same module, and nothing else of vcrpy."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from vcr.serializers import yamlserializer

from stubserver.cassettes import serializer as subject
from stubserver.cassettes.serializer import serializer

DOCUMENT = {
    "version": 1,
    "interactions": [{"a": "text: \u00e9\nmore", "b": b"\0\xff", "c": None, "d": ["1", "yes", " x" * 80], "e": 200}],
}


@pytest.fixture(autouse=True)
def afresh() -> None:
    serializer.cache_clear()


def test_one_that_was_imported_is_used() -> None:
    assert serializer() is yamlserializer


def test_it_writes_the_same_without_the_rest_of_vcrpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "vcr.serializers.yamlserializer")
    alone = serializer()
    assert alone is not yamlserializer
    assert alone.__file__ == yamlserializer.__file__
    assert alone.serialize(DOCUMENT) == yamlserializer.serialize(DOCUMENT)


def test_where_there_is_no_such_file_vcrpy_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "vcr.serializers.yamlserializer")
    spec = importlib.util.spec_from_file_location("vcr", "x.py", submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(subject, "find_spec", lambda _: spec)
    assert isinstance(serializer(), ModuleType)
    assert serializer().serialize(DOCUMENT) == yamlserializer.serialize(DOCUMENT)


def test_recording_an_answer_imports_no_client_of_vcrpys(tmp_path: Path) -> None:
    script = """
import sys, urllib.request
from stubserver import StubServer
with StubServer() as api, StubServer("tape.yaml", record_mode="all", upstream=api.url) as stub:
    before = "yaml" in sys.modules
    with urllib.request.urlopen(stub.base_url + "/models") as answer:
        source = answer.headers["x-stubserver-source"]
        answer.read()  # who leaves before the end is not recorded
print(before, source, sorted({"vcr", "httpx", "aiohttp", "tornado"} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[0] == "True recorded []"
    assert yamlserializer.deserialize((tmp_path / "tape.yaml").read_text())["interactions"]
