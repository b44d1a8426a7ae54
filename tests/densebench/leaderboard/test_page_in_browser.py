"""The page in headless Chromium: what a reader clicks, at both widths and in both themes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from densebench.leaderboard.write import write_leaderboard

pytestmark = pytest.mark.slow

ATTACK = "<img src=x onerror=\"document.title='hacked'\">"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None and os.environ.get("DENSEBENCH_REQUIRE_CHROMIUM") != "1":
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert CHROMIUM is not None, "DENSEBENCH_REQUIRE_CHROMIUM is set, and no chromium is in PATH"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, tested: Any, save: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens the page of four experiments beside the published results; fails on any message on the console."""
    names = {"strong": 0.8, "middling": 0.6, "weak": 0.4, ATTACK: 0.5}
    for number, (name, level) in enumerate(names.items()):
        cost = {"flops_g": 900.0 + 50 * number, "params_m": 60.0 - 5 * number}
        for kind in ("test-ss", "test-ms"):
            tested(name, level, seed=number, backbone=f"net_{number}", cost=cost, kind=kind)
        speed = {"fps": 10.0 + number, "device": "A" if number < 2 else "B"}
        save("benchmark", experiment=name, backbone=f"net_{number}", cost=cost | speed)
    out = tmp_path / "out"
    write_leaderboard([tmp_path / "work_dirs"], out, ["html"], with_published=True, generated="2026-11-22")
    messages: list[str] = []

    def opened(width: int = 1280, theme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto((out / "index.html").as_uri())
        return page

    yield opened
    assert messages == []


def measured(page: Any) -> list[str]:
    names = page.locator(".board").first.locator("tbody.measured:visible th button").all_inner_texts()
    return [name.strip() for name in names]


def test_sorting_and_devices(opened: Any) -> None:
    page = opened()
    table = page.locator("table").first
    assert measured(page)[0] == "net_0"
    table.get_by_role("button", name="mIoU ss").click()
    ranked = measured(page)
    table.get_by_role("button", name="mIoU ss").click()
    assert measured(page) == ranked[::-1]
    table.get_by_role("button", name="FPS").click()
    assert measured(page) == ["net_1", "net_0", "net_3", "net_2"]  # within device A, then within device B


def test_filtering(opened: Any) -> None:
    page = opened()
    page.locator(".filter input").first.fill("net_2")
    assert measured(page) == ["net_2"]
    assert page.locator(".board").first.locator("tbody:visible").count() == 1
    page.locator(".filter input").first.fill("")
    assert len(measured(page)) == 4


def test_detail_shows_classes_and_provenance(opened: Any) -> None:
    page = opened()
    body = page.locator("tbody.measured").first
    assert not body.locator(".detail").is_visible()
    body.locator("th button").click()
    assert body.locator(".detail").is_visible()
    assert sorted(body.locator(".bars").first.locator("li span").all_inner_texts()) == ["lamp", "tree", "wall"]
    assert "tools/test.py" in body.locator(".sections").inner_text()


def test_the_chart_has_a_point_for_each_row_and_a_switch(opened: Any) -> None:
    page = opened()
    board = page.locator(".board").first
    assert board.locator("svg:visible g.measured").count() == 4
    board.locator("svg:visible g.measured circle").first.hover()
    assert page.locator("#tip").is_visible()
    board.get_by_role("button", name="FPS", exact=True).first.click()
    assert board.locator("svg:visible").count() == 1
    assert board.locator("svg:visible g").count() == 2
    board.locator(".switch select").select_option("B")
    assert board.locator("svg:visible").get_attribute("data-device") == "B"


def test_a_hostile_name_is_text(opened: Any) -> None:
    page = opened()
    body = page.locator("tbody.measured", has=page.locator("p", has_text=f"measured: {ATTACK}"))
    body.locator("th button").click()
    assert page.title() == "densebench leaderboard"
    assert page.locator("img[src=x]").count() == 0
    assert ATTACK in body.locator(".detail").inner_text()


def test_phone_width_does_not_overflow(opened: Any) -> None:
    page = opened(width=412)
    page.locator("tbody.measured th button").first.click()
    page.locator(".fold summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 412


def test_dark_theme(opened: Any) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    assert opened().evaluate(color) == "rgb(255, 255, 255)"
    assert opened(theme="dark").evaluate(color) == "rgb(21, 23, 27)"
