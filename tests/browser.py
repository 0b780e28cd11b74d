"""The system's Chromium, where there is one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
MILLISECONDS = 60_000  # that a page may take on a loaded machine


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, which needs no sandbox where root runs it."""
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=root)
        yield browser
        browser.close()
