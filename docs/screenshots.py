"""Take the screenshots in docs/: the MLflow UI with this project's runs, and the report.

    make screenshots        # needs Chromium, reports/index.html, and at least two trainings

Starts the UI like `make ui`. For a second training, run `dvc exp run -S train.recipe=fast` first.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from mnist12k.paths import PAGE

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SIZE: ViewportSize = {"width": 1700, "height": 600}
# The corners of a drawn 3, in parts of the pad's sides.
THREE = [
    *[(0.32, 0.25), (0.45, 0.17), (0.6, 0.2), (0.66, 0.3), (0.6, 0.42), (0.46, 0.48)],
    *[(0.62, 0.55), (0.68, 0.67), (0.6, 0.79), (0.45, 0.83), (0.31, 0.75)],
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def save_runs(page: Page, address: str) -> None:
    """Save the list of runs, and their charts."""
    page.goto(address)
    page.get_by_label("Press Space to toggle row selection").nth(1).wait_for()
    for button in page.get_by_role("button", name="Close", exact=True).all():
        button.click()  # of MLflow's assistant, which opens by itself
    page.wait_for_timeout(1000)
    page.screenshot(path=DOCS / "runs.png")
    page.set_viewport_size({"width": 1700, "height": 1100})
    page.goto(address.replace("/runs?", "/runs?compareRunsMode=CHART&"))
    page.get_by_text("Parallel Coordinates").wait_for()
    page.wait_for_timeout(5000)  # the charts appear one by one
    page.screenshot(path=DOCS / "charts.png")
    page.set_viewport_size(SIZE)


def save_report(page: Page) -> None:
    """Save the top of the report with a 3 on its drawing pad, down to the network's last layer."""
    page.set_viewport_size({"width": 1440, "height": 1340})
    page.goto((ROOT / PAGE).as_uri())
    pad = page.locator("#pad").bounding_box()
    assert pad is not None
    points = [(pad["x"] + x * pad["width"], pad["y"] + y * pad["height"]) for x, y in THREE]
    page.mouse.move(*points[0])
    page.mouse.down()
    for x, y in points[1:]:
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)
    page.screenshot(path=DOCS / "report.png")


def main() -> None:
    """Start the UI, take the screenshots, and stop it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser found: install one of {', '.join(BROWSERS)}")
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [sys.executable, "-m", "mnist12k", "ui"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as ui,  # noqa: S603
        sync_playwright() as playwright,
    ):
        try:
            assert ui.stdout is not None
            address = re.search(r"http\S+", ui.stdout.readline())
            if address is None:
                sys.exit("the UI did not start; see the error above")
            chromium = playwright.chromium.launch(executable_path=browser, args=arguments)
            page = chromium.new_page(viewport=SIZE)
            save_runs(page, address.group())
            save_report(page)
            chromium.close()
        finally:
            ui.terminate()


if __name__ == "__main__":
    main()
