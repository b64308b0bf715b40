"""What looks like a secret is found and taken out, what stands for one is left alone. Every key here is made up."""

from __future__ import annotations

import json
import re
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.messages import Interaction, Request, Response
from stubserver.redaction import (
    MARK,
    SECRET_HEADERS,
    SECRET_MEMBERS,
    SECRET_QUERY,
    clean_headers,
    clean_request,
    clean_text,
    clean_value,
    is_secret_header,
    is_secret_member,
    secrets_of,
)


def made(length: int, alphabet: str = "a7Kq2ZpX9vLm4RtB") -> str:
    return "".join(islice(cycle(alphabet), length))


PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4\n\n"
    + made(64)
    + "\n"
    + made(40)
    + "==\n-----END RSA PRIVATE KEY-----"
)
KEYS = {
    "an OpenAI-style key": [
        f"sk-{made(48)}",
        f"sk-proj-{made(70)}",
        f"sk-ant-api03-{made(90)}",
        f"sk-or-v1-{made(64)}",
    ],
    "a Google key": [f"AIza{made(35)}"],
    "an xAI key": [f"xai-{made(80)}"],
    "a Groq key": [f"gsk_{made(52)}"],
    "a Perplexity key": [f"pplx-{made(48)}"],
    "an NVIDIA key": [f"nvapi-{made(64)}"],
    "a Replicate key": [f"r8_{made(37)}"],
    "a Hugging Face token": [f"hf_{made(34)}", f"api_org_{made(34)}"],
    "an AWS key id": [f"AKIA{made(16, 'ABC234')}", f"ASIA{made(16, 'ABC234')}"],
    "an AWS Bedrock key": [f"ABSK{made(110)}="],
    "a GitHub token": [f"ghp_{made(36)}", f"ghs_{made(36)}", f"github_pat_{made(82)}"],
    "a LangSmith key": [f"lsv2_pt_{made(32, 'abc123')}_{made(10, 'abc123')}"],
    "a JSON web token": [f"eyJ{made(30)}.eyJ{made(60)}.{made(43)}"],
    "a bearer token": [f"Bearer {made(40)}", f"bearer {made(20)}.{made(20)}"],
    "a private key": [PEM],
}
ALL_KEYS = [(kind, key) for kind, keys in KEYS.items() for key in keys]
PLACEHOLDERS = [
    *(
        "REDACTED",
        "Bearer test_openai_api_key",
        "DUMMY",
        "**REDACTED**",
        "sk-XXXXXXXXXXXXXXXXXXXXXXXX",
        "Bearer REDACTED",
    ),
    *("sk-...", "your-api-key-goes-here", "<OPENAI_API_KEY>", "fake-key-for-this-run", "", "Bearer ***", "PLACEHOLDER"),
    *("sk-proj-test-1234567890abcdef", "scrubbed-by-the-recorder", "AUTHORIZATION-XXXX", "mock_key_1234567890"),
]
PASSWORD = "correct-horse-battery"


def recording(
    request: Request | None = None, headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
) -> Interaction:
    return Interaction(request or Request("POST", "/v1/p"), Response(200, headers, body))


def with_body(body: str) -> Interaction:
    return recording(Request("POST", "/v1/p", (), body.encode("utf-8", "surrogatepass")))


# --- keys in text -------------------------------------------------------------------------------------------------


def nested(key: str, levels: int) -> str:
    """Put *key* into JSON, and that into a text of JSON, and so on."""
    text = f"the key:\n{key}"
    for _ in range(levels):
        text = json.dumps({"content": text})
    return text


@pytest.mark.parametrize(("kind", "key"), ALL_KEYS)
@pytest.mark.parametrize("around", ["%s", "key=%s", 'say "%s".', "a,%s,b", "\t%s\n", "(%s)", "[%s]", "é %s"])
def test_each_kind_of_key_is_found_and_taken_out_of_a_text(kind: str, key: str, around: str) -> None:
    text = around % key
    assert f"request body: {kind}" in secrets_of(with_body(text))
    assert clean_text(text) == around % MARK
    assert secrets_of(with_body(clean_text(text))) == []


@pytest.mark.parametrize(("kind", "key"), ALL_KEYS)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_each_kind_of_key_is_found_in_json_and_in_json_in_json(kind: str, key: str, levels: int) -> None:
    text = nested(key, levels)
    assert f"request body: {kind}" in secrets_of(with_body(text))
    assert clean_text(text) == nested(MARK, levels)


def test_a_key_behind_any_escaped_character_is_found() -> None:
    key = KEYS["an OpenAI-style key"][0]
    assert clean_text(f'"\\u00e9{key}"') == f'"\\u00e9{MARK}"'


def test_of_a_private_key_nothing_is_left_be_its_end_there_or_not() -> None:
    assert clean_text(f"before {PEM} after") == f"before {MARK} after"
    cut = json.dumps({"key": PEM[:90]})
    assert json.loads(clean_text(cut)) == {"key": MARK}


@pytest.mark.parametrize(
    "text",
    [
        "a risk-assessment-of-the-whole-enterprise-2024",
        "sk-learn and sk-short",
        "desk-1234567890abcdefghijklmnop",
        "eyJhbGciOiJIUzI1NiJ9 alone is a header",
        "AKIAlower1234567890",
        f"AIza{made(36)}",
        "bearer certificates are instruments",
        "https://example.com/@someone and mailto:me@example.com",
        '{"usage": {"prompt_tokens": 12}, "token": " hi"}',
        '{"type": "object", "properties": {"password": {"type": "string"}}, "required": ["password"]}',
        "what is the key? key of what?",
    ],
)
def test_text_that_holds_no_secret_is_left_alone(text: str) -> None:
    assert clean_text(text) == text
    assert secrets_of(with_body(text)) == []


# --- members ------------------------------------------------------------------------------------------------------

MEMBER_NAMES = [
    *SECRET_MEMBERS,
    *(
        "API_KEY",
        "apiKey",
        "api-key",
        "x-api-key",
        "openai_api_key",
        "AccessToken",
        "aws_secret_access_key",
        "db_password",
    ),
]


@pytest.mark.parametrize("name", MEMBER_NAMES)
def test_a_member_that_holds_a_secret_is_known_by_its_name(name: str) -> None:
    text = json.dumps({"a": 1, name: PASSWORD, "b": ["c"]})
    assert is_secret_member(name)
    assert secrets_of(with_body(text)) == [f"request body: member {name}"]
    assert json.loads(clean_text(text)) == {"a": 1, name: MARK, "b": ["c"]}


@pytest.mark.parametrize(
    "name", ["token", "tokens", "key", "secrets", "passwords", "content", "max_tokens", "api_keys"]
)
def test_other_members_are_not(name: str) -> None:
    assert not is_secret_member(name)
    assert secrets_of(with_body(json.dumps({name: PASSWORD}))) == []


@given(
    value=st.text(min_size=1, max_size=30), after=st.text(max_size=10), levels=st.integers(0, 3), tight=st.booleans()
)
def test_a_member_in_json_in_json_is_taken_out_whatever_its_value(
    value: str, after: str, levels: int, *, tight: bool
) -> None:
    def wrapped(secret: str) -> str:
        text = json.dumps({"password": secret, "after": after}, separators=(",", ":") if tight else None)
        for _ in range(levels):
            text = json.dumps({"inner": text, "after": after})
        return text

    assert clean_text(wrapped(value)) == clean_text(wrapped(MARK))


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_member_that_is_cut_off_is_taken_out_up_to_the_end(levels: int) -> None:
    text = json.dumps({"password": PASSWORD})
    for _ in range(levels):
        text = json.dumps({"inner": text})
    cut = text[: text.index(PASSWORD) + 12]
    assert clean_text(cut).endswith(f'"{MARK}')


def test_the_first_of_an_array_is_taken_out_too() -> None:
    assert clean_text('{"Authorization": ["opaque-value"], "a": 1}') == f'{{"Authorization": ["{MARK}"], "a": 1}}'


def test_a_value_is_cleaned_by_the_names_of_its_members() -> None:
    value = {"a": [{"password": 5, "b": None}], "api_key": ["x"], "c": "password"}
    assert clean_value(value) == {"a": [{"password": MARK, "b": None}], "api_key": MARK, "c": "password"}


# --- headers, query, user information -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*sorted(SECRET_HEADERS), "X-OpenAI-Api-Key", "x-csrf-token", "X-Client-Secret"])
def test_a_secret_header_is_known_by_its_name_in_any_case(name: str) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert is_secret_header(spelled)
        assert clean_headers(((spelled, PASSWORD), ("a", "b"))) == ((spelled, MARK), ("a", "b"))


@pytest.mark.parametrize("name", ["content-type", "x-ratelimit-remaining-tokens", "idempotency-key", "x-request-id"])
def test_other_headers_are_not(name: str) -> None:
    assert not is_secret_header(name)
    assert clean_headers(((name, "value"),)) == ((name, "value"),)


@pytest.mark.parametrize(("kind", "key"), ALL_KEYS)
def test_a_key_in_any_other_header_is_found(kind: str, key: str) -> None:
    key = key.replace("\n", "")
    assert f"response header x-note: {kind}" in secrets_of(recording(headers=(("x-note", f"a {key}"),)))
    assert clean_headers((("x-note", f"a {key}"),)) == (("x-note", f"a {MARK}"),)


def test_headers_are_reported_for_both_sides() -> None:
    headers = (("Authorization", f"Bearer {PASSWORD}"), ("Set-Cookie", f"session={PASSWORD}; path=/"))
    found = secrets_of(recording(Request("GET", "/", headers), headers))
    assert found == [
        f"{side} header {name}" for side in ("request", "response") for name in ("Authorization", "Set-Cookie")
    ]


@pytest.mark.parametrize("name", ["openai-organization", "openai-project", "anthropic-organization-id"])
def test_the_name_of_an_account_is_taken_out_but_not_reported(name: str) -> None:
    assert clean_headers(((name, PASSWORD),)) == ((name, MARK),)
    assert secrets_of(recording(headers=((name, PASSWORD),))) == []


@pytest.mark.parametrize("name", sorted(SECRET_QUERY))
@pytest.mark.parametrize("before", ["/p?", "/p?a=b&", "https://host/p?"])
def test_a_secret_parameter_is_taken_out_of_a_url(name: str, before: str) -> None:
    assert clean_text(f"{before}{name}={PASSWORD}&z=1") == f"{before}{name}={MARK}&z=1"
    assert clean_text(f"{before}{name.upper()}={PASSWORD}") == f"{before}{name.upper()}={MARK}"
    assert f"query parameter {name}" in secrets_of(recording(Request("GET", f"/p?{name}={PASSWORD}")))


def test_a_url_in_json_ends_where_its_text_does() -> None:
    text = json.dumps({"url": f"https://u:{PASSWORD}@h/?sig={PASSWORD}", "next": "me@x.org"}, separators=(",", ":"))
    assert json.loads(clean_text(text)) == {"url": f"https://{MARK}@h/?sig={MARK}", "next": "me@x.org"}


def test_a_form_is_cleaned_from_its_first_field_on() -> None:
    form = f"client_secret={PASSWORD}&grant_type=x&refresh_token={PASSWORD}"
    assert clean_text(form) == f"client_secret={MARK}&grant_type=x&refresh_token={MARK}"
    expected = ["request body: parameter client_secret", "request body: parameter refresh_token"]
    assert secrets_of(with_body(form)) == expected


def test_user_information_is_taken_out() -> None:
    assert clean_text("https://me:pass@host/p") == f"https://{MARK}@host/p"
    assert secrets_of(recording(Request("GET", "/", (), b"", "https", "me:pass@host"))) == [
        "user information in the URI"
    ]


def test_a_request_is_cleaned_as_a_whole() -> None:
    body = json.dumps({"api_key": PASSWORD}).encode() + b"\xff"
    request = Request("POST", f"/p?key={PASSWORD}", (("Cookie", PASSWORD),), body, "https", f"me:{PASSWORD}@host:1")
    cleaned = clean_request(request)
    assert cleaned == Request(
        "POST", f"/p?key={MARK}", (("Cookie", MARK),), b'{"api_key": "REDACTED"}\xff', "https", "host:1"
    )
    assert clean_request(cleaned) == cleaned


# --- what is no secret any more -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_a_placeholder_is_not_reported(value: str) -> None:
    headers = (("Authorization", value), ("api-key", value), ("x-note", value), ("Cookie", value))
    request = Request("POST", f"/p?key={value}", headers, json.dumps({"api_key": value, "a": value}).encode())
    assert secrets_of(recording(request, headers, value.encode())) == []


@pytest.mark.parametrize("value", ["short", "a password of several words", "12345678901"])
def test_what_is_too_short_or_prose_is_not_reported(value: str) -> None:
    assert secrets_of(with_body(json.dumps({"password": value}))) == []


def test_a_word_that_a_long_key_holds_by_chance_makes_it_no_placeholder() -> None:
    key = f"sk-proj-{made(60)}test{made(40)}xxxx"
    assert secrets_of(with_body(key)) == ["request body: an OpenAI-style key"]


def test_the_secret_itself_is_never_part_of_the_report() -> None:
    everything = "\n".join(key for _, key in ALL_KEYS)
    request = Request("POST", f"/p?key={PASSWORD}", (("Authorization", PASSWORD),), everything.encode())
    found = secrets_of(
        recording(request, (("x", everything.replace("\n", " ")),), json.dumps({"secret": PASSWORD}).encode())
    )
    assert len(found) > 2 * len(KEYS)
    assert not any(part in line for line in found for part in (PASSWORD, made(16), made(16, "ABC234")))


@given(
    st.lists(st.sampled_from([*(key for _, key in ALL_KEYS), '"password": "', "?key=", "://a@", "\\", '"', "x", " "]))
)
def test_what_was_cleaned_once_stays_as_it_is(parts: list[str]) -> None:
    once = clean_text("".join(parts))
    assert clean_text(once) == once


PIECES = [
    *("sk-", "-ey", "ey.ey.", "eyeyeyeyeyeyeyeyeyeyey.", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "AIza", "ABSK"),
    *(
        '"password":"',
        '\\"password\\":\\"',
        '\\\\\\"password\\\\\\":\\\\\\"a',
        '"password"  ',
        "&key=",
        "?key=a",
        "://",
    ),
    *("://a:", "Bearer a", "\\", '"', "hf_", "a", "\n", "_api_key_", '"a_a_a_a_'),
]


@pytest.mark.parametrize("piece", PIECES)
def test_two_megabytes_of_almost_secrets_come_to_an_end(piece: str) -> None:
    size = 2_000_000
    text = (piece * (size // len(piece) + 1))[:size]
    assert clean_text(text)[:1000] == clean_text(text[:50_000])[:1000]
    assert len(secrets_of(with_body(text))) < 3


def test_json_of_any_kind_stays_json() -> None:
    value = {
        "a": [f"{key} and {key}" for _, key in ALL_KEYS],
        "b": f"?key={PASSWORD}",
        "password": 'a"b\\',
        "c": "://x@",
    }
    once, twice = json.dumps(value), json.dumps({"outer": json.dumps(value)})
    assert json.loads(clean_text(once)).keys() == value.keys()
    assert json.loads(json.loads(clean_text(twice))["outer"]).keys() == value.keys()
    assert not re.search(made(16), clean_text(twice))


@pytest.mark.parametrize("name", ["api_key", "password", "client_secret", "X-Amz-Signature", "token"])
def test_a_field_of_a_form_in_parts_is_known_by_its_name(name: str) -> None:
    head = '--x\r\nContent-Disposition: form-data; name="'
    form = f'{head}{name}"\r\n\r\n{{}}\r\n{head}a"\r\n\r\nb'
    text = form.format(PASSWORD)
    assert clean_text(text) == form.format(MARK)
    assert secrets_of(with_body(text)) == [f"request body: form field {name}"]
    assert secrets_of(with_body(clean_text(text))) == []


def test_a_field_with_a_type_of_its_own_is_known_too() -> None:
    form = (
        'Content-Disposition: form-data; name="api_key"; filename="k.txt"\r\nContent-Type: text/plain\r\n\r\n{}\r\n--x'
    )
    assert clean_text(form.format(PASSWORD)) == form.format(MARK)


def test_a_key_in_the_path_and_in_any_parameter_is_reported() -> None:
    key = KEYS["an OpenAI-style key"][0]
    assert secrets_of(recording(Request("GET", f"/v1/{key}/x?note={key}"))) == [
        "path: an OpenAI-style key",
        "query parameter note: an OpenAI-style key",
    ]
