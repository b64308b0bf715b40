"""The one registry of secrets: which headers, query parameters, JSON members and text patterns hold them.

Sources of the patterns: gitleaks, trufflehog and detect-secrets (facts about key formats), and the providers' pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from stubserver.messages import Headers, Interaction, Request
from stubserver.wrapped import clean_wrapped, unwrapped

__all__ = [
    "MARK",
    "clean_body",
    "clean_headers",
    "clean_plain",
    "clean_request",
    "clean_text",
    "clean_value",
    "is_secret_header",
    "is_secret_member",
    "secrets_of",
]

MARK: Final = "REDACTED"

SECRET_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "api-key",
        "x-api-key",
        "x-stubserver-key",
        "x-goog-api-key",
        "xi-api-key",
        "x-auth-token",
        "x-amz-security-token",
        "ocp-apim-subscription-key",
        "openai-organization",
        "openai-project",
        "anthropic-organization-id",
    }
)
# Every provider has its own name for the same thing: x-openai-api-key, x-voyage-api-key, x-csrf-token.
_SECRET_ENDINGS: Final = ("api-key", "-token", "-secret")
# These name an account; they are taken out, but a cassette that still has them is not reported for it.
_NOT_REPORTED: Final = frozenset({"openai-organization", "openai-project", "anthropic-organization-id"})

SECRET_QUERY: Final = frozenset(
    {"key", "api-key", "api_key", "apikey", "access_token", "refresh_token", "id_token", "token", "sig", "signature"}
    | {"x-amz-signature", "x-amz-credential", "x-amz-security-token", "client_secret", "assertion", "password"}
)
"""Parameters of a query and fields of a form."""
SECRET_MEMBERS: Final = (
    *("api_key", "access_key", "secret_key", "private_key", "password", "passwd", "secret", "authorization"),
    *("access_token", "refresh_token", "id_token", "auth_token", "session_token", "bearer_token"),
)
"""JSON members, in any case, with ``_``, ``-`` or nothing between the words; and each with a word before it."""

# What a key begins with, and how it goes on. Each text of the first column is looked for as it is, which is several
# times as fast as a search that begins with \b; and no part that may fail is unbounded, so that no text takes long.
_PATTERNS: Final = (
    ("an OpenAI-style key", "sk-", r"(?=[A-Za-z_-]{0,80}+[0-9])[A-Za-z0-9_-]{20,}"),
    ("a Google key", "AIza", r"[\w-]{35}(?![\w-])"),
    ("an xAI key", "xai-", r"\w{70,}"),
    ("a Groq key", "gsk_", r"[A-Za-z0-9]{50,}"),
    ("a Perplexity key", "pplx-", r"[A-Za-z0-9]{40,}"),
    ("an NVIDIA key", "nvapi-", r"[\w-]{60,}"),
    ("a Replicate key", "r8_", r"[\w-]{37}\b"),
    ("a Hugging Face token", "hf_", r"[A-Za-z0-9]{34}\b"),
    ("a Hugging Face token", "api_org_", r"[A-Za-z0-9]{34}\b"),
    *(("an AWS key id", prefix, r"[A-Z2-7]{16}\b") for prefix in ("AKIA", "ASIA", "ABIA", "ACCA")),
    ("an AWS Bedrock key", "ABSK", r"[A-Za-z0-9+/]{100,}={0,2}"),
    *(("a GitHub token", f"gh{letter}_", r"[0-9A-Za-z]{36}\b") for letter in "pousr"),
    ("a GitHub token", "github_pat_", r"\w{82}\b"),
    ("a LangSmith key", "lsv2_", r"(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}\b"),
    ("a JSON web token", "ey", r"(?<!-ey)[\w-]{17,}\.ey[\w-]{17,}\.[\w-]{10,}"),
    *(("a bearer token", f"{b}earer ", r"(?=[A-Za-z._~+/-]{0,80}+[0-9])[\w.~+/-]{16,}=*") for b in "bB"),
    (
        "a private key",
        "-----BEGIN ",
        r"[A-Z ]{0,40}PRIVATE KEY-----(?:[^-\"\\]|-(?!----)|\\+(?![\\\"])){0,20000}(?:-----END [A-Z ]{0,40}KEY-----)?",
    ),
)
# A word begins with it, be it after a line end that JSON wrote as \n, or after any character that it wrote as \u0000.
_BEGINS: Final = r"(?:(?<!\wKEY)|(?<=\\[bfnrt]KEY)|(?<=\\u[0-9A-Fa-f]{4}KEY))"
_COMPILED: Final = {
    (name, prefix): re.compile(re.escape(prefix) + _BEGINS.replace("KEY", re.escape(prefix)) + rest)
    for name, prefix, rest in _PATTERNS
}
_ANY: Final = re.compile("|".join(pattern.pattern for pattern in _COMPILED.values()))
_NAME: Final = r"(?:[\w-]{1,32}[_-])?(?:" + "|".join(SECRET_MEMBERS).replace("_", "[_-]?") + ")"
_SECRET_NAME: Final = re.compile(_NAME, re.IGNORECASE)
# A member of JSON, or of JSON that stands in a text of JSON, where each quote has 1, 3 or 7 backslashes (q). Its value
# ends at a quote with as many, after whatever backslashes are escaped; or, cut off, at a bare quote or the text's end.
_MEMBER: Final = re.compile(
    rf'(?P<open>"(?P<name>{_NAME})(?P<q>\\{{0,7}})"\s*:\s*(?:\[\s*)?(?P=q)")(?!(?P=q)")'
    r'(?P<value>(?:[^"\\]|\\+(?![\\"])|(?!(?:(?P=q)(?P=q)\\\\)*(?P=q)")\\+")*+(?:(?P=q)(?P=q)\\\\)*+)',
    re.IGNORECASE,
)
# A field of a form in parts; its value is what stands in the line behind the part's head.
_PART: Final = re.compile(
    r'(form-data;\s*name="?(' + _NAME + "|" + "|".join(sorted(SECRET_QUERY)) + r')"?(?:;[^\r\n]{0,500})?\r?\n'
    r"(?:[^\r\n]{1,500}\r?\n){0,9}\r?\n)([^\r\n]+)",
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(r"([?&](" + "|".join(sorted(SECRET_QUERY)) + r""")=)([^&#\s"'<>\\]+)""", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(://)[\w.~!$&'()*+,;=:%-]+@")
# How names that hold a secret end, in lower case: a member at its quote or the escape of that, a parameter at its =.
_MEMBER_HINTS: Final = tuple(
    name + end for name in ("key", "token", "passwd", "password", "secret", "authorization") for end in ('"', "\\")
)
_PARAMETER_HINTS: Final = ("key=", "token=", "sig=", "signature=", "credential=", "secret=", "assertion=", "password=")
# What people and tools write where a secret was.
_PLACEHOLDER: Final = re.compile(
    r"redact|placeholder|dummy|fake|filtered|removed|scrub|mock|example|your|test|sanitiz|hidden|secret|<|x{4}|\*{3}|\.{3}|^$",
    re.IGNORECASE,
)
_LEAST_SECRET: Final = 12
_TOLD_BY: Final = 64


def is_secret_header(name: str) -> bool:
    """Tell whether the header field *name* holds a secret."""
    lower = name.lower()
    return lower in SECRET_HEADERS or lower.endswith(_SECRET_ENDINGS)


def is_secret_member(name: str) -> bool:
    """Tell whether a JSON member of this name holds a secret."""
    return _SECRET_NAME.fullmatch(name) is not None


def clean_text(text: str) -> str:
    """Return *text* with everything that looks like a secret replaced by the mark; JSON stays JSON.

    Also what stands in it as base64, percent escapes, hexadecimal digits or JSON's escapes, in its form.
    """
    return clean_wrapped(clean_plain(text), clean_plain)


def clean_plain(text: str) -> str:
    """Return *text* with the mark for each secret that stands there as it is."""
    # Each search only where what it begins or ends with is there at all: many texts are megabytes of pictures.
    for (_, prefix), pattern in _COMPILED.items():
        if prefix in text:
            text = pattern.sub(MARK, text)
    lower = text.lower()
    if any(hint in lower for hint in _MEMBER_HINTS):
        text = _MEMBER.sub(rf"\g<open>{MARK}", text)
    if any(hint in lower for hint in _PARAMETER_HINTS):
        text = _PARAMETER.sub(rf"\g<1>{MARK}", f"&{text}")[1:]  # a form's first field, too
    if "form-data" in lower:
        text = _PART.sub(rf"\g<1>{MARK}", text)
    return _USERINFO.sub(rf"\g<1>{MARK}@", text) if "@" in text else text


def clean_body(body: bytes) -> bytes:
    """Return *body* with everything in it that looks like a secret replaced by the mark."""
    text = body.decode("utf-8", "surrogateescape")
    cleaned = clean_text(text)
    return body if cleaned == text else cleaned.encode("utf-8", "surrogateescape")


def clean_value(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Return the JSON *value* with the mark for every member that holds a secret, whatever its type."""
    if isinstance(value, dict):
        return {k: MARK if is_secret_member(k) else clean_value(v) for k, v in value.items()}
    return [clean_value(v) for v in value] if isinstance(value, list) else value


def clean_headers(headers: Headers) -> Headers:
    """Return *headers* with the values of secret fields replaced by the mark."""
    return tuple((name, MARK if is_secret_header(name) else clean_text(value)) for name, value in headers)


def clean_request(request: Request) -> Request:
    """Return *request* as it may be shown: target, headers and body without secrets."""
    body, headers = clean_body(request.body), clean_headers(request.headers)
    authority = request.authority.rpartition("@")[2]
    return Request(request.method, clean_text(request.target), headers, body, request.scheme, authority)


def secrets_of(interaction: Interaction) -> list[str]:
    """Say what in *interaction* looks like a secret, one short line each; the secret itself is never part of it."""
    request, response = interaction.request, interaction.response
    found = [f"request {line}" for line in _header_secrets(request.headers)]
    found += [f"path: {what}" for what in _keys(request.path)]
    found += [f"query parameter {name}" for name in _query_secrets(request.query)]
    found += ["user information in the URI"] if "@" in request.authority else []
    found += [f"request body: {line}" for line in _text_secrets(request.body)]
    found += [f"response {line}" for line in _header_secrets(response.headers)]
    return found + [f"response body: {line}" for line in _text_secrets(response.body)]


def _header_secrets(headers: Headers) -> Iterator[str]:
    for name, value in headers:
        if not is_secret_header(name):
            yield from (f"header {name}: {what}" for what in _keys(value))
        elif name.lower() not in _NOT_REPORTED and _is_real(value):
            yield f"header {name}"


def _query_secrets(query: str) -> Iterator[str]:
    for name, value in parse_qsl(query):
        if name.lower() in SECRET_QUERY and _is_real(value):
            yield name
        elif name.lower() not in SECRET_QUERY:
            yield from (f"{name}: {what}" for what in _keys(value))


def _text_secrets(body: bytes) -> Iterator[str]:
    text = body.decode("utf-8", "replace")
    found: set[str] = set()
    for part in (text, *unwrapped(text)):
        found |= {f"member {member['name']}" for member in _MEMBER.finditer(part) if _is_real_word(member["value"])}
        found |= {f"parameter {found[2]}" for found in _PARAMETER.finditer(f"&{part}") if _is_real_word(found[3])}
        found |= {f"form field {found[2]}" for found in _PART.finditer(part) if _is_real_word(found[3])}
    yield from _keys(text)
    yield from sorted(found)


def _keys(text: str) -> list[str]:
    """Name the kinds of keys in *text*, placeholders aside."""
    parts = [part for part in (text, *unwrapped(text)) if _ANY.search(part)]
    return sorted(
        {
            name
            for (name, _), pattern in _COMPILED.items()
            if any(map(_is_key, (key for part in parts for key in pattern.finditer(part))))
        }
    )


def _is_key(found: re.Match[str]) -> bool:
    # A long key may hold any word by chance: a placeholder says at its beginning that it is one.
    return not _PLACEHOLDER.search(found[0][:_TOLD_BY])


def _is_real(value: str) -> bool:
    """Tell a credential from the placeholders that are written where one was taken out."""
    return len(_token(value)) >= _LEAST_SECRET and not _PLACEHOLDER.search(value[:_TOLD_BY])


def _is_real_word(value: str) -> bool:
    """Tell a credential from placeholders and from prose."""
    return " " not in _token(value) and _is_real(value)


def _token(value: str) -> str:
    return value.rpartition(" ")[2] if value.lower().startswith(("bearer ", "basic ")) else value
