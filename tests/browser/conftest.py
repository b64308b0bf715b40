"""A real Chromium for the tests of the page. `make browser` installs it; these tests are no part of `make test`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SHOTS = Path(__file__).resolve().parents[2] / "build" / "browser"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,900"),
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    # Everything that Chromium asks for while the page is there; the page may ask nobody but the server.
    driver.execute_cdp_cmd("Network.enable", {})
    yield driver
    driver.quit()


@pytest.fixture
def driver(browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser with an empty page, and nothing said on its console at the end."""
    browser.get("about:blank")
    browser.get_log("browser")
    yield browser
    assert [line for line in browser.get_log("browser") if "favicon" not in line["message"]] == []


@pytest.fixture
def shoot(browser: webdriver.Chrome) -> Callable[[str], Path]:
    """Keep a picture of the page for people to look at."""

    def shoot(name: str) -> Path:
        SHOTS.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(SHOTS / f"{name}.png"))
        return SHOTS / f"{name}.png"

    return shoot
