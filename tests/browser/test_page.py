"""The page of the admin API, in a real Chromium: what a person sees and does there."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from faulty_upstream import upstream
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from tapes import ask, completion, events, recorded, tape

from stubserver import StubServer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 15
FRANCE = {
    "model": "gemma-3-270m",
    "max_tokens": 32,
    "temperature": 0,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>\'"`${window.hacked=3}\u202e'

Driver = webdriver.Chrome
Shoot = Callable[[str], Path]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer(ROOT / "cassettes", fallback="error") as stub:
        yield stub


def post(stub: StubServer, body: Any = FRANCE, path: str = "/v1/chat/completions") -> requests.Response:
    return requests.post(stub.url + path, json=body, timeout=PATIENCE)


def open_page(driver: Driver, stub: StubServer, place: str = "") -> None:
    driver.get(f"{stub.url}/__admin/{place}")
    until(driver, lambda: text(driver, "#state") == "live")


def until(driver: Driver, found: Callable[[], Any]) -> Any:
    wait = WebDriverWait(driver, PATIENCE, 0.05, [StaleElementReferenceException])
    return wait.until(lambda _: found())


def all_of(driver: Driver, selector: str) -> list[Any]:
    return driver.find_elements(By.CSS_SELECTOR, selector)


def one(driver: Driver, selector: str) -> Any:
    return driver.find_element(By.CSS_SELECTOR, selector)


def text(driver: Driver, selector: str) -> str:
    return one(driver, selector).text


def rows(driver: Driver) -> list[str]:
    """Read the rows that are in the page, from the top."""
    script = "return [...document.querySelectorAll('#list .row')].map((row) => row.getAttribute('aria-label'))"
    labels: list[str] = driver.execute_script(script)
    return labels


def counts(driver: Driver) -> dict[str, str]:
    script = (
        "return [...document.querySelectorAll('#counts div')].map((d) => [...d.children].map((c) => c.textContent))"
    )
    return dict(driver.execute_script(script))


def shown(driver: Driver) -> str:
    return text(driver, "#shown")


def press(driver: Driver, name: str) -> None:
    until(driver, lambda: [b for b in all_of(driver, "button") if b.is_displayed() and b.text == name])[0].click()


def test_page_without_a_request_says_where_to_point_a_client(driver: Driver) -> None:
    with StubServer() as stub:
        open_page(driver, stub)
        assert f"OPENAI_BASE_URL={stub.base_url}" in text(driver, "#empty")
        one(driver, "#to-cassettes").click()
        until(driver, lambda: "No cassettes are served" in text(driver, "#files"))


def test_page_lists_what_was_asked_the_newest_first(driver: Driver, stub: StubServer, shoot: Shoot) -> None:
    post(stub)
    post(stub, ask("never recorded"))
    requests.get(f"{stub.url}/v1/models", timeout=PATIENCE)

    open_page(driver, stub)

    until(driver, lambda: len(rows(driver)) == 3)
    assert [row.split(", ")[0] for row in rows(driver)] == ["replayed", "unmatched", "replayed"]
    assert "GET /v1/models" in rows(driver)[0]
    assert "status 404" in rows(driver)[1]
    until(driver, lambda: {"requests": "3", "replayed": "2", "unmatched": "1"}.items() <= counts(driver).items())
    shoot("requests")


def test_page_goes_on_by_itself(driver: Driver, stub: StubServer) -> None:
    open_page(driver, stub)
    for number in range(1, 4):
        post(stub)
        until(driver, lambda number=number: len(rows(driver)) == number)
    until(driver, lambda: all_of(driver, "#rate rect.replayed"))
    until(driver, lambda: "p50" in text(driver, "#latency-now"))


def test_pause_holds_the_list_and_go_on_takes_it_up(driver: Driver, stub: StubServer) -> None:
    open_page(driver, stub)
    press(driver, "Pause")
    post(stub)
    until(driver, lambda: "1 waiting" in shown(driver))
    assert rows(driver) == []
    press(driver, "Go on")
    until(driver, lambda: len(rows(driver)) == 1)


def test_filters_by_source_status_and_text(driver: Driver, stub: StubServer) -> None:
    post(stub)
    post(stub, ask("a rare needle"))
    requests.get(f"{stub.url}/v1/models", timeout=PATIENCE)
    open_page(driver, stub)
    until(driver, lambda: len(rows(driver)) == 3)

    one(driver, "#sources .replayed").click()
    until(driver, lambda: len(rows(driver)) == 1)
    one(driver, "#sources .replayed").click()
    Select(one(driver, "#status")).select_by_value("2")
    until(driver, lambda: shown(driver) == "2 of 3")
    Select(one(driver, "#status")).select_by_value("")
    one(driver, "#search").send_keys("MODELS")
    until(driver, lambda: len(rows(driver)) == 1)
    one(driver, "#search").clear()
    one(driver, "#search").send_keys("needle")
    until(driver, lambda: "unmatched" not in "".join(rows(driver)))
    one(driver, "#in-bodies").click()
    until(driver, lambda: [row.split(", ")[0] for row in rows(driver)] == ["unmatched"])
    one(driver, "#search").clear()
    one(driver, "#search").send_keys("no such thing")
    until(driver, lambda: "No request fits" in text(driver, "#empty"))


def test_keyboard_alone_opens_and_closes_a_request(driver: Driver, stub: StubServer, shoot: Shoot) -> None:
    post(stub)
    post(stub, {**FRANCE, "stream": True})
    open_page(driver, stub)
    until(driver, lambda: len(rows(driver)) == 2)

    one(driver, "#list").send_keys(Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)

    until(driver, lambda: "What is the capital of France?" in text(driver, "#detail"))
    assert "Paris" in text(driver, "#detail .turn.assistant")
    assert one(driver, "#list").get_attribute("aria-activedescendant") == "request-2"
    press(driver, "Events")
    until(driver, lambda: all_of(driver, "#detail svg.events line"))
    assert "[DONE]" in text(driver, "#detail")
    shoot("events")
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(driver, lambda: not one(driver, "#detail").is_displayed())
    one(driver, "body").send_keys("/")
    assert driver.switch_to.active_element.get_attribute("id") == "search"


def test_request_is_shown_as_conversation_json_headers_and_curl(driver: Driver, stub: StubServer) -> None:
    post(stub)
    open_page(driver, stub, "#request/1")
    until(driver, lambda: "Paris" in text(driver, "#detail"))

    press(driver, "Request JSON")
    assert json.loads(text(driver, "#detail pre")) == FRANCE
    press(driver, "Answer JSON")
    assert json.loads(text(driver, "#detail pre"))["choices"][0]["message"]["content"].strip() == "Paris"
    press(driver, "Headers")
    assert "x-stubserver-source replayed" in text(driver, "#detail table:last-of-type")
    driver.execute_script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    press(driver, "Copy as curl")
    command = until(driver, lambda: driver.execute_script("return window.copied"))
    assert command.startswith(f"curl '{stub.url}/v1/chat/completions' -X 'POST'")
    assert command.endswith(f"--data-binary '{json.dumps(FRANCE)}'")


def test_miss_is_explained_side_by_side(driver: Driver, stub: StubServer, shoot: Shoot) -> None:
    post(stub, {**FRANCE, "messages": [{"role": "user", "content": "What is the capital of Peru?"}]})
    open_page(driver, stub, "#request/1")

    until(driver, lambda: all_of(driver, "#detail table.differences"))
    cells = [cell.text for cell in all_of(driver, "#detail table.differences:first-of-type td")][:3]
    assert cells == ["messages[0].content", "What is the capital of France?", "What is the capital of Peru?"]
    shoot("miss")
    one(driver, "#detail h3 a").click()
    until(driver, lambda: "played 0 times" in text(driver, "#detail"))
    assert one(driver, "#cassettes-view").is_displayed()


def test_record_this_next_time(driver: Driver, tmp_path: Path) -> None:
    with upstream() as api:
        path = tape(tmp_path / "tape.yaml", recorded(ask("known"), completion()))
        with StubServer(path, upstream=api.url, fallback="error") as stub:
            assert post(stub, ask("new")).status_code == 404
            open_page(driver, stub, "#request/1")
            press(driver, "Record this next time")
            until(driver, lambda: "goes to the upstream" in text(driver, "#detail"))
            assert post(stub, ask("new")).headers["x-stubserver-source"] == "recorded"


def test_record_this_next_time_without_an_upstream_says_what_to_do(driver: Driver, stub: StubServer) -> None:
    post(stub, ask("new"))
    open_page(driver, stub, "#request/1")
    press(driver, "Record this next time")
    until(driver, lambda: "--upstream" in text(driver, "#detail"))
    driver.get_log("browser")  # Chromium notes the 409


def test_fault_is_named(driver: Driver) -> None:
    with StubServer(fault=["503,first=1"]) as stub:
        assert post(stub).status_code == 503
        open_page(driver, stub, "#request/1")
        until(driver, lambda: "fault: 503" in text(driver, "#detail") or "fault: status" in text(driver, "#detail"))
        assert rows(driver)[0].startswith("fault, POST")
        until(driver, lambda: counts(driver).get("fault") == "1")


def test_cassettes_are_listed_searched_opened_and_downloaded(driver: Driver, stub: StubServer, shoot: Shoot) -> None:
    post(stub)
    open_page(driver, stub, "#cassettes")
    until(driver, lambda: "local-model/chat.yaml" in text(driver, "#files"))

    one(driver, "#interaction-search").send_keys("capital of France")
    Select(one(driver, "#played")).select_by_value("true")
    until(driver, lambda: "cassettes/local-model/chat.yaml#1" in text(driver, "#interactions"))
    until(driver, lambda: len(all_of(driver, "#interactions tbody tr")) == 1)
    shoot("cassettes")
    one(driver, "#interactions tbody a").click()
    until(driver, lambda: "Paris" in text(driver, "#detail"))
    link = str(one(driver, "#detail a[download]").get_attribute("href"))
    with urllib.request.urlopen(link) as file:
        assert file.read() == (ROOT / "cassettes" / "local-model" / "chat.yaml").read_bytes()


def test_hostile_recording_is_text_and_nothing_else(driver: Driver, tmp_path: Path, shoot: Shoot) -> None:
    body = {**ask(HOSTILE), "model": HOSTILE, "tools": [{"name": HOSTILE}]}
    said = completion(HOSTILE, tool_calls=[{"function": {"name": HOSTILE, "arguments": HOSTILE}}])
    streamed = events({"choices": [{"index": 0, "delta": {"content": HOSTILE}}]})
    path = tape(tmp_path / "<b>hostile.yaml", recorded(body, said), recorded({**body, "stream": True}, streamed))
    with StubServer(path, fallback="error") as stub:
        post(stub, body)
        post(stub, {**body, "stream": True})
        post(stub, {**body, "n": HOSTILE})
        requests.get(f"{stub.url}/v1/<script>window.hacked=4</script>", timeout=PATIENCE)
        for place in ("", "#request/1", "#request/2", "#request/3", "#request/4", "#cassettes"):
            open_page(driver, stub, place)
            driver.refresh()
            until(driver, lambda: text(driver, "#state") == "live")
            for name in ("Request JSON", "Answer JSON", "Headers", "Conversation"):
                if place.startswith("#request"):
                    press(driver, name)
                assert driver.execute_script("return window.hacked") is None
            assert all_of(driver, "img, #detail script, main script") == []
        assert "onerror" in text(driver, "#interactions")
        open_page(driver, stub, "#request/2")
        driver.refresh()
        until(driver, lambda: "onerror" in text(driver, "#detail .turn.assistant"))
        shoot("hostile")


def test_page_asks_nobody_but_its_server(driver: Driver, stub: StubServer) -> None:
    post(stub)
    open_page(driver, stub, "#request/1")
    until(driver, lambda: "Paris" in text(driver, "#detail"))
    asked = driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert asked
    assert {url for url in asked if not url.startswith(f"{stub.url}/__admin/")} == set()


def test_thousands_of_entries_are_a_few_rows(driver: Driver, stub: StubServer) -> None:
    open_page(driver, stub)
    number = 3000
    with requests.Session() as session:
        for _ in range(number):
            session.get(f"{stub.url}/v1/models", timeout=PATIENCE)
    until(driver, lambda: counts(driver).get("requests") == "3,000")
    kept = int(shown(driver).partition(" ")[0].replace(",", ""))
    assert kept > 1000  # the server's journal keeps a thousand, the page more
    assert len(rows(driver)) < 100

    one(driver, "#list").send_keys(Keys.END)
    until(driver, lambda: driver.execute_script("return document.getElementById('list').scrollTop") > 30 * 1000)
    first = rows(driver)[-1]
    post(stub)
    until(driver, lambda: counts(driver)["requests"] == "3,001")
    assert rows(driver)[-1] == first


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable_on_a_telephone(driver: Driver, stub: StubServer, scheme: str, shoot: Shoot) -> None:
    post(stub)
    post(stub, ask("new"))
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        open_page(driver, stub)
        until(driver, lambda: len(rows(driver)) == 2)
        for place in ("#requests", "#request/1", "#request/2"):
            open_page(driver, stub, place)
            assert driver.execute_script("return document.scrollingElement.scrollWidth") <= 390
            shoot(f"telephone-{scheme}-{place.strip('#').replace('/', '-')}")
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(251, 251, 250)", "dark": "rgb(21, 24, 27)"}[scheme]
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_everything_that_can_be_pressed_has_a_name(driver: Driver, stub: StubServer) -> None:
    post(stub, ask("new"))
    for place in ("#request/1", "#cassettes"):
        open_page(driver, stub, place)
        nodes = until(driver, lambda: driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"])
        roles = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "tab", "option", "listbox", "image"}
        live = [node for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") in roles]
        assert live
        assert [node for node in live if not node.get("name", {}).get("value")] == []


def test_server_that_goes_and_comes_again(driver: Driver) -> None:
    with StubServer() as stub:
        open_page(driver, stub)
        port = stub.port
    until(driver, lambda: "not there" in text(driver, "#state") or "fetch" in text(driver, "#state"))
    with StubServer(port=port) as stub:
        until(driver, lambda: text(driver, "#state") == "live")
        post(stub)
        until(driver, lambda: len(rows(driver)) == 1)
    driver.get_log("browser")  # Chromium notes each attempt


def test_picture_of_the_readme(driver: Driver, stub: StubServer, shoot: Shoot) -> None:
    for question in ("What is the capital of France?", "What is the capital of Peru?"):
        for stream in (False, True):
            post(stub, {**FRANCE, "messages": [{"role": "user", "content": question}], "stream": stream})
    requests.get(f"{stub.url}/v1/models", timeout=PATIENCE)
    open_page(driver, stub)
    until(driver, lambda: len(rows(driver)) == 5)
    post(stub, ask("Not recorded."))
    driver.execute_script("location.hash = '#request/3'")
    until(driver, lambda: all_of(driver, "#detail table.differences"))
    until(driver, lambda: all_of(driver, "#rate rect"))
    shutil.copy(shoot("page"), ROOT / "tools" / "page.png")
