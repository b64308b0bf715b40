"""The same recordings in the forms that peers read.

WireMock's mappings and the archive that mitmproxy reads are what ``stubserver export`` writes. The others are written
here, each in the form that its matcher is fastest with: a whole body compared as text where that can be had.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generate

PATH = "/v1/chat/completions"
NOWHERE = "http://127.0.0.1:9"
"""Where mitmproxy's upstream would be: nobody listens at the port "discard"."""
OF_THE_CONNECTION = {"connection", "content-length"}


@dataclass(frozen=True)
class Recorded:
    """So many recordings: their cassette, the request bodies beside it, one a line, and the numbers of them."""

    cassette: Path
    numbers: range

    @property
    def bodies(self) -> Path:
        """The file of the request bodies."""
        return self.cassette.with_suffix(".bodies")

    def samples(self) -> list[tuple[str, str]]:
        """Return bodies of requests and of answers: of the first one, one in the middle, and the last."""
        chosen = sorted({self.numbers[0], self.numbers[len(self.numbers) // 2], self.numbers[-1]})
        return [(body, answer) for body, answer, _ in pairs(chosen)]

    def mean_size(self) -> int:
        """Return how long the body of an answer is, on the average of a hundred."""
        sizes = [len(answer) for _, answer, _ in pairs(self.numbers[:100])]
        return sum(sizes) // len(sizes)


def recorded(folder: Path, count: int) -> Recorded:
    """Write a cassette of *count* recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    path, numbers = folder / "recordings.yaml", range(count)
    generate.write(path, numbers)
    return Recorded(path, numbers)


def pairs(numbers: Iterable[int]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield request body, answer's body and answer's header fields, less those that are of a connection."""
    generator = generate.Generator(generate.REPLAY)
    for number in numbers:
        found = generator.interaction(number)
        fields = {name: values[0] for name, values in found["response"]["headers"].items()}
        kept = {name: value for name, value in fields.items() if name.lower() not in OF_THE_CONNECTION}
        yield found["request"]["body"], found["response"]["body"]["string"], kept


def exported(recordings: Recorded, target: Path) -> Path:
    """Let stubserver itself write *target*: ``.json`` are WireMock's mappings, ``.har`` is an archive."""
    command = [sys.executable, "-m", "stubserver", "export", str(recordings.cassette), str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return target


def wiremock(recordings: Recorded, folder: Path) -> Path:
    """Write WireMock's root folder; bodies are compared as JSON, which is what its own recorder writes, too."""
    (folder / "mappings").mkdir(parents=True, exist_ok=True)
    exported(recordings, folder / "mappings" / "stubs.json")
    return folder


def wiremock_text(recordings: Recorded, folder: Path) -> Path:
    """Write WireMock's root folder; bodies are compared as text, its fastest way to tell them apart."""
    path = wiremock(recordings, folder) / "mappings" / "stubs.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    for mapping in found["mappings"]:
        mapping["request"]["bodyPatterns"] = [
            {"equalTo": pattern["equalToJson"]} for pattern in mapping["request"]["bodyPatterns"]
        ]
    path.write_text(json.dumps(found), encoding="utf-8")
    return folder


def mountebank(recordings: Recorded, folder: Path, port: int) -> Path:
    """Write an imposter at *port*; connections are kept open, which it does only when an answer says so."""
    stubs = [
        {
            "predicates": [{"equals": {"method": "POST", "path": PATH, "body": body}, "caseSensitive": True}],
            "responses": [
                {"is": {"statusCode": 200, "headers": {**fields, "Connection": "keep-alive"}, "body": answer}}
            ],
        }
        for body, answer, fields in pairs(recordings.numbers)
    ]
    imposter = {"port": port, "host": "127.0.0.1", "protocol": "http", "recordRequests": False, "stubs": stubs}
    return _json(folder / "imposters.json", {"imposters": [imposter]})


def mockserver(recordings: Recorded, folder: Path) -> Path:
    """Write MockServer's expectations, with bodies compared as text."""
    found = [
        {
            "httpRequest": {"method": "POST", "path": PATH, "body": {"type": "STRING", "string": body}},
            "httpResponse": {
                "statusCode": 200,
                "headers": {name: [value] for name, value in fields.items()},
                "body": answer,
            },
        }
        for body, answer, fields in pairs(recordings.numbers)
    ]
    return _json(folder / "expectations.json", found)


def aimock(recordings: Recorded, folder: Path) -> Path:
    """Write aimock's fixtures: it looks for a text in the last message, and makes the answer around a text."""
    found = [
        {
            "match": {"userMessage": json.loads(body)["messages"][-1]["content"]},
            "response": {"content": json.loads(answer)["choices"][0]["message"]["content"]},
        }
        for body, answer, _ in pairs(recordings.numbers)
    ]
    return _json(folder / "fixtures.json", {"fixtures": found})


def mitmproxy(recordings: Recorded, folder: Path) -> Path:
    """Write an archive of requests to the upstream that mitmproxy stands in front of; it compares the scheme, too."""
    path = exported(recordings, folder / "flows.har")
    found = json.loads(path.read_text(encoding="utf-8"))
    for entry in found["log"]["entries"]:
        entry["request"]["url"] = NOWHERE + PATH
    return _json(path, found)


def prism(recordings: Recorded, folder: Path) -> Path:
    """Write an OpenAPI description with one answer as its example: Prism knows no recordings."""
    _, answer, _ = next(pairs(recordings.numbers))
    schema = {"schema": {"type": "object"}}
    content = {"application/json": {**schema, "example": json.loads(answer)}}
    operation = {
        "requestBody": {"content": {"application/json": schema}},
        "responses": {"200": {"description": "a chat completion", "content": content}},
    }
    document = {"openapi": "3.0.3", "info": {"title": "chat", "version": "1"}, "paths": {PATH: {"post": operation}}}
    return _json(folder / "openapi.json", document)


def fakellm(recordings: Recorded, folder: Path) -> Path:
    """Write a rule that gives every request the text of one answer. JSON is YAML, which it reads."""
    _, answer, _ = next(pairs(recordings.numbers))
    text = json.loads(answer)["choices"][0]["message"]["content"]
    rule = {"name": "all", "when": {"messages_contain": "Question"}, "respond": {"content": text}}
    return _json(
        folder / "fakellm.yaml", {"version": 1, "defaults": {"fallback": "deterministic_echo"}, "rules": [rule]}
    )


def _json(path: Path, value: Any) -> Path:  # noqa: ANN401  # JSON
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
