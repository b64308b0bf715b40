from __future__ import annotations

import json
from pathlib import Path

import pytest

from stubserver.errors import UsageError
from stubserver.interchange import Carried, Lost
from stubserver.interchange.formats import NAMES, detect, read

DATA = Path(__file__).parent / "data" / "interchange"
BASE = "https://api.openai.com"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mitmproxy.har", "har"),
        ("mitmproxy.flows", "mitmproxy"),
        ("wiremock", "wiremock"),
        ("wiremock/mappings", "wiremock"),
        ("wiremock-mappings.json", "wiremock"),
        ("wiremock/mappings/mapping-v1-models-gSlCg.json", "wiremock"),
        ("hoverfly.json", "hoverfly"),
        ("aimock", "aimock"),
        ("batch/input.jsonl", "batch"),
        ("batch/output.jsonl", "batch"),
    ],
)
def test_a_format_is_told_by_what_is_in_the_file(name: str, expected: str) -> None:
    assert detect(DATA / name) == expected
    assert expected in NAMES


def test_our_own_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    lines = tmp_path / "a.txt"
    lines.write_text('{"request": {"uri": "/"}, "response": {"status": 200}}\n')
    marked = tmp_path / "b.txt"
    marked.write_bytes(b"\xef\xbb\xbf" + json.dumps({"log": {"entries": []}}).encode())

    assert (detect(lines), detect(marked)) == ("jsonl", "har")


@pytest.mark.parametrize("text", ["", "{}", "[1]", "hello", '{"a": 1}'])
def test_another_file_is_told_what_there_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)

    with pytest.raises(UsageError, match=r"none of the formats har, .*, batch; if it is, name it with --format"):
        detect(path)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there are no \.json files in this folder"):
        detect(tmp_path)


def test_several_files_of_several_formats() -> None:
    files = [DATA / "batch" / "output.jsonl", DATA / "mitmproxy.har", DATA / "batch" / "input.jsonl", DATA / "aimock"]

    found = list(read(files, BASE))

    assert len([each for each in found if isinstance(each, Carried)]) == 10 + 3 + 4
    assert len([each for each in found if isinstance(each, Lost)]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_format_is_troubled_by_a_file_of_another(name: str) -> None:
    for file in (each for each in sorted(DATA.rglob("*")) if each.is_file()):
        for found in read([file], BASE, name):
            assert isinstance(found, (Carried, Lost))
