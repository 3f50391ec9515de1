"""The dashboard in a real browser: accessible, readable on a phone, by keyboard, and without JavaScript."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ON_CI
from parts.fleets import FleetDesk
from parts.pages import FINE
from parts.registry import wait_until
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from automator.edges.web import Access, WebServer
from automator.edges.web.site import Behind, make_site

pytestmark = [pytest.mark.slow, pytest.mark.needs("chromium"), pytest.mark.needs("chromium-driver")]

AXE = Path(__file__).parents[1] / "browser/node_modules/axe-core/axe.min.js"
PATHS = (
    *("/", "/?status=failed", "/?text=nobody", "/workloads/shop/web", "/workloads/shop/mail", "/chains"),
    *("/drift", "/releases", "/report", "/registries", "/policies", "/repos"),
    *("/codes?text=guard", "/codes/guard/soak"),
    *("/nowhere", "/?colour=red"),
)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
Browser = webdriver.Chrome


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for one in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(one)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@contextmanager
def serving(desk: FleetDesk, token_file: Path | None = None) -> Iterator[str]:
    access = Access(None if token_file is None else str(token_file))
    app = make_site(Behind(desk, lambda: FINE, lambda: FINE, lambda: b"", "1.2.3"), access)
    server = WebServer(app, ("127.0.0.1", 0))
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


@pytest.fixture
def desk() -> FleetDesk:
    return FleetDesk()


@pytest.fixture
def home(desk: FleetDesk, browser: Browser) -> Iterator[str]:
    with serving(desk) as address:
        yield address
        assert complaints(browser) == []


def complaints(browser: Browser) -> list[str]:
    """What the browser did not like, but for pages that are answered 4xx as they should."""
    return [entry["message"] for entry in browser.get_log("browser") if "status of 4" not in entry["message"]]


def look_at(browser: Browser, width: int = 1280, scheme: str = "light") -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def violations(browser: Browser) -> list[str]:
    """What axe finds, by the rules of WCAG 2.2 AA and its own best practices."""
    if not AXE.exists():
        told = "axe-core is not installed: make test-slow does that"
        pytest.fail(told) if ON_CI else pytest.skip(told)
    browser.execute_script(AXE.read_text())
    found: list[dict[str, Any]] = browser.execute_async_script(
        "const [done] = arguments; const only = {resultTypes: ['violations']};"
        "axe.run(document, only).then(found => done(found.violations))"
    )
    return [
        f"{browser.current_url}: {one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for one in found
        for node in one["nodes"][:3]
    ]


def is_wider_than_its_window(browser: Browser) -> bool:
    script = "const d = document.documentElement; return d.scrollWidth > d.clientWidth"
    return bool(browser.execute_script(script))


def focus(browser: Browser) -> str:
    """What has the focus, in short."""
    script = (
        "const one = document.activeElement;"
        "return `${one.tagName.toLowerCase()} ${one.name || one.textContent.trim()}`"
    )
    return str(browser.execute_script(script))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_is_accessible_and_fits(home: str, browser: Browser, width: int, scheme: str) -> None:
    look_at(browser, width, scheme)
    wrong: list[str] = []
    for path in PATHS:
        browser.get(home + path)
        wrong += violations(browser)
        if is_wider_than_its_window(browser):
            wrong.append(f"{path} scrolls sideways")
    assert wrong == []


@pytest.mark.parametrize("width", [320, 768, 810, 1024, 1100])
def test_no_page_and_no_list_scrolls_sideways(home: str, browser: Browser, width: int) -> None:
    look_at(browser, width)
    cut = (
        "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    )
    thin = (
        "return Math.min(999, ...[...document.querySelectorAll('td.reason')].map(e => e.clientWidth || 999))"
    )
    for path in PATHS:
        browser.get(home + path)
        assert not is_wider_than_its_window(browser), path
        assert browser.execute_script(cut) == 0, f"{path} has a list that is cut"
        assert browser.execute_script(thin) >= 200, f"{path} has a column of one word a line"


def test_on_a_phone_plots_begin_with_the_present(home: str, browser: Browser) -> None:
    look_at(browser, 360)
    browser.get(home + "/report")
    last = "const b = [...document.querySelector('.plot svg').querySelectorAll('rect')].at(-1)"
    seen = f"{last}.getBoundingClientRect(); return b.left > 0 && b.right < innerWidth"
    assert browser.execute_script(seen)


def test_by_keyboard_alone(home: str, browser: Browser) -> None:
    look_at(browser)
    browser.get(home + "/releases")
    keys = webdriver.ActionChains(browser)
    keys.send_keys(Keys.TAB).perform()
    assert focus(browser) == "a Skip to the content"
    keys.send_keys(Keys.ENTER).perform()
    assert focus(browser).startswith("main")
    for _ in range(25):
        keys.send_keys(Keys.TAB).perform()
        outline = "return getComputedStyle(document.activeElement).outlineStyle"
        assert browser.execute_script(outline) != "none", focus(browser)
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    assert focus(browser) == "input text"
    keys.send_keys("payments", Keys.ENTER).perform()
    wait_until(lambda: browser.current_url.endswith("/?text=payments"), "the page")
    assert "shop/payments" in browser.find_element(By.TAG_NAME, "main").text


def test_the_colours_of_ones_own_are_remembered(home: str, browser: Browser) -> None:
    look_at(browser, scheme="light")
    browser.get(home)

    def ground() -> str:
        return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))

    light = ground()
    browser.find_element(By.CSS_SELECTOR, "[data-scheme]").click()
    dark = ground()
    assert dark != light
    browser.get(home + "/repos")
    assert ground() == dark, "on the next page too"
    browser.find_element(By.CSS_SELECTOR, "[data-scheme]").click()
    assert ground() == light
    browser.execute_script("localStorage.clear()")


def test_a_choice_is_an_answer(home: str, browser: Browser) -> None:
    look_at(browser)
    browser.get(home)
    Select(browser.find_element(By.NAME, "environment")).select_by_value("staging")
    wait_until(lambda: browser.current_url == f"{home}/?environment=staging", "the page")
    heads = browser.find_elements(By.CSS_SELECTOR, "tbody th")
    assert len(heads) == 10
    assert all(head.text.startswith("staging/") for head in heads)


@pytest.mark.parametrize("width", [1280, 360])
def test_without_javascript(home: str, browser: Browser, desk: FleetDesk, width: int) -> None:
    look_at(browser, width)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        for path in PATHS:
            browser.get(home + path)
            assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
        browser.get(home)
        assert not browser.find_element(By.CSS_SELECTOR, "[data-scheme]").is_displayed()
        Select(browser.find_element(By.NAME, "owner")).select_by_value("team-data")
        browser.find_element(By.CSS_SELECTOR, ".filters button").click()
        wait_until(lambda: "owner=team-data" in browser.current_url, "the page")
        assert "shop/mail" in browser.find_element(By.TAG_NAME, "main").text
        browser.get(home + "/repos")
        browser.find_elements(By.CSS_SELECTOR, ".look button")[-1].click()
        wait_until(lambda: desk.looks == [("staging", None)], "the page")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_look_now(home: str, browser: Browser, desk: FleetDesk) -> None:
    look_at(browser)
    browser.get(home + "/workloads/shop/web?offset=50")
    browser.find_element(By.CSS_SELECTOR, ".look button").click()
    wait_until(lambda: desk.looks == [("shop", "web")], "the page")
    wait_until(lambda: browser.current_url == f"{home}/workloads/shop/web?offset=50", "the page")


def test_news_come_by_themselves_and_where_there_are_none_that_is_said(
    browser: Browser, desk: FleetDesk
) -> None:
    def heads() -> int:
        return len(browser.find_elements(By.CSS_SELECTOR, "tbody th"))

    look_at(browser)
    with serving(desk) as address:
        browser.get(address)
        assert heads() == 20
        desk.views = desk.views[:7]
        wait_until(lambda: heads() == 7, "news", 60)
    wait_until(lambda: "No news since" in browser.page_source, "the word that there are none", 60)
    assert heads() == 7, "what was known stays"
    browser.get_log("browser")


def test_signing_in_and_out(browser: Browser, desk: FleetDesk, tmp_path: Path) -> None:
    token = secrets.token_hex(16)
    file = tmp_path / "dashboard-token"
    file.write_text(token)
    look_at(browser, 360, "dark")
    with serving(desk, file) as address:
        browser.get(address + "/repos")
        assert "/sign-in" in browser.current_url
        assert violations(browser) == []
        browser.find_element(By.NAME, "token").send_keys("wrong", Keys.ENTER)
        wait_until(lambda: "web/bad-token" in browser.page_source, "the page")
        assert violations(browser) == []
        browser.find_element(By.NAME, "token").send_keys(token, Keys.ENTER)
        wait_until(lambda: browser.current_url == f"{address}/repos", "the page")
        assert violations(browser) == []
        assert not is_wider_than_its_window(browser)
        browser.find_element(By.CSS_SELECTOR, '[action="/sign-out"] button').click()
        wait_until(lambda: "/sign-in" in browser.current_url, "the page")
        assert complaints(browser) == []


def test_who_reads_is_not_disturbed_by_news(home: str, browser: Browser, desk: FleetDesk) -> None:
    look_at(browser)
    browser.get(home + "/report")
    mine = "[...document.querySelectorAll('.scroll')].find(e => e.scrollHeight > e.clientHeight + 50)"
    browser.execute_script(f"const s = {mine}; s.focus(); s.scrollTop = 40")
    desk.changes = desk.changes[:10]
    browser.execute_async_script("setTimeout(arguments[0], 17000)")  # news come every 15 seconds
    assert browser.execute_script("return document.activeElement.className") == "scroll"
    assert browser.execute_script(f"return {mine}.scrollTop") == 40


def test_what_is_typed_while_history_is_read_stays(home: str, browser: Browser, desk: FleetDesk) -> None:
    look_at(browser)
    desk.state = "reading"
    browser.get(home + "/releases")
    field = browser.find_element(By.NAME, "author")
    field.send_keys("An")
    browser.execute_async_script("setTimeout(arguments[0], 4500)")
    field.send_keys("n")
    assert field.get_attribute("value") == "Ann"
    field.clear()
    browser.execute_script("document.activeElement.blur()")
    desk.state = "ready"
    wait_until(lambda: "reading history" not in browser.page_source, "the history", 30)


def test_a_wish_to_look_is_confirmed(home: str, browser: Browser) -> None:
    look_at(browser)
    browser.get(home + "/repos")
    browser.find_element(By.CSS_SELECTOR, ".look button").click()
    wait_until(lambda: "Looking at" in browser.page_source, "the word")
    wait_until(lambda: browser.current_url == f"{home}/repos", "an address that is not told twice")


def test_on_a_phone_the_menu_and_the_list_are_seen(home: str, browser: Browser) -> None:
    look_at(browser, 360)
    for path in ("/repos", "/policies", "/"):
        browser.get(home + path)
        script = "const a = document.querySelector('nav a[aria-current]').getBoundingClientRect();"
        assert browser.execute_script(f"{script} return a.left >= 0 && a.right <= innerWidth"), path
    high = "return document.querySelector('.filters').getBoundingClientRect().height"
    assert browser.execute_script(high) < 130, "filters take but a part of the first screen"
    browser.find_element(By.CSS_SELECTOR, ".more summary").click()
    assert browser.find_element(By.NAME, "owner").is_displayed()
    browser.get(home + "/chains")
    assert browser.find_element(By.CSS_SELECTOR, "details.table table").is_displayed(), "pictures are cut"


def test_on_paper_nothing_is_cut(home: str, browser: Browser) -> None:
    look_at(browser, 1000, "dark")
    browser.get(home + "/report")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        cut = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollHeight > e.clientHeight + 2)"
        assert browser.execute_script(f"return {cut}") == []
        ink = "return getComputedStyle(document.documentElement).colorScheme"
        assert browser.execute_script(ink) == "light"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
