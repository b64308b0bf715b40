"""What makes two requests the same, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stubserver.canonical import (
    MATCHERS,
    VOLATILE,
    Rules,
    asks_for_stream,
    normal_path,
    route_key,
)
from stubserver.errors import UsageError
from stubserver.matchers import differences
from stubserver.messages import Request

RULES = Rules()


# Names that mean something to the rules stay out of the generated documents.
NAMES = st.text(max_size=8).filter(lambda name: name not in VOLATILE | {"stream"})
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=12)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=5)


def post(body: bytes | str | dict[str, Any], target: str = "/v1/chat/completions") -> Request:
    if isinstance(body, dict):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode("utf-8", "surrogatepass")
    return Request("POST", target, (("Content-Type", "application/json"),), body)


def key(body: bytes | str | dict[str, Any], rules: Rules = RULES) -> bytes:
    return rules.key(post(body))


def same(a: bytes | str, b: bytes | str, rules: Rules = RULES) -> bool:
    return key(a, rules) == key(b, rules)


def loose(body: bytes | str | dict[str, Any], rules: Rules = RULES) -> bytes:
    return rules.loose_body_key(post(body))


# --- spellings of one value ---------------------------------------------------------------------------------------


def spelled(value: Any, draw: st.DrawFn) -> str:
    """Write *value* as JSON in one of the many ways that mean the same."""
    space = draw(st.sampled_from(["", " ", "\n", "\t ", "\r\n"]))
    if isinstance(value, dict):
        members = [(name, inner) for name, inner in value.items() if inner is not None]
        members += [(f"null {i}", None) for i in range(draw(st.integers(0, 2)))]
        written = [f"{text(name, draw)}{space}:{space}{spelled(v, draw)}" for name, v in draw(st.permutations(members))]
        return f"{{{space}{f'{space},{space}'.join(written)}{space}}}"
    if isinstance(value, list):
        return f"[{space}{f',{space}'.join(spelled(inner, draw) for inner in value)}{space}]"
    return text(value, draw) if isinstance(value, str) else number(value, draw)


def text(value: str, draw: st.DrawFn) -> str:
    """Write a text as it is, or with every character escaped."""
    if draw(st.booleans()):
        return json.dumps(value, ensure_ascii=False)
    units = value.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2)) + '"'


def number(value: object, draw: st.DrawFn) -> str:
    """Write a whole number as it is, with a point, or with an exponent."""
    plain = json.dumps(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return draw(st.sampled_from([plain, f"{plain}.0", f"{plain}.000e0", f"{plain}0E-1"]))
    return plain


@st.composite
def two_spellings(draw: st.DrawFn) -> tuple[str, str]:
    document = draw(DOCUMENTS)
    extra = draw(st.sampled_from([{}, {"stream": False}, {"user": "u-1"}, {"metadata": {"a": ["b"]}}]))
    return spelled(document, draw), spelled(document | extra, draw)


@given(two_spellings())
def test_one_value_in_two_spellings_has_one_key(pair: tuple[str, str]) -> None:
    assert same(*pair)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to everything that is no container, and to empty containers."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    found = [leaf for name, child in inner for leaf in leaves(child, (*path, name))]
    return found or [path]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def typed(value: Any) -> Any:
    """Make Python's equality that of JSON: true is not 1, and a null member is none at all."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (isinstance(value, bool), value)


@given(DOCUMENTS.filter(bool), LEAVES | DOCUMENTS, st.data())
def test_another_value_anywhere_has_another_key(document: dict[str, Any], new: Any, data: st.DataObject) -> None:
    other = changed(document, data.draw(st.sampled_from(leaves(document))), new)
    assume(typed(other) != typed(document))
    assert key(document) != key(other)


BODIES = st.one_of(
    DOCUMENTS.map(json.dumps),
    st.binary(max_size=20),
    st.sampled_from(
        [
            *("", "{}", "[]", '{"a":1}', '{"a":1.0}', '{"a":true}', '{"a":1e400}', '{"a":1e500}', '{"a":null}'),
            *('{"a":NaN}', '{"a":-0.0}', '{"a":0}', '{"stream":false}', '{"user":"x"}', '{"a":"\\ud800"}', "[null]"),
        ]
    ),
)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "post"]),
    st.sampled_from(
        ["/v1/a", "/v1/a?x=1&y=2", "/v1/a?y=2&x=1", "/v1/a?x", "/v1/a?x=", "/a", "/v1/a?x=%ff", "/v1/a?x=%fe"]
    ),
    st.sampled_from([(), (("A", "1"), ("b", "2")), (("B", "2"), ("a", "1")), (("a", "2"),)]),
    BODIES.map(lambda body: body.encode() if isinstance(body, str) else body),
    st.sampled_from(["http", "https"]),
    st.sampled_from(["a", "A", "a:80", "b", "[::1", ""]),
)


@given(REQUESTS, REQUESTS, st.sets(st.sampled_from(MATCHERS), min_size=1))
def test_two_requests_have_one_key_exactly_when_there_are_no_differences(
    a: Request, b: Request, names: set[str]
) -> None:
    rules = Rules(tuple(sorted(names)))
    assert (rules.key(a) == rules.key(b)) == (differences(a, b, rules) == [])


@given(DOCUMENTS, st.data())
def test_a_changed_part_is_named(document: dict[str, Any], data: st.DataObject) -> None:
    other = changed(document, data.draw(st.sampled_from(leaves(document))), data.draw(LEAVES))
    request, received = post({"inner": 1, "outer": document}), post({"inner": 1, "outer": other})
    found = differences(request, received, RULES)
    assert bool(found) == (RULES.key(request) != RULES.key(received))
    assert all(one.path.startswith("outer") for one in found)


# --- odd bodies ---------------------------------------------------------------------------------------------------

DEEP = 100_000


def brief(value: object) -> str:
    return repr(value)[:40]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ('{"n": 18446744073709551616}', '{"n": 18446744073709551617}'),
        ('{"n": 123456789012345678901234567890}', '{"n": 123456789012345678901234567891}'),
        ('{"n": 1e400}', '{"n": 1e500}'),
        ('{"n": [1e400]}', '{"n": [null]}'),
        ('{"n": "\\ud800"}', '{"n": "\\ud801"}'),
        ('{"n": "\\ud83d\\ude00"}', '{"n": "\\ude00\\ud83d"}'),
        ('{"n": NaN}', '{"n": null}'),
        ('{"n": 1}', '{"n": true}'),
        ('{"n": 0}', '{"n": false}'),
        ('{"n": 1}', '{"n": "1"}'),
        ('{"n": []}', '{"n": {}}'),
        ('{"n": [1, 2]}', '{"n": [2, 1]}'),
        ('{"n": [null]}', '{"n": []}'),
        ('{"n": ""}', "{}"),
        ('{"stream": true}', "{}"),
        ('{"n": {"stream": false}}', '{"n": {}}'),
        ('{"n": {"user": "a"}}', '{"n": {"user": "b"}}'),
        ("", "{}"),
        ("", " "),
        ("not json", "not  json"),
        (b"\xff\xfe", b"\xff\xff"),
        ("[" * DEEP, "[" * (DEEP + 1)),
        ("[" * DEEP + "]" * DEEP, "[" * DEEP + " " + "]" * DEEP),
        ("a=1&b=2", "b=2&a=1"),
        ('"text"', '"text" '),
    ],
    ids=brief,
)
def test_bodies_that_are_not_the_same(a: bytes | str, b: bytes | str) -> None:
    assert not same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ('{"n": 123456789012345678901234567890}', '{ "n":123456789012345678901234567890 }'),
        ('{"n": 1e22}', '{"n": 10000000000000000000000}'),
        ('{"n": 1, "x": 1234567890123456}', '{"x": 1234567890123456, "n": 1.0}'),
        ('{"n": -0.0}', '{"n": 0}'),
        ('{"n": "\\ud800"}', '{"n":  "\\uD800"}'),
        ('{"n": "\\ud83d\\ude00"}', '{"n": "😀"}'),
        (b'\xef\xbb\xbf{"n": 1}', b'{"n": 1}'),
        ('{"n": 1, "n": 2}', '{"n": 2}'),
        ('\r\n{"n": 1}\n', '{"n": 1}'),
        ('{"n": NaN}', '{"n": NaN}'),
        ('{"stream": false, "user": "a", "store": true}', "{}"),
        ("[" * DEEP, "[" * DEEP),
        ("", b""),
    ],
    ids=brief,
)
def test_bodies_that_are_the_same(a: bytes | str, b: bytes | str) -> None:
    assert same(a, b)


@pytest.mark.parametrize("name", sorted(VOLATILE))
def test_a_volatile_field_counts_at_the_top_alone(name: str) -> None:
    assert key({"model": "m", name: "a"}) == key({"model": "m"})
    assert key({"inner": {name: "a"}}) != key({"inner": {}})


def multipart(boundary: str, content: str = "data") -> str:
    part = f'Content-Disposition: form-data; name="file"\r\n\r\n{content}\r\n'
    return f"--{boundary}\r\n{part}--{boundary}\r\n{part}--{boundary}--\r\n"


def test_the_boundary_of_a_multipart_body_does_not_count_but_its_parts_do() -> None:
    assert same(multipart("aaa"), multipart("bbb-ccc"))
    assert not same(multipart("aaa"), multipart("aaa", "other"))
    assert not same("--aaa\r\nnever ended", "--bbb\r\nnever ended")


# --- path and query -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/v1/chat/completions", "/chat/completions"),
        ("/chat/completions", "/chat/completions"),
        ("/v1/v1/models", "/models"),
        ("/openai/v1/models", "/models"),
        ("/openai/deployments/gpt-4o/chat/completions", "/chat/completions"),
        ("/openai/deployments/a/v1/models", "/models"),
        ("/v1", "/"),
        ("/v1/", "/"),
        ("", "/"),
        ("/v10/models", "/v10/models"),
        ("/v1beta/models", "/v1beta/models"),
        ("//openai/deployments/a/models", "//openai/deployments/a/models"),
        ("/api/v1/models", "/api/v1/models"),
        ("/v1/models/a%2Fb", "/models/a/b"),
        ("/v1/models/a%20b", "/models/a b"),
    ],
)
def test_the_path_without_its_prefix(path: str, normal: str) -> None:
    assert normal_path(path) == normal


def targets_match(a: str, b: str, rules: Rules = RULES) -> bool:
    return rules.key(Request("GET", a)) == rules.key(Request("GET", b))


@pytest.mark.parametrize(
    ("a", "b", "match"),
    [
        ("/p?x=1&y=2", "/p?y=2&x=1", True),
        ("/p?x=a%20b", "/p?x=a+b", True),
        ("/p?x=", "/p?x", True),
        ("/p", "/p?", True),
        ("/p?x=1&x=2", "/p?x=2&x=1", True),
        ("/p?x=", "/p", False),
        ("/p?x=1", "/p?x=1&x=1", False),
        ("/p?x=%ff", "/p?x=%fe", False),
        ("/p?x=1&y=", "/p?x=1", False),
        ("/p?a=b%26c=d", "/p?a=b&c=d", False),
        ("/p", "/p/", False),
        ("//p", "/p", False),
        ("/v1/p", "/p", False),
        ("/a%2Fb", "/a/b", False),
    ],
)
def test_targets(a: str, b: str, *, match: bool) -> None:
    assert targets_match(a, b) is match


def test_a_route_can_be_asked_for_without_its_prefix() -> None:
    routes = {RULES.route(Request("GET", path), normal=True) for path in ("/v1/models", "/models", "/openai/v1/models")}
    assert len(routes) == 1


def test_a_route_may_hold_what_utf_8_cannot() -> None:
    assert route_key("/\ud800") != route_key("/\ud801")


# --- rules --------------------------------------------------------------------------------------------------------

A = Request("POST", "/v1/p?x=1", (("H", "1"),), b'{"a": 1}', "https", "api.openai.com")
OTHERS = {
    "method": A._replace(method="PUT"),
    "scheme": A._replace(scheme="http", authority="api.openai.com:443"),
    "host": A._replace(authority="other.example"),
    "port": A._replace(authority="api.openai.com:8443"),
    "path": A._replace(target="/v1/q?x=1"),
    "query": A._replace(target="/v1/p?x=2"),
    "headers": A._replace(headers=(("H", "2"),)),
    "body": A._replace(body=b'{"a": 2}'),
    "raw_body": A._replace(body=b'{"a":1}'),
}


@pytest.mark.parametrize("name", [name for name in MATCHERS if name != "uri"])
def test_each_matcher_alone_sees_its_own_part_alone(name: str) -> None:
    rules = Rules((name,))
    seen = {other for other, request in OTHERS.items() if rules.key(request) != rules.key(A)}
    assert seen == ({"body", "raw_body"} if name == "raw_body" else {name})


def test_the_uri_is_scheme_authority_path_and_query() -> None:
    rules = Rules(("uri",))
    seen = {other for other, request in OTHERS.items() if rules.key(request) != rules.key(A)}
    assert seen == {"scheme", "host", "port", "path", "query"}


def test_headers_are_compared_without_their_order_and_case() -> None:
    rules = Rules(("headers",))
    assert rules.key(A._replace(headers=(("A", "1"), ("b", "2")))) == rules.key(
        A._replace(headers=(("B", "2"), ("a", "1")))
    )


def test_rules_that_do_not_read_the_body_say_so() -> None:
    assert not Rules(("method", "path")).reads_body
    assert Rules(("raw_body",)).reads_body
    assert Rules().reads_body


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"match_on": ("method", "cookies")}, r"'cookies' is no matcher: choose from method, scheme, .*, uri$"),
        ({"match_on": ("",)}, "'' is no matcher"),
        ({"match_on": ()}, "match_on is empty: choose from method"),
        ({"ignore": ("",)}, r"'' is no JSON field: give a member \(seed\) or a path"),
        ({"ignore": ("messages[0",)}, r"'messages\[0' is no JSON field"),
        ({"ignore": ("messages[x].name",)}, "is no JSON field"),
        ({"ignore": ("a..b",)}, "is no JSON field"),
        ({"ignore": ("a[1*]",)}, "is no JSON field"),
        ({"ignore": ("seed", "a.")}, "'a.' is no JSON field"),
    ],
)
def test_rules_that_cannot_be_are_refused_with_advice(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Rules(**arguments)


BODY = {"seed": 1, "o": {"a": 1, "b": 2}, "m": [{"x": 1, "y": 2}, {"x": 3}], "r": [1, 2], "deep": {"l": [[{"z": 1}]]}}


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("seed", {k: v for k, v in BODY.items() if k != "seed"}),
        ("$.seed", {k: v for k, v in BODY.items() if k != "seed"}),
        ("o.a", {**BODY, "o": {"b": 2}}),
        ("m[].x", {**BODY, "m": [{"y": 2}, {}]}),
        ("m[*].x", {**BODY, "m": [{"y": 2}, {}]}),
        ("m[1].x", {**BODY, "m": [{"x": 1, "y": 2}, {}]}),
        ("m[0]", {**BODY, "m": [{"x": 3}]}),
        ("r[]", {**BODY, "r": []}),
        ("deep.l[][].z", {**BODY, "deep": {"l": [[{}]]}}),
        ("absent", BODY),
        ("seed.x", BODY),
        ("seed[0]", BODY),
        ("m[7].x", BODY),
        ("m.x", BODY),
        ("o[].a", BODY),
    ],
)
def test_an_ignored_field_is_left_out(path: str, left: dict[str, Any]) -> None:
    assert Rules(ignore=(path,)).value(post(BODY)) == left


def test_an_ignored_field_adds_to_the_volatile_ones() -> None:
    rules = Rules(ignore=("seed", "messages[].name"))
    a = {"seed": 1, "user": "a", "messages": [{"name": "x", "content": "hi"}]}
    b = {"seed": 2, "user": "b", "messages": [{"content": "hi"}]}
    assert key(a, rules) == key(b, rules)
    assert key(a) != key(b)


def test_an_ignored_path_leads_into_an_array_at_the_top() -> None:
    assert same('[{"a": 1, "b": 2}]', '[{"a": 5, "b": 2}]', Rules(ignore=("[].a",)))


# --- the second look ----------------------------------------------------------------------------------------------


def history(call: str, other: str = "call_zz") -> dict[str, Any]:
    return {
        "messages": [
            {"role": "assistant", "tool_calls": [{"id": call, "type": "function"}, {"id": other, "type": "function"}]},
            {"role": "tool", "tool_call_id": call, "content": "sunny"},
        ]
    }


def test_server_made_ids_count_by_their_order_of_appearance() -> None:
    assert key(history("call_abc")) != key(history("call_xyz"))
    assert loose(history("call_abc")) == loose(history("call_xyz"))
    assert loose(history("call_abc")) != loose(history("call_abc", other="call_abc"))


@pytest.mark.parametrize("prefix", ["call_", "msg_", "resp_", "rs_", "fc_", "chatcmpl-"])
def test_each_kind_of_server_made_id_is_known(prefix: str) -> None:
    assert loose({"id": f"{prefix}1a"}) == loose({"id": f"{prefix}2b"})
    assert loose({"id": f"x{prefix}1a"}) != loose({"id": f"x{prefix}2b"})


def test_the_stream_mode_and_its_options_are_left_out() -> None:
    whole, stream = {"model": "m"}, {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    assert key(whole) != key(stream)
    assert loose(whole) == loose(stream) == loose({"model": "m", "stream": False})
    assert loose({"model": "n", "stream": True}) != loose(whole)


def test_the_state_that_a_server_encrypts_is_left_out_at_any_depth() -> None:
    def request(state: str) -> dict[str, Any]:
        return {"input": [{"type": "reasoning", "encrypted_content": state, "summary": [{"encrypted_content": state}]}]}

    assert key(request("a")) != key(request("b"))
    assert loose(request("a")) == loose(request("b"))


@pytest.mark.parametrize(
    "body", ["", "{}", '{"a": "call_x', '["call_1", "msg_2"]', "[" * DEEP, '{"stream": 1e999}', "raw"], ids=brief
)
def test_a_loose_key_is_found_for_any_body(body: str) -> None:
    assert loose(body) != loose(body + "x")
    assert len(loose(body)) == 16


def test_a_loose_key_does_not_read_a_body_that_is_not_compared() -> None:
    rules = Rules(("method", "path"))
    assert loose(history("call_a"), rules) == loose("anything", rules)
    rules = Rules(("raw_body",))
    assert loose(history("call_a"), rules) != loose(history("call_b"), rules)


@pytest.mark.parametrize(
    ("body", "stream"),
    [
        ('{"stream": true}', True),
        ('{"stream":\n true, "a": 1}', True),
        ('{"stream": false}', False),
        ('{"stream": "true"}', False),
        ('{"a": {"stream": true}}', False),
        ('{"a": "\\"stream\\": true"}', False),
        ('{"stream": true', False),
        ('[{"stream": true}]', False),
        ("", False),
    ],
)
def test_who_asks_for_a_stream(body: str, *, stream: bool) -> None:
    assert asks_for_stream(post(body)) is stream
