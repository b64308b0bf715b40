"""The embeddings endpoint: vectors, encodings, sizes, usage, errors."""

from __future__ import annotations

import base64
import json
import math
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from stubserver.dummy import embeddings, tokens
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request

few = settings(max_examples=60)

texts = st.text(min_size=1, max_size=40)
token_lists = st.lists(st.integers(0, 200_000), min_size=1, max_size=12)
inputs = st.one_of(texts, st.lists(texts, min_size=1, max_size=4), token_lists, st.lists(token_lists, min_size=1))


def asked(**body: Any) -> Request:
    return Request("POST", "/v1/embeddings", body=json.dumps(body).encode())


def answer(**body: Any) -> Any:
    response = embeddings.create(asked(**{"model": "text-embedding-3-small", **body}), DummySettings())
    assert response.status == 200
    return json.loads(response.body)


def vectors(**body: Any) -> list[list[float]]:
    return [item["embedding"] for item in answer(**body)["data"]]


def unpacked(text: str) -> list[float]:
    """Decode as the official clients do: little-endian float32."""
    numbers = array("f", base64.b64decode(text, validate=True))
    assert numbers.itemsize == 4
    return numbers.tolist()


def refused(**body: Any) -> dict[str, Any]:
    with pytest.raises(APIError) as caught:
        embeddings.create(asked(**body), DummySettings())
    response = caught.value.response()
    error: dict[str, Any] = json.loads(response.body)["error"]
    return {"status": response.status, **error}


@few
@given(value=inputs, dimensions=st.integers(1, 300))
def test_any_input_gives_unit_vectors_that_the_client_accepts(value: Any, dimensions: int) -> None:
    whole = answer(input=value, dimensions=dimensions)

    CreateEmbeddingResponse.model_validate(whole)
    one_input = isinstance(value, str) or isinstance(value[0], int)
    assert [item["index"] for item in whole["data"]] == list(range(1 if one_input else len(value)))
    for item in whole["data"]:
        assert len(item["embedding"]) == dimensions
        assert math.hypot(*item["embedding"]) == pytest.approx(1, abs=1e-6)


@few
@given(value=inputs, dimensions=st.integers(1, 300))
def test_base64_holds_the_same_numbers_as_float(value: Any, dimensions: int) -> None:
    packed = vectors(input=value, dimensions=dimensions, encoding_format="base64")

    plain = vectors(input=value, dimensions=dimensions, encoding_format="float")
    assert [unpacked(text) for text in packed] == plain


@few
@given(value=inputs)
def test_usage_counts_the_pieces_of_texts_and_the_numbers_of_token_lists(value: Any) -> None:
    items = [value] if isinstance(value, str) or isinstance(value[0], int) else value

    used = answer(input=value, dimensions=1)["usage"]

    count = sum(len(tokens.split(item)) if isinstance(item, str) else len(item) for item in items)
    assert used == {"prompt_tokens": count, "total_tokens": count}


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("text-embedding-3-small", 1536),
        ("text-embedding-3-large", 3072),
        ("text-embedding-ada-002", 1536),
        ("openai/text-embedding-3-large", 3072),
        ("Qwen/Qwen3-Embedding-0.6B", 1024),
        ("Qwen/Qwen3-Embedding-8B", 4096),
        ("sentence-transformers/all-MiniLM-L6-v2", 384),
        ("BAAI/bge-m3", 1024),
        ("nomic-embed-text", 768),
        ("some-model", 1536),
    ],
)
def test_a_models_own_size_is_the_default(model: str, size: int) -> None:
    assert [len(vector) for vector in vectors(model=model, input="a")] == [size]


def test_a_shorter_vector_points_where_the_beginning_of_the_longer_one_does() -> None:
    (long,) = vectors(input="a", dimensions=200)
    (short,) = vectors(input="a", dimensions=50)

    length = math.hypot(*long[:50])
    assert short == pytest.approx([number / length for number in long[:50]], abs=1e-6)


def test_the_same_input_gives_the_same_vector_wherever_it_stands() -> None:
    alone, first, second = *vectors(input="a"), *vectors(input=["a", "b"])

    assert alone == first
    assert first != second


def test_another_model_and_another_kind_of_input_give_another_vector() -> None:
    found = [
        vectors(input="1,2", dimensions=20),
        vectors(input=[1, 2], dimensions=20),
        vectors(input=[12], dimensions=20),
        vectors(input="1,2", dimensions=20, model="other"),
    ]

    assert all(a != b for i, a in enumerate(found) for b in found[:i])


def test_vectors_of_different_texts_are_nearly_at_right_angles() -> None:
    a, b = vectors(input=["one text", "another text"])

    assert abs(sum(x * y for x, y in zip(a, b, strict=True))) < 0.15


def test_the_bytes_are_these_on_every_machine() -> None:
    raw = embeddings.vector("text-embedding-3-small", "hello", 4)

    assert raw.hex() == "de7302bff92f7dbee0376abe7cb04a3f"


def test_the_same_request_gives_the_same_bytes() -> None:
    request = asked(model="m", input=["a", "b"], encoding_format="base64")

    assert embeddings.create(request, DummySettings()) == embeddings.create(request, DummySettings(text="x"))


def test_a_whole_batch_is_answered() -> None:
    assert len(vectors(input=["a"] * 2048, dimensions=2)) == 2048


def test_a_text_of_surrogates_and_one_without_letters_are_embedded() -> None:
    assert [len(vector) for vector in vectors(input=["\ud800", " "], dimensions=3)] == [3, 3]


def test_an_empty_text_alone_is_embedded() -> None:
    assert answer(input="", dimensions=3)["usage"]["total_tokens"] == 0


NOT_VALID = "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."


@pytest.mark.parametrize(
    ("body", "message", "param", "code"),
    [
        ({"input": "a"}, "you must provide a model parameter", None, None),
        ({"model": "m"}, "Missing required parameter: 'input'.", "input", "missing_required_parameter"),
        ({"model": "m", "input": []}, "Invalid 'input': input cannot be an empty array.", None, None),
        ({"model": "m", "input": ["a"] * 2049}, "Invalid 'input': array length must be 2048 or less.", None, None),
        ({"model": "m", "input": [1] * 2049}, "Invalid 'input': array length must be 2048 or less.", None, None),
        ({"model": "m", "input": ["a", ""]}, "Invalid 'input[1]': input cannot be an empty string.", None, None),
        ({"model": "m", "input": [[1], []]}, "Invalid 'input[1]': input cannot be an empty array.", None, None),
        ({"model": "m", "input": 5}, NOT_VALID, None, None),
        ({"model": "m", "input": {"text": "a"}}, NOT_VALID, None, None),
        ({"model": "m", "input": ["a", 1]}, NOT_VALID, None, None),
        ({"model": "m", "input": ["a", [1]]}, NOT_VALID, None, None),
        ({"model": "m", "input": [1.5]}, NOT_VALID, None, None),
        ({"model": "m", "input": [True]}, NOT_VALID, None, None),
        ({"model": "m", "input": [-1]}, NOT_VALID, None, None),
        ({"model": "m", "input": [None]}, NOT_VALID, None, None),
        (
            {"model": "m", "input": "a", "encoding_format": "md5"},
            "Invalid value for 'encoding_format' = md5. Supported values: ['float', 'base64'].",
            None,
            None,
        ),
        (
            {"model": "m", "input": "a", "encoding_format": 1},
            "Invalid value for 'encoding_format' = an integer. Supported values: ['float', 'base64'].",
            None,
            None,
        ),
        (
            {"model": "m", "input": "a", "dimensions": 0},
            "Invalid 'dimensions': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            "dimensions",
            "integer_below_min_value",
        ),
        (
            {"model": "m", "input": "a", "dimensions": "2"},
            "Invalid type for 'dimensions': expected an integer, but got a string instead.",
            "dimensions",
            "invalid_type",
        ),
        (
            {"model": "text-embedding-3-small", "input": "a", "dimensions": 1537},
            "Invalid value for 'dimensions' = 1537. Must be less than or equal to 1536.",
            None,
            None,
        ),
        (
            {"model": "text-embedding-3-large", "input": "a", "dimensions": 3073},
            "Invalid value for 'dimensions' = 3073. Must be less than or equal to 3072.",
            None,
            None,
        ),
        (
            {"model": "m", "input": "a", "dimensions": 10**12},
            "Invalid value for 'dimensions' = 1000000000000. Must be less than or equal to 8192.",
            None,
            None,
        ),
        (
            {"model": "text-embedding-ada-002", "input": "a", "dimensions": 5},
            "This model does not support specifying dimensions.",
            None,
            None,
        ),
    ],
)
def test_what_the_api_refuses_is_refused_in_its_words(
    body: dict[str, Any], message: str, param: str | None, code: str | None
) -> None:
    expected = {"status": 400, "message": message, "type": "invalid_request_error", "param": param, "code": code}

    assert refused(**body) == expected


def test_null_members_are_as_good_as_none() -> None:
    given = answer(input="a", dimensions=None, encoding_format=None, user=None)

    assert given == answer(input="a")
