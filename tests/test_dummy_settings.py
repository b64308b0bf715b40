"""What the dummy answers unless it is told otherwise."""

from __future__ import annotations

from stubserver.dummy import DEFAULT_TEXT
from stubserver.dummy.settings import DummySettings

# Word for word what datatrove's DummyServer answers.
ORIGINAL = "This is dummy text content for debugging purposes. Page contains sample text to simulate OCR output."


def test_text_tokens_and_model_are_the_original_dummys() -> None:
    assert DummySettings() == (ORIGINAL, 100, ("dummy-model",), "none", "openai")
    assert DEFAULT_TEXT == ORIGINAL
