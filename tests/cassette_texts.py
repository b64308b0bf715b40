"""One cassette in many forms, and its reading, for the tests of the reader."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml
from tapes import ask, recorded

from stubserver.canonical import Rules
from stubserver.cassettes.reader import read_file
from stubserver.cassettes.recordings import CassetteFile
from stubserver.messages import Interaction


def dump(value: Any, **options: Any) -> str:
    """Write YAML as vcrpy does."""
    return str(yaml.dump(value, Dumper=yaml.CDumper, **options))


QUESTION = json.dumps(ask("Don't you think so, really? é"), ensure_ascii=False)
# As they come out of a file: every mapping in the order of its keys.
ITEMS = yaml.safe_load(
    dump(
        [
            recorded(QUESTION, {"text": "It's “quoted”\n" * 9}, headers={"x-a": ["b", "c"]}),
            recorded(
                ask("two", stream=True), 'data: {"a": "\u2713"}\n\ndata: [DONE]\n\n', path="/v1/chat/completions?x=1"
            ),
            recorded(None, {"object": "list"}, method="GET", path="/v1/models", status=404),
        ]
    )
)
BODY = dump({"interactions": ITEMS})
WHOLE = BODY + "version: 1\n"
UNICODE = dump({"interactions": ITEMS}, allow_unicode=True, width=120)
LANGCHAIN = dump({"requests": [i["request"] for i in ITEMS], "responses": [i["response"] for i in ITEMS]})


def indented(text: str) -> str:
    """Indent the items under their key, as most YAML tools do; the keys behind them stay where they are."""
    items, mark, rest = text.removeprefix("interactions:\n").partition("version:")
    return "interactions:\n" + textwrap.indent(items, "  ") + mark + rest


def in_json(**changes: Any) -> str:
    """Write JSON as vcrpy does."""
    return json.dumps({"version": 1, "interactions": ITEMS, **changes}, indent=4) + "\n"


def read(path: Path, text: str | bytes, rules: Rules | None = None) -> CassetteFile:
    """Write a file and read it."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_file(path, path.name, "tape", rules or Rules())


def interactions(file: CassetteFile) -> list[Interaction]:
    """Play every recording."""
    return [recording.interaction() for recording in file.recordings]
