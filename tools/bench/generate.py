"""Cassettes of any number of interactions, in vcrpy's layout, the same bytes every time.

A chat request of the openai client and the answer of the real API, as vcrpy keeps them: distinct prompts, 15 request
headers, 20 response headers, pretty-printed JSON. ``yaml.dump`` takes half a millisecond for each, so it writes a few
patterns only; the items are these with other numbers of the same width in them, which changes no quote and no fold.
:func:`verify` compares samples with what ``yaml.dump`` and vcrpy make of them.

    python tools/bench/generate.py 1000 out.yaml          and one request body a line beside it: out.bodies
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

PATTERNS = 32
WIDTH = 8
SLOT = "a7Bc9dE1"  # no text of ours holds it; as long as the numbers that take its place
URI = "https://api.openai.com/v1/chat/completions"

COOKIE = "path=/; expires=Thu, 09-Oct-25 20:54:31 GMT; domain=.api.openai.com; HttpOnly; Secure; SameSite=None"
VOCABULARY = (
    "the of a to and in model answer question request river mountain history science engine letter number music "
    "travel winter summer garden bridge harbour language paper machine window because therefore although however "
    "explains contains describes between through without several important ordinary complete possible nearly"
)


@dataclass(frozen=True)
class Shape:
    """How long the texts of an interaction are: characters of the prompt, and of the answer at least and at most."""

    prompt: int
    shortest: int
    longest: int


REPLAY = Shape(prompt=160, shortest=180, longest=380)
"""Response bodies of about 1 KB."""
LOAD = Shape(prompt=320, shortest=2800, longest=4200)
"""About 7 KB of YAML for each interaction."""


def prose(rng: random.Random, length: int) -> str:
    """Return *length* characters of words, with a sentence's end here and there."""
    words = VOCABULARY.split()
    parts = [rng.choice(words) + rng.choice(("", "", "", "", "", "", ",", "'s", ".")) for _ in range(length // 4)]
    return " ".join(parts)[:length].strip()


def request_body(number: str, prompt: str) -> str:
    """Return the body as the openai client writes it."""
    messages = [
        {"role": "system", "content": "You answer in one paragraph."},
        {"role": "user", "content": f"Question {number}: {prompt}?"},
    ]
    return json.dumps({"messages": messages, "model": "gpt-4o-mini", "temperature": 0.2}, separators=(",", ":"))


def response_body(number: str, text: str) -> str:
    """Return the body as the API writes it, indented."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": f"Answer {number}: {text}.",
        "refusal": None,
        "annotations": [],
    }
    details = {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0}
    usage = {"prompt_tokens": 61, "completion_tokens": 118, "total_tokens": 179, "completion_tokens_details": details}
    body = {
        "id": f"chatcmpl-CXy{number}QmVtR2kLzW7p",
        "object": "chat.completion",
        "created": 1760041471,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_560af6e559",
    }
    return json.dumps(body, indent=2) + "\n"


def request_headers(length: int) -> dict[str, list[str]]:
    """Return the 15 headers of openai's Python client."""
    return {
        "accept": ["application/json"],
        "accept-encoding": ["gzip, deflate"],
        "authorization": ["**REDACTED**"],
        "connection": ["keep-alive"],
        "content-length": [str(length)],
        "content-type": ["application/json"],
        "host": ["api.openai.com"],
        "user-agent": ["OpenAI/Python 1.109.1"],
        "x-stainless-arch": ["x64"],
        "x-stainless-async": ["false"],
        "x-stainless-lang": ["python"],
        "x-stainless-os": ["Linux"],
        "x-stainless-package-version": ["1.109.1"],
        "x-stainless-retry-count": ["0"],
        "x-stainless-runtime-version": ["3.11.7"],
    }


def response_headers(number: str, length: int) -> dict[str, list[str]]:
    """Return the 20 headers of the API behind its proxy."""
    return {
        "CF-RAY": [f"98{number}c2f-SJC"],
        "Connection": ["keep-alive"],
        "Content-Length": [str(length)],
        "Content-Type": ["application/json"],
        "Date": ["Thu, 09 Oct 2025 20:24:31 GMT"],
        "Server": ["cloudflare"],
        "Set-Cookie": [f"__cf_bm={number}kR3nV8wQ; {COOKIE}"],
        "X-Content-Type-Options": ["nosniff"],
        "alt-svc": ['h3=":443"; ma=86400'],
        "cf-cache-status": ["DYNAMIC"],
        "openai-organization": ["example-organization"],
        "openai-processing-ms": ["1275"],
        "openai-version": ["2020-10-01"],
        "strict-transport-security": ["max-age=31536000; includeSubDomains; preload"],
        "x-envoy-upstream-service-time": ["1301"],
        "x-ratelimit-limit-requests": ["30000"],
        "x-ratelimit-limit-tokens": ["150000000"],
        "x-ratelimit-remaining-requests": ["29999"],
        "x-ratelimit-reset-requests": ["2ms"],
        "x-request-id": [f"req_{number}d41b7e9c5a20"],
    }


def interaction(number: str, prompt: str, text: str) -> dict[str, Any]:
    """Return one interaction as vcrpy hands it to its serializer."""
    sent, got = request_body(number, prompt), response_body(number, text)
    return {
        "request": {"body": sent, "headers": request_headers(len(sent)), "method": "POST", "uri": URI},
        "response": {
            "body": {"string": got},
            "headers": response_headers(number, len(got)),
            "status": {"code": 200, "message": "OK"},
        },
    }


class Generator:
    """Makes the interactions of one shape; the number of an interaction is all that it depends on."""

    def __init__(self, shape: Shape) -> None:
        rng = random.Random(20_251_009)
        sizes = [rng.randint(shape.shortest, shape.longest) for _ in range(PATTERNS)]
        self._texts = [(prose(rng, shape.prompt + 2 * i), prose(rng, size)) for i, size in enumerate(sizes)]
        self._items = [dump(interaction(SLOT, *texts)).split(SLOT) for texts in self._texts]
        self._bodies = [request_body(SLOT, prompt).split(SLOT) for prompt, _ in self._texts]

    def item(self, number: int) -> str:
        """Return the interaction's lines of YAML."""
        return digits(number).join(self._items[number % PATTERNS])

    def body(self, number: int) -> str:
        """Return its request body."""
        return digits(number).join(self._bodies[number % PATTERNS])

    def interaction(self, number: int) -> dict[str, Any]:
        """Return the interaction, made without any pattern."""
        return interaction(digits(number), *self._texts[number % PATTERNS])

    def cassette(self, numbers: range) -> Iterator[str]:
        """Yield the parts of the cassette file that holds the interactions of *numbers*."""
        yield "interactions:\n"
        for number in numbers:
            yield self.item(number)
        yield "version: 1\n"


def digits(number: int) -> str:
    """Return the number as it stands in the texts."""
    return f"{number:0{WIDTH}d}"


def dump(item: dict[str, Any]) -> str:
    """Write one interaction as vcrpy does."""
    return str(yaml.dump([item], Dumper=yaml.CDumper))


def write(path: Path, numbers: range, shape: Shape = REPLAY) -> None:
    """Write the cassette at *path*, and beside it, ending in ``.bodies``, the request bodies, one a line."""
    generator = Generator(shape)
    verify(generator, numbers)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(generator.cassette(numbers))
    with path.with_suffix(".bodies").open("w", encoding="utf-8") as file:
        file.writelines(f"{generator.body(number)}\n" for number in numbers)


def verify(generator: Generator, numbers: range) -> None:
    """Compare samples with what yaml.dump writes and vcrpy reads. Raises AssertionError."""
    sample = sorted({*numbers[: 2 * PATTERNS], *numbers[-2:], *random.Random(1).sample(numbers, min(20, len(numbers)))})
    for number in sample:
        assert generator.item(number) == dump(generator.interaction(number)), f"item {number} is not vcrpy's"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sample.yaml")
        path.write_text("".join(generator.cassette(range(sample[0], sample[0] + 1))), encoding="utf-8")
        requests, responses = FilesystemPersister.load_cassette(path, yamlserializer)
    assert requests[0].body == generator.body(sample[0]).encode()
    assert responses[0] == {**generator.interaction(sample[0])["response"], "body": responses[0]["body"]}


def main() -> None:
    """Write a cassette from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many interactions")
    parser.add_argument("path", type=Path, help="the cassette; the request bodies are written beside it")
    parser.add_argument("--long", action="store_true", help="answers of 3 to 4 KB instead of 1 KB")
    arguments = parser.parse_args()
    write(arguments.path, range(arguments.count), LOAD if arguments.long else REPLAY)


if __name__ == "__main__":
    main()
