"""The moderations endpoint: results, categories, what they apply to, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import ModerationCreateResponse

from stubserver.dummy import moderations
from stubserver.dummy.errors import APIError
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request

TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
IMAGE_CATEGORIES = {
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "violence",
    "violence/graphic",
}

inputs = st.one_of(
    st.text(), st.lists(st.text(), min_size=1, max_size=4), st.lists(st.sampled_from([TEXT, IMAGE]), min_size=1)
)


def asked(**body: Any) -> Request:
    return Request("POST", "/v1/moderations", body=json.dumps(body).encode())


def answer(**body: Any) -> Any:
    response = moderations.create(asked(**body), DummySettings())
    assert response.status == 200
    return json.loads(response.body)


def applied(**body: Any) -> dict[str, list[str]]:
    (result,) = answer(**body)["results"]
    found: dict[str, list[str]] = result["category_applied_input_types"]
    return found


@given(value=inputs)
def test_every_input_gets_results_that_the_client_accepts(value: Any) -> None:
    whole = answer(input=value)

    ModerationCreateResponse.model_validate(whole)
    texts = isinstance(value, list) and isinstance(value[0], str)
    assert len(whole["results"]) == (len(value) if texts else 1)
    for result in whole["results"]:
        assert not result["flagged"]
        assert not any(result["categories"].values())
        assert all(0 <= score < 0.001 for score in result["category_scores"].values())
        for part in ("categories", "category_scores", "category_applied_input_types"):
            assert len(result[part]) == 13
            assert set(result[part]) == set(moderations.CATEGORIES)


def test_the_default_model_is_the_apis() -> None:
    assert answer(input="a")["model"] == "omni-moderation-latest"
    assert answer(input="a", model=None)["model"] == "omni-moderation-latest"


def test_the_requested_model_is_echoed() -> None:
    assert answer(input="a", model="omni-moderation-2024-09-26")["model"] == "omni-moderation-2024-09-26"


def test_every_category_applies_to_text() -> None:
    assert set(map(tuple, applied(input="a").values())) == {("text",)}


@pytest.mark.parametrize(
    ("parts", "of_images", "of_others"),
    [([IMAGE], ["image"], []), ([TEXT, IMAGE], ["text", "image"], ["text"]), ([TEXT, TEXT], ["text"], ["text"])],
    ids=["image", "both", "text"],
)
def test_only_some_categories_apply_to_images(
    parts: list[dict[str, Any]], of_images: list[str], of_others: list[str]
) -> None:
    found = applied(input=parts)

    assert found == {name: of_images if name in IMAGE_CATEGORIES else of_others for name in moderations.CATEGORIES}


def test_the_same_text_gets_the_same_scores_wherever_it_stands() -> None:
    (alone,) = answer(input="a")["results"]
    first, second = answer(input=["a", "b"])["results"]

    assert alone == first
    assert first["category_scores"] != second["category_scores"]


def test_the_same_request_gives_the_same_bytes_and_another_one_another_id() -> None:
    first, again, other = (
        moderations.create(asked(input=text), DummySettings(text="ignored")) for text in ("a", "a", "b")
    )

    assert first == again
    assert json.loads(first.body)["id"].startswith("modr-")
    assert json.loads(first.body)["id"] != json.loads(other.body)["id"]


@pytest.mark.parametrize(
    ("body", "message", "param", "code"),
    [
        ({}, "Missing required parameter: 'input'.", "input", "missing_required_parameter"),
        ({"input": None}, "Missing required parameter: 'input'.", "input", "missing_required_parameter"),
        (
            {"input": 5},
            (
                "Invalid type for 'input': expected one of a string, array of strings, or array of objects, but got an "
                "integer instead."
            ),
            "input",
            "invalid_type",
        ),
        (
            {"input": []},
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "input",
            "empty_array",
        ),
        (
            {"input": ["a", 1]},
            "Invalid type for 'input[1]': expected a string, but got an integer instead.",
            "input[1]",
            "invalid_type",
        ),
        (
            {"input": [TEXT, "a"]},
            "Invalid type for 'input[1]': expected an object, but got a string instead.",
            "input[1]",
            "invalid_type",
        ),
        (
            {"input": [{"text": "a"}]},
            "Missing required parameter: 'input[0].type'.",
            "input[0].type",
            "missing_required_parameter",
        ),
        (
            {"input": [TEXT, {"type": "audio"}]},
            "Invalid value: 'audio'. Supported values are: 'text' and 'image_url'.",
            "input[1].type",
            "invalid_value",
        ),
        (
            {"input": [{"type": "image_url"}]},
            "Missing required parameter: 'input[0].image_url'.",
            "input[0].image_url",
            "missing_required_parameter",
        ),
        (
            {"input": "a", "model": 1},
            "Invalid type for 'model': expected a string, but got an integer instead.",
            "model",
            "invalid_type",
        ),
    ],
)
def test_what_the_api_refuses_is_refused_in_its_words(
    body: dict[str, Any], message: str, param: str | None, code: str | None
) -> None:
    with pytest.raises(APIError) as caught:
        moderations.create(asked(**body), DummySettings())

    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    assert caught.value.status == 400
    assert json.loads(caught.value.response().body) == {"error": error}
