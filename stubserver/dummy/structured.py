"""Answers that are JSON: what ``response_format``, and vLLM's members for the same, ask for."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from stubserver.dummy import body as read
from stubserver.dummy import prompted
from stubserver.dummy.errors import APIError, json_bytes
from stubserver.jsonvalue import NOT_JSON, json_value

__all__ = ["instance", "requested"]

_FORMATS: Final = ("json_object", "json_schema", "text")


def instance(schema: object, what: str, param: str, code: str = "invalid_json_schema") -> str:
    """Write the smallest JSON that is valid for *schema*; where there is none, that is the API's 400."""
    from stubserver.dummy.schema import UnsatisfiableError, smallest  # noqa: PLC0415  # only schemas need it

    try:
        return json_bytes(smallest(schema)).decode("utf-8")
    except UnsatisfiableError as error:
        raise APIError(f"Invalid schema for {what}: {error}", param, code) from error


def requested(body: dict[str, Any]) -> str | None:
    """Return the text that a body asks for by its form, or None when any text will do."""
    if body.get("response_format") is not None:
        answer = _formatted(body, "response_format")
        if answer is not None:
            return answer
    if body.get("guided_json") is not None:
        return _of_schema(body["guided_json"], "guided_json")
    read.an_object(body, "structured_outputs")
    wanted = body.get("structured_outputs") or {}
    if wanted.get("json") is not None:
        return _of_schema(wanted["json"], "structured_outputs.json")
    if wanted.get("json_object"):
        return prompted.wanted(body.get("messages")) or "{}"
    return prompted.block(body["messages"]) if "messages" in body else None


def _formatted(body: dict[str, Any], name: str) -> str | None:
    read.an_object(body, name)
    form = body[name]
    read.needs(name, form, "type", partial(read.one_of, names=_FORMATS, more=("structural_tag",)))  # vLLM's
    if form["type"] == "json_object":
        _check_word_json(body, name)
        if form.get("schema") is not None:  # llama.cpp's
            return _of_schema(form["schema"], f"{name}.schema")
        return prompted.wanted(body.get("messages")) or "{}"
    if form["type"] != "json_schema":
        return None
    where = f"{name}.json_schema"
    read.needs(name, form, "json_schema", read.an_object)
    given = form["json_schema"]
    read.needs(where, given, "name", read.string)
    read.needs(where, given, "schema", read.an_object)
    return instance(given["schema"], f"response_format '{given['name'][:100]}'", name)


def _of_schema(schema: object, name: str) -> str:
    """Write an instance of a schema that may itself be written as JSON text."""
    if isinstance(schema, str):
        schema = json_value(schema.encode("utf-8", "surrogatepass"))
    if schema is NOT_JSON or not isinstance(schema, dict):
        raise read.invalid_type(name, "an object", "" if schema is NOT_JSON else schema)
    return instance(schema, name, name)


def _check_word_json(body: dict[str, Any], name: str) -> None:
    """Refuse JSON mode when nothing in the messages speaks of JSON; completions have none."""
    if "messages" in body and "json" not in str(body["messages"]).lower():
        text = f"'messages' must contain the word 'json' in some form, to use '{name}' of type 'json_object'."
        raise APIError(text, "messages")
