"""The page as a reader has it: opened from disk in a real browser."""

import json
import shutil
from pathlib import Path

import browser
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import (
    DESKTOP,
    PHONE,
    Log,
    open_page,
)
from playwright.sync_api import Browser, Page, expect

from mnist12k.paths import PAGE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]


def test_it_opens_from_a_file_without_errors_or_requests(
    chromium: Browser, page_folder: Path
) -> None:
    file = page_folder / PAGE
    log = Log()
    page = chromium.new_page()
    log.listen(page)
    page.goto(file.as_uri())
    page.get_by_role("button", name="Step").click()
    page.get_by_role("button", name="Hard test image").click()
    page.wait_for_timeout(300)
    assert log == [file.as_uri()]
    assert file.stat().st_size < 3_000_000
    page.close()


def test_the_page_works_offline_and_alone(
    chromium: Browser, page_folder: Path, tmp_path: Path
) -> None:
    shutil.copy(page_folder / PAGE, tmp_path / "elsewhere.html")
    page = open_page(chromium, tmp_path / "elsewhere.html", offline=True)
    expect(page.locator("#prediction")).not_to_have_text("–")
    page.context.close()


def test_nothing_is_wider_than_a_phone(chromium: Browser, page_folder: Path) -> None:
    page = open_page(chromium, page_folder / PAGE, viewport=PHONE, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_accessibility_checker_reports_nothing(
    chromium: Browser, page_folder: Path, scheme: str, size: dict[str, int]
) -> None:
    page = open_page(chromium, page_folder / PAGE, color_scheme=scheme, viewport=size)
    page.locator("[data-cell]").first.click()
    page.locator("#teach").click()
    page.wait_for_function("!lesson")
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    violations = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
    page.context.close()


def test_the_keyboard_alone_reaches_every_control(page: Page) -> None:
    count = page.evaluate(
        """() => {
            const all = [...document.querySelectorAll("a, button, input, summary, [tabindex]")];
            window.controls = all.filter((one) => one.checkVisibility());
            return window.controls.length;
        }"""
    )
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(count + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("window.controls.indexOf(document.activeElement)"))
    assert reached - {-1} == set(range(count))


def test_a_cell_of_the_confusion_matrix_shows_its_images(page: Page, page_folder: Path) -> None:
    predictions = pd.read_csv(page_folder / "reports/evaluate/predictions.csv")
    for button in page.locator("[data-cell]").all()[:5]:
        label, prediction = map(int, (button.get_attribute("data-cell") or "").split("-"))
        cell = predictions[
            (predictions["label"] == label) & (predictions["prediction"] == prediction)
        ]
        assert button.inner_text() == str(len(cell))
        button.click()
        cards = page.locator("#cell .card")
        assert cards.count() == min(len(cell), 12)
        index = cards.first.locator("small").inner_text().removeprefix("test image ")
        assert int(index) in cell["index"].tolist()


def test_seeds_and_search_are_shown_if_they_have_been_run(page: Page) -> None:
    first = page.locator("#seeds tbody tr").first.locator("td").all_inner_texts()
    assert first[:3] == ["12,442", "1,602,432", "99.200\N{NO-BREAK SPACE}%"]
    assert page.locator("#seeds .track .dot").count() == 6
    difference = page.locator("#seeds [aria-label=Differences] tbody tr").all_inner_texts()
    assert [row.split() for row in difference] == [
        *(["vgg", "by", "fast", "3", "+0.200", "-0.048", "to", "+0.448"],),
    ]
    finalists = page.locator("#search [aria-label=Finalists] tbody th")
    assert finalists.all_inner_texts() == ["trial 2", "recipe fast"]
    front = page.locator("#search [aria-label='Pareto front'] tbody tr").all_inner_texts()
    assert [row.split("\t") for row in front] == [
        ["trial 2", "12,442", "0.023"],
        ["trial 0", "500", "0.03"],
    ]
    expect(page.locator("#search .verdict")).to_contain_text("difference -0.00400")
    expect(page.locator("#search-chart .readout")).to_contain_text("lowest so far 0.023")


def test_nothing_in_the_data_ends_its_script_element(page_folder: Path) -> None:
    text = (page_folder / PAGE).read_text(encoding="utf-8")
    data = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    names = {"backprop", "network", "digits", "history", "lesson", "epochs", "trials"}
    assert set(json.loads(data)) == names
