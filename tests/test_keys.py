"""--require-key: the API's 401s, who is admitted, and that what proved a client goes nowhere else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from click.testing import CliRunner
from faulty_upstream import JSON, Upstream, answer, upstream
from tapes import ask, completion, recorded, tape

from stubserver import StubServer
from stubserver.cli import main
from stubserver.errors import UsageError
from stubserver.keys import Keys, Refusal, required
from stubserver.messages import Headers, Request

KEY = "stub-7Hq2Lw9Zt4Xc8Vb1"
OURS = "sk-proj-" + "Zq3" * 16
OWN = "sk-proj-" + "aB9" * 16
CHAT = Request("POST", "/v1/chat/completions")
WHERE = " You can find your API key at https://platform.openai.com/account/api-keys."


@pytest.fixture
def up() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STUBSERVER_KEY", raising=False)


def asked(*headers: tuple[str, str], target: str = CHAT.target) -> Request:
    return CHAT._replace(target=target, headers=headers)


def refusal(found: Request | Refusal) -> Refusal:
    assert isinstance(found, Refusal)
    return found


def error_of(found: Refusal) -> dict[str, Any]:
    assert found.answer.response.status == 401
    return json.loads(found.answer.response.body)["error"]


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


# --- the 401s -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/v1/chat/completions", "You didn't provide an API key. You need to provide your API key in an Authorization"),
        ("/openai/deployments/d/embeddings", "You didn't provide an API key."),
        ("/v1/models", "Missing bearer authentication in header"),
        ("/v1/models/a/b", "Missing bearer authentication in header"),
        ("/v1/responses", "Missing bearer or basic authentication in header"),
        ("/__cassette/a/v1/responses/resp_1?x=1", "Missing bearer or basic authentication in header"),
    ],
)
def test_without_a_key_each_route_has_its_words(target: str, text: str) -> None:
    found = error_of(refusal(Keys(KEY).admit(asked(target=target))))
    assert found["message"].startswith(text)
    assert (found["type"], found["param"], found["code"]) == ("invalid_request_error", None, None)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("kk", "kk"),
        ("undefined", "undefined"),
        ("YOUR_API_KEY", "YOUR_API*KEY"),
        ("sk-wrong-api-key", "sk-wrong****-key"),
        ("bad-key-for-the-test", "bad-key-********test"),
    ],
)
def test_a_wrong_key_is_quoted_as_the_api_quotes_it(key: str, shown: str) -> None:
    found = refusal(Keys(KEY).admit(asked(("Authorization", f"Bearer {key}"))))
    assert error_of(found) == {
        "message": f"Incorrect API key provided: {shown}.{WHERE}",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert b"Incorrect API key provided: REDACTED." in found.noted.response.body
    headers = dict(found.answer.response.headers)
    assert headers["www-authenticate"] == 'Bearer realm="OpenAI API"'
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-stubserver-source"] == "unmatched"


# --- who is admitted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proof",
    [
        ("Authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer  {KEY} "),
        ("Authorization", basic(f":{KEY}")),
        ("Authorization", basic(f"someone:{KEY}")),
        ("api-key", KEY),
        ("X-Api-Key", KEY),
        ("X-Stubserver-Key", KEY),
    ],
)
def test_a_proof_is_taken_out(proof: tuple[str, str]) -> None:
    assert Keys(KEY).admit(asked(("a", "b"), proof, ("c", "d"))) == asked(("a", "b"), ("c", "d"))


def test_a_key_of_the_clients_own_stays() -> None:
    own = ("Authorization", f"Bearer {OWN}")
    assert Keys(KEY).admit(asked(own, ("x-stubserver-key", KEY))) == asked(own)
    assert Keys(KEY).admit(asked(("x-stubserver-key", "old"), ("api-key", KEY), own)) == asked(own)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Authorization", "Bearer"),),
        (("Authorization", "Bearer  "),),
        (("Authorization", f"Token {KEY}"),),
        (("Authorization", KEY),),
        (("Authorization", "Basic !!"),),
        (("Authorization", basic(KEY)),),
        (("api-key", ""),),
        (("x-other", KEY),),
    ],
)
def test_what_is_no_key_is_a_missing_one(headers: Headers) -> None:
    assert error_of(refusal(Keys(KEY).admit(asked(*headers))))["code"] is None


@pytest.mark.parametrize("near", [KEY[:-1], f"{KEY}x", KEY.lower(), f"{KEY}\xe9", "\xff\xfe"])
def test_what_is_near_is_wrong(near: str) -> None:
    assert error_of(refusal(Keys(KEY).admit(asked(("api-key", near)))))["code"] == "invalid_api_key"


def test_a_key_may_be_any_text() -> None:
    sent = "schlüssel-€".encode().decode("latin-1")  # as a header field arrives
    assert Keys("schlüssel-€").admit(asked(("api-key", sent))) == asked()


def test_without_a_key_of_ours_any_will_do_and_none_will_not() -> None:
    own = asked(("Authorization", "Bearer x"))
    assert Keys(None).admit(own) == own
    assert error_of(refusal(Keys(None).admit(asked())))["code"] is None


def test_preflights_and_probes_need_no_key() -> None:
    preflight, probe = CHAT._replace(method="OPTIONS"), Request("GET", "/health")
    assert (Keys(KEY).admit(preflight), Keys(KEY).admit(probe)) == (preflight, probe)
    assert isinstance(Keys(KEY, open_probes=False).admit(probe), Refusal)
    assert isinstance(Keys(KEY).admit(Request("GET", "/metrics")), Refusal)


# --- which key ----------------------------------------------------------------------------------------------------


def test_the_key_is_given_or_the_variables_or_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert required(given=KEY, ours=True, forwards=True)[1] == KEY
    assert required(given=True, ours=False, forwards=False)[1] is None
    monkeypatch.setenv("STUBSERVER_KEY", f" {KEY}\n")
    assert required(given=True, ours=True, forwards=True)[1] == KEY


def test_any_key_may_not_spend_ours() -> None:
    with pytest.raises(UsageError, match="any key would spend ours"):
        required(given=True, ours=True, forwards=True)
    with pytest.raises(UsageError, match="is empty"):
        required(given=" ", ours=False, forwards=False)


# --- over sockets -------------------------------------------------------------------------------------------------


def test_the_official_client_sees_its_own_exceptions(tmp_path: Path) -> None:
    path = tape(tmp_path / "a.yaml", recorded(ask("whole"), completion("Whole.")))
    with StubServer(path, require_key=KEY) as stub:
        for key, texts in (("wrong-key-of-somebody", "Incorrect API key provided: wrong-ke"), (KEY, "")):
            with openai.OpenAI(base_url=stub.base_url, api_key=key) as client:
                if texts:
                    with pytest.raises(openai.AuthenticationError, match=texts) as caught:
                        client.chat.completions.create(**ask("whole"))
                    assert caught.value.code == "invalid_api_key"
                else:
                    assert client.chat.completions.create(**ask("whole")).choices[0].message.content == "Whole."
        assert [entry.response.status for entry in stub.journal] == [401, 200]
        assert stub.journal[0].note == f"Incorrect API key provided: REDACTED.{WHERE}"
        assert KEY not in repr([(e.request, e.response, e.raw()) for e in stub.journal])
        refused = httpx.get(f"{stub.base_url}/models")
        assert (refused.status_code, refused.json()["error"]["message"]) == (
            401,
            "Missing bearer authentication in header",
        )
        assert httpx.get(f"{stub.url}/health").status_code == 200
        assert httpx.get(f"{stub.url}/__admin/health").status_code == 200


@pytest.mark.parametrize("place", ["Authorization", "api-key", "x-stubserver-key"])
@pytest.mark.parametrize("ours", [True, False])
def test_a_proof_never_reaches_the_upstream_a_cassette_or_the_journal(
    up: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, *, ours: bool
) -> None:
    monkeypatch.setenv("OUR_KEY", OURS)
    up.otherwise = answer(json.dumps({"you are": [KEY, OURS]}).encode(), JSON)
    path = tmp_path / "tape.yaml"
    options: dict[str, Any] = {"upstream_key_env": "OUR_KEY"} if ours else {}
    stub = StubServer(path, record_mode="new_episodes", upstream=up.url, require_key=KEY, **options)
    proof = {place: f"Bearer {KEY}" if place == "Authorization" else KEY}
    with stub, httpx.Client(base_url=stub.url) as client:
        assert client.post("/v1/x", json={"told": KEY}).status_code == 401
        assert client.get("/health").status_code == 401  # it would be asked with our key
        assert up.asked == []
        assert client.post("/v1/x", json={"told": KEY}, headers=proof).status_code == 200
        shown = repr([(entry.request, entry.response) for entry in stub.journal if entry.source == "recorded"])
    sent = up.asked[0]
    fields = sent.fields
    assert fields.get("authorization") == (f"Bearer {OURS}" if ours else None)
    assert KEY not in repr(fields)
    kept = path.read_text()
    assert KEY not in kept
    assert KEY not in shown
    assert not (ours and OURS in kept + shown)


def test_a_client_may_have_a_key_of_its_own_for_the_upstream(up: Upstream, tmp_path: Path) -> None:
    stub = StubServer(tmp_path / "a.yaml", record_mode="new_episodes", upstream=up.url, require_key=KEY)
    with stub, httpx.Client(base_url=stub.url) as client:
        headers = {"authorization": f"Bearer {OWN}", "x-stubserver-key": KEY}
        assert client.post("/v1/x", json={}, headers=headers).status_code == 200
    fields = up.asked[0].fields
    assert fields["authorization"] == f"Bearer {OWN}"
    assert "x-stubserver-key" not in fields


# --- the command line ---------------------------------------------------------------------------------------------


def test_a_path_is_not_taken_for_the_key(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["serve", "--require-key", str(tmp_path)])
    assert done.exit_code == 2
    assert "write --require-key=KEY" in done.output


def test_the_command_line_says_when_any_key_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", OURS)
    options = ["--fallback", "forward", "--upstream", "http://127.0.0.1:9", "--upstream-key-env", "OUR_KEY"]
    done = CliRunner().invoke(main, ["serve", *options, "--require-key"])
    assert done.exit_code == 2
    assert "STUBSERVER_KEY" in done.output
