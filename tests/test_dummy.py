"""Which request gets which of the dummy's answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapes import ask, request

from stubserver.dummy import DummySettings, is_pure, models, respond
from stubserver.dummy.response_store import ResponseStore
from stubserver.messages import Request, Response, header

SETTINGS = DummySettings(models=("a", "b"))


def sent(method: str, target: str, body: Any = None) -> Response:
    return respond(request(body, target, method), SETTINGS)


def error(response: Response) -> dict[str, Any]:
    assert header(response.headers, "content-type") == "application/json"
    found = json.loads(response.body)["error"]
    assert found.keys() == {"message", "type", "param", "code"}
    assert found["type"] == "invalid_request_error"
    return found


PREFIXES = ["/v1", "", "/v1/v1", "/openai/v1", "/openai/deployments/gpt-4o"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_endpoints_are_found_below_every_prefix(prefix: str) -> None:
    chat = sent("POST", f"{prefix}/chat/completions", ask())
    assert json.loads(chat.body)["object"] == "chat.completion"
    text = sent("POST", f"{prefix}/completions?api-version=1", {"model": "m", "prompt": "x"})
    assert json.loads(text.body)["object"] == "text_completion"
    models = sent("GET", f"{prefix}/models")
    assert [card["id"] for card in json.loads(models.body)["data"]] == ["a", "b"]
    assert sent("GET", f"{prefix}/health").status == 200


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/v1/models/gpt-4o", "gpt-4o"),
        ("/v1/models/org/model", "org/model"),
        ("/v1/models/org%2Fmodel", "org/model"),
        ("/models/a%20b", "a b"),
        ("/v1/models/v1/x", "v1/x"),
        ("/v1/models/x?a=b", "x"),
        ("/v1/models/%E5%90%8D", "名"),
    ],
)
def test_a_model_is_found_by_any_id(target: str, name: str) -> None:
    assert json.loads(sent("GET", target).body)["id"] == name


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/v1/nope", "/", "/v1", "/v1/", "/v1/models/", "/chat/completions/", "//v1/models", "/v1x/models"]
)
def test_an_unknown_path_is_404_as_json(method: str, path: str) -> None:
    response = sent(method, f"{path}?query=left&out")
    assert response.status == 404
    assert error(response) == {
        "message": f"Invalid URL ({method} {path})",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/completions"])
def test_an_endpoint_that_is_posted_to_refuses_other_methods(method: str, path: str) -> None:
    response = sent(method, path)
    assert response.status == 405
    assert header(response.headers, "allow") == "POST"
    assert error(response)["message"] == "Only POST requests are accepted."
    assert error(response)["code"] == "method_not_supported"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/models", "/models/a/b", "/health"])
def test_an_endpoint_that_is_read_refuses_other_methods(method: str, path: str) -> None:
    response = sent(method, path)
    expected = f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)"
    assert response.status == 405
    assert header(response.headers, "allow") == "GET, HEAD"
    assert error(response)["message"] == expected


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/a", "/health"])
def test_head_is_answered_as_get_is(path: str) -> None:
    assert sent("HEAD", path) == sent("GET", path)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/nope", "*"])
def test_options_says_what_is_allowed(path: str) -> None:
    response = sent("OPTIONS", path)
    assert response.status == 204
    assert response.body == b""
    assert header(response.headers, "allow") == "GET, HEAD, POST, OPTIONS"


def test_a_refusal_is_written_in_the_envelope() -> None:
    response = sent("POST", "/v1/chat/completions", {"messages": []})
    assert response.status == 400
    assert error(response)["message"] == "you must provide a model parameter"


def test_what_is_too_deep_for_an_endpoint_could_not_be_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(*_: Any) -> Response:
        raise RecursionError

    monkeypatch.setattr(models, "several", deep)
    response = sent("GET", "/v1/models")
    assert response.status == 400
    assert error(response)["message"].startswith("We could not parse the JSON body of your request.")


METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "BREW"])
PATHS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["/v1/chat/completions", "/v1/completions", "/v1/models/%ff%00", "/v1/models/a", "/v1/health", "*"]
    ),
)


@given(METHODS, PATHS, st.binary(max_size=40) | st.sampled_from([json.dumps(ask()).encode()]))
def test_every_request_is_answered_and_always_alike(method: str, path: str, body: bytes) -> None:
    made = Request(method, path, (), body)
    response = respond(made, SETTINGS)
    assert response.status in {200, 204, 400, 404, 405}
    assert response == respond(made, SETTINGS)
    assert response.status == 204 or response.events or json.loads(response.body)


ENDPOINTS = [
    ("POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "a"}, "list"),
    ("POST", "/v1/moderations", {"input": "a"}, None),
    ("POST", "/v1/responses", {"model": "m", "input": "a"}, "response"),
    ("POST", "/v1/responses/input_tokens", {"model": "m", "input": "a"}, "response.input_tokens"),
    ("POST", "/tokenize", {"prompt": "some text"}, None),
    ("POST", "/detokenize", {"tokens": []}, None),
    ("GET", "/version", None, None),
    ("GET", "/ping", None, None),
    ("POST", "/ping", None, None),
    ("GET", "/metrics", None, None),
    ("GET", "/server_info", None, None),
    ("GET", "/props", None, None),
]


@pytest.mark.parametrize(("method", "path", "body", "kind"), ENDPOINTS, ids=[f"{e[0]} {e[1]}" for e in ENDPOINTS])
def test_every_endpoint_is_routed(method: str, path: str, body: dict[str, Any] | None, kind: str | None) -> None:
    raw = b"" if body is None else json.dumps(body).encode()

    response = respond(Request(method, path, (), raw), DummySettings())

    assert response.status == 200
    if kind is not None:
        assert json.loads(response.body)["object"] == kind


def test_what_responses_created_can_be_asked_for_and_deleted() -> None:
    store, settings_ = ResponseStore(), DummySettings()

    def at(method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        response = respond(Request(method, path, (), body), settings_, store)
        return response.status, json.loads(response.body)

    created = at("POST", "/v1/responses", b'{"model":"m","input":"a"}')[1]

    assert at("GET", f"/v1/responses/{created['id']}") == (200, created)
    assert at("GET", f"/v1/responses/{created['id']}/input_items")[1]["object"] == "list"
    assert at("POST", f"/v1/responses/{created['id']}/cancel")[0] == 400
    assert at("DELETE", f"/v1/responses/{created['id']}")[1]["deleted"] is True
    assert at("GET", f"/v1/responses/{created['id']}")[0] == 404
    assert at("PUT", f"/v1/responses/{created['id']}")[0] == 405
    assert at("GET", "/v1/responses")[0] == 405
    assert at("GET", f"/v1/responses/{created['id']}/nothing")[0] == 404


def test_only_what_follows_from_the_request_alone_is_pure() -> None:
    assert is_pure(request({}, "/v1/chat/completions"))
    assert not is_pure(request({}, "/v1/responses"))
