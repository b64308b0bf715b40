"""Cassette files of every make are read alike."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cassette_texts import BODY, ITEMS, LANGCHAIN, UNICODE, WHOLE, dump, in_json, indented, interactions, read
from tapes import recorded

from stubserver.canonical import Rules
from stubserver.errors import CassetteError, NotACassetteError
from stubserver.messages import Interaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tape.yaml"


@pytest.fixture
def expected(tmp_path: Path) -> list[Interaction]:
    """What every form of the cassette holds."""
    return interactions(read(tmp_path / "expected.yaml", WHOLE))


IN_PARTS = {
    "version last": WHOLE,
    "version first": "version: 1\n" + BODY,
    "no version": BODY,
    "no line end": WHOLE.rstrip(),
    "unicode, wider": UNICODE,
    "document marks": f"---\n{WHOLE}...\n",
    "byte order mark": "\ufeff" + WHOLE,
    "byte order mark, version first": "\ufeffversion: 1\n" + BODY,
    "CRLF": WHOLE.replace("\n", "\r\n"),
    "comments": "# before\ninteractions:\n" + "\n# between\n\n".join(dump([i]) for i in ITEMS) + "# after\n",
    "spaces behind the key": WHOLE.replace("interactions:", "interactions: \t"),
    "metadata": BODY + "metadata:\n  a: b\nversion: 1\n",
    "extra keys": WHOLE.replace("\n  response:", "\n  recorded_at: today\n  response:"),
    "another order": dump({"version": 1, "interactions": [dict(reversed(i.items())) for i in ITEMS]}, sort_keys=False),
    "JSON items": "interactions:\n" + "".join(f"- {json.dumps(i)}\n" for i in ITEMS) + "version: 1\n",
}
AS_A_WHOLE = {
    "indented": indented(WHOLE),
    "comment under the key": WHOLE.replace("interactions:\n", "interactions:\n# the first\n"),
    "duplicate keys": "interactions: []\n" + indented(WHOLE) + "version: 1\n",
    "quoted keys": indented(WHOLE).replace("interactions:", '"interactions":'),
    "a list behind": BODY + "tags:\n- a\n- b\nversion: 1\n",
    "flow": "--- " + json.dumps({"interactions": ITEMS}),
    "flow with a comment": "# of ours\n" + json.dumps({"interactions": ITEMS}).replace("{", "{ # so\n", 1),
    "langchain": LANGCHAIN,
}


@pytest.mark.parametrize("name", [*IN_PARTS, *AS_A_WHOLE])
def test_every_kind_of_yaml_file_is_read_alike(path: Path, expected: list[Interaction], name: str) -> None:
    file = read(path, {**IN_PARTS, **AS_A_WHOLE}[name])
    assert interactions(file) == expected
    assert [r.number for r in file.recordings] == [1, 2, 3]
    assert (file.problems, file.skipped) == ([], 0)
    assert [r.kept is None for r in file.recordings] == [name in IN_PARTS] * 3


@pytest.mark.parametrize("name", ["tape.json", "tape.yaml"])
@pytest.mark.parametrize(
    "text", [in_json(), json.dumps({"interactions": ITEMS}), "\ufeff" + in_json(), " \n" + in_json()]
)
def test_every_kind_of_json_file_is_read_alike(
    tmp_path: Path, expected: list[Interaction], text: str, name: str
) -> None:
    assert interactions(read(tmp_path / name, text)) == expected


@pytest.mark.parametrize(("text", "ending"), [(WHOLE, "yaml.gz"), (in_json(), "json.gz"), (LANGCHAIN, "yml.gz")])
def test_compressed_files_are_read_alike(tmp_path: Path, expected: list[Interaction], text: str, ending: str) -> None:
    middle = len(text) // 2
    members = gzip.compress(text[:middle].encode()) + gzip.compress(text[middle:].encode())
    for packed in (gzip.compress(text.encode()), members, members + bytes(512)):
        assert interactions(read(tmp_path / f"tape.{ending}", packed)) == expected


def test_constants_and_half_pairs_in_json_are_read(path: Path) -> None:
    file = read(path, in_json(interactions=[recorded("\ud800", "x")], score=float("nan")))
    assert file.recordings[0].interaction().request.body == b"\xed\xa0\x80"


def test_a_single_item_as_json_is_a_cassette(path: Path) -> None:
    """Datadog's test agent keeps one item a file, with plain text for headers and bodies."""
    text = json.dumps(
        {
            "request": {"method": "POST", "url": "https://a/v1/x", "headers": {"A": "b"}, "body": "{}"},
            "response": {"status": {"code": 200, "message": ""}, "headers": {"C": "d"}, "body": "plain"},
        }
    )
    file = read(path, text)
    assert [(i.request.uri, i.response.body) for i in interactions(file)] == [("https://a/v1/x", b"plain")]


IN_MEMORY = """\
    body: !!python/object/new:_io.BytesIO
      state: !!python/tuple
      - !!binary |
        eyJhIjogMX0=
      - 0
      - null
"""
IN_CHUNKS = """\
    body: !!python/object/apply:builtins.iter
      args:
      - - '{"a":'
        - ' 1}'
"""


@pytest.mark.parametrize(
    "body",
    [
        IN_MEMORY,
        IN_CHUNKS,
        "    body: !!python/unicode '{\"a\": 1}'\n",
        "    body: {a: 1}\n",
        '    body: |-\n      {"a": 1}\n',
        '    body: >-\n      {"a":\n      1}\n',
        "    parsed_body:\n      a: 1\n",
    ],
)
def test_bodies_in_the_form_of_other_clients(path: Path, body: str) -> None:
    assert "    body: null\n" in WHOLE
    file = read(path, WHOLE.replace("    body: null\n", body))
    assert interactions(file)[2].request.body == b'{"a": 1}'


LISTED = "      x-a:\n      - b\n      - c\n"
ISTR = """\
    headers:
      ? !!python/object/new:multidict._multidict.istr
      - content-type
      : - application/json
      ? !!python/object/new:multidict._multidict.istr
      - x-a
      : - b
        - c
      x-request-id: [req_1]
    status:
"""
PAIRS = """\
    headers:
    - !!python/tuple
      - content-type
      - - application/json
    - !!python/tuple
      - x-a
      - - b
        - c
    - - x-request-id
      - - req_1
    status:
"""


@pytest.mark.parametrize(
    "headers",
    [
        f"    headers:\n      content-type: application/json\n{LISTED}      x-request-id: req_1\n    status:\n",
        ISTR.replace("new", "apply"),
        ISTR,
        PAIRS,
    ],
)
def test_headers_in_the_form_of_other_clients(path: Path, expected: list[Interaction], headers: str) -> None:
    start = WHOLE.rindex("    headers:\n", 0, WHOLE.index("    status:\n"))
    end = WHOLE.index("    status:\n") + len("    status:\n")
    text = WHOLE[:start] + headers + WHOLE[end:]
    assert text != WHOLE
    assert interactions(read(path, text)) == expected


def test_items_that_share_lists_by_anchors_are_read_as_a_whole(path: Path, tmp_path: Path) -> None:
    items = [recorded(str(n), {"n": n}) for n in range(3)]
    for shared in (items[0], items[2]):
        shared["request"].update({"headers": items[0]["request"]["headers"], "body": {"a": 1}})
    items[1]["response"]["headers"] = items[2]["response"]["headers"]
    text = dump({"interactions": items, "version": 1})
    assert "headers: *id" in text.rpartition("\n- request")[2]
    file = read(path, text)
    plain = read(tmp_path / "plain.yaml", dump({"interactions": json.loads(json.dumps(items)), "version": 1}))
    assert interactions(file) == interactions(plain)
    assert (len(file.recordings), file.problems) == (3, [])


@pytest.mark.parametrize("quoted", ["one\n\n- two\n\n- request:\n\nthree", "one\n\nversion: 1", "one\n\n''- two"])
def test_text_in_column_0_that_looks_like_more_items(path: Path, quoted: str) -> None:
    """PyYAML reads quoted text whatever its indentation is; other tools wrote such files."""
    text = WHOLE.replace("    body: null\n", f"    body: '{quoted}'\n")
    wanted = yaml.safe_load(text)["interactions"][2]["request"]["body"]
    assert interactions(read(path, text))[2].request.body == wanted.encode()


def test_items_that_are_no_http_are_counted_and_left_out(path: Path, expected: list[Interaction]) -> None:
    text = WHOLE.replace("interactions:\n", "interactions:\n- kind: websocket\n  messages: []\n")
    for form in (text, indented(text)):
        file = read(path, form)
        assert file.skipped == 1
        assert [r.number for r in file.recordings] == [2, 3, 4]
        assert interactions(file) == expected


@pytest.mark.parametrize(
    "text", ["interactions: []\nversion: 1\n", "interactions:\nversion: 1\n", "interactions:", '{"interactions": []}']
)
def test_a_cassette_without_items_is_empty(path: Path, text: str) -> None:
    file = read(path, text)
    assert (list(file.recordings), file.problems, file.skipped) == ([], [], 0)


OTHER_FILES: dict[str, str | bytes] = {
    "empty.yaml": "",
    "blank.yaml": " \n\t\r\n",
    "empty.yaml.gz": gzip.compress(b""),
    "workflow.yaml": "name: CI\non: push\njobs:\n- a\n",
    "helm.yaml": "{{- if .Values.x }}\n{broken: [\n{{- end }}\n",
    "list.json": "[1, 2, 3]",
    "lines.json": '[{"messages": []}]' * 1000,
    "tsconfig.json": '{"a": 1} // why',
    "settings.json": '{"a": "a request"} // why',
    "package.json": '{"name": "package", "interactions_of": 1}',
    "chat.json": '{"messages": [{"content": "a request"}]}',
    "brackets.json": "[" * 100_000,
    "text.yaml": "just text",
    "binary.yaml": random.Random(1).randbytes(5000),
    "zeros.yaml": bytes(5000),
    "wide.yaml": "\ufeffinteractions:\n- a\n".encode("utf-16"),
    "cut.yaml": "interacti",
    "ruby.yml": "---\nhttp_interactions:\n- request:\n    method: get\n",
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_that_is_no_cassette_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotACassetteError) as refused:
        read(tmp_path / name, OTHER_FILES[name])
    assert refused.value.path == name


def test_headers_are_read_up_front_only_for_rules_that_compare_them(path: Path) -> None:
    items = [recorded("a", {"n": n}) for n in range(2)]
    items[1]["request"]["headers"] = {"other": ["x"]}
    text = dump({"interactions": items})
    with_headers, without = (read(path, text, Rules(on)).recordings for on in (("method", "headers"), ("method",)))
    assert with_headers[0].key != with_headers[1].key
    assert without[0].key == without[1].key


@pytest.mark.parametrize("text", [WHOLE, in_json()])
def test_a_recording_knows_its_request(path: Path, text: str) -> None:
    rules = Rules()
    recordings = read(path, text, rules).recordings
    for recording in recordings:
        asked = recording.interaction().request
        assert recording.key == rules.key(asked)
        assert recording.loose == recording.key[:8] + rules.loose_body_key(asked)
        assert recording.size == len(asked.body)
    assert [r.stream for r in recordings] == [False, True, False]


@pytest.mark.parametrize("text", [WHOLE, WHOLE[:-30], in_json(), "junk"])
def test_a_file_is_never_changed_by_reading(path: Path, text: str) -> None:
    with contextlib.suppress(CassetteError):
        read(path, text)
    assert path.read_text("utf-8") == text
    assert list(path.parent.iterdir()) == [path]


PLAYS_WITHOUT_YAML = """
import sys
from pathlib import Path
from stubserver.canonical import Rules
from stubserver.cassettes.reader import read_file
file = read_file(Path(sys.argv[1]), "tape", "tape", Rules())
played = [recording.interaction() for recording in file.recordings]
print(len(played), "yaml" in sys.modules)
"""


def test_yaml_is_not_imported_for_what_vcrpy_writes(path: Path) -> None:
    """Importing it takes as long as starting the server."""
    path.write_text(WHOLE, "utf-8")
    command = [sys.executable, "-c", PLAYS_WITHOUT_YAML, str(path)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "3 False\n"
