"""What the layout takes means the same under PyYAML: built items, dumped as vcrpy dumps them, are read by both."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stubserver.cassettes import layout
from stubserver.cassettes.format import read_interaction
from stubserver.cassettes.items import read_item
from stubserver.cassettes.scalars import UnreadableError
from stubserver.cassettes.writer import item_text
from stubserver.messages import Interaction, Request, Response

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Long words and spaces, so that lines fold, and everything that YAML has a meaning for.
PROSE = st.lists(
    st.sampled_from(
        [*"-?:,[]{}#&*!|>'\"%@`~ \n\t\r", "word", "longer words", ": ", " #", "---", "...", "é", "\u2028", "1"]
    ),
    max_size=60,
).map("".join)
JSON_TEXT = st.dictionaries(TEXT, PROSE | st.integers() | st.none(), max_size=4).map(
    lambda value: json.dumps(value, indent=len(value) or None)
)
TEXTS = st.one_of(TEXT, PROSE, JSON_TEXT)
BODIES = st.one_of(st.none(), TEXTS, st.binary(max_size=200), st.integers(), st.floats(), st.booleans())
ODD_VALUES = ["", "yes", "1e5", "2020-10-01", "null", "'", '"', "a: b", "- a", "a #b", "=", "<<", 'W/"1"', "12:30:45"]
VALUES = st.one_of(st.sampled_from(ODD_VALUES), TEXTS, st.integers(), st.none(), st.binary(max_size=20))
NAMES = st.one_of(st.sampled_from(["content-type", "X-Request-Id", "a_b.c", "on", "12", "1e3", "x y"]))
HEADERS = st.dictionaries(NAMES, st.lists(VALUES, max_size=3), max_size=4)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "body": BODIES,
        "sent": HEADERS,
        "method": st.sampled_from(["GET", "PATCH", "get", "NO", "ON", "NULL"]),
        "uri": TEXTS,
        "string": BODIES,
        "got": HEADERS,
        "code": st.integers(0, 1200),
        "message": st.one_of(st.none(), TEXTS),
    },
)


def dumped(item: Any, **options: Any) -> bytes:
    """Write one item as vcrpy does."""
    return yaml.dump([item], Dumper=yaml.CDumper, encoding="utf-8", **options)


def lists(pairs: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return headers in the form that they have in a file."""
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def request_in(found: layout.Layout) -> dict[str, Any]:
    return {
        "body": found.value("body"),
        "headers": lists(found.headers("sent")),
        "method": found.value("method"),
        "uri": found.value("uri"),
    }


def response_in(found: layout.Layout) -> dict[str, Any]:
    status = {"code": found.value("code"), "message": found.value("message")}
    return {"body": {"string": found.value("string")}, "headers": lists(found.headers("got")), "status": status}


def taken(raw: bytes) -> Any:
    """Return what the layout makes of an item; None where it leaves it to the full parser."""
    found = layout.match(raw)
    if found is None:
        return None
    try:
        return {"request": request_in(found), "response": response_in(found)}
    except UnreadableError:
        return None


def item(**parts: Any) -> dict[str, Any]:
    """Make an item that vcrpy could have recorded; *parts* replace the usual ones."""
    answer = {"id": "chatcmpl-1", "choices": [{"message": {"content": 'It\'s "fine", they\u2019d say.\n'}}]}
    usual: dict[str, Any] = {
        "body": '{"model": "gpt-4o", "messages": [{"role": "user", "content": "Don\'t you think so? Why not?"}]}',
        "sent": {"accept": ["*/*"], "content-length": ["93"], "user-agent": ["OpenAI/Python 1.99.1"]},
        "method": "POST",
        "uri": "https://api.openai.com/v1/chat/completions",
        "string": json.dumps(answer, indent=2),
        "got": {
            "Content-Type": ["application/json"],
            "Set-Cookie": ["a=1; path=/; expires=" + "Thu, 1 Jan " * 9, "b=2"],
        },
        "code": 200,
        "message": "OK",
    }
    one = {**usual, **parts}
    return {
        "request": {"body": one["body"], "headers": one["sent"], "method": one["method"], "uri": one["uri"]},
        "response": {
            "body": {"string": one["string"]},
            "headers": one["got"],
            "status": {"code": one["code"], "message": one["message"]},
        },
    }


def agree(raw: bytes) -> bool:
    """Tell whether the layout leaves *raw* alone, or reads it as PyYAML does; NaN is itself here."""
    found = taken(raw)
    return found is None or repr([found]) == repr(yaml.load(raw, Loader=yaml.CSafeLoader))


@given(parts=PARTS, allow_unicode=st.booleans(), width=st.sampled_from([80, 120]))
@example(parts={}, allow_unicode=True, width=120)
@example(parts={"got": {"a": ["x\n      b:\n      - y"]}}, allow_unicode=False, width=80)
@example(parts={"string": '\\"' * 40 + "\\\\" + '"' * 9}, allow_unicode=False, width=80)
def test_what_the_layout_takes_is_what_pyyaml_reads(parts: Any, allow_unicode: bool, width: int) -> None:  # noqa: FBT001
    assert agree(dumped(item(**parts), allow_unicode=allow_unicode, width=width))


@given(st.data())
def test_a_changed_byte_never_makes_the_layout_read_something_else(data: st.DataObject) -> None:
    raw = bytearray(dumped(item(body=data.draw(PROSE), sent={"a": [data.draw(PROSE)], "b": ["c"]})))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from([b"", *(b"%c" % c for c in b" \n'\"\\:#-&*!|")])
    )
    assert agree(bytes(raw))


TYPICAL = {
    "chat": item(),
    "GET without a body": item(method="GET", body=None, string='{"object": "list"}'),
    "empty bodies": item(body="", string=""),
    "compressed": item(string=b"\x1f\x8b" + bytes(range(256))),
    "binary upload": item(body=b"--x\r\n\xff\xfe\r\n--x--"),
    "event stream": item(string='data: {"a": "\u2713"}\n\ndata: {"b": "\\n\\"q\\""}\n\ndata: [DONE]\n\n'),
    "no headers": item(sent={}, got={}),
    "quotes and backslashes": item(string='{"arguments": "{\\"path\\": \\"C:\\\\\\\\x\\"}"}\\\n'),
    "words that fold": item(body="plain words " * 20 + "end", string="it's single quoted " * 20 + ": end"),
    "spaces and tabs": item(string="  two  spaces \t\n  " * 12),
    "odd header values": item(got={"etag": ['W/"1"'], "x": [""], "date": ["2020-10-01"], "n": ["1e5", "yes", "- 1"]}),
    "a long header": item(got={"report-to": ["{" + '"endpoints" : [{"url": "https://a.example/"}], ' * 5 + "}"]}),
    "a policy": item(got={"csp": ['default-src "self" ' * 8 + '"https://x.example"']}),
    "reason phrase": item(code=429, message="Too Many Requests"),
    "no reason": item(message=None),
    "control characters": item(string="\x00\x1b[31m\x7f\x85\u2028\ufeff"),
    "other planes": item(body='{"q": "\U0001f642 \u4f60\u597d"}', string="\U0001f642" * 50),
    "azure": item(uri="https://x.openai.azure.com//openai/deployments/a-b/chat/completions?api-version=2024-02-01"),
}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("allow_unicode", [False, True])
@pytest.mark.parametrize("name", TYPICAL)
def test_what_vcrpy_writes_is_taken_by_the_layout(name: str, allow_unicode: bool, width: int) -> None:  # noqa: FBT001
    assert taken(dumped(TYPICAL[name], allow_unicode=allow_unicode, width=width)) == TYPICAL[name]


PLAIN = dumped(item(got={"a": ["b"]}, sent={"a": ["b"]}))
NOT_TAKEN = {
    "comment": PLAIN.replace(b"  response:\n", b"  # why\n  response:\n"),
    "anchor": PLAIN.replace(b"headers:\n", b"headers: &id001\n"),
    "anchored list": PLAIN.replace(b"      a:\n", b"      a: &id001\n"),
    "alias": PLAIN.replace(b"      a:\n      - b\n", b"      a: *id001\n"),
    "alias in a list": PLAIN.replace(b"- b\n", b"- *id001\n"),
    "tag": PLAIN.replace(b"- b\n", b"- !!python/name:os.system\n"),
    "literal block": PLAIN.replace(b"uri: ", b"uri: |\n      "),
    "scalar header": PLAIN.replace(b"a:\n      - b", b"a: b"),
    "another order": PLAIN.replace(b"    method: POST\n", b"").replace(
        b"  response:\n", b"    method: POST\n  response:\n"
    ),
    "another key": PLAIN + b"  recorded_at: today\n",
    "two statuses": PLAIN + b"      message: OK\n",
    "CRLF": PLAIN.replace(b"\n", b"\r\n"),
    "no line end": PLAIN[:-1],
    "cut": PLAIN[: len(PLAIN) // 2],
    "more behind": PLAIN + b"version: 1\n",
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_anything_else_is_left_to_the_full_parser(name: str) -> None:
    assert taken(PLAIN) is not None
    assert taken(NOT_TAKEN[name]) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"OK\n", b"caf\xe9\n"),
        (b"OK\n", b"'a\x0bb'\n"),
        (b"OK\n", b'"\\q"\n'),
        (b"OK\n", "'a\u2028b'\n".encode()),
        (b"      a:\n", b"      on:\n"),
        (b"      a:\n", b"      12:\n"),
        (b"      a:\n      - b\n", b"      a:\n      - b\n      a:\n      - c\n"),
    ],
)
def test_what_only_the_full_parser_can_read_is_said_to_be_so(old: bytes, new: bytes) -> None:
    found = layout.match(PLAIN.replace(old, new))
    assert found is not None
    with pytest.raises(UnreadableError):
        response_in(found)


@pytest.mark.parametrize("times", ["5", "42,201,401"])
def test_what_our_own_writer_adds_is_taken(times: str) -> None:
    request = Request.from_uri("POST", "https://api.example.com/v1/x", (("a", "b"),), b'{"model":"m"}')
    came = tuple(map(int, times.split(",")))
    item = item_text(Interaction(request, Response(200, (("content-type", "text/plain"),), b"yes", times=came)))
    found = layout.match(item)

    assert b"x_stubserver" in item
    assert found is not None
    assert found.times() == times
    assert read_item(item).response.times == read_interaction(yaml.safe_load(item)[0]).response.times == came
    assert layout.match(item + b"      more: 1\n") is None
