"""What clients of other servers (vLLM, SGLang, llama.cpp) ask beside the API: liveness, version, metrics, tokens."""

from __future__ import annotations

from typing import Any, Final

from stubserver import __version__
from stubserver.dummy import body as read
from stubserver.dummy import tokens
from stubserver.dummy.errors import APIError, json_response
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request, Response

__all__ = ["detokenize", "metrics", "ping", "props", "server_info", "tokenize", "version"]

_MODEL_LENGTH: Final = 131_072
_PROMETHEUS: Final = ("content-type", "text/plain; version=0.0.4; charset=utf-8")

# vLLM's names; a dummy is never busy, and what it did is in the journal.
_METRICS: Final = (
    ("vllm:num_requests_running", "gauge", "Number of requests in model execution batches."),
    ("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed."),
    ("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage."),
    ("vllm:prompt_tokens_total", "counter", "Number of prefill tokens processed."),
    ("vllm:generation_tokens_total", "counter", "Number of generation tokens processed."),
)


def ping() -> Response:
    """Answer ``GET`` or ``POST /ping``: alive, nothing to say."""
    return Response(200)


def version() -> Response:
    """Answer ``GET /version``."""
    return json_response({"version": __version__})


def metrics(settings: DummySettings) -> Response:
    """Answer ``GET /metrics`` in Prometheus' text format 0.0.4: vLLM's names, all of them zero."""
    lines = []
    for name, kind, text in _METRICS:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f'{name}{{model_name="{_label(model)}"}} 0.0' for model in settings.models]
    return Response(200, (_PROMETHEUS,), "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def server_info(settings: DummySettings) -> Response:
    """Answer SGLang's ``GET /server_info`` and ``/get_server_info``."""
    model = _first_model(settings)
    return json_response(
        {"model_path": model, "served_model_name": model, "context_length": _MODEL_LENGTH, "version": __version__}
    )


def props(settings: DummySettings) -> Response:
    """Answer llama.cpp's ``GET /props``."""
    return json_response(
        {
            "default_generation_settings": {"n_ctx": _MODEL_LENGTH},
            "total_slots": 1,
            "model_path": _first_model(settings),
            "build_info": f"stubserver {__version__}",
        }
    )


def _first_model(settings: DummySettings) -> str:
    return next(iter(settings.models), "dummy-model")


def tokenize(request: Request, _settings: DummySettings) -> Response:
    """Answer vLLM's ``POST /tokenize`` for a ``prompt`` or for ``messages`` (their texts, joined by line ends)."""
    body = read.parse(request)
    pieces = [part for piece in tokens.split(_prompt(body)) for part in tokens.parts(piece)]
    answer = {
        "count": len(pieces),
        "max_model_len": _MODEL_LENGTH,
        "tokens": [tokens.number_of(piece) for piece in pieces],
        "token_strs": pieces if read.flag(body, "return_token_strs") else None,
    }
    return json_response(answer)


def detokenize(request: Request, _settings: DummySettings) -> Response:
    """Answer vLLM's ``POST /detokenize``; a number that ``tokenize`` never gives is U+FFFD."""
    ids = read.parse(request).get("tokens")
    if ids is None:
        raise APIError("Missing required parameter: 'tokens'.", "tokens", "missing_required_parameter")
    if not isinstance(ids, list):
        raise read.invalid_type("tokens", "an array of integers", ids)
    for index, number in enumerate(ids):
        if type(number) is not int:
            raise read.invalid_type(f"tokens[{index}]", "an integer", number)
    return json_response({"prompt": "".join(map(tokens.text_of, ids))})


def _prompt(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if isinstance(messages, list):
        return "\n".join(filter(None, map(_content, messages)))
    prompt = body.get("prompt")
    if prompt is None:
        raise APIError("Missing required parameter: 'prompt'.", "prompt", "missing_required_parameter")
    if not isinstance(prompt, str):
        raise read.invalid_type("prompt", "a string", prompt)
    return prompt


def _content(message: object) -> str:
    """Return the text of a message, whose content is a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
