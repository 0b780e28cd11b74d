"""The report page in Firefox; the other tests of the page use Chromium."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import firefox
import pytest
from firefox import Firefox

from mnist12k.paths import PAGE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(firefox.PATH is None, reason="Firefox is not installed"),
]

CENTRE = """const pad = document.querySelector("#pad");
pad.scrollIntoView({ behavior: "instant", block: "center" });
const box = pad.getBoundingClientRect();
return [box.x + box.width / 2, box.y + box.height / 2].map(Math.round);"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Firefox]:
    with firefox.firefox() as running:
        yield running


def wait_until(browser: Firefox, condition: str) -> None:
    deadline = time.monotonic() + firefox.SECONDS
    while not browser.run(f"return {condition}"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)


def test_it_opens_reads_a_drawing_and_descends_without_an_error(
    browser: Firefox, page_folder: Path
) -> None:
    file = page_folder / PAGE
    browser.open(file)
    wait_until(browser, "document.querySelector('#prediction').textContent != '–'")
    before = browser.run("return document.querySelector('#bars').innerText")
    x, y = browser.run(CENTRE)
    browser.drag((x, y - 80), (x, y), (x, y + 80))
    wait_until(browser, "!document.querySelector('.sheet.empty')")
    wait_until(browser, f"document.querySelector('#bars').innerText != {json.dumps(before)}")
    assert browser.run("return document.querySelector('#prediction').textContent") in "0123456789"
    browser.run("document.querySelector('#step').click()")
    wait_until(browser, "document.querySelector('#drawing').textContent.includes('update 1:')")
    assert browser.errors(file) == []


def test_an_error_would_be_seen(browser: Firefox, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<!DOCTYPE html><script>missing();</script>", encoding="utf-8")
    browser.open(file)
    assert browser.errors(file) == ["ReferenceError: missing is not defined"]
