"""What clients of other servers probe: liveness, version, metrics, and tokens that really round-trip."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stubserver
from stubserver.dummy import probes, tokens
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request, Response, header

any_text = st.one_of(
    st.text(st.characters(exclude_categories=())), st.text("ab Z09.,\n\t\N{EURO SIGN}\N{GRINNING FACE}")
)


def post(**body: Any) -> Request:
    return Request("POST", "/tokenize", body=json.dumps(body).encode())


def told(response: Response) -> Any:
    assert response.status == 200
    return json.loads(response.body)


def tokenized(**body: Any) -> Any:
    return told(probes.tokenize(post(**body), DummySettings()))


def detokenized(ids: list[int]) -> str:
    answer = told(probes.detokenize(post(tokens=ids), DummySettings()))
    assert list(answer) == ["prompt"]
    text: str = answer["prompt"]
    return text


@given(text=any_text)
def test_detokenize_gives_back_what_was_tokenized(text: str) -> None:
    assert detokenized(tokenized(prompt=text)["tokens"]) == text


@given(text=any_text)
def test_tokens_are_the_splitters_pieces_cut_to_six_bytes(text: str) -> None:
    answer = tokenized(prompt=text, return_token_strs=True)

    strings = answer["token_strs"]
    assert "".join(strings) == text
    assert answer["count"] == len(answer["tokens"]) == len(strings) >= len(tokens.split(text))
    assert all(0 < len(part.encode("utf-8", "surrogatepass")) <= 6 for part in strings)
    assert all(256 <= number < 2**49 for number in answer["tokens"])
    assert [detokenized([number]) for number in answer["tokens"]] == strings


@given(pieces=st.lists(st.sampled_from([" Hi", " you", ".", " 12"])))
def test_short_pieces_are_one_token_each(pieces: list[str]) -> None:
    text = "".join(pieces)

    assert tokenized(prompt=text)["count"] == len(tokens.split(text))


def test_the_ids_are_the_documented_ones() -> None:
    answer = tokenized(prompt="Hi there")

    assert answer == {
        "count": 2,
        "max_model_len": 131_072,
        "tokens": [0x1_48_69, 0x1_20_74_68_65_72_65],
        "token_strs": None,
    }


@given(ids=st.lists(st.integers(-(2**70), 2**70), max_size=5))
def test_any_numbers_can_be_detokenized(ids: list[int]) -> None:
    assert "".join(detokenized([number]) for number in ids) == detokenized(ids)


@pytest.mark.parametrize("number", [0, 1, 255, 256, -0x148, 0x248, 0x1_FF, 0x1_41_42_43_44_45_46_47, 2**80])
def test_a_number_that_is_no_token_is_the_replacement_character(number: int) -> None:
    expected = "\0" if number == 256 else "\N{REPLACEMENT CHARACTER}"

    assert detokenized([number]) == expected


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "Hi"}], "Hi"),
        ([{"role": "system", "content": "Be"}, {"role": "user", "content": "Hi"}], "Be\nHi"),
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]}], "Hi"),
        ([{"role": "assistant", "content": None}, 5], ""),
    ],
)
def test_the_texts_of_messages_are_tokenized(messages: list[Any], text: str) -> None:
    assert detokenized(tokenized(model="m", messages=messages)["tokens"]) == text


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({}, "Missing required parameter: 'prompt'.", "prompt"),
        ({"prompt": 5}, "Invalid type for 'prompt': expected a string, but got an integer instead.", "prompt"),
        (
            {"prompt": "", "return_token_strs": "x"},
            "Invalid type for 'return_token_strs': expected a boolean, but got a string instead.",
            "return_token_strs",
        ),
    ],
)
def test_what_cannot_be_tokenized_is_refused(body: dict[str, Any], message: str, param: str) -> None:
    with pytest.raises(APIError, match=re.escape(message)) as caught:
        probes.tokenize(post(**body), DummySettings())

    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({}, "Missing required parameter: 'tokens'.", "tokens"),
        ({"tokens": "a"}, "Invalid type for 'tokens': expected an array of integers, but got a string", "tokens"),
        ({"tokens": [1, "a"]}, "Invalid type for 'tokens[1]': expected an integer, but got a string", "tokens[1]"),
        ({"tokens": [True]}, "Invalid type for 'tokens[0]': expected an integer, but got a boolean", "tokens[0]"),
    ],
)
def test_what_cannot_be_detokenized_is_refused(body: dict[str, Any], message: str, param: str) -> None:
    with pytest.raises(APIError, match=re.escape(message)) as caught:
        probes.detokenize(post(**body), DummySettings())

    assert (caught.value.status, caught.value.param) == (400, param)


def test_ping_is_alive_and_says_nothing() -> None:
    assert probes.ping() == Response(200, (), b"")


def test_version_is_the_packages() -> None:
    assert told(probes.version()) == {"version": stubserver.__version__}


SAMPLE = re.compile(r'(?P<name>[a-z_:]+)\{model_name="(?P<model>(?:[^"\\\n]|\\["\\n])*)"\} 0\.0')


def test_metrics_are_prometheus_text() -> None:
    response = probes.metrics(DummySettings(models=("a", 'b"\\\n')))

    assert header(response.headers, "content-type") == "text/plain; version=0.0.4; charset=utf-8"
    text = response.body.decode()
    assert text.endswith("\n")
    samples = [SAMPLE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    assert all(samples)
    assert {(found["name"], found["model"]) for found in samples if found} >= {
        ("vllm:num_requests_running", "a"),
        ("vllm:num_requests_waiting", r"b\"\\\n"),
    }
    typed = set(re.findall(r"^# TYPE (\S+) (?:gauge|counter)$", text, re.MULTILINE))
    assert typed == {found["name"] for found in samples if found}


def test_server_info_and_props_name_the_first_model() -> None:
    settings = DummySettings(models=("first", "second"))

    assert told(probes.server_info(settings))["served_model_name"] == "first"
    assert told(probes.props(settings))["model_path"] == "first"


def test_server_info_and_props_do_without_models() -> None:
    assert told(probes.server_info(DummySettings(models=())))["model_path"] == "dummy-model"
    assert told(probes.props(DummySettings(models=())))["model_path"] == "dummy-model"
