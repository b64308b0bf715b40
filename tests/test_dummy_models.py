"""The models that are listed, and the one that is asked for."""

from __future__ import annotations

import json

import pytest
from openai.types import Model

from stubserver.dummy import models
from stubserver.dummy.settings import DummySettings


def test_the_configured_models_are_listed_in_order() -> None:
    body = json.loads(models.several(DummySettings(models=("b", "org/a"))).body)
    assert body["object"] == "list"
    assert [card["id"] for card in body["data"]] == ["b", "org/a"]
    for card in body["data"]:
        Model.model_validate(card, strict=True)


def test_no_models_is_an_empty_list() -> None:
    assert json.loads(models.several(DummySettings(models=())).body) == {"object": "list", "data": []}


@pytest.mark.parametrize("name", ["gpt-4o", "org/model/v2", "名前", "a b", "..", "\ud800"])
def test_any_model_is_found(name: str) -> None:
    response = models.one(name)
    assert response.status == 200
    assert Model.model_validate(json.loads(response.body)).id == name
