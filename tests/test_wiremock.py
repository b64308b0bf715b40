from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from stubserver.interchange import Carried, Lost, wiremock
from stubserver.interchange.wiremock import Turn
from stubserver.messages import Interaction, Request, Response

DATA = Path(__file__).parent / "data" / "interchange"
BASE = "https://api.openai.com"
LOOSE = "the stub takes bodies with more in them, or in another order; the recording takes this one alone"


def mapping(**changes: Any) -> dict[str, Any]:
    """Make a mapping; ``request__url`` changes a part of its request."""
    made: dict[str, Any] = {
        "request": {"method": "POST", "url": "/v1/x", "bodyPatterns": [{"equalToJson": '{"a":1}'}]},
        "response": {"status": 200, "body": "hi", "headers": {"content-type": "text/plain", "x": ["1", "2"]}},
    }
    for name, value in changes.items():
        *parts, last = name.split("__")
        place = made
        for part in parts:
            place = place[part]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return made


def read(path: Path, *mappings: Any) -> list[Carried | Lost]:
    path.write_text(json.dumps({"mappings": mappings}), "utf-8")
    return list(wiremock.read(path, BASE))


def test_what_wiremock_recorded_as_a_proxy() -> None:
    found = list(wiremock.read(DATA / "wiremock", BASE))

    carried = [each for each in found if isinstance(each, Carried)]
    assert [each.why for each in found if isinstance(each, Lost)] == ["it matches the parts of a form, or by a program"]
    assert len(carried) == 8
    assert {each.notes for each in carried} == {(LOOSE,), ()}
    streamed = next(each.interaction for each in carried if each.interaction.response.events)
    assert streamed.response.body.endswith(b"data: [DONE]\n\n")
    assert json.loads(streamed.request.body)["stream"] is True
    assert {each.interaction.request.target for each in carried} >= {"/v1/models", "/v1/models?limit=2&after=a%20b"}


def test_what_its_admin_api_gives_with_scenarios_in_their_order() -> None:
    found = list(wiremock.read(DATA / "wiremock-mappings.json", BASE))

    assert [each.why for each in found if isinstance(each, Lost)] == [
        "it matches its body by a pattern",
        "it stands for more than one method",
    ]
    assert [each.where[-2:].strip() for each in found[-2:]] == ["1", "3"]
    assert "/v1/models?limit=2&after=a%20b" in [e.interaction.request.target for e in found if isinstance(e, Carried)]


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"response__body": ..., "response__jsonBody": {"é": 1}}, '{"é": 1}'.encode()),
        ({"response__body": ..., "response__base64Body": "/w=="}, b"\xff"),
        ({"response__body": ...}, b""),
        ({"response__headers": {"content-encoding": "gzip"}}, b"hi"),
    ],
)
def test_answers(tmp_path: Path, changes: dict[str, Any], body: bytes) -> None:
    (found,) = read(tmp_path / "a.json", mapping(**changes))

    assert isinstance(found, Carried)
    assert found.interaction.response.body == body
    assert "content-encoding" not in dict(found.interaction.response.headers)


@pytest.mark.parametrize(
    ("pattern", "body"),
    [
        ({"equalToJson": {"é": [1]}}, '{"é": [1]}'.encode()),
        ({"equalTo": "a=b"}, b"a=b"),
        ({"binaryEqualTo": "/w=="}, b"\xff"),
    ],
)
def test_requests(tmp_path: Path, pattern: dict[str, Any], body: bytes) -> None:
    (found,) = read(tmp_path / "a.json", mapping(request__bodyPatterns=[pattern]))

    assert isinstance(found, Carried)
    assert found.interaction.request.body == body


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"request__urlPattern": "/.*", "request__url": ...}, "it matches its path by a pattern, or takes any"),
        ({"request__method": "ANY"}, "it stands for more than one method"),
        ({"request__bodyPatterns": ...}, "it takes any body, so there is no request that could be kept"),
        ({"request__bodyPatterns": [{"contains": "a"}]}, "it matches its body by a pattern"),
        ({"request__bodyPatterns": [{"equalTo": "a"}, {"equalTo": "b"}]}, "it matches its body by a pattern"),
        (
            {"request__bodyPatterns": [{"equalToJson": '{"a":"${json-unit.any-string}"}'}]},
            "it matches its body by a pattern",
        ),
        ({"request__bodyPatterns": [{"binaryEqualTo": "*"}]}, "what should be base64 is not"),
        ({"request__queryParameters": {"a": {"matches": "."}}}, "it matches its query by a pattern"),
        ({"response__fault": "EMPTY_RESPONSE"}, "its answer is a fault"),
        ({"response__proxyBaseUrl": "http://a.test"}, "its answer is another server's answer"),
        ({"response__transformers": ["response-template"]}, "its answer is made by a template"),
        ({"response": ...}, "it has no request or no response"),
    ],
)
def test_what_cannot_be_carried_says_why(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = tmp_path / "a.json"

    assert read(path, mapping(), mapping(**changes))[1:] == [Lost(f"{path}, mapping 2", why)]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link", "none", "a\0b", "\ud800", "x" * 5000, "{{x}}"])
def test_a_mapping_names_no_file_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "wm" / "__files").mkdir(parents=True)
    (tmp_path / "wm" / "mappings").mkdir()
    (tmp_path / "wm" / "__files" / "link").symlink_to(tmp_path / "secret")
    file = tmp_path / "wm" / "mappings" / "a.json"
    file.write_text(json.dumps(mapping(response__body=..., response__bodyFileName=name)))

    (found,) = wiremock.read(tmp_path / "wm", BASE)

    assert isinstance(found, Lost)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    changes = {"priority": 1, "request__headers": {"a": {"equalTo": "b"}}, "response__fixedDelayMilliseconds": 5}

    (found,) = read(tmp_path / "a.json", mapping(**changes))

    assert isinstance(found, Carried)
    assert found.notes == (
        "its delay is left out",
        "what it asks of headers is left out: a recording matches without them",
        "its priority is left out",
    )


def test_a_scenario_without_a_beginning_is_no_order(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    state = mapping(scenarioName="s", requiredScenarioState="later")

    assert read(path, state) == [
        Lost(f"{path}, mapping 1", "the state that it needs does not come in a row in scenario 's'")
    ]


def test_a_file_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"mappings": [mapping(), mapping()]})[:-20])

    first, last = wiremock.read(path, BASE)

    assert isinstance(first, Carried)
    assert last == Lost(f"{path}, after mapping 1", "it is no sound JSON object, or was cut off")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    bodies = [b'{"a": 1}', b"plain", b"\xff"]
    found = [
        Interaction(
            Request.from_uri("POST", f"{BASE}/v1/x?y=1", (), body),
            Response(201, (("a", "1"), ("a", "2")), body, "Made"),
        )
        for body in bodies
    ]
    path = tmp_path / "a.json"
    path.write_bytes(b"".join(wiremock.document((each, Turn("t", 1, 1)) for each in found)))

    again = [each.interaction for each in wiremock.read(path, BASE) if isinstance(each, Carried)]

    assert [i.response for i in again] == [i.response for i in found]
    assert [(i.request.uri, i.request.body) for i in again] == [(i.request.uri, i.request.body) for i in found]


def test_equal_requests_are_a_scenario_whose_last_answer_stays(tmp_path: Path) -> None:
    request = Request.from_uri("GET", f"{BASE}/v1/x")
    answers = [Interaction(request, Response(200, (), b"%d" % n)) for n in range(3)]
    path = tmp_path / "a.json"
    path.write_bytes(b"".join(wiremock.document((each, Turn("t", n, 3)) for n, each in enumerate(answers, 1))))

    states = [(m["requiredScenarioState"], m.get("newScenarioState")) for m in json.loads(path.read_text())["mappings"]]

    assert states == [("Started", "turn 2"), ("turn 2", "turn 3"), ("turn 3", None)]
    assert [each[1].response.body for each in wiremock.read(path, BASE) if isinstance(each, Carried)] == [
        b"0",
        b"1",
        b"2",
    ]


def test_requests_are_the_same_that_wiremock_takes_for_one() -> None:
    one, other = (Request("POST", "/x", body=body) for body in (b'{"a":1,"b":2}', b'{"b": 2, "a": 1}'))

    assert wiremock.same(one) == wiremock.same(other)
    assert wiremock.same(one) != wiremock.same(one._replace(body=b'{"a":1,"b":3}'))
    assert wiremock.same(one._replace(body=b"x")) != wiremock.same(one._replace(body=base64.b64encode(b"x")))
