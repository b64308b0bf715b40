"""The shapes of what the admin API takes and gives, as JSON schemas: the ``components`` of its description."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["PARAMETERS", "PATTERN", "SCHEMAS", "ref"]

_Schema = dict[str, Any]

_TEXT: Final[_Schema] = {"type": "string"}
_COUNT: Final[_Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[_Schema] = {"type": "boolean"}
_MS: Final[_Schema] = {"type": ["number", "null"], "minimum": 0}
_ANY: Final[_Schema] = {}
_SOURCE: Final[_Schema] = {"enum": ["replayed", "recorded", "forwarded", "dummy", "unmatched", "fault"]}
_LONGEST: Final = 10_000
_MOST: Final = 10**15 - 1


def ref(name: str) -> _Schema:
    """Refer to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


def _object(members: dict[str, _Schema], *, needed: bool = True) -> _Schema:
    """Describe an object of exactly these members."""
    required = {"required": list(members)} if needed else {}
    return {"type": "object", "properties": members, **required, "additionalProperties": False}


def _listing(name: str, items: _Schema) -> _Schema:
    return _object({name: _list(items), "meta": _object({"total": _COUNT})})


def _with(base: _Schema, more: dict[str, _Schema], optional: tuple[str, ...] = ()) -> _Schema:
    members = {**base["properties"], **more}
    return {**_object(members), "required": [name for name in members if name not in optional]}


_STATUS: Final[_Schema] = {
    "type": ["string", "integer"],
    "pattern": "^[1-9]([0-9]{2}|[xX]{2})$",
    "minimum": 100,
    "maximum": 999,
}
_NAME: Final[_Schema] = {"type": "string", "maxLength": _LONGEST}

PATTERN: Final[dict[str, _Schema]] = {
    "since": {"type": "integer", "minimum": 0, "maximum": _MOST, "description": "Only requests with a larger id."},
    "source": {**_NAME, "description": "Where the answer came from."},
    "status": {**_STATUS, "description": "A status such as 404, or a class of them such as 4xx."},
    "method": _NAME,
    "path": {**_NAME, "description": "A part of the request's target."},
    "model": _NAME,
    "cassette": {**_NAME, "description": "The recording that was played, as <file>#<n>."},
    "body_contains": {**_NAME, "description": "A part of the request's body."},
    "q": {**_NAME, "description": "A text, in any case, anywhere in request or answer."},
}
"""What can be said of the requests that are meant, in a query as in JSON."""

_LIMIT: Final[_Schema] = {"type": "integer", "minimum": 0, "maximum": 10_000, "default": 1000}

PARAMETERS: Final[dict[str, _Schema]] = {
    **{name: {**schema, "maxLength": 500} if "maxLength" in schema else schema for name, schema in PATTERN.items()},
    "status": {**PATTERN["status"], "type": "string"},
    "limit": _LIMIT,
    "offset": {"type": "integer", "minimum": 0, "maximum": _MOST, "default": 0},
    "file": {"type": "string", "maxLength": 500, "description": "The file's name or label, whole."},
    "played": {"type": "boolean"},
}
"""The parameters of queries."""

_MESSAGE: Final[dict[str, _Schema]] = {
    "headers": _list({"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}),
    "body": _TEXT,
    "json": _ANY,
}
_EVENT: Final = _object({"at_ms": _MS, "data": _TEXT})
_ROW: Final = _object(
    {
        "id": _COUNT,
        "time": {"type": "number"},
        "method": _TEXT,
        "path": _TEXT,
        "model": {"type": ["string", "null"]},
        "stream": _FLAG,
        "source": _SOURCE,
        "cassette": _TEXT,
        "status": {"type": "integer"},
        "ttfb_ms": _MS,
        "duration_ms": _MS,
        "request_bytes": _COUNT,
        "response_bytes": _COUNT,
        "tokens": {
            "anyOf": [{"type": "null"}, _object({"prompt": {"type": "integer"}, "completion": {"type": "integer"}})]
        },
        "drift": _list(_TEXT),
        "fault": _TEXT,
        "note": _TEXT,
        "done": _FLAG,
    }
)
_INTERACTION: Final = _object(
    {
        "id": _TEXT,
        "file": _TEXT,
        "name": _TEXT,
        "number": _COUNT,
        "method": _TEXT,
        "path": _TEXT,
        "host": _TEXT,
        "status": {"type": "integer"},
        "model": {"type": ["string", "null"]},
        "stream": _FLAG,
        "size": _COUNT,
        "repeats": _COUNT,
        "played": _COUNT,
    }
)
_ANSWERED: Final = {
    "request": _object(_MESSAGE),
    "response": _object({"status": {"type": "integer"}, **_MESSAGE}),
}
_STREAMED: Final = _object(
    {"status": {"type": "integer"}, **_MESSAGE, "events": {"type": ["array", "null"], "items": _EVENT}}
)
_PACE: Final[_Schema] = {
    "type": "object",
    "properties": {
        "speed": {"type": ["number", "null"], "minimum": 0.000001, "maximum": 1_000_000},
        "ttft": {"type": ["number", "null"], "minimum": 0, "maximum": 3_600_000},
        "itl": {"type": ["number", "null"], "minimum": 0, "maximum": 3_600_000},
    },
    "additionalProperties": False,
}
_SPEC: Final[_Schema] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "required": ["fault"]}],
    "description": "As --fault takes it, or an object with fault and its options; `stubserver faults` lists them.",
    "examples": ["429,first=2", {"fault": "reset", "after-events": 3, "p": 0.1}],
}
_RATE: Final[_Schema] = {**_TEXT, "examples": ["rpm=60,tpm=90000,model=gpt-4o*"]}
_CHANGES: Final = {
    "fallback": {"enum": ["dummy", "error", "forward"]},
    "pace": _PACE,
    "faults": {"type": "array", "items": _SPEC, "maxItems": 1000},
    "limits": {"type": "array", "items": _RATE, "maxItems": 1000},
    "fault_triggers": _FLAG,
    "fault_seed": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
}
_SET: Final = {**_CHANGES, "faults": _list(_TEXT), "limits": _list(_TEXT)}

SCHEMAS: Final[dict[str, _Schema]] = {
    "Error": _object(
        {
            "error": {
                **_object({"message": _TEXT, "type": _TEXT, "param": {"type": ["string", "null"]}, "code": _TEXT}),
            }
        }
    ),
    "Health": _object({"status": {"const": "healthy"}, "version": _TEXT, "uptime_seconds": {"type": "number"}}),
    "RequestRow": _ROW,
    "Requests": _listing("requests", ref("RequestRow")),
    "Request": _with(
        _ROW,
        {"request": _object(_MESSAGE), "response": _STREAMED, "near_misses": _list(ref("NearMiss"))},
        ("near_misses",),
    ),
    "Pattern": _object(PATTERN, needed=False),
    "Find": _object({**PATTERN, "limit": _LIMIT}, needed=False),
    "Wait": _object(
        {
            **PATTERN,
            "count": {"type": "integer", "minimum": 0, "maximum": 10_000, "default": 1},
            "timeout": {"type": "number", "minimum": 0, "maximum": 300, "default": 10, "description": "Seconds."},
        },
        needed=False,
    ),
    "Count": _object({"count": _COUNT}),
    "Waited": _object({"reached": _FLAG, "count": _COUNT, "requests": _list(ref("RequestRow"))}),
    "Difference": _object({"path": _TEXT, "recorded": _TEXT, "received": _TEXT}),
    "NearMiss": _object({"cassette": _TEXT, "differences": _list(ref("Difference"))}),
    "Misses": _listing("near_misses", _object({"request": ref("RequestRow"), "near_misses": _list(ref("NearMiss"))})),
    "DryRun": {
        "type": "object",
        "properties": {
            "method": {"type": "string", "pattern": "^[A-Za-z]+$", "default": "POST"},
            "path": {"type": "string", "pattern": '^/[!"$-~]*$', "maxLength": 16_384},
            "headers": {"type": "object", "additionalProperties": _TEXT},
            "body": _TEXT,
            "json": _ANY,
        },
        "required": ["path"],
        "not": {"required": ["body", "json"]},
        "additionalProperties": False,
    },
    "Would": _object(
        {
            "answer": _object(
                {"source": _SOURCE, "cassette": _TEXT, "other_stream_mode": _FLAG, "drift": _list(_TEXT)}
            ),
            "note": _TEXT,
            "near_misses": _list(ref("NearMiss")),
        }
    ),
    "RecordNext": _object({"id": _COUNT, "record_next": {"const": True}}),
    "InteractionRow": _INTERACTION,
    "Interactions": _listing("interactions", ref("InteractionRow")),
    "Interaction": _with(_INTERACTION, _ANSWERED),
    "CassetteFile": _object(
        {
            "file": _TEXT,
            "name": _TEXT,
            "interactions": _COUNT,
            "played": _COUNT,
            "size": _COUNT,
            "skipped": _COUNT,
            "problems": _list(_TEXT),
        }
    ),
    "Cassettes": _listing("cassettes", ref("CassetteFile")),
    "Settings": _object({**_SET, "read_only": {"type": "object"}}),
    "Changes": _object(_CHANGES, needed=False),
    "Verdict": _object(
        {
            "passed": _FLAG,
            "requests": _COUNT,
            "attempts": _COUNT,
            "failed": _COUNT,
            "findings": _list(_object({"what": _TEXT, "request": _TEXT, "detail": _TEXT, "entries": _list(_COUNT)})),
            "forgotten": _COUNT,
        }
    ),
    "Nothing": {**_object({}), "description": "Nothing need be said; an empty object may be."},
}
