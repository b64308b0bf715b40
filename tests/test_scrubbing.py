"""Secrets: however they come in, none is in the cassette, the journal or on stderr, and the replay still matches."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from faulty_upstream import JSON, SSE, Upstream, answer, upstream
from raw import Raw, post

from stubserver.cassettes.library import Library
from stubserver.errors import UsageError
from stubserver.messages import Interaction, Request, Response
from stubserver.redaction import MARK, secrets_of
from stubserver.scrubbing import Scrubber
from stubserver.stub import StubServer

OURS = "our-upstream-key/+0123456789"
OPAQUE = "3f9a0c77d1b24e6f8a55c0de11223344"

KEYS = {
    "openai": "sk-proj-" + "Ab1" * 30,
    "anthropic": "sk-ant-api03-" + "x9" * 46 + "AA",
    "google": "AIza" + "Sy4" * 11 + "ab",
    "xai": "xai-" + "Q7" * 40,
    "groq": "gsk_" + "Zz1" * 18,
    "perplexity": "pplx-" + "k3" * 24,
    "nvidia": "nvapi-" + "n5" * 32,
    "replicate": "r8_" + "a1B" * 12 + "c",
    "huggingface": "hf_" + "Qw3" * 11 + "e",
    "aws": "AKIA" + "ABCD2345" * 2,
    "github": "ghp_" + "aB3" * 12,
    "langsmith": "lsv2_pt_" + "0a" * 16 + "_0123456789",
    "openrouter": "sk-or-v1-" + "0a" * 32,
    "huggingface org": "api_org_" + "Qw3" * 11 + "e",
    "aws session": "ASIA" + "ABCD2345" * 2,
    "bedrock": "ABSK" + "Ab0" * 38,
    "github app": "ghs_" + "aB3" * 12,
    "github fine": "github_pat_" + "aB3_" * 20 + "xy",
    "jwt": "eyJhbGciOiJIUzI1NiJ9abc.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4",
}
WRAPPED = {
    "base64": lambda key: base64.b64encode(f"key: {key}.".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(f"the key: {key}?".encode()).decode().rstrip("="),
    "folded base64": lambda key: base64.encodebytes(f"my key: {key} {'and more ' * 20}".encode()).decode(),
    "twice base64": lambda key: base64.b64encode(base64.b64encode(f'{{"a": "{key}"}}'.encode())).decode(),
    "percent": lambda key: quote(f'"{key}"'),
    "all percent": lambda key: "".join(f"%{c:02x}" for c in f" {key}".encode()),
    "hex": lambda key: f"key {key}".encode().hex(),
    "escapes": lambda key: "".join(f"\\u{ord(c):04X}" for c in key),
}
"""Other forms of a text in which a key stands."""
CREDENTIALS = {**KEYS, "azure": OPAQUE}


@pytest.fixture
def up() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


def places(key: str) -> dict[str, bytes]:
    """Put *key* into each place where a client may put its credential."""
    basic = base64.b64encode(f"me:{key}".encode()).decode()
    plain = b'{"model": "m"}'
    headers = {
        name: post(plain, f"{name}: {key}", target=f"/v1/{name}")
        for name in ("api-key", "x-api-key", "x-goog-api-key", "xi-api-key", "X-Auth-Token", "x-voyage-api-key")
    }
    return {
        **headers,
        "bearer": post(plain, f"Authorization: Bearer {key}", target="/v1/bearer"),
        "basic": post(plain, f"Authorization: Basic {basic}", target="/v1/basic"),
        "cookie": post(plain, f"Cookie: a=b; session={key}; c=d", target="/v1/cookie"),
        "query": post(plain, target=f"/v1/query?key={quote(key)}&x=1"),
        "query 2": post(plain, target=f"/v1/query2?x=1&api-key={quote(key)}"),
        "member": post(json.dumps({"model": "m", "api_key": key}).encode(), target="/v1/member"),
        "member 2": post(json.dumps({"a": {"client_secret": key}}).encode(), target="/v1/member2"),
        "part": post(
            f'--x\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n{key}\r\n--x--\r\n'.encode(),
            "Content-Type: multipart/form-data; boundary=x",
            target="/v1/part",
        ),
        "form": post(f"a=b&client_secret={quote(key)}".encode(), target="/v1/form"),
        "echoed in its body": post(
            json.dumps({"prompt": f"my key is {key}."}).encode(), f"Authorization: Bearer {key}", target="/v1/echo"
        ),
    }


def forms(key: str) -> list[bytes]:
    raw = key.encode()
    shifted = [base64.b64encode(b"x" * n + raw)[4:-4] for n in range(3)]
    escaped = "".join(f"\\u{ord(c):04x}" for c in key).encode()
    return [raw, quote(key, safe="").encode(), raw.hex().encode(), escaped, *shifted]


def talk(stub: StubServer, requests: dict[str, bytes]) -> dict[str, tuple[int, bytes]]:
    with Raw(("127.0.0.1", stub.port)) as client:
        return {name: client.ask(request) for name, request in requests.items()}


PAGES = (
    "",
    "/requests?limit=1000",
    "/requests.har",
    "/requests/unmatched",
    "/requests/unmatched/near-misses",
    "/metrics",
)
PAGES += ("/interactions?limit=1000", "/interactions/unplayed", "/cassettes", "/settings", "/verdict")


def everything_seen(stub: StubServer, folder: Path) -> bytes:
    """Gather what is left of the requests and answers wherever it may be shown: files, the journal, the admin API."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    journal = [repr((e.request, e.response, e.note, e)).encode() for e in stub.journal]
    pages = [*PAGES, *(f"/requests/{entry.number}" for entry in stub.journal)]
    got = [requests.get(f"{stub.url}/__admin{page}", timeout=60) for page in pages]
    assert {answer.status_code for answer in got} == {200}
    with requests.get(f"{stub.url}/__admin/events?since=0", timeout=60, stream=True) as feed:
        fed = [next(feed.iter_content(65_536))]
    return b"\n".join([*files, *journal, *(answer.content for answer in got), *fed])


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_credential_of_the_client_is_kept_nowhere(
    kind: str, up: Upstream, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = CREDENTIALS[kind]
    echo = json.dumps({"error": {"message": f"Incorrect API key provided: {key}."}}).encode()
    up.otherwise = answer(echo, JSON, f"Set-Cookie: s={key}", f"X-Echo: {key}", status="400 Bad")
    asked = places(key)
    for name in ("query", "query 2", "member", "member 2", "form", "part", "basic"):
        if kind == "azure" and name != "basic":  # without a form of its own, it is known by its place alone
            up.says[asked[name].split(b" ")[1].decode()] = answer(b"{}")
    with StubServer(
        tmp_path / "t.yaml", record_mode="new_episodes", upstream=up.url, index=str(tmp_path / "index.sqlite")
    ) as stub:
        got = talk(stub, asked)
        assert {entry.note for entry in stub.journal} == {""}
        seen = everything_seen(stub, tmp_path)
    said = "".join(capfd.readouterr())

    assert [form for form in forms(key) if form in seen or form.decode() in said] == []
    assert key.encode() in got["bearer"][1]  # the client itself has the whole answer


@pytest.mark.parametrize(("kind", "form"), [*((k, "base64") for k in KEYS), *(("openai", f) for f in WRAPPED)])
def test_a_key_in_another_form_is_kept_nowhere_and_the_replay_matches(
    kind: str, form: str, up: Upstream, tmp_path: Path
) -> None:
    """The key is nobody's credential here: it is known by its pattern alone."""
    key, tape = KEYS[kind], tmp_path / "t.yaml"
    wrapped = WRAPPED[form](key)
    said, in_line = wrapped.replace("\n", "\\n").encode(), wrapped.replace("\n", "")
    asked = {
        "body": post(b'{"text": "%b"}' % said, "Content-Type: application/json"),
        "plain": post(wrapped.encode(), target="/v1/plain"),
        "header": post(b"{}", f"X-Note: {in_line}", target="/v1/header"),
        "query": post(b"{}", target=f"/v1/query?note={quote(wrapped)}"),
    }
    up.otherwise = answer(b'{"echo": "%b"}' % said, JSON, f"X-Echo: {in_line}")
    with StubServer(tape, record_mode="new_episodes", upstream=up.url) as stub:
        talk(stub, asked)
        assert {entry.note for entry in stub.journal} == {""}
        seen = everything_seen(stub, tmp_path)
    with StubServer(tape, fallback="error") as stub:
        assert {status for status, _ in talk(stub, asked).values()} == {200}
    report = [line for interaction in interactions(tape) for line in secrets_of(interaction)]

    assert wrapped.encode() not in seen
    assert said not in seen
    assert [found for found in forms(key) if found.lower() in seen.lower()] == []
    assert report == []


def interactions(tape: Path) -> list[Interaction]:
    return [recording.interaction() for recording in Library([tape]).playlist]


@pytest.mark.parametrize(
    ("kind", "fallback"), [*((k, "error") for k in CREDENTIALS), ("openai", "dummy"), ("openai", "forward")]
)
def test_without_recording_a_credential_is_shown_nowhere_either(
    kind: str, fallback: str, up: Upstream, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = CREDENTIALS[kind]
    asked = places(key)
    if kind == "azure":  # the journal of what is not recorded knows it by its place alone, not where it is echoed
        del asked["echoed in its body"]
    with StubServer(tmp_path, fallback=fallback, upstream=up.url if fallback == "forward" else None) as stub:
        talk(stub, asked)
        seen = everything_seen(stub, tmp_path)
    said = "".join(capfd.readouterr())

    assert [form for form in forms(key) if form in seen or form.decode() in said] == []


@pytest.mark.parametrize("form", WRAPPED)
@pytest.mark.parametrize("kind", KEYS)
def test_check_finds_what_an_older_tool_kept_in_another_form(kind: str, form: str) -> None:
    wrapped = WRAPPED[form](KEYS[kind])
    body = b'{"a": "%b"}' % wrapped.replace("\n", "\\n").encode()
    found = interaction()._replace(request=Request("POST", "/v1/x", (), body))

    assert [line for line in secrets_of(found) if line.startswith("request body: a")]
    assert secrets_of(scrubbed(Scrubber(), found)) == []


@pytest.mark.parametrize("other", [*KEYS.values(), "EMPTY"], ids=[*KEYS, "none"])
def test_a_recording_plays_with_another_key(other: str, up: Upstream, tmp_path: Path) -> None:
    tape = tmp_path / "t.yaml"
    with StubServer(tape, record_mode="new_episodes", upstream=up.url) as stub:
        talk(stub, places(KEYS["openai"]))
    asked = places(other)
    if other == "EMPTY":
        del asked["echoed in its body"]  # a word of the text, which no one may touch
    with StubServer(tape, fallback="error") as stub:
        assert {name: status for name, (status, _) in talk(stub, asked).items() if status != 200} == {}


def test_a_recording_plays_without_any_key(up: Upstream, tmp_path: Path) -> None:
    tape, plain = tmp_path / "t.yaml", b'{"model": "m"}'
    with StubServer(tape, record_mode="new_episodes", upstream=up.url) as stub:
        talk(stub, {"a": post(plain, f"Authorization: Bearer {KEYS['openai']}")})
    with StubServer(tape, fallback="error") as stub:
        assert talk(stub, {"a": post(plain)})["a"][0] == 200


@pytest.mark.parametrize(
    "encode",
    [*range(3), "url", "json", "raw", "urlsafe", "hex", "HEX", "lower url", "all url", "escapes", "twice", "in json"],
)
def test_our_own_key_is_never_written_in_any_encoding(
    encode: Any, up: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAL_KEY", OURS)
    raw = OURS.encode()
    form = {
        "url": quote(OURS, safe="").encode(),
        "json": json.dumps(OURS)[1:-1].encode(),
        "raw": raw,
        "urlsafe": base64.urlsafe_b64encode(raw),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "lower url": quote(OURS, safe="").lower().encode(),
        "all url": "".join(f"%{c:02x}" for c in raw).encode(),
        "escapes": "".join(f"\\u{c:04x}" for c in raw).encode(),
        "twice": base64.b64encode(base64.b64encode(raw)),
        "in json": base64.b64encode(json.dumps({"key": OURS}).encode()),
    }.get(encode, base64.b64encode(b"abc"[: encode if isinstance(encode, int) else 0] + raw))
    up.otherwise = answer(b"event: " + form + b"\n\n", SSE, f"X-Echo: {form.decode()}")
    with StubServer(tmp_path / "t.yaml", record_mode="new_episodes", upstream=up.url, upstream_key_env="REAL_KEY") as s:
        talk(s, {"a": post(b'{"text": "' + form + b'"}', target=f"/v1/x?a={quote(form)}")})
        seen = everything_seen(s, tmp_path)

    assert form not in seen
    assert form[4:-4] not in seen


# The scrubber by itself


def interaction(text: str = "x", *headers: tuple[str, str], target: str = "/v1/x") -> Interaction:
    fields = (("Content-Type", JSON), *headers)
    return Interaction(Request("POST", target, fields, text.encode()), Response(200, fields, text.encode()))


def scrubbed(scrubber: Scrubber, found: Interaction) -> Interaction:
    kept = scrubber.interaction(found)
    assert kept is not None
    return kept


@pytest.mark.parametrize("word", ["anything", "not-needed", "sk-no-key-required", "EMPTY", "lm-studio", "password"])
def test_the_words_that_stand_for_no_key_stay_text(word: str) -> None:
    found = interaction(f"say {word} now", ("Authorization", f"Bearer {word}"))

    request, response = scrubbed(Scrubber(), found)

    assert request.body == response.body == found.request.body
    assert "authorization" not in {name.lower() for name, _ in request.headers}


def test_a_credential_is_removed_from_the_answer_however_it_comes_up() -> None:
    encoded = base64.b64encode(OPAQUE.encode()).decode()
    found = interaction(f"{OPAQUE} {encoded} [{OPAQUE}]", ("api-key", OPAQUE))

    plain, packed, bracketed = scrubbed(Scrubber(), found).response.body.split(b" ")

    assert (plain, bracketed) == (b"REDACTED", b"[REDACTED]")
    assert encoded[:-4].encode() not in packed
    assert b"REDACTED" in packed


def test_patterns_of_the_user_are_taken_out_everywhere() -> None:
    found = interaction("code ACME-1234 here", ("X-A", "ACME-99"), target="/v1/ACME-7?q=ACME-8")

    request, response = scrubbed(Scrubber(patterns=[r"ACME-\d+"]), found)

    assert request.target == "/v1/REDACTED?q=REDACTED"
    assert request.body == response.body == b"code REDACTED here"
    assert ("X-A", "REDACTED") in request.headers


def test_a_field_may_be_kept() -> None:
    found = interaction("x", ("openai-organization", "org-1234567890abc"))

    assert len(scrubbed(Scrubber(), found).request.headers) == 1
    assert len(scrubbed(Scrubber(keep_headers=["OpenAI-Organization"]), found).request.headers) == 2


def test_only_the_fields_of_a_replay_may_be_kept() -> None:
    found = interaction("x", ("X-Custom", "1"), ("x-request-id", "r"), ("Retry-After", "1"))

    names = [name for name, _ in scrubbed(Scrubber(allow_headers_only=True), found).response.headers]

    assert names == ["Content-Type", "x-request-id", "Retry-After"]


def test_hooks_change_and_refuse() -> None:
    def mask(found: Interaction) -> Interaction | None:
        return None if b"no" in found.request.body else found._replace(response=Response(201))

    assert scrubbed(Scrubber(hooks=[mask]), interaction("yes")).response.status == 201
    assert Scrubber(hooks=[mask]).interaction(interaction("no")) is None


def test_user_information_is_taken_out_of_the_address() -> None:
    found = interaction()._replace(request=Request("GET", "/", authority="me:hunter2hunter2@host:1"))

    assert scrubbed(Scrubber(), found).request.authority == "host:1"


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    body = bytes(range(256)) * 3
    found = Interaction(Request("POST", "/", (("api-key", OPAQUE),), body), Response(200, (), body + OPAQUE.encode()))

    kept = scrubbed(Scrubber(), found)

    assert (kept.request.body, kept.response.body) == (body, body + b"REDACTED")


def test_scrubbing_twice_changes_nothing_more() -> None:
    found = interaction(" ".join(KEYS.values()), ("Authorization", f"Bearer {OPAQUE}"), target=f"/v1/x?key={OPAQUE}")
    once = scrubbed(Scrubber(), found)

    assert scrubbed(Scrubber(), once) == once


def test_a_pattern_that_does_not_compile_is_said() -> None:
    with pytest.raises(UsageError, match="no regular expression"):
        Scrubber(patterns=["("])


def test_a_credential_that_is_no_text_is_removed_too() -> None:
    """Cassettes and the files of other tools may hold half of a pair, which HTTP could not."""
    secret = "madeup\ud800\udce1-0123456789"
    request = Request("POST", "/x", (("api-key", secret),), b"", "https", "a.test")

    cleaned = Scrubber().cleaned(Interaction(request, Response(200, (("x", f"see {secret}"),))))

    assert cleaned.response.headers == (("x", f"see {MARK}"),)
