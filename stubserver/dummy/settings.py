"""What shapes the dummy's answers."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["DEFAULT_TEXT", "DummySettings"]

DEFAULT_TEXT: Final = (
    "This is dummy text content for debugging purposes. Page contains sample text to simulate OCR output."
)

CREATED: Final = 1_700_000_000
"""The ``created`` time of every dummy answer, in seconds: the same request gives the same bytes, so no clock."""


class DummySettings(NamedTuple):
    """What can be chosen.

    ``text`` is the answer, ``tokens`` the completion tokens reported for it, ``models`` the ids that are listed.
    ``tools`` is ``auto`` for a function call also where the choice is left to the model, else ``none``. ``style`` is
    ``openai``, or ``datatrove`` for what its DummyServer does.
    """

    text: str = DEFAULT_TEXT
    tokens: int = 100
    models: tuple[str, ...] = ("dummy-model",)
    tools: str = "none"
    style: str = "openai"
