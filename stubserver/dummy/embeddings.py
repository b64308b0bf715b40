"""``POST /v1/embeddings``: unit vectors made from a hash of the input, the same for both encodings."""

from __future__ import annotations

import math
from base64 import b64encode
from hashlib import shake_256
from operator import mul
from struct import pack, unpack
from typing import Any, Final

from stubserver.dummy import body as read
from stubserver.dummy import tokens
from stubserver.dummy.errors import APIError, json_response
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request, Response

__all__ = ["create", "vector"]

_MOST_INPUTS: Final = 2048
_MOST_DIMENSIONS: Final = 8192
"""For models whose real size is not known here: the largest that open models have."""

# What the name of a model holds -> its size; the first that fits counts.
_SIZES: Final = (
    ("text-embedding-3-large", 3072),
    ("text-embedding-", 1536),
    ("qwen3-embedding-8b", 4096),
    ("qwen3-embedding-4b", 2560),
    ("qwen3-embedding", 1024),
    ("e5-mistral", 4096),
    ("minilm", 384),
    ("bge-small", 384),
    ("e5-small", 384),
    ("gte-small", 384),
    ("bge-base", 768),
    ("e5-base", 768),
    ("gte-base", 768),
    ("nomic-embed", 768),
    ("embeddinggemma", 768),
    ("bge-m3", 1024),
    ("bge-large", 1024),
    ("e5-large", 1024),
    ("gte-large", 1024),
    ("mxbai-embed-large", 1024),
    ("mistral-embed", 1024),
)
_USUAL_SIZE: Final = 1536


def create(request: Request, _settings: DummySettings) -> Response:
    """Answer an embedding request: one vector of unit length for each input, in their order."""
    body = read.parse(request)
    model = read.require_model(body, request)
    inputs = _inputs(body)
    packed = _wants_base64(body)
    size = _dimensions(body, model)
    data = []
    for index, item in enumerate(inputs):
        raw = vector(model, item, size)
        embedding = b64encode(raw).decode("ascii") if packed else unpack(f"<{size}f", raw)
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    count = sum(len(tokens.split(item)) if isinstance(item, str) else len(item) for item in inputs)
    used = {"prompt_tokens": count, "total_tokens": count}
    return json_response({"object": "list", "data": data, "model": model, "usage": used})


def vector(model: str, item: str | list[int], size: int) -> bytes:
    """Return *size* little-endian float32 values of unit length together.

    A shorter vector is the beginning of the longer one, made to unit length again, as with the API's ``dimensions``.
    """
    kind, content = ("text", item) if isinstance(item, str) else ("tokens", ",".join(map(str, item)))
    seed = f"{model}\0{kind}\0{content}".encode("utf-8", "surrogatepass")
    # Whole numbers up to here: their squares add up exactly, so that every machine gets the same bytes.
    numbers = list(unpack(f"<{size}h", shake_256(seed).digest(2 * size)))
    numbers[0] |= 1  # never all zero, which has no direction
    scale = 1 / math.sqrt(sum(map(mul, numbers, numbers)))
    return pack(f"<{size}f", *[number * scale for number in numbers])


def _inputs(body: dict[str, Any]) -> list[str | list[int]]:
    """Return the texts and token lists to embed; a list of numbers is one input."""
    value = body.get("input")
    if value is None:
        raise APIError("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise _not_valid()
    if not value:
        raise APIError("Invalid 'input': input cannot be an empty array.")
    if len(value) > _MOST_INPUTS:
        raise APIError(f"Invalid 'input': array length must be {_MOST_INPUTS} or less.")
    return [value] if _are_tokens(value) else _batch(value)


def _batch(items: list[Any]) -> list[str | list[int]]:
    """Check a batch: all texts or all lists of tokens, none of them empty."""
    if not all(isinstance(item, str) for item in items) and not all(_are_tokens(item) for item in items):
        raise _not_valid()
    for index, item in enumerate(items):
        if not item:
            kind = "string" if isinstance(item, str) else "array"
            raise APIError(f"Invalid 'input[{index}]': input cannot be an empty {kind}.")
    return items


def _are_tokens(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _not_valid() -> APIError:
    return APIError(
        "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
    )


def _wants_base64(body: dict[str, Any]) -> bool:
    value = body.get("encoding_format")
    if value not in (None, "float", "base64"):
        shown = value if isinstance(value, str) else read.type_name(value)
        raise APIError(f"Invalid value for 'encoding_format' = {shown[:100]}. Supported values: ['float', 'base64'].")
    return value == "base64"


def _dimensions(body: dict[str, Any], model: str) -> int:
    """Return the size asked for, or the model's own."""
    name = model.lower()
    own = next((size for part, size in _SIZES if part in name), None)
    asked = read.integer(body, "dimensions", 1)
    if asked is None:
        return own or _USUAL_SIZE
    if "text-embedding-ada" in name:
        raise APIError("This model does not support specifying dimensions.")
    most = own or _MOST_DIMENSIONS
    if asked > most:
        raise APIError(f"Invalid value for 'dimensions' = {asked}. Must be less than or equal to {most}.")
    return asked
