"""Cassette files of every make are read alike; damaged and dangerous ones are refused by file, item and cause."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tapes import ask, recorded

from stubserver.canonical import Rules
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.recordings import CassetteFile
from stubserver.errors import CassetteError, NotACassetteError
from stubserver.messages import Interaction

ITEMS = [
    recorded(ask("Don't you think so, really? é"), {"text": "It's “quoted”\n" * 9}, headers={"x-a": ["b", "c"]}),
    recorded(ask("two", stream=True), 'data: {"a": "\u2713"}\n\ndata: [DONE]\n\n', path="/v1/chat/completions?x=1"),
    recorded(None, {"object": "list"}, method="GET", path="/v1/models", status=404),
]


def dump(value: Any, **options: Any) -> str:
    return str(yaml.dump(value, Dumper=yaml.CDumper, **options))


def indented(text: str) -> str:
    """Indent the items of a list under their key, as most YAML tools do."""
    return "interactions:\n" + textwrap.indent(text.removeprefix("interactions:\n"), "  ")


def in_json(**changes: Any) -> str:
    return json.dumps({"version": 1, "interactions": ITEMS, **changes}, indent=4) + "\n"


BODY = dump({"interactions": ITEMS})
WHOLE = BODY + "version: 1\n"
UNICODE = dump({"interactions": ITEMS}, allow_unicode=True, width=120)
LANGCHAIN = dump({"requests": [i["request"] for i in ITEMS], "responses": [i["response"] for i in ITEMS]})
OBJECT_KEY = "? !!python/object/new:multidict._multidict.istr\n        - x-a\n      :"
BETWEEN = "\n".join(["", "# between the items", "", "- request:"])


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Read a cassette of the text given."""

    def reading(text: str | bytes, name: str = "tape.yaml", **options: Any) -> CassetteFile:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_file(path, name, "tape", Rules(**options.pop("rules", {})), **options)

    return reading


def interactions(file: CassetteFile) -> list[Interaction]:
    return [recording.interaction() for recording in file.recordings]


def expected(read: Any) -> list[Interaction]:
    return interactions(read(WHOLE, "expected.yaml"))


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
    "comments": "# before\n" + WHOLE.replace("\n- request:", BETWEEN) + "# after\n",
    "spaces behind the key": WHOLE.replace("interactions:", "interactions: \t"),
    "metadata": BODY + "metadata:\n  a: b\nversion: 1\n",
    "extra keys": WHOLE.replace("\n  response:", "\n  recorded_at: today\n  response:"),
    "another order": dump({"version": 1, "interactions": [dict(reversed(i.items())) for i in ITEMS]}, sort_keys=False),
    "JSON items": "interactions:\n" + "".join(f"- {json.dumps(i)}\n" for i in ITEMS) + "version: 1\n",
}
AS_A_WHOLE = {
    "indented": indented(BODY) + "version: 1\n",
    "comment under the key": WHOLE.replace("interactions:\n", "interactions:\n# the first\n"),
    "duplicate keys": "interactions: []\n" + indented(BODY) + "version: 1\nversion: 1\n",
    "quoted keys": indented(BODY).replace("interactions:", '"interactions":'),
    "a list behind": BODY + "tags:\n- a\n- b\nversion: 1\n",
    "flow": "--- " + json.dumps({"interactions": ITEMS}),
    "flow with a comment": "# of ours\n" + json.dumps({"interactions": ITEMS}).replace("{", "{ # so\n", 1),
    "langchain": LANGCHAIN,
}


@pytest.mark.parametrize("name", [*IN_PARTS, *AS_A_WHOLE])
def test_every_kind_of_yaml_file_is_read_alike(read: Any, name: str) -> None:
    file = read({**IN_PARTS, **AS_A_WHOLE}[name])
    assert interactions(file) == expected(read)
    assert [r.number for r in file.recordings] == [1, 2, 3]
    assert (file.problems, file.skipped) == ([], 0)
    assert [r.kept is None for r in file.recordings] == [name in IN_PARTS] * 3


@pytest.mark.parametrize(
    "text", [in_json(), json.dumps({"interactions": ITEMS}), "\ufeff" + in_json(), " \n" + in_json()]
)
@pytest.mark.parametrize("name", ["tape.json", "tape.yaml"])
def test_every_kind_of_json_file_is_read_alike(read: Any, text: str, name: str) -> None:
    assert interactions(read(text, name)) == expected(read)


@pytest.mark.parametrize(("text", "ending"), [(WHOLE, "yaml.gz"), (in_json(), "json.gz"), (LANGCHAIN, "yml.gz")])
def test_compressed_files_are_read_alike(read: Any, text: str, ending: str) -> None:
    middle = len(text) // 2
    members = gzip.compress(text[:middle].encode()) + gzip.compress(text[middle:].encode())
    for packed in (gzip.compress(text.encode()), members, members + bytes(512)):
        assert interactions(read(packed, f"tape.{ending}")) == expected(read)


def test_constants_and_half_pairs_in_json_are_read(read: Any) -> None:
    file = read(in_json(interactions=[recorded("\ud800", "x")], score=float("nan")), "tape.json")
    assert file.recordings[0].interaction().request.body == b"\xed\xa0\x80"


def test_a_single_item_as_json_is_a_cassette(read: Any) -> None:
    """Datadog's test agent keeps one item a file, with plain text for headers and bodies."""
    text = json.dumps(
        {
            "request": {"method": "POST", "url": "https://a/v1/x", "headers": {"A": "b"}, "body": "{}"},
            "response": {"status": {"code": 200, "message": ""}, "headers": {"C": "d"}, "body": "plain"},
        }
    )
    file = read(text, "one.json")
    assert [(i.request.uri, i.response.body) for i in interactions(file)] == [("https://a/v1/x", b"plain")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    body: null\n", "    body: !!python/object/new:_io.BytesIO\n      state: !!python/tuple\n      - !!binary |\n"
         "        eyJhIjogMX0=\n      - 0\n      - null\n"),
        ("    body: null\n", "    body: !!python/object/apply:builtins.iter\n      args:\n      - - '{\"a\":'\n        - ' 1}'\n"),
        ("    body: null\n", "    body: !!python/unicode '{\"a\": 1}'\n"),
        ("    body: null\n", "    body: {a: 1}\n"),
        ("    body: null\n", "    body: |-\n      {\"a\": 1}\n"),
        ("    body: null\n", "    parsed_body:\n      a: 1\n"),
        ("    body: null\n", "    body: >-\n      {\"a\":\n      1}\n"),
    ],
)  # fmt: skip
def test_bodies_in_the_form_of_other_clients(read: Any, old: str, new: str) -> None:
    assert old in WHOLE
    assert interactions(read(WHOLE.replace(old, new)))[2].request.body == b'{"a": 1}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("      x-a:\n      - b\n      - c\n", f"      {OBJECT_KEY} - b\n        - c\n"),
        ("      x-a:\n      - b\n      - c\n", f"      {OBJECT_KEY.replace('new:', 'apply:')} [b, c]\n"),
        ("      x-a:\n      - b\n      - c\n", "      x-a: !!python/tuple [b, c]\n"),
        (
            "headers:\n      content-type:\n      - application/json\n      x-a:\n      - b\n      - c\n",
            "headers:\n    - !!python/tuple\n      - content-type\n      - - application/json\n"
            "    - !!python/tuple\n      - x-a\n      - - b\n        - c\n    - [x-request-id, [req_1]]\n    #",
        ),
    ],
)
def test_headers_in_the_form_of_other_clients(read: Any, old: str, new: str) -> None:
    text = (
        WHOLE.replace(old, new)
        if "#" not in new
        else WHOLE.replace(f"{old}      x-request-id:\n      - req_1\n", new[:-5])
    )
    assert text != WHOLE
    assert interactions(read(text))[0].response.headers == expected(read)[0].response.headers


def test_single_values_for_headers(read: Any) -> None:
    text = WHOLE.replace("content-type:\n      - application/json\n", "content-type: application/json\n")
    assert text != WHOLE
    assert interactions(read(text)) == expected(read)


def test_items_that_share_lists_by_anchors_are_read_as_a_whole(read: Any) -> None:
    shared = {"headers": {"content-type": ["application/json"]}, "body": {"a": 1}}
    items = [recorded(str(n), {"n": n}) for n in range(3)]
    items[0]["request"].update(shared)
    items[2]["request"].update(shared)
    items[1]["response"]["headers"] = items[2]["response"]["headers"] = {"a": ["b"]}
    text = dump({"interactions": items, "version": 1})
    assert "&id001" in text
    assert "*id001" in text.rpartition("\n- request")[2]
    file = read(text)
    plain = read(dump({"interactions": json.loads(json.dumps(items)), "version": 1}), "plain.yaml")
    assert interactions(file) == interactions(plain)
    assert file.problems == []


@pytest.mark.parametrize("quoted", ["one\n\n- two\n\n- request:\n\nthree", "one\n\nversion: 1", "one\n\n'- two"])
def test_text_in_column_0_that_looks_like_more_items(read: Any, quoted: str) -> None:
    """PyYAML reads quoted text whatever its indentation is; other tools wrote such files."""
    text = WHOLE.replace("    body: null\n", "    body: '" + quoted.replace("'", "''") + "'\n")
    assert (
        interactions(read(text))[2].request.body == yaml.safe_load(text)["interactions"][2]["request"]["body"].encode()
    )


def test_items_that_are_no_http_are_counted_and_left_out(read: Any) -> None:
    text = WHOLE.replace("\n- request:", "\n- kind: websocket\n  messages: []\n- request:", 1)
    for file in (read(text), read(indented(text.partition("version")[0]))):
        assert file.skipped == 1
        assert [r.number for r in file.recordings] == [1, 3, 4]
        assert interactions(file) == expected(read)


@pytest.mark.parametrize(
    "text", ["interactions: []\nversion: 1\n", "interactions:\nversion: 1\n", "interactions:", '{"interactions": []}']
)
def test_a_cassette_without_items_is_empty(read: Any, text: str) -> None:
    file = read(text)
    assert (file.recordings, file.problems, file.skipped) == ([], [], 0)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "empty.yaml"),
        (" \n\t\r\n", "blank.yaml"),
        (gzip.compress(b""), "empty.yaml.gz"),
        ("name: CI\non: push\njobs:\n- a\n", "workflow.yaml"),
        ("{{- if .Values.x }}\n{broken: [\n{{- end }}\n", "helm.yaml"),
        ("[1, 2, 3]", "list.json"),
        ('[{"messages": []}]' * 1000, "lines.json"),
        ('{"a": 1} // why', "tsconfig.json"),
        ('{"name": "package", "interactions_of": 1}', "package.json"),
        ('{"messages": [{"content": "a request"}]}', "chat.json"),
        ("[" * 100_000, "brackets.json"),
        ("just text", "text.yaml"),
        (random.Random(1).randbytes(5000), "binary.yaml"),
        (bytes(5000), "zeros.yaml"),
        ("\ufeffinteractions:\n- a\n".encode("utf-16"), "wide.yaml"),
        ("interacti", "cut.yaml"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_cassette_is_said_to_be_none(read: Any, text: str | bytes, name: str) -> None:
    with pytest.raises(NotACassetteError) as refused:
        read(text, name)
    assert refused.value.path == name


@pytest.mark.parametrize(
    ("text", "name", "cause"),
    [
        (dump([{"request": {"method": "GET"}, "response": {}}]), "old.yaml", "written by a vcrpy before 1.0"),
        ("---\n- request: !!python/object:vcr.request.Request {}\n", "old.yaml", "written by a vcrpy before 1.0"),
        (json.dumps([{"request": {}, "response": {}}]), "old.json", "written by a vcrpy before 1.0"),
        (in_json()[:-20], "cut.json", "not JSON: "),
        (in_json().replace('"interactions"', "interactions"), "keys.json", "not JSON: "),
        ('{"interactions": ' + "[" * 100_000, "deep.json", "not JSON: "),
        (in_json(interactions={"a": 1}), "shape.json", "'interactions' is no list"),
        ("interactions: [\n", "cut.yaml", "line 2: "),
        ("interactions: !!python/name:os.system ''\n", "tag.yaml", "the tag python/name:os.system is refused"),
        (b"\x1f\x8b broken", "broken.yaml.gz", "not a whole gzip file"),
        (gzip.compress(WHOLE.encode())[:-9], "cut.yaml.gz", "not a whole gzip file: its end is missing"),
        (gzip.compress(b" " * 2**24) * 9, "bomb.yaml.gz", "unpacks to more than 128 MB"),
    ],
)
def test_a_file_that_is_damaged_as_a_whole_is_refused(read: Any, text: str | bytes, name: str, cause: str) -> None:
    with pytest.raises(CassetteError) as refused:
        read(text, name)
    assert not isinstance(refused.value, NotACassetteError)
    assert refused.value.path == name
    assert cause in refused.value.cause


def test_items_are_damaged_one_by_one(read: Any) -> None:
    text = WHOLE.replace("uri: https://api.openai.com/v1/chat/completions?x=1", "uri: [1]").replace(
        "code: 404", "code: x"
    )
    for file in (read(text), read(indented(text)), read(json.dumps(yaml.safe_load(text)), "tape.json")):
        assert [str(problem).partition(": ")[0].rpartition(", ")[2] for problem in file.problems] == [
            "item 2",
            "item 3",
        ]
        assert [problem.cause for problem in file.problems] == [
            "the request has no uri",
            "the response has no status code",
        ]
        assert [r.number for r in file.recordings] == [1]


EXECUTING = [
    "!!python/object/apply:os.system ['touch executed']",
    "!!python/object/new:subprocess.Popen [['touch', 'executed']]",
    "!!python/object/apply:pathlib.Path.touch [executed]",
    "!!python/name:os.system ''",
    "!!python/module:os ''",
]


@pytest.mark.parametrize("value", EXECUTING)
@pytest.mark.parametrize("place", ["    body: null", "      x-a:", "  response:"])
def test_nothing_is_executed(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = WHOLE.replace(place, f"{place.partition(':')[0]}: {value}\n  #", 1)
    file = read(text)
    assert [(p.path, p.cause.split()[4]) for p in file.problems] == [("tape.yaml", value.split()[0].removeprefix("!!"))]
    assert file.problems[0].item == 1 + len([r for r in file.recordings if r.number == 1]) * (
        2 if "null" in place else 0
    )
    assert len(file.recordings) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["tape.yaml"]


ONE = dump({"interactions": [ITEMS[2]]})
BOMBS = {
    "merge keys": "{x: &b {x: &a {y: 1}, <<: [" + "*a," * 40 + "]}, <<: [" + "*b," * 40 + "]}",
    "aliases": "[&a [x,x,x,x,x,x,x,x,x],"
    + "".join(f"&{q} [{','.join([f'*{p}'] * 9)}]," for p, q in zip("abcdefgh", "bcdefghi", strict=True))
    + "]",
    "itself": "&a [*a]",
    "brackets": "[" * 100_000,
    "braces": "{" * 100_000,
    "question marks": "? " * 2000,
    "blocks": "".join(f"\n{' ' * (6 + i)}a:" for i in range(1000)),
    "long key": "{? " + "k" * 20_000 + " : 1}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_an_item_is_named_and_the_others_are_served(read: Any, name: str) -> None:
    text = WHOLE.replace("    body: null", f"    body: {BOMBS[name]}")
    file = read(text)
    assert [problem.item for problem in file.problems] == [3]
    assert interactions(file) == expected(read)[:2]


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
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("opening", ["[", "{", "{a: ", "? ", "- "])
def test_brackets_by_the_million_crash_nothing(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "tape.yaml"
    path.write_text(ONE.replace("body: null", f"body: {opening * 1_000_000}"), "utf-8")
    assert "nested deeper than 200" in read_in_a_process(path)


@pytest.mark.parametrize(
    ("head", "cause"),
    [(b"", "larger than 256 MB and not in the layout vcrpy writes"), (ONE.encode(), "there are NUL bytes in it")],
)
def test_a_sparse_file_of_a_gigabyte_is_never_taken_into_memory(tmp_path: Path, head: bytes, cause: str) -> None:
    path = tmp_path / "tape.yaml"
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    assert read_in_a_process(path) == cause


def test_a_file_of_many_gigabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    with path.open("wb") as file:
        file.truncate((4 << 30) + 1)
    with pytest.raises(CassetteError, match="larger than 4 GB"):
        read_file(path, "tape.yaml", "tape", Rules())


def test_a_gzip_bomb_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml.gz"
    packer = zlib.compressobj(wbits=31)
    packed = io.BytesIO()
    for _ in range(300):
        packed.write(packer.compress(bytes(1 << 20)))
    path.write_bytes(packed.getvalue() + packer.flush())
    assert read_in_a_process(path) == "unpacks to more than 128 MB"


def test_a_scalar_of_50_mb_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tape.yaml"
    path.write_text(ONE.replace("body: null", f"body: {'x' * 50_000_000}"), "utf-8")
    assert read_in_a_process(path) == "1"


def test_what_is_too_large_to_be_read_as_a_whole_is_refused(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stubserver.cassettes.reader._LARGEST_WHOLE", 1000)
    for text, name in (
        (in_json(), "tape.json"),
        (indented(BODY), "tape.yaml"),
        (gzip.compress(LANGCHAIN.encode()), "t.gz"),
    ):
        with pytest.raises(CassetteError, match="and not in the layout vcrpy writes"):
            read(text, name)
    assert interactions(read(WHOLE)) == expected(read)


ENDS = {
    "YAML": BODY,
    "CRLF": BODY.replace("\n", "\r\n"),
    "unicode": UNICODE,
    "version first": "version: 1\n" + BODY,
}


@pytest.mark.parametrize("name", ENDS)
def test_a_torn_last_item_never_takes_the_others_down(tmp_path: Path, name: str) -> None:
    whole = ENDS[name].encode()
    path = tmp_path / "tape.yaml"
    path.write_bytes(whole)
    good = interactions(read_file(path, "tape.yaml", "tape", Rules()))
    for cut in range(whole.rindex(b"\n- request:") + 1, len(whole)):
        path.write_bytes(whole[:cut])
        file = read_file(path, "tape.yaml", "tape", Rules())
        found = interactions(file)
        assert found[:2] == good[:2], cut
        if len(found) == 3:  # only the reason is cut short, which cannot be seen
            assert found[2].response._replace(reason="") == good[2].response._replace(reason=""), cut
        else:
            assert [p.item for p in file.problems] in ([], [3]), cut
            assert file.problems or len(whole[:cut].splitlines()) <= whole.count(b"\n", 0, whole.rindex(b"\n- ")) + 2, (
                cut
            )


def test_torn_json_is_an_error_at_every_offset(read: Any) -> None:
    text = in_json()
    for cut in range(len(text) - 300, len(text) - 2):
        with pytest.raises(CassetteError, match=r"tape\.json: not JSON: "):
            read(text[:cut], "tape.json")


def test_binary_junk_never_crashes_the_reader(read: Any) -> None:
    rng = random.Random(7)
    whole = WHOLE.encode()
    for _ in range(200):
        junk = bytearray(whole)
        start = rng.randrange(len(junk))
        junk[start : start + rng.randrange(60)] = rng.randbytes(rng.randrange(60))
        try:
            file = read(bytes(junk))
        except CassetteError as error:
            assert error.cause
        else:
            assert len(file.recordings) + file.skipped + len(file.problems) <= 6


def test_what_is_not_utf8_is_named_by_its_item(read: Any) -> None:
    whole = UNICODE.encode("latin-1", "replace")
    file = read(whole)
    assert [p.item for p in file.problems] == [1]
    assert "not YAML" in file.problems[0].cause
    assert [r.number for r in file.recordings] == [2, 3]


def test_headers_are_read_up_front_only_for_rules_that_compare_them(read: Any) -> None:
    items = [recorded("a", {"n": n}, headers=None) for n in range(2)]
    items[1]["request"]["headers"] = {"other": ["x"]}
    text = dump({"interactions": items})
    keys = [
        [r.key for r in read(text, rules={"match_on": on}).recordings] for on in (("method", "headers"), ("method",))
    ]
    assert keys[0][0] != keys[0][1]
    assert keys[1][0] == keys[1][1]


def test_a_recording_knows_its_request(read: Any) -> None:
    first, second, third = read(WHOLE, rules={}).recordings
    rules = Rules()
    for recording in (first, second, third):
        asked = recording.interaction().request
        assert recording.key == rules.key(asked)
        assert recording.loose == recording.key[:8] + rules.loose_body_key(asked)
        assert (recording.method, recording.size) == (asked.method, len(asked.body))
    assert [r.stream for r in (first, second, third)] == [False, True, False]


def test_a_file_is_never_changed_by_reading(read: Any, tmp_path: Path) -> None:
    for text in (WHOLE, WHOLE[:-30], in_json(), "junk"):
        try:
            read(text)
        except CassetteError:
            pass
        assert (tmp_path / "tape.yaml").read_text("utf-8") == text
        assert [p.name for p in tmp_path.iterdir()] == ["tape.yaml"]


def test_yaml_is_not_imported_for_what_vcrpy_writes(tmp_path: Path) -> None:
    """Importing it takes as long as starting the server."""
    path = tmp_path / "tape.yaml"
    path.write_text(WHOLE, "utf-8")
    code = (
        "import sys; from pathlib import Path; from stubserver.canonical import Rules\n"
        "from stubserver.cassettes.reader import read_file\n"
        f"file = read_file(Path({str(path)!r}), '', '', Rules()); [r.interaction() for r in file.recordings]\n"
        "sys.exit(len(file.recordings) * ('yaml' not in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 3
