"""What was created and is asked for again: the bounded store, and the routes that read it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response as ClientResponse
from openai.types.responses import response_item_list

from stubserver.dummy import response_events, response_store, responses
from stubserver.dummy.errors import APIError
from stubserver.dummy.response_store import ResponseStore
from stubserver.dummy.settings import DummySettings
from stubserver.messages import Request, Response

SETTINGS = DummySettings()


@pytest.fixture
def store() -> ResponseStore:
    return ResponseStore()


def asked(**body: Any) -> Request:
    return Request("POST", "/v1/responses", body=json.dumps({"model": "m", "input": "Hi", **body}).encode())


def created(store: ResponseStore, /, **body: Any) -> Any:
    """Create a response as the server does: answered, then kept."""
    request = asked(**body)
    answer = responses.create(request, SETTINGS)
    response_store.keep(request, answer, store)
    if answer.events:
        return json.loads(answer.body.rsplit(b"data: ", 1)[1])["response"]
    return json.loads(answer.body)


def get(store: ResponseStore, name: str, query: str = "") -> Response:
    request = Request("GET", f"/v1/responses/{name}{query}")
    return response_store.retrieve(request, SETTINGS, store, name)


def cancelled(store: ResponseStore, name: str) -> Any:
    request = Request("POST", f"/v1/responses/{name}/cancel")
    return told(response_store.cancel(request, SETTINGS, store, name))


def deleted(store: ResponseStore, name: str) -> Any:
    return told(response_store.delete(Request("DELETE", f"/v1/responses/{name}"), SETTINGS, store, name))


def items(store: ResponseStore, name: str, query: str = "") -> Any:
    request = Request("GET", f"/v1/responses/{name}/input_items{query}")
    value = told(response_store.input_items(request, SETTINGS, store, name))
    if value["data"]:
        response_item_list.ResponseItemList.model_validate(value)
    return value


def told(response: Response) -> Any:
    assert response.status == 200
    return json.loads(response.body)


def error_of(error: APIError) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(error.response().body)["error"]
    return {"status": error.status, **value}


def test_what_was_created_can_be_had_again(store: ResponseStore) -> None:
    value = created(store, metadata={"a": "b"})

    again = told(get(store, value["id"]))

    ClientResponse.model_validate(again)
    assert again == value


def test_what_was_streamed_can_be_had_whole_and_as_events(store: ResponseStore) -> None:
    value = created(store, stream=True)

    assert told(get(store, value["id"])) == value
    assert get(store, value["id"], "?stream=true") == response_events.stream(value)


def test_what_was_created_whole_can_be_had_as_events(store: ResponseStore) -> None:
    value = created(store)

    assert get(store, value["id"], "?stream=true") == response_events.stream(value)
    assert get(store, value["id"], "?stream=true&starting_after=3") == response_events.stream(value, after=3)
    assert get(store, value["id"], "?stream=false") == get(store, value["id"])


def test_what_is_not_to_be_stored_is_not(store: ResponseStore) -> None:
    value = created(store, store=False)

    assert len(store) == 0
    with pytest.raises(APIError):
        get(store, value["id"])


def test_errors_are_not_kept(store: ResponseStore) -> None:
    request = asked(model=None)
    with pytest.raises(APIError) as caught:
        responses.create(request, SETTINGS)

    response_store.keep(request, caught.value.response(), store)

    assert len(store) == 0


def test_the_same_request_is_kept_once(store: ResponseStore) -> None:
    assert created(store)["id"] == created(store)["id"]
    assert len(store) == 1


def test_what_was_deleted_is_gone_until_it_is_created_again(store: ResponseStore) -> None:
    name = created(store)["id"]

    assert deleted(store, name) == {"id": name, "object": "response.deleted", "deleted": True}
    with pytest.raises(APIError):
        get(store, name)
    with pytest.raises(APIError):
        deleted(store, name)
    assert created(store)["id"] == name
    assert told(get(store, name))["id"] == name


@pytest.mark.parametrize("ask", [get, cancelled, deleted, items])
def test_an_unknown_id_is_not_found_in_the_apis_words(ask: Any, store: ResponseStore) -> None:
    with pytest.raises(APIError) as caught:
        ask(store, "resp_none")

    assert error_of(caught.value) == {
        "status": 404,
        "message": "Response with id 'resp_none' not found.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_what_runs_in_the_background_is_completed_when_it_is_looked_at(store: ResponseStore) -> None:
    value = created(store, background=True)

    again = told(get(store, value["id"]))

    assert (value["status"], again["status"]) == ("queued", "completed")
    assert again["output"][0]["content"][0]["text"] == SETTINGS.text
    assert again["id"] == value["id"]


def test_what_runs_in_the_background_can_be_cancelled_before_it_is_seen(store: ResponseStore) -> None:
    name = created(store, background=True)["id"]

    value = cancelled(store, name)

    ClientResponse.model_validate(value)
    assert (value["id"], value["status"], value["output"], value["usage"]) == (name, "cancelled", [], None)
    assert cancelled(store, name) == told(get(store, name)) == value


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_seen_completed_stays_completed(*, stream: bool, store: ResponseStore) -> None:
    name = created(store, background=True, stream=stream)["id"]
    if not stream:
        get(store, name)

    assert cancelled(store, name) == told(get(store, name))
    assert told(get(store, name))["status"] == "completed"


def test_asking_again_for_the_same_in_the_background_begins_anew(store: ResponseStore) -> None:
    name = created(store, background=True)["id"]
    cancelled(store, name)

    assert created(store, background=True)["status"] == "queued"
    assert told(get(store, name))["status"] == "completed"


def test_events_of_what_ran_in_the_background_begin_with_its_waiting(store: ResponseStore) -> None:
    name = created(store, background=True)["id"]

    body = get(store, name, "?stream=true").body

    kinds = [line for line in body.decode().splitlines() if line.startswith("event: ")]
    assert kinds[:3] == ["event: response.created", "event: response.queued", "event: response.in_progress"]
    assert kinds[-1] == "event: response.completed"


def test_what_does_not_run_in_the_background_cannot_be_cancelled(store: ResponseStore) -> None:
    name = created(store)["id"]

    with pytest.raises(APIError) as caught:
        cancelled(store, name)

    assert error_of(caught.value) == {
        "status": 400,
        "message": "Cannot cancel a synchronous response.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert told(get(store, name))["status"] == "completed"


def test_a_text_is_one_message_of_the_user(store: ResponseStore) -> None:
    value = items(store, created(store)["id"])

    (item,) = value["data"]
    assert item == {
        "id": item["id"],
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
    }
    assert item["id"].startswith("msg_")
    assert value == {"object": "list", "data": [item], "first_id": item["id"], "last_id": item["id"], "has_more": False}


IMAGE = {"type": "input_image", "image_url": "https://example.com/a.png"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (
            {"role": "assistant", "content": "Hello"},
            {
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello"}],
            },
        ),
        (
            {"role": "user", "content": [IMAGE]},
            {
                "type": "message",
                "status": "completed",
                "role": "user",
                "content": [IMAGE | {"detail": "auto", "file_id": None}],
            },
        ),
        (
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "status": None},
            {"type": "function_call", "status": "completed", "call_id": "call_1", "name": "f", "arguments": "{}"},
        ),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
            {"type": "function_call_output", "status": "completed", "call_id": "call_1", "output": "ok"},
        ),
        ({"type": "reasoning", "summary": []}, {"type": "reasoning", "summary": []}),
    ],
    ids=["assistant", "image", "call", "output", "reasoning"],
)
def test_items_are_shown_in_full_with_an_id(given: dict[str, Any], shown: dict[str, Any], store: ResponseStore) -> None:
    (item,) = items(store, created(store, input=[given])["id"])["data"]

    assert item == shown | {"id": item["id"]}


def test_items_keep_the_ids_they_were_given(store: ResponseStore) -> None:
    given = {"id": "msg_mine", "role": "user", "content": "a"}

    assert items(store, created(store, input=[given])["id"])["first_id"] == "msg_mine"


def test_no_input_is_no_items(store: ResponseStore) -> None:
    name = created(store, input=None, previous_response_id="resp_1")["id"]

    assert items(store, name) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@given(count=st.integers(1, 45), limit=st.integers(1, 20), order=st.sampled_from(["asc", "desc", None]))
def test_pages_hold_every_item_once_in_order(count: int, limit: int, order: str | None) -> None:
    store = ResponseStore()
    name = created(store, input=[{"role": "user", "content": str(i)} for i in range(count)])["id"]
    query = f"?limit={limit}" + (f"&order={order}" if order else "")

    page = items(store, name, query)
    found = page["data"]
    while page["has_more"]:
        page = items(store, name, f"{query}&after={page['last_id']}")
        found += page["data"]

    texts = [item["content"][0]["text"] for item in found]
    assert len(page["data"]) <= limit
    assert texts == [str(i) for i in (range(count) if order == "asc" else reversed(range(count)))]
    assert len({item["id"] for item in found}) == count


def test_a_page_has_twenty_items_unless_asked_otherwise(store: ResponseStore) -> None:
    name = created(store, input=[{"role": "user", "content": "a"}] * 21)["id"]

    assert len(items(store, name)["data"]) == 20
    assert items(store, name)["has_more"] is True


@pytest.mark.parametrize(
    ("query", "message", "code"),
    [
        (
            "?limit=0",
            "Invalid 'limit': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            "integer_below_min_value",
        ),
        (
            "?limit=101",
            "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead.",
            "integer_above_max_value",
        ),
        ("?limit=x", "Invalid type for 'limit': expected an integer, but got a string instead.", "invalid_type"),
        ("?order=up", "Invalid value: 'up'. Supported values are: 'asc' and 'desc'.", "invalid_value"),
    ],
)
def test_wrong_queries_are_refused(query: str, message: str, code: str, store: ResponseStore) -> None:
    name = created(store)["id"]

    with pytest.raises(APIError) as caught:
        items(store, name, query)

    assert (str(caught.value), caught.value.code, caught.value.status) == (message, code, 400)


def test_a_wrong_starting_point_of_a_stream_is_refused(store: ResponseStore) -> None:
    name = created(store)["id"]

    with pytest.raises(APIError, match="Invalid type for 'starting_after': expected an integer"):
        get(store, name, "?stream=true&starting_after=-1")


def test_the_oldest_go_first_when_there_are_too_many() -> None:
    store = ResponseStore(count=3)

    for name in "abcd":
        store.put(name, b"{}")

    assert [name for name in "abcd" if store.get(name)] == ["b", "c", "d"]


def test_the_oldest_go_first_when_there_is_too_much_of_them() -> None:
    store = ResponseStore(size=10_000)

    for name in "abcd":
        store.put(name, b"x" * 3000)

    assert [name for name in "abcd" if store.get(name)] == ["b", "c", "d"]


def test_one_that_is_too_large_alone_is_not_kept() -> None:
    store = ResponseStore(size=1000)
    store.put("a", b"x")

    store.put("b", b"x" * 1000)

    assert len(store) == 0


def test_what_is_put_again_is_the_newest() -> None:
    store = ResponseStore(count=2)

    for name in "abac":
        store.put(name, b"{}")

    assert [name for name in "abc" if store.get(name)] == ["a", "c"]


@given(steps=st.lists(st.tuples(st.sampled_from(["put", "drop"]), st.sampled_from("abcde"), st.integers(0, 900))))
def test_the_store_never_holds_more_than_it_may_and_counts_right(steps: list[tuple[str, str, int]]) -> None:
    store = ResponseStore(count=3, size=2000)

    for step, name, size in steps:
        if step == "put":
            store.put(name, b"x" * size)
        else:
            store.drop(name)

        held = [kept for kept in map(store.get, "abcde") if kept]
        assert len(store) == len(held) <= 3
        assert store._used == sum(len(kept.body) + response_store._OVERHEAD for kept in held) <= 2000


def test_many_threads_leave_a_store_that_counts_right() -> None:
    store = ResponseStore(count=50, size=10**6)

    def work(number: int) -> None:
        for i in range(300):
            name = f"r{(number * 7 + i) % 80}"
            store.put(name, b"x" * (i % 50))
            store.settle(name, "completed")
            if i % 3 == 0:
                store.drop(name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    held = [kept for kept in (store.get(f"r{i}") for i in range(80)) if kept]
    assert len(held) == len(store) <= 50
    assert store._used == sum(len(kept.body) + response_store._OVERHEAD for kept in held)


def test_only_one_of_many_threads_settles_how_a_response_ended() -> None:
    store = ResponseStore()
    store.put("a", b"{}")

    with ThreadPoolExecutor(8) as pool:
        ends = set(pool.map(lambda i: store.settle("a", "completed" if i % 2 else "cancelled"), range(64)))

    assert ends == {store.get("a")}
