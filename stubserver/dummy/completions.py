"""``POST /v1/completions``: the older endpoint, the same fixed text, no longer than the endpoint's 16 tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from stubserver import sse
from stubserver.dummy import body as read
from stubserver.dummy import logprobs, structured, tokens, wording
from stubserver.dummy.errors import APIError, json_bytes, json_response
from stubserver.dummy.settings import CREATED, DummySettings
from stubserver.dummy.usage import made_id, prompt_tokens, usage
from stubserver.messages import Request, Response

__all__ = ["complete"]

# The API sends this endpoint's streams without a charset.
_EVENT_STREAM: Final = ("content-type", "text/event-stream")
_DEFAULT_LIMIT: Final = 16
_MOST_LOGPROBS: Final = 5
_MOST_CHOICES: Final = 128
_MOST_PROMPTS: Final = 2048
_MOST_IN_ALL: Final = 8192
_EXPECTED: Final = "one of a string, array of strings, array of integers, or array of arrays"

_Prompt = str | list[int]


class _Said(NamedTuple):
    """What a choice says: the tokens of its prompt if that is echoed, and its own; ``top`` is None without logprobs."""

    echoed: list[str]
    pieces: list[str]
    reason: str
    top: int | None


def complete(request: Request, settings: DummySettings) -> Response:
    """Answer a completion request: one choice for each prompt and each of ``n``, prompt by prompt."""
    body = read.parse(request)
    model = read.require_model(body, request)
    prompts = _prompts(body)
    each = _each(body, len(prompts))
    made = _wording(body, len(prompts) * each, settings)
    said = _said(body, prompts, each, made)
    used = usage(_prompt_tokens(body, prompts), len(said) * made.tokens)
    head = {
        "id": made_id("cmpl-", request.body),
        "object": "text_completion",
        "created": CREATED,
        "model": model,
        "system_fingerprint": "fp_stubserver",
    }
    if read.flag(body, "stream"):
        chunks = _chunks(said, used if read.includes_usage(body) else None)
        events = [json_bytes(head | chunk) for chunk in chunks]
        return Response(200, (_EVENT_STREAM,), b"".join(sse.frame([*events, b"[DONE]"])), events=True)
    return json_response({**head, "choices": [_choice(*item) for item in enumerate(said)], "usage": used})


def _wording(body: dict[str, Any], count: int, settings: DummySettings) -> wording.Wording:
    given = read.integer(body, "max_tokens", 0)
    limit = _DEFAULT_LIMIT if given is None else given
    asked = wording.limits(body, "max_tokens", limit, count)
    read.number(body, "temperature", 0, 2)
    read.number(body, "top_p", 0, 1)
    read.number(body, "presence_penalty", -2, 2)
    read.number(body, "frequency_penalty", -2, 2)
    read.string(body, "suffix")
    text = structured.requested(body)
    return wording.plain(asked, settings) if text is None else wording.whole(text, limit)


def _said(body: dict[str, Any], prompts: list[_Prompt], each: int, made: wording.Wording) -> list[_Said]:
    top = read.integer(body, "logprobs", 0, _MOST_LOGPROBS)
    echo, pieces = read.flag(body, "echo"), tokens.split(made.text)
    said: list[_Said] = []
    for prompt in prompts:
        said += [_Said(_echoed(prompt) if echo else [], pieces, made.reason, top)] * each
    return said


def _echoed(prompt: _Prompt) -> list[str]:
    """Return the tokens of a prompt; one of numbers has as many tokens, shown as numbers where they are not ours."""
    if isinstance(prompt, str):
        return tokens.split(prompt)
    texts = [(number, tokens.text_of(number)) for number in prompt]
    return [f"<{number}>" if text == tokens.UNKNOWN else text for number, text in texts]


def _prompt_tokens(body: dict[str, Any], prompts: list[_Prompt]) -> int:
    """Count the numbers of prompts that are numbers; other requests are estimated."""
    counts = [len(prompt) for prompt in prompts if not isinstance(prompt, str)]
    return sum(counts) if len(counts) == len(prompts) else prompt_tokens(body)


def _choice(index: int, said: _Said) -> dict[str, Any]:
    pieces = [*said.echoed, *said.pieces]
    shown = None if said.top is None else logprobs.legacy(pieces, said.top, echoed=bool(said.echoed))
    return {"text": "".join(pieces), "index": index, "logprobs": shown, "finish_reason": said.reason}


def _chunks(said: list[_Said], used: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the choices of each chunk: the first piece of every choice, then the second."""
    pending = {"usage": None} if used is not None else {}
    running = [_parts(*item) for item in enumerate(said)]
    while running:
        left = []
        for parts in running:
            part = next(parts, None)
            if part is not None:
                left.append(parts)
                yield {"choices": [part], **pending}
        running = left
    if used is not None:
        yield {"choices": [], "usage": used}


def _parts(index: int, said: _Said) -> Iterator[dict[str, Any]]:
    """Yield one choice in pieces; the finish reason sits on the last piece of text, as the API has it."""
    pieces, start = [*said.echoed, *said.pieces] or [""], 0
    for place, piece in enumerate(pieces):
        shown = None
        if said.top is not None:
            shown = logprobs.legacy(
                [piece] if piece else [], said.top, echoed=bool(said.echoed) and not place, start=start
            )
        finish = said.reason if place == len(pieces) - 1 else None
        yield {"text": piece, "index": index, "logprobs": shown, "finish_reason": finish}
        start += len(piece)


def _each(body: dict[str, Any], prompts: int) -> int:
    """Count the choices of each prompt, and refuse to make an answer of gigabytes."""
    each = read.integer(body, "n", 1, _MOST_CHOICES) or 1
    if prompts * each > _MOST_IN_ALL:
        text = f"Invalid 'n': {prompts} prompts with {each} choices each are more than {_MOST_IN_ALL} choices."
        raise APIError(text, "n", "invalid_value")
    return each


def _prompts(body: dict[str, Any]) -> list[_Prompt]:
    """Return the prompts: a string or a list of token numbers is one, a list of either is many."""
    prompt = body.get("prompt")
    if prompt is None or isinstance(prompt, str):
        return [prompt or ""]
    if not isinstance(prompt, list):
        raise read.invalid_type("prompt", _EXPECTED, prompt)
    if not prompt:
        raise read.empty("prompt")
    if all(type(item) is int for item in prompt):
        return [prompt]
    return _several_prompts(prompt)


def _several_prompts(prompts: list[Any]) -> list[_Prompt]:
    if len(prompts) > _MOST_PROMPTS:
        raise read.too_long("prompt", _MOST_PROMPTS, len(prompts))
    for i, item in enumerate(prompts):
        if not isinstance(item, (str, list)):
            raise read.invalid_type(f"prompt[{i}]", "one of a string or array of integers", item)
        for j, number in enumerate(item if isinstance(item, list) else ()):
            if type(number) is not int:
                raise read.invalid_type(f"prompt[{i}][{j}]", "an integer", number)
    return prompts
