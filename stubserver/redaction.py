"""The one registry of secrets: which headers, query parameters, JSON members and text patterns hold them.

Sources of the patterns: gitleaks, trufflehog and detect-secrets (facts about key formats), and the providers' pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl

from stubserver.messages import Headers, Interaction, Request

__all__ = ["MARK", "clean_headers", "clean_request", "clean_text", "secrets_of"]

MARK: Final = "REDACTED"

SECRET_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "xi-api-key",
        "x-auth-token",
        "x-amz-security-token",
        "ocp-apim-subscription-key",
        "openai-organization",
        "openai-project",
    }
)
# These name an account; they are taken out, but a cassette that still has them is not reported for it.
_NOT_REPORTED: Final = frozenset({"openai-organization", "openai-project"})

SECRET_QUERY: Final = frozenset(
    {"key", "api-key", "api_key", "apikey", "access_token", "token", "sig", "signature"}
    | {"x-amz-signature", "x-amz-credential", "x-amz-security-token", "client_secret"}
)
SECRET_MEMBERS: Final = frozenset(
    {"api_key", "apikey", "password", "secret", "client_secret", "access_token", "refresh_token", "id_token"}
    | {"authorization"}
)

_PATTERNS: Final = {
    "an OpenAI-style key": r"\bsk-(?:ant-|or-v1-|proj-|svcacct-|service-|admin-)?(?=[\w-]*[0-9])[A-Za-z0-9_-]{20,}",
    "a Google key": r"\bAIza[\w-]{35}(?![\w-])",
    "an xAI key": r"\bxai-[0-9A-Za-z_]{70,}",
    "a Groq key": r"\bgsk_[A-Za-z0-9]{50,}",
    "a Perplexity key": r"\bpplx-[A-Za-z0-9]{40,}",
    "an NVIDIA key": r"\bnvapi-[\w-]{60,}",
    "a Replicate key": r"\br8_[\w-]{37}\b",
    "a Hugging Face token": r"\b(?:hf_|api_org_)[A-Za-z0-9]{34}\b",
    "an AWS key id": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    "an AWS Bedrock key": r"\bABSK[A-Za-z0-9+/]{100,}={0,2}",
    "a GitHub token": r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{82})\b",
    "a LangSmith key": r"\blsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}\b",
    "a JSON web token": r"\bey[A-Za-z0-9_-]{17,}\.ey[A-Za-z0-9_-]{17,}\.[A-Za-z0-9_-]{10,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
}
_COMPILED: Final = {name: re.compile(pattern) for name, pattern in _PATTERNS.items()}
_ANY: Final = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS.values()))
_MEMBER: Final = re.compile(
    r'("(?:' + "|".join(sorted(SECRET_MEMBERS)) + r')"\s*:\s*")((?:[^"\\]|\\.)+)(")', re.IGNORECASE
)
_QUERY_VALUE: Final = re.compile(r"([?&](?:" + "|".join(sorted(SECRET_QUERY)) + r")=)([^&#\s]+)", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(://)[^/@\s]+@")
# What people and tools write where a secret was.
_PLACEHOLDER: Final = re.compile(
    r"redact|placeholder|dummy|fake|filtered|removed|scrub|mock|example|your|test|sanitiz|hidden|secret|<|x{3}|\*{3}|\.{3}|^$",
    re.IGNORECASE,
)
_LEAST_SECRET: Final = 12


def clean_text(text: str) -> str:
    """Return *text* with everything that looks like a secret replaced by the mark."""
    text = _ANY.sub(MARK, text)
    text = _MEMBER.sub(rf"\g<1>{MARK}\g<3>", text)
    return _USERINFO.sub(rf"\g<1>{MARK}@", _QUERY_VALUE.sub(rf"\g<1>{MARK}", text))


def clean_headers(headers: Headers) -> Headers:
    """Return *headers* with the values of secret fields replaced by the mark."""
    return tuple((name, MARK if name.lower() in SECRET_HEADERS else clean_text(value)) for name, value in headers)


def clean_request(request: Request) -> Request:
    """Return *request* as it may be shown: target, headers and body without secrets."""
    body = request.body
    text = body.decode("utf-8", "surrogateescape")
    cleaned = clean_text(text)
    if cleaned != text:
        body = cleaned.encode("utf-8", "surrogateescape")
    headers = clean_headers(request.headers)
    authority = request.authority.rpartition("@")[2]
    return Request(request.method, clean_text(request.target), headers, body, request.scheme, authority)


def secrets_of(interaction: Interaction) -> list[str]:
    """Say what in *interaction* looks like a secret, one short line each; the secret itself is never part of it."""
    request, response = interaction.request, interaction.response
    found = [f"request {line}" for line in _header_secrets(request.headers)]
    found += [f"query parameter {name}" for name in _query_secrets(request.query)]
    found += ["user information in the URI"] if "@" in request.authority else []
    found += [f"request body: {line}" for line in _text_secrets(request.body)]
    found += [f"response {line}" for line in _header_secrets(response.headers)]
    return found + [f"response body: {line}" for line in _text_secrets(response.body)]


def _header_secrets(headers: Headers) -> Iterator[str]:
    for name, value in headers:
        lower = name.lower()
        if lower in SECRET_HEADERS and lower not in _NOT_REPORTED and _is_real(value):
            yield f"header {name}"
        elif lower not in SECRET_HEADERS and any(not _PLACEHOLDER.search(m[0]) for m in _ANY.finditer(value)):
            yield f"header {name}: what looks like a key"


def _query_secrets(query: str) -> Iterator[str]:
    for name, value in parse_qsl(query):
        if name.lower() in SECRET_QUERY and _is_real(value):
            yield name


def _text_secrets(body: bytes) -> Iterator[str]:
    text = body.decode("utf-8", "replace")
    if _ANY.search(text):
        for name, pattern in _COMPILED.items():
            if any(not _PLACEHOLDER.search(found[0]) for found in pattern.finditer(text)):
                yield name
    for found in _MEMBER.finditer(text):
        if _is_real(found[2]):
            yield f"member {found[1].split(chr(34))[1]}"


def _is_real(value: str) -> bool:
    """Tell a credential from the placeholders that are written where one was taken out."""
    token = value.rpartition(" ")[2] if value.lower().startswith(("bearer ", "basic ")) else value
    return len(token) >= _LEAST_SECRET and not _PLACEHOLDER.search(value)
