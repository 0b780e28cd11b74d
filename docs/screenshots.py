"""Take the pictures of docs/: the MLflow UI on this project's own runs, and the report's page.

    make screenshots        # needs Chromium, reports/index.html, and two trainings or more

The UI is started as `make ui` starts it. Pictures are as good as the runs that are there: train
twice before, by `dvc exp run -S train.recipe=fast` say.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SIZE: ViewportSize = {"width": 1500, "height": 600}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def take_runs(page: Page, address: str) -> None:
    """Picture the list of runs, and their charts."""
    page.goto(address)
    page.get_by_label("Press Space to toggle row selection").nth(1).wait_for()
    for button in page.get_by_role("button", name="Close", exact=True).all():
        button.click()  # MLflow's assistant opens by itself
    page.wait_for_timeout(1000)
    page.screenshot(path=DOCS / "runs.png")
    page.set_viewport_size({"width": 1500, "height": 1100})
    page.goto(address.replace("/runs?", "/runs?compareRunsMode=CHART&"))
    page.get_by_text("Parallel Coordinates").wait_for()
    page.wait_for_timeout(5000)  # the charts draw themselves one by one
    page.screenshot(path=DOCS / "charts.png")
    page.set_viewport_size(SIZE)


def take_report(page: Page) -> None:
    """Picture the top of the report's page, down to the controls of the 2-2-2 network."""
    page.set_viewport_size({"width": 1100, "height": 1550})
    page.goto((ROOT / "reports/index.html").as_uri())
    page.wait_for_timeout(1000)
    page.screenshot(path=DOCS / "report.png")


def main() -> None:
    """Start the UI, take the pictures, stop it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser: install one of {', '.join(BROWSERS)}")
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [sys.executable, "-m", "mnist12k", "ui"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as ui,  # noqa: S603
        sync_playwright() as playwright,
    ):
        try:
            assert ui.stdout is not None
            found = re.search(r"http\S+", ui.stdout.readline())
            if found is None:
                sys.exit("the UI did not start; its reason stands above")
            running = playwright.chromium.launch(executable_path=browser, args=root)
            page = running.new_page(viewport=SIZE)
            take_runs(page, found.group())
            take_report(page)
            running.close()
        finally:
            ui.terminate()


if __name__ == "__main__":
    main()
