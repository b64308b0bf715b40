"""Damaged and dangerous cassettes are refused by file, item and cause; what is sound beside them is served."""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cassette_texts import BODY, LANGCHAIN, UNICODE, WHOLE, dump, in_json, indented, interactions, read
from tapes import recorded

from stubserver.canonical import Rules
from stubserver.cassettes.reader import read_file
from stubserver.errors import CassetteError, NotACassetteError
from stubserver.messages import Interaction

ONE = dump({"interactions": [recorded(None, {"a": 1})]})
OLD = "written by a vcrpy before 1.0"
NULL = "    body: null\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tape.yaml"


@pytest.fixture
def sound(tmp_path: Path) -> list[Interaction]:
    """What the cassette holds before it is damaged."""
    return interactions(read(tmp_path / "sound.yaml", WHOLE))


@pytest.mark.parametrize(
    ("text", "name", "cause"),
    [
        (dump([{"request": {"method": "GET"}, "response": {}}]), "old.yaml", OLD),
        ("---\n- request: !!python/object:vcr.request.Request {}\n", "old.yaml", OLD),
        (json.dumps([{"request": {}, "response": {}}]), "old.json", OLD),
        (in_json()[:-20], "cut.json", "not JSON: "),
        (in_json().replace('"interactions"', "interactions"), "keys.json", "not JSON: "),
        ('{"interactions": ' + "[" * 100_000, "deep.json", "not JSON: "),
        (in_json(interactions={"a": 1}), "shape.json", "'interactions' is no list"),
        ("interactions: [\n", "cut.yaml", "line 2: "),
        ("interactions: !!python/name:os.system ''\n", "tag.yaml", "the tag python/name:os.system is refused"),
        (b"\x1f\x8b broken", "broken.yaml.gz", "not a whole gzip file"),
        (gzip.compress(WHOLE.encode())[:-9], "cut.yaml.gz", "not a whole gzip file: Compressed file ended"),
        (gzip.compress(b" " * 2**24) * 9, "bomb.yaml.gz", "unpacks to more than 128 MB"),
    ],
)
def test_a_file_that_is_damaged_as_a_whole_is_refused(tmp_path: Path, text: str | bytes, name: str, cause: str) -> None:
    with pytest.raises(CassetteError) as refused:
        read(tmp_path / name, text)
    assert not isinstance(refused.value, NotACassetteError)
    assert refused.value.path == name
    assert cause in refused.value.cause


def test_a_folder_or_nothing_at_all_is_no_file(tmp_path: Path) -> None:
    for path, cause in ((tmp_path, "not a regular file"), (tmp_path / "none.yaml", "No such file or directory")):
        with pytest.raises(CassetteError, match=cause):
            read_file(path, "tape.yaml", "tape", Rules())


def test_items_are_damaged_one_by_one(path: Path) -> None:
    text = WHOLE.replace("chat/completions?x=1", "x\n    url: 1\n    uri: [2]").replace("code: 404", "code: x")
    for form in (text, indented(text), json.dumps(yaml.safe_load(text))):
        file = read(path, form)
        assert [str(problem) for problem in file.problems] == [
            "tape.yaml, item 2: the request has no uri",
            "tape.yaml, item 3: the response has no status code",
        ]
        assert [r.number for r in file.recordings] == [1]


def test_what_is_not_utf8_is_named_by_its_item(path: Path) -> None:
    file = read(path, UNICODE.encode("latin-1", "replace"))
    assert [p.item for p in file.problems] == [1]
    assert "not YAML" in file.problems[0].cause
    assert [r.number for r in file.recordings] == [2, 3]


@pytest.mark.parametrize(("place", "item"), [(NULL, 3), ("      x-a:\n", 1), ("  response:\n", 1)])
@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch executed']",
        "!!python/object/new:subprocess.Popen [['touch', 'executed']]",
        "!!python/object/apply:pathlib.Path.touch [executed]",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
    ],
)
def test_nothing_is_executed(path: Path, monkeypatch: pytest.MonkeyPatch, value: str, place: str, item: int) -> None:
    monkeypatch.chdir(path.parent)
    file = read(
        path, WHOLE.replace(place, f"{place.partition(':')[0]}: {value}\n", 1).replace("      - b\n      - c\n", "")
    )
    assert [p.item for p in file.problems] == [item]
    assert f"the tag {value.partition(' ')[0][2:]} is refused" in file.problems[0].cause
    assert len(file.recordings) == 2
    assert list(path.parent.iterdir()) == [path]


NINES = ",".join(f"&{b} [{','.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
BOMBS = {
    "merge keys": "{x: &b {x: &a {y: 1}, <<: [" + "*a," * 40 + "]}, <<: [" + "*b," * 40 + "]}",
    "aliases": f"[&a [x,x,x,x,x,x,x,x,x], {NINES}]",
    "itself": "&a [*a]",
    "brackets": "[" * 100_000,
    "braces": "{" * 100_000,
    "question marks": "\n      " + "? " * 2000,
    "dashes": "\n      " + "- " * 2000,
    "blocks": "".join(f"\n{' ' * (6 + i)}a:" for i in range(1000)),
    "a long key": "{? " + "k" * 20_000 + " : 1}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_an_item_is_named_and_the_others_are_served(path: Path, sound: list[Interaction], name: str) -> None:
    file = read(path, WHOLE.replace(NULL, f"    body: {BOMBS[name]}\n"))
    assert [problem.item for problem in file.problems] == [3]
    assert interactions(file) == sound[:2]


IN_A_PROCESS = """
import resource, sys
from pathlib import Path
from stubserver.canonical import Rules
from stubserver.cassettes.reader import read_file
from stubserver.errors import CassetteError
limit = 700 << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    file = read_file(Path(sys.argv[1]), "tape", "tape", Rules())
except CassetteError as error:
    print(error.cause)
else:
    print(len(file.recordings), *(problem.cause for problem in file.problems))
"""


def read_in_a_process(path: Path) -> str:
    """Read a file in another process, which may crash, and has 700 MB."""
    command = [sys.executable, "-c", IN_A_PROCESS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("opening", ["[", "{", "{a: ", "\n      ? ? ", "\n      - - "])
def test_brackets_by_the_million_crash_nothing(path: Path, opening: str) -> None:
    first, step = (opening, opening[-2:]) if "\n" in opening else ("", opening)
    path.write_text(ONE.replace(NULL, f"    body: {first}{step * 1_000_000}\n"), "utf-8")
    assert re.search("nested deeper than 200|exceeded maximum nesting depth", read_in_a_process(path))


@pytest.mark.parametrize(
    ("head", "cause"),
    [("", "larger than 256 MB and not in the layout vcrpy writes"), (ONE, "there are NUL bytes in it")],
)
def test_a_sparse_file_of_a_gigabyte_is_never_taken_into_memory(path: Path, head: str, cause: str) -> None:
    path.write_text(head)
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    assert read_in_a_process(path) == cause


def test_a_file_of_many_gigabytes_is_refused_by_its_size(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate((4 << 30) + 1)
    with pytest.raises(CassetteError, match="larger than 4 GB"):
        read_file(path, "tape.yaml", "tape", Rules())


@pytest.mark.parametrize("members", [1, 20])
def test_a_gzip_bomb_is_bounded(path: Path, members: int) -> None:
    path.write_bytes(gzip.compress(bytes((200 << 20) // members), 1) * members)
    assert read_in_a_process(path).startswith("unpacks to more than 128 MB: unpack it, or ")


def test_a_scalar_of_50_mb_is_read(path: Path) -> None:
    path.write_text(ONE.replace("body: null", f"body: '{'x' * 50_000_000}'"), "utf-8")
    assert read_in_a_process(path) == "1"


def test_what_is_too_large_to_be_read_as_a_whole_is_refused(
    path: Path, sound: list[Interaction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stubserver.cassettes.reader._LARGEST_WHOLE", 1000)
    for text in (in_json(), indented(BODY), LANGCHAIN, gzip.compress(LANGCHAIN.encode())):
        with pytest.raises(CassetteError, match="and not in the layout vcrpy writes"):
            read(path, text)
    assert interactions(read(path, WHOLE)) == sound


def test_a_large_file_is_not_read_a_second_time_for_one_damaged_item(
    path: Path, sound: list[Interaction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stubserver.cassettes.reader._LARGEST_AGAIN", 1000)
    monkeypatch.delattr("stubserver.cassettes.reader._Reading._yaml")
    file = read(path, WHOLE.replace("code: 404", "code: x"))
    assert (interactions(file), [p.item for p in file.problems]) == (sound[:2], [3])


TORN = {
    "YAML": (BODY, 1),
    "CRLF": (BODY.replace("\n", "\r\n"), 7),
    "unicode": (UNICODE, 7),
    "version first": ("version: 1\n" + BODY, 7),
}


@pytest.mark.parametrize("name", TORN)
def test_a_torn_last_item_never_takes_the_others_down(path: Path, sound: list[Interaction], name: str) -> None:
    text, step = TORN[name]
    whole = text.encode()
    # A reason that is cut short cannot be seen.
    third = (sound[2].request, sound[2].response._replace(reason=""))
    for cut in range(whole.rindex(b"\n- request:") + 2, len(whole), step):
        file = read(path, whole[:cut])
        found = interactions(file)
        assert found[:2] == sound[:2], cut
        assert {(i.request, i.response._replace(reason="")) for i in found[2:]} <= {third}, cut
        assert {problem.item for problem in file.problems} <= {3}, cut
        assert len(found[2:]) + len(file.problems) + file.skipped == 1, cut


def test_torn_json_is_an_error_at_every_offset(path: Path) -> None:
    text = in_json()
    for cut in range(len(text) - 300, len(text) - 2, 3):
        with pytest.raises(CassetteError, match=r"tape\.json: not JSON: "):
            read(path.with_suffix(".json"), text[:cut])


def test_binary_junk_never_crashes_the_reader(path: Path) -> None:
    rng = random.Random(7)
    outcomes = set()
    for _ in range(150):
        junk = bytearray(WHOLE.encode())
        start = rng.randrange(len(junk))
        junk[start : start + rng.randrange(60)] = rng.randbytes(rng.randrange(60))
        try:
            file = read(path, bytes(junk))
        except CassetteError as error:
            outcomes.add(type(error))
        else:
            outcomes.add(len(file.recordings) + len(file.problems) + file.skipped)
    assert outcomes <= {2, 3, CassetteError, NotACassetteError}
    assert 3 in outcomes
