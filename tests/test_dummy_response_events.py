"""The events of a streamed response: their order, numbers and contents, folded again by the client's own code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from stubserver.dummy import response_events, responses, tokens
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request, header

few = settings(max_examples=40)  # the client's models take their time

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
BEGINNING = ["response.created", "response.in_progress"]
QUEUED = ["response.created", "response.queued", "response.in_progress"]


def asked(**body: Any) -> Request:
    return Request("POST", "/v1/responses", body=json.dumps({"model": "m", "input": "Hi", **body}).encode())


def whole(text: str, **body: Any) -> dict[str, Any]:
    request = asked(**body)
    return responses.answered(json.loads(request.body), request.body, DummySettings(text=text))


def with_call(arguments: str) -> dict[str, Any]:
    """Return a finished response whose one item is a function call."""
    item = {
        "id": "fc_1",
        "type": "function_call",
        "status": "completed",
        "arguments": arguments,
        "call_id": "call_1",
        "name": "f",
    }
    return whole("") | {"output": [item]}


def read(body: bytes) -> list[dict[str, Any]]:
    """Parse a stream strictly: each event is exactly its type and its data, and an empty line."""
    events = []
    for event in body.decode("utf-8").removesuffix("\n\n").split("\n\n"):
        kind, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {value['type']}"
        events.append(value)
    return events


def types(events: list[dict[str, Any]]) -> list[str]:
    """Return the types of *events*, runs of deltas as one."""
    names = [event["type"] for event in events]
    return [name for i, name in enumerate(names) if not i or name != names[i - 1] or not name.endswith(".delta")]


def folded(events: list[dict[str, Any]]) -> Any:
    """Fold events by the client's own code; None when it saw no response completed."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(EVENTS.validate_python(event))
    return state._completed_response


@given(text=st.text(), limit=st.none() | st.integers(16, 200), queued=st.booleans())
def test_a_text_is_streamed_in_the_apis_order(text: str, limit: int | None, *, queued: bool) -> None:
    answer = whole(text, max_output_tokens=limit)

    events = response_events.sequence(answer, queued=queued)

    end = "incomplete" if limit is not None and limit < 100 else "completed"
    assert types(events) == [
        *(QUEUED if queued else BEGINNING),
        "response.output_item.added",
        "response.content_part.added",
        *(["response.output_text.delta"] if text else []),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        f"response.{end}",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@given(arguments=st.text())
def test_a_call_is_streamed_in_the_apis_order(arguments: str) -> None:
    events = response_events.sequence(with_call(arguments))

    assert types(events) == [
        *BEGINNING,
        "response.output_item.added",
        *(["response.function_call_arguments.delta"] if arguments else []),
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@few
@given(text=st.text())
def test_the_client_folds_a_text_to_the_whole_answer(text: str) -> None:
    answer = whole(text)

    response = folded(read(response_events.stream(answer).body))

    assert response.output_text == text
    assert [item.id for item in response.output] == [item["id"] for item in answer["output"]]
    assert response.to_dict() | {"output": answer["output"]} == answer


@few
@given(arguments=st.text())
def test_the_client_folds_a_call_to_the_whole_answer(arguments: str) -> None:
    response = folded(read(response_events.stream(with_call(arguments)).body))

    (item,) = response.output
    assert (item.type, item.name, item.call_id, item.arguments) == ("function_call", "f", "call_1", arguments)


@given(text=st.text(st.characters(exclude_categories=())))
def test_deltas_are_the_splitters_pieces_and_join_to_the_text(text: str) -> None:
    events = read(response_events.stream(whole(text)).body)

    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert deltas == tokens.split(text)
    assert "".join(deltas) == text == done["text"] == events[-1]["response"]["output"][0]["content"][0]["text"]


def test_argument_deltas_join_to_the_arguments() -> None:
    arguments = '{"city":"Oslo","days":[1,2,3]}'

    events = response_events.sequence(with_call(arguments))

    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    (done,) = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert deltas == tokens.split(arguments)
    assert (done["arguments"], done["name"], done["item_id"], done["output_index"]) == (arguments, "f", "fc_1", 0)


def test_an_item_is_in_progress_and_empty_when_it_is_added() -> None:
    for answer, empty in ((whole("text"), {"content": []}), (with_call("{}"), {"arguments": ""})):
        added, done = [e["item"] for e in response_events.sequence(answer) if "output_item" in e["type"]]

        assert added == done | {"status": "in_progress"} | empty
        assert done == answer["output"][0]


def test_a_part_is_empty_when_it_is_added() -> None:
    added, done = [e["part"] for e in response_events.sequence(whole("text")) if "content_part" in e["type"]]

    assert added == {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    assert done == added | {"text": "text"}


def test_text_events_say_where_they_belong() -> None:
    answer = whole("some text")

    events = [e for e in response_events.sequence(answer) if "output_text" in e["type"] or "content_part" in e["type"]]

    where = {"item_id": answer["output"][0]["id"], "output_index": 0, "content_index": 0}
    assert all({name: event[name] for name in where} == where for event in events)
    assert all(event["logprobs"] == [] for event in events if "output_text" in event["type"])


@pytest.mark.parametrize("queued", [False, True])
def test_the_response_has_nothing_to_show_before_its_end(*, queued: bool) -> None:
    answer = whole("text", max_output_tokens=16)

    *before, last = [e for e in response_events.sequence(answer, queued=queued) if "response" in e]

    for event in before:
        assert event["response"]["status"] == ("queued" if event["type"] in QUEUED[: 2 * queued] else "in_progress")
        shown = {name: event["response"][name] for name in ("output", "usage", "completed_at", "incomplete_details")}
        assert shown == {"output": [], "usage": None, "completed_at": None, "incomplete_details": None}
        assert event["response"]["service_tier"] == "auto"
    assert last["response"] == answer


def test_a_requested_service_tier_stands_in_every_event() -> None:
    shown = [e["response"] for e in response_events.sequence(whole("", service_tier="flex")) if "response" in e]

    assert [response["service_tier"] for response in shown] == ["flex"] * 3


def test_a_cut_response_ends_as_incomplete() -> None:
    events = response_events.sequence(whole("text", max_output_tokens=16))

    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert folded(events) is None


def test_a_cancelled_response_has_no_items_and_no_end() -> None:
    cancelled = response_events.unfinished(whole("text"), "cancelled")

    assert types(response_events.sequence(cancelled, queued=True)) == QUEUED


@given(after=st.integers(-1, 40))
def test_a_stream_can_begin_after_an_event(after: int) -> None:
    answer = whole("Some text of a few words.")

    events = read(response_events.stream(answer).body)
    rest = response_events.stream(answer, after=after).body

    assert (read(rest) if rest else []) == events[after + 1 :]


def test_the_stream_is_marked_and_typed_as_one_and_has_no_done_line() -> None:
    response = response_events.stream(whole("text"))

    assert (response.status, response.events) == (200, True)
    assert header(response.headers, "content-type") == "text/event-stream; charset=utf-8"
    assert b"[DONE]" not in response.body
    assert response.body.endswith(b"\n\n")


@pytest.mark.parametrize(
    "body", [{}, {"max_output_tokens": 16}, {"background": True}, {"store": False}, {"instructions": "a\nb"}]
)
def test_creating_with_stream_gives_the_events_of_the_whole_answer(body: dict[str, Any]) -> None:
    request, settings = asked(stream=True, **body), DummySettings()

    response = responses.create(request, settings)

    answer = responses.answered(json.loads(request.body), request.body, settings)
    assert response == response_events.stream(answer, queued=bool(body.get("background")))
    assert read(response.body)[-1]["response"] == answer
    assert responses.create(request, settings) == response


def test_a_call_is_streamed_by_creating_with_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "arguments", lambda *_: '{"city":"Oslo"}')
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]

    events = read(responses.create(asked(stream=True, tools=tools, tool_choice="required"), DummySettings()).body)

    (item,) = folded(events).output
    assert (item.name, item.arguments) == ("f", '{"city":"Oslo"}')
