"""Requests that hypothesis makes, with every parameter: each answer, whole and folded from its stream, is the API's.

Judged by the types of the installed openai package, and by what has to hold of any answer: usage, finish reasons, the
number of choices, limits and stops.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse, Model, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response as ResponseObject
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from stubserver import sse
from stubserver.dummy import respond
from stubserver.dummy.settings import DummySettings
from stubserver.dummy.tokens import split
from stubserver.folding import folded
from stubserver.messages import Request, Response

many = settings(max_examples=200)
CHUNK: TypeAdapter[Any] = TypeAdapter(ChatCompletionChunk)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TEXTS = ["This is dummy text. Page 1, page 2: 12345 wörds!", "", "x", "one\ntwo\n\nthree " * 9]
_MADE = re.compile(r"\b(chatcmpl-|cmpl-|call_|resp_|msg_|fc_|rs_)[0-9a-f]+")

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {}, "additionalProperties": False},
    {
        "type": "object",
        "properties": {"city": {"type": "string", "minLength": 2}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"],
    },
    {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/node"}, "kind": {"enum": ["a", "b"]}, "on": {"type": "boolean"}},
        "required": ["tree", "kind", "on"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "required": ["next"],
            }
        },
    },
    {
        "type": "object",
        "properties": {"list": {"type": "array", "minItems": 3, "items": {"type": "number", "exclusiveMinimum": 0.5}}},
        "required": ["list"],
    },
]
NAMES = ["alpha", "beta", "gamma"]
FORM = st.one_of(
    st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
    st.sampled_from(SCHEMAS).map(
        lambda schema: {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    ),
)
STOP = st.one_of(
    st.none(),
    st.sampled_from(["text", "1", "page", "\n", "zzz", " "]),
    st.lists(st.sampled_from(["two", "5", "never", "T", "w"]), min_size=1, max_size=4),
)
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "stop": STOP,
    "seed": st.integers(-(2**31), 2**31),
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.integers(-2, 2),
    "user": st.text(max_size=5),
    "top_k": st.integers(),
    "made_up": st.none() | st.booleans() | st.lists(st.text(max_size=2), max_size=2),
}
PARTS = st.lists(
    st.sampled_from(
        [
            {"type": "text", "text": "json?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        ]
    ),
    min_size=1,
    max_size=3,
)
SAID = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": st.text(max_size=12) | PARTS}
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Any]:
    messages: list[Any] = draw(st.lists(SAID, max_size=3))
    for place, name in enumerate(draw(st.lists(st.sampled_from(NAMES), max_size=3))):
        call = {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"call_{place}", "content": "done"})
    return [*messages, {"role": "user", "content": "json?"}]


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    optional = SHARED | {
        "n": st.none() | st.integers(1, 4),
        "max_tokens": st.none() | st.integers(1, 60),
        "max_completion_tokens": st.integers(1, 60),
        "logprobs": st.booleans(),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority", "scale", "fast"]),
        "ignore_eos": st.booleans(),
        "response_format": FORM,
        "guided_json": st.sampled_from(SCHEMAS),
        "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["low", "high"]),
    }
    body: dict[str, Any] = draw(st.fixed_dictionaries({"messages": conversations()}, optional=optional))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if draw(st.booleans()) and limit:
        body["min_tokens"] = draw(st.integers(0, limit))
    if body.get("logprobs"):
        body["top_logprobs"] = draw(st.integers(0, 20))
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    if names and draw(st.booleans()):
        body["functions"] = [{"name": name, "parameters": draw(st.sampled_from(SCHEMAS))} for name in names]
        body["function_call"] = draw(st.sampled_from(["none", "auto", {"name": names[-1]}]))
    elif names:
        body["tools"] = [tool(name, draw(st.sampled_from(SCHEMAS))) for name in names]
        body["tool_choice"] = draw(st.sampled_from([None, "none", "auto", "required", *map(choice, names)]))
    return {"model": "m", **body}


def tool(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def choice(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


OPTIONS = st.builds(
    DummySettings,
    text=st.sampled_from(TEXTS),
    tokens=st.integers(0, 60),
    tools=st.sampled_from(["none", "auto"]),
)


def asked(path: str, body: dict[str, Any], options: DummySettings) -> Response:
    response = respond(Request("POST", path, (), json.dumps(body).encode()), options)
    assert response.status == 200, response.body
    return response


def without_ids(value: Any) -> Any:
    """Return *value* with every id that was made of the request replaced: the stream's request is another one."""
    return json.loads(_MADE.sub(r"\1", json.dumps(value)))


def both(path: str, body: dict[str, Any], options: DummySettings, *, usage: bool) -> tuple[Any, Any, list[Any]]:
    """Return the answer, that which the stream folds into, and the stream's events."""
    whole = json.loads(asked(path, body, options).body)
    more = {"stream_options": {"include_usage": True}} if usage else {}
    stream = asked(path, {**body, "stream": True, **more}, options)
    assert stream.events
    datas = [re.sub(rb"^(event: .*\n)?data: ", b"", event).strip() for event in sse.split(stream.body)]
    return whole, json.loads(folded(stream).body), [json.loads(data) for data in datas if data != b"[DONE]"]


def check_usage(used: dict[str, Any], each: list[str], limit: int | None) -> None:
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    assert used["completion_tokens"] >= 0
    assert used["completion_tokens"] % len(each) == 0
    assert limit is None or used["completion_tokens"] <= limit * len(each)


@many
@given(chats(), OPTIONS)
def test_chat(body: dict[str, Any], options: DummySettings) -> None:
    whole, again, events = both("/v1/chat/completions", body, options, usage=True)
    ChatCompletion.model_validate(whole, strict=True)
    ChatCompletion.model_validate(again, strict=True)
    for event in events:
        CHUNK.validate_python(event)

    # What a stream folds into is the answer; only its usage counts another request, and chunks have no annotations.
    for made in whole["choices"]:
        made["message"].pop("annotations")
    for answer in (whole, again):
        spent = answer["usage"].pop("prompt_tokens")
        assert answer["usage"].pop("total_tokens") == spent + answer["usage"]["completion_tokens"]
    assert without_ids(again) == without_ids(whole)

    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    count = body.get("n") or 1
    assert [c["index"] for c in whole["choices"]] == list(range(count))
    used = whole["usage"]["completion_tokens"]
    assert used % count == 0
    assert limit is None or used <= limit * count
    assert whole["service_tier"] == {None: "default", "auto": "default"}.get(
        body.get("service_tier"), body.get("service_tier")
    )
    for made in whole["choices"]:
        check_choice(body, made, used // count, limit)


def check_choice(body: dict[str, Any], made: dict[str, Any], used: int, limit: int | None) -> None:
    message, reason = made["message"], made["finish_reason"]
    calls = message.get("tool_calls") or (
        [{"function": message["function_call"]}] if "function_call" in message else []
    )
    if calls:
        assert reason == ("tool_calls" if "tool_calls" in message else "function_call")
        assert message["content"] is None
        known = [t["function"] for t in body.get("tools", ())] + body.get("functions", [])
        called = next(f for f in known if f["name"] == calls[0]["function"]["name"])
        jsonschema.validate(json.loads(calls[0]["function"]["arguments"]), called["parameters"])
        return
    text, form = message["content"], body.get("response_format") or {}
    schema = form.get("json_schema", {}).get("schema") or (
        form.get("type") != "json_object" and body.get("guided_json")
    )
    if schema:
        assert reason == "stop"
        jsonschema.validate(json.loads(text), schema)
    elif form.get("type") == "json_object":
        assert (reason, text) == ("stop", "{}")
    else:
        check_text(body, text, reason, used, limit)
    shown = made["logprobs"]
    assert (shown is None) == (not body.get("logprobs"))
    if shown is not None:
        assert "".join(token["token"] for token in shown["content"]) == text
        assert {len(token["top_logprobs"]) for token in shown["content"]} <= {body.get("top_logprobs") or 0}


def check_text(body: dict[str, Any], text: str, reason: str, used: int, limit: int | None) -> None:
    """Check the plain text: its limit, its stops and what was asked for at least."""
    least = body.get("min_tokens") or 0
    stops = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
    behind = "".join(split(text)[least:])
    assert not any(stop in behind for stop in stops)
    if reason == "length":
        assert used == limit
    else:
        assert reason == "stop"
    if body.get("ignore_eos") and limit and not stops:
        assert (used, reason, len(split(text))) == (limit, "length", limit)
    assert len(split(text)) >= least


def with_numbers(answer: dict[str, Any]) -> dict[str, Any]:
    """Return *answer* without the nulls that the API gives for an echoed prompt's first token, and its types forget."""
    known = json.loads(json.dumps(answer))
    for made in known["choices"]:
        for name, instead in (("token_logprobs", 0.0), ("top_logprobs", {})):
            if made["logprobs"] and made["logprobs"][name][:1] == [None]:
                made["logprobs"][name][0] = instead
    return known


PROMPTS = st.one_of(
    st.text(max_size=12),
    st.lists(st.text(max_size=12), min_size=1, max_size=3),
    st.lists(st.integers(0, 100_000), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 100_000), min_size=1, max_size=3), min_size=1, max_size=3),
)


@many
@given(
    st.fixed_dictionaries(
        {"model": st.just("m"), "prompt": PROMPTS},
        optional=SHARED
        | {
            "n": st.integers(1, 3),
            "max_tokens": st.none() | st.integers(0, 60),
            "echo": st.booleans(),
            "logprobs": st.none() | st.integers(0, 5),
            "suffix": st.none() | st.text(max_size=3),
            "ignore_eos": st.booleans(),
        },
    ),
    OPTIONS,
)
def test_completions(body: dict[str, Any], options: DummySettings) -> None:
    assume(not (body.get("ignore_eos") and body.get("max_tokens") == 0))
    whole, again, _ = both("/v1/completions", body, options, usage=True)
    for answer in (whole, again):
        Completion.model_validate(with_numbers(answer), strict=True)
    prompt = body["prompt"]
    prompts = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    count = len(prompts) * body.get("n", 1)
    limit = 16 if body.get("max_tokens") is None else body["max_tokens"]
    assert [made["index"] for made in whole["choices"]] == list(range(count))
    check_usage(whole["usage"], whole["choices"], limit)
    assert [made["text"] for made in again["choices"]] == [made["text"] for made in whole["choices"]]
    assert [made["logprobs"] for made in again["choices"]] == [made["logprobs"] for made in whole["choices"]]
    for place, made in enumerate(whole["choices"]):
        own = prompts[place // body.get("n", 1)]
        assert made["finish_reason"] in {"stop", "length"}
        if body.get("echo") and isinstance(own, str):
            assert made["text"].startswith(own)
        stops = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
        if not body.get("echo"):
            assert not any(stop in made["text"] for stop in stops)
            assert len(split(made["text"])) <= limit
        if made["logprobs"] is not None:
            assert "".join(made["logprobs"]["tokens"]) == made["text"]


ITEMS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.sampled_from(["user", "developer"]), "content": st.text(max_size=9)}),
        st.sampled_from(NAMES).map(
            lambda name: {"type": "function_call", "call_id": f"call_{name}", "name": name, "arguments": "{}"}
        ),
        st.sampled_from(NAMES).map(
            lambda name: {"type": "function_call_output", "call_id": f"call_{name}", "output": "done"}
        ),
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def response_bodies(draw: st.DrawFn) -> dict[str, Any]:
    form = st.one_of(
        st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
        st.sampled_from(SCHEMAS).map(lambda schema: {"type": "json_schema", "name": "n", "schema": schema}),
    )
    body: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {"model": st.just("m"), "input": st.just("json?") | ITEMS, "instructions": st.just("json")},
            optional={
                "max_output_tokens": st.none() | st.integers(16, 80),
                "temperature": st.floats(0, 2),
                "top_p": st.floats(0, 1),
                "store": st.booleans(),
                "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
                "service_tier": st.sampled_from(["auto", "default", "flex"]),
                "text": st.fixed_dictionaries({"format": form}),
                "truncation": st.sampled_from(["auto", "disabled"]),
                "parallel_tool_calls": st.booleans(),
                "made_up": st.integers(),
            },
        )
    )
    if isinstance(body["input"], list):
        body["input"] = [*body["input"], {"role": "user", "content": "json"}]
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    if names:
        body["tools"] = [
            {"type": "function", "name": name, "parameters": draw(st.sampled_from(SCHEMAS)), "strict": True}
            for name in names
        ]
        chosen = [{"type": "function", "name": name} for name in names]
        body["tool_choice"] = draw(st.sampled_from(["none", "auto", "required", *chosen]))
    return body


@many
@given(response_bodies(), OPTIONS)
def test_responses(body: dict[str, Any], options: DummySettings) -> None:
    whole, again, events = both("/v1/responses", body, options, usage=False)
    ResponseObject.model_validate(whole, strict=True)
    ResponseObject.model_validate(again, strict=True)
    for number, event in enumerate(events):
        assert EVENT.validate_python(event).sequence_number == number
    used, limit = whole["usage"], body.get("max_output_tokens")
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]
    assert limit is None or used["output_tokens"] <= limit
    assert without_ids(again["output"]) == without_ids(whole["output"])
    assert (again["status"], again["usage"]["output_tokens"]) == (whole["status"], used["output_tokens"])
    (item,) = whole["output"]
    assert item["status"] == whole["status"]
    form = body.get("text", {}).get("format", {})
    if item["type"] == "function_call":
        called = next(t for t in body["tools"] if t["name"] == item["name"])
        jsonschema.validate(json.loads(item["arguments"]), called["parameters"])
        assert body["tool_choice"] not in ("none", *(() if options.tools == "auto" else ("auto",)))
    elif "schema" in form:
        jsonschema.validate(json.loads(item["content"][0]["text"]), form["schema"])
        assert whole["status"] == "completed"
    elif form.get("type") == "json_object":
        assert item["content"][0]["text"] == "{}"
    assert (whole["status"] == "incomplete") == (whole["incomplete_details"] is not None)


@many
@given(
    st.one_of(
        st.text(min_size=1, max_size=9),
        st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3),
        st.lists(st.integers(0, 100_000), min_size=1, max_size=5),
        st.lists(st.lists(st.integers(0, 100_000), min_size=1, max_size=3), min_size=1, max_size=3),
    ),
    st.none() | st.integers(1, 300),
)
def test_embeddings(given_: Any, size: int | None) -> None:
    body = {"model": "text-embedding-3-small", "input": given_, "encoding_format": "float", "dimensions": size}
    found = json.loads(asked("/v1/embeddings", body, DummySettings()).body)
    CreateEmbeddingResponse.model_validate(found, strict=True)
    batch = isinstance(given_, list) and not isinstance(given_[0], int)
    assert len(found["data"]) == (len(given_) if batch else 1)
    for item in found["data"]:
        assert len(item["embedding"]) == (size or 1536)
        assert sum(x * x for x in item["embedding"]) == pytest.approx(1, abs=1e-5)
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 0


@many
@given(st.text(max_size=9) | st.lists(st.text(max_size=9), min_size=1, max_size=4))
def test_moderations(given_: Any) -> None:
    found = json.loads(asked("/v1/moderations", {"input": given_}, DummySettings()).body)
    ModerationCreateResponse.model_validate(found, strict=True)
    assert len(found["results"]) == (len(given_) if isinstance(given_, list) else 1)


@given(st.lists(st.text("abc-/.", min_size=1, max_size=9), min_size=1, max_size=4, unique=True))
def test_models(names: list[str]) -> None:
    found = json.loads(respond(Request("GET", "/v1/models"), DummySettings(models=tuple(names))).body)
    assert [Model.model_validate(card, strict=True).id for card in found["data"]] == names
