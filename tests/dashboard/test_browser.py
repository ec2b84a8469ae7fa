"""The live page in a real browser: drawn, kept up to date, and usable for decisions."""

from __future__ import annotations

import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy import Engine, insert

from dashboard.app import create_app
from models.context import AppContext
from models.database import writing
from models.documents import ConfigChangeProposal, Recommendation
from models.environment import Environment
from models.period import Period
from models.settings import parse_settings
from models.tables import Selection, table_of
from tasks.alerts.silences import list_silences
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.queries import history_of
from tasks.optimizer.router_config import set_by_hand
from tests.support.rollouts import started, steps_taken
from tests.support.waiting import slowness

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PATIENCE_S = 30
MOVE = ConfigChangeProposal(key="routing.simple", from_value="atlas", to_value="swift", version=1)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and its driver: apt-get install chromium chromium-driver"
)

Browser = webdriver.Chrome


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = Options()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1300,1000"):
        options.add_argument(flag)
    options.binary_location = CHROMIUM or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield chrome
    chrome.quit()


def a_selection(at: datetime, number: int, **values: Any) -> dict[str, Any]:
    usual = {
        "timestamp": at, "model_id": ("swift", "atlas")[number % 2], "response_time_ms": 300.0 + 40 * (number % 50),
        "complexity": "simple", "cost_usd": 0.01, "cache_hit": number % 3 == 0, "accuracy": 1.0, "error": False,
        "team": ("search", "billing")[number % 2],
    }  # fmt: skip
    return usual | values


def record(engine: Engine, *rows: dict[str, Any]) -> None:
    with writing(engine) as connection:
        connection.execute(insert(table_of(Selection)), list(rows))


@pytest.fixture
def ctx(sqlite_engine: Engine, tmp_path: Path) -> AppContext:
    address: Any = str(sqlite_engine.url)
    settings = {
        "monitoring": {
            "updateInterval": 500, "dashboard": {"refreshRate": 1_000},
            "alerting": {"thresholds": "fixed", "holdMinutes": 0},
        },
        "delivery": {"mode": "files"},
    }  # fmt: skip
    now = datetime.now(UTC)
    record(
        sqlite_engine, *(a_selection(now - timedelta(minutes=2, seconds=6 * number), number) for number in range(1_500))
    )
    ill = (a_selection(now - timedelta(minutes=3), number, model_id="ill", error=True) for number in range(100))
    record(sqlite_engine, *ill)
    set_by_hand(sqlite_engine, "routing.simple", "atlas", by="router", reason="default", now=now - timedelta(days=9))
    return AppContext(Environment(home=tmp_path, database_url=address), parse_settings(settings, "test"))


@contextmanager
def served(ctx: AppContext) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(ctx), port=0, log_level="warning"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def page(ctx: AppContext, browser: Browser) -> Iterator[str]:
    with served(ctx) as address:
        browser.get_log("browser")  # type: ignore[no-untyped-call]
        browser.get(f"{address}/?range=6h")
        wait(browser, lambda: tile(browser, "Requests") == "1,600")
        yield address
        # Before the server ends: a page that cannot reach it logs an error, correctly.
        browser.get("about:blank")
        logged = browser.get_log("browser")  # type: ignore[no-untyped-call]
        assert [line for line in logged if line["level"] == "SEVERE"] == []


def wait(browser: Browser, until: Any) -> None:
    WebDriverWait(browser, PATIENCE_S * slowness(), poll_frequency=0.1).until(lambda _: until())


def text(browser: Browser, section: str) -> str:
    return str(browser.execute_script(f"return document.getElementById('{section}').innerText"))


def tile(browser: Browser, label: str) -> str:
    script = (
        "return [...document.querySelectorAll('.tile')].find(it => it.querySelector('.label').textContent === "
        f"'{label}')?.querySelector('.value').textContent"
    )
    return str(browser.execute_script(script))


def pixels(browser: Browser, element: WebElement) -> Any:
    """What an element looks like, wherever it stands on the page."""
    script = "const r = arguments[0].getBoundingClientRect(); return [r.x + scrollX, r.y + scrollY, r.width, r.height]"
    x, y, width, height = browser.execute_script(script, element)
    clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return np.asarray(Image.open(BytesIO(b64decode(shot["data"]))).convert("RGB")).reshape(-1, 3)


def press(browser: Browser, section: str, words: str) -> None:
    script = "return [...document.querySelectorAll(arguments[0])].find(it => it.innerText === arguments[1])"
    wait(browser, lambda: browser.execute_script(script, f"#{section} button", words) is not None)
    browser.execute_script(script, f"#{section} button", words).click()


def agree(browser: Browser, **fields: str) -> None:
    for name, value in fields.items():
        field = browser.find_element(By.CSS_SELECTOR, f"dialog input[name={name}]")
        field.clear()
        field.send_keys(value)
    browser.find_element(By.ID, "act-go").click()
    wait(browser, lambda: not browser.execute_script("return document.getElementById('act').open"))


def test_the_charts_are_really_drawn(page: str, browser: Browser) -> None:
    """Not only nodes: each has many colours where it stands."""
    figures = browser.find_elements(By.CSS_SELECTOR, "#charts figure")
    assert len(figures) == 4
    for figure in figures:
        assert len(np.unique(pixels(browser, figure), axis=0)) > 50


def test_a_new_selection_appears_automatically(page: str, browser: Browser, ctx: AppContext) -> None:
    """Within the ten seconds that the product document allows, without a reload of the page."""
    browser.execute_script("window.stays = true")
    assert tile(browser, "Requests") == "1,600"
    record(ctx.engine, a_selection(datetime.now(UTC), 1))
    WebDriverWait(browser, 10 * slowness(), poll_frequency=0.1).until(lambda _: tile(browser, "Requests") == "1,601")
    assert browser.execute_script("return window.stays")


def test_what_is_chosen_is_in_the_address_and_can_be_shared(page: str, browser: Browser) -> None:
    """Choosing a model and a range; another browser that opens the address sees the same; going back works."""
    browser.find_element(By.CSS_SELECTOR, "select[name=model] option:nth-child(2)").click()
    wait(browser, lambda: "model=atlas" in browser.current_url and tile(browser, "Requests") == "750")
    browser.find_element(By.CSS_SELECTOR, "a[data-range='24h']").click()
    wait(browser, lambda: "range=24h" in browser.current_url)
    shared = browser.current_url
    browser.get(shared)
    assert tile(browser, "Requests") == "750"
    assert browser.find_element(By.CSS_SELECTOR, ".ranges a[aria-current]").text == "24 hours"
    browser.back()
    wait(browser, lambda: "range=6h" in browser.current_url)


def test_models_sort_by_a_column_and_stay_sorted(page: str, browser: Browser, ctx: AppContext) -> None:
    record(ctx.engine, *(a_selection(datetime.now(UTC), 1, model_id="zebra") for _ in range(5)))
    names = "return [...document.querySelectorAll('#models tbody th')].map(it => it.innerText)"
    wait(browser, lambda: "zebra" in browser.execute_script(names))
    press(browser, "models", "Requests")
    press(browser, "models", "Requests")
    assert browser.execute_script(names)[0] == "zebra"
    record(ctx.engine, *(a_selection(datetime.now(UTC), 1, model_id="zebra") for _ in range(2)))
    wait(browser, lambda: "7" in text(browser, "models").split())
    assert browser.execute_script(names)[0] == "zebra"


def test_a_person_decides_on_a_rollout(page: str, browser: Browser, ctx: AppContext) -> None:
    """The candidate's share is asked for a jump alone; the section shows what came of it."""
    for key, value in {"routing.complex": "costly", "router.trials": ["split"]}.items():
        set_by_hand(ctx.engine, key, value, by="router", reason="default", now=datetime.now(UTC))
    number = started(ctx.engine, key="routing.complex")
    press(browser, "rollouts", "Hold")
    assert not browser.find_element(By.CSS_SELECTOR, "dialog input[name=percent]").is_displayed()
    agree(browser, by="Anna Berger", note="a launch")
    wait(browser, lambda: "held by Anna Berger" in text(browser, "rollouts"))
    press(browser, "rollouts", "Jump")
    agree(browser, by="Anna Berger", percent="35")
    wait(browser, lambda: "The candidate gets 35 % of the requests" in text(browser, "rollouts"))
    press(browser, "rollouts", "Abort")
    agree(browser, by="Anna Berger")
    wait(browser, lambda: "No rollout is under way." in text(browser, "rollouts"))
    assert steps_taken(ctx.engine, number)[1:] == [
        ("hold", None, "Anna Berger"), ("jump", 35, "Anna Berger"), ("abort", 0, "Anna Berger"),
    ]  # fmt: skip


def test_a_proposal_is_approved_under_a_name(page: str, browser: Browser, ctx: AppContext) -> None:
    item = Recommendation(
        type="model_selection", bottleneck="high_cost", description="d", impact="high", effort="low", auto_apply=False,
        complexity="simple", from_model="atlas", to_model="swift", moves=(MOVE,), status="waiting",
    )  # fmt: skip
    now = datetime.now(UTC)
    period = Period(now - timedelta(days=1), now)
    apply(ctx.engine, (item,), ctx.settings, DecisionContext(period, now, now))
    press(browser, "decisions", "Approve")
    agree(browser, by="Ada", note="cheaper")
    wait(browser, lambda: "approved" in text(browser, "decisions"))
    assert "Approve" not in text(browser, "decisions")
    _, [*_, last] = history_of(ctx.engine, 1)
    assert (last.to_state, last.by, last.reason) == ("approved", "Ada", "cheaper")


def test_a_firing_alert_is_silenced_with_a_reason(page: str, browser: Browser, ctx: AppContext) -> None:
    """The silence stays on the page until somebody ends it."""
    wait(browser, lambda: "error rate" in text(browser, "alerts"))
    press(browser, "alerts", "Silence")
    agree(browser, by="Ada", note="provider's maintenance")
    wait(browser, lambda: "provider's maintenance" in text(browser, "alerts"))
    [silence] = list_silences(ctx.engine, datetime.now(UTC))
    assert (silence.by, silence.ends_at > datetime.now(UTC)) == ("Ada", True)
    press(browser, "alerts", "End the silence")
    agree(browser, by="Ada")
    wait(browser, lambda: "provider's maintenance" not in text(browser, "alerts"))


def test_it_says_when_its_numbers_are_old(page: str, browser: Browser) -> None:
    """When the server gives no newer ones."""
    browser.execute_script("countedAt = Date.now() - 600000; tellAge()")
    assert "10 min ago" in browser.find_element(By.ID, "stale").text


def test_it_fits_a_phone(page: str, browser: Browser) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
