"""The report page in a real browser, for tests: its building, its opening, its parts."""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import browser
import pandas as pd
import torch
from playwright.sync_api import Browser, Page, expect
from project import ROOT
from workspace import search_metrics

from mnist12k.files import write_json, write_table, write_text
from mnist12k.outputs import FINALISTS, FRONT, RESULTS, TRIALS, TUNE_METRICS
from mnist12k.params import load_params
from mnist12k.paths import BEST_PARAMS, PAGE
from mnist12k.stages import report, seeds
from mnist12k.stages.seeds import Result

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

# The numbers of one iteration, as the derivation shows them.
SHOWN = """names => names.map(name =>
    document.querySelector(`.result [data-value="${name}"]`).textContent)"""


def build_page() -> None:
    params = load_params()
    report.run(params.backprop, params.train, params.fetch, params.architectures())


def write_seeds_and_search() -> None:
    """Write results of a small seeds study and a small search."""
    results = pd.DataFrame(
        [
            Result(network, "fast", seed, 4, None, 0.99 + seed * step / 1000, 50.0)
            for network, step in (("reference", 1), ("vgg", 2))
            for seed in (1, 2, 3)
        ]
    )
    write_table(RESULTS, results)
    trainings = [load_params().training(network, "fast") for network in ("reference", "vgg")]
    seeds.summarise(results, trainings, 60_000)
    losses = {"validation_loss": [0.03, 0.5, 0.023], "validation_accuracy": [0.99, 0.8, 0.993]}
    trials = {"trial": range(3), "state": ["complete", "pruned", "complete"], **losses}
    write_table(TRIALS, pd.DataFrame({**trials, "epochs": 3, "seconds": 1.5}))
    finalists = [
        ("2", 5, "race", 0.02, 0.994),
        ("start", 5, "race", 0.03, 0.99),
        ("2", 8, "verdict", 0.021, 0.994),
        ("2", 9, "verdict", 0.023, 0.993),
    ]
    columns = ["trial", "seed", "round", "validation_loss", "validation_accuracy"]
    write_table(FINALISTS, pd.DataFrame(finalists, columns=columns))
    front = {"trial": [2, 0], "validation_loss": [0.023, 0.03], "parameters": [12_442, 500]}
    write_table(FRONT, pd.DataFrame({**front, "on_front": True}))
    write_json(TUNE_METRICS, search_metrics())
    write_text(BEST_PARAMS, "train:\n  learning_rate: 0.5\n")


class Log(list[str]):
    """A page's console messages, errors and requests."""

    def listen(self, page: Page) -> None:
        page.on("console", lambda message: self.append(message.text))
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("request", lambda request: self.append(request.url))


def open_page(chromium: Browser, file: Path, **settings: Any) -> Page:
    page = chromium.new_context(**settings).new_page()
    page.set_default_timeout(browser.MILLISECONDS)
    page.goto(file.as_uri())
    return page


def wait_for_prediction(page: Page) -> None:
    """Wait for the prediction of a drawing; until then the page shows that of a test image."""
    page.wait_for_function("!scheduled && !document.querySelector('.sheet.empty')")
    expect(page.locator("#drawing-note")).to_have_text("")
    expect(page.locator("#prediction")).to_have_text(re.compile(r"\d"))


def choose_rate(page: Page, rate: float) -> None:
    page.locator("#rate").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        math.log10(rate),
    )


def drawing_box(page: Page) -> tuple[float, float]:
    """Scroll to the drawing pad and return its upper left corner."""
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    return box["x"], box["y"]


def page_logits(page: Page, images: torch.Tensor) -> torch.Tensor:
    """Return the page's logits for uint8 images, float64 of shape (n, 10)."""
    logits = page.evaluate(
        """base64 => {
            const pixels = bytes(base64);
            return Array.from({ length: pixels.length / 784 },
                (_, k) => classify(pixels.subarray(784 * k, 784 * (k + 1))).logits);
        }""",
        base64.b64encode(images.numpy().tobytes()).decode(),
    )
    return torch.tensor(logits, dtype=torch.float64)


def committed_data() -> dict[str, Any]:
    """Return the data of the committed page."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    data = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    content: dict[str, Any] = json.loads(data)
    return content


def use_committed_network(page: Page) -> None:
    """Give the page, which has a small training's network, that of the committed page."""
    content = committed_data()["network"]
    page.evaluate("content => { Object.assign(network, readNetwork(content)); }", content)
