"""The page as a reader has it: opened from disk in a real browser."""

import base64
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import pandas as pd
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from networks import REFERENCE, SMALL
from playwright.sync_api import Browser, Page, expect
from project import ROOT
from workspace import inside, search_metrics

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import load_test_digits
from mnist12k.files import write_json, write_table, write_text
from mnist12k.outputs import FINALISTS, RESULTS, TRIALS, TUNE_METRICS
from mnist12k.params import load_params
from mnist12k.paths import BEST_PARAMS, DATA, MODEL, PAGE
from mnist12k.report.page.network import network_content, network_data
from mnist12k.stages import report, seeds
from mnist12k.stages.seeds import Result

CPU = torch.device("cpu")
MEGABYTE = 1_000_000
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]

# The numbers of one iteration, as the derivation shows them.
SHOWN = """names => names.map(name =>
    document.querySelector(`.result [data-value="${name}"]`).textContent)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, trained_template: Path) -> Path:
    """A small training with the results of every study, and the page."""
    folder = tmp_path_factory.mktemp("page") / "workspace"
    shutil.copytree(trained_template, folder, symlinks=True)
    shutil.copytree(ROOT / "reports/backprop", folder / "reports/backprop")
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    with inside(folder):
        write_seeds_and_search()
        build_page()
    return folder


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
    write_json(TUNE_METRICS, search_metrics())
    write_text(BEST_PARAMS, "train:\n  learning_rate: 0.5\n")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=browser.MILLISECONDS)
    with browser.chromium() as running:
        yield running


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


@pytest.fixture
def page(chromium: Browser, folder: Path) -> Iterator[Page]:
    page = open_page(chromium, folder / PAGE, viewport=DESKTOP)
    yield page
    page.context.close()


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


def test_it_opens_from_a_file_without_errors_or_requests(chromium: Browser, folder: Path) -> None:
    file = folder / PAGE
    log = Log()
    page = chromium.new_page()
    log.listen(page)
    page.goto(file.as_uri())
    page.get_by_role("button", name="Step").click()
    page.get_by_role("button", name="Hard test image").click()
    page.wait_for_timeout(300)
    assert log == [file.as_uri()]
    assert file.stat().st_size < 3 * MEGABYTE
    page.close()


def test_the_page_works_offline_and_alone(chromium: Browser, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / PAGE, tmp_path / "elsewhere.html")
    page = open_page(chromium, tmp_path / "elsewhere.html", offline=True)
    expect(page.locator("#prediction")).not_to_have_text("–")
    page.context.close()


def test_nothing_is_wider_than_a_phone(chromium: Browser, folder: Path) -> None:
    page = open_page(chromium, folder / PAGE, viewport=PHONE, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_accessibility_checker_reports_nothing(
    chromium: Browser, folder: Path, scheme: str, size: dict[str, int]
) -> None:
    page = open_page(chromium, folder / PAGE, color_scheme=scheme, viewport=size)
    page.locator("[data-cell]").first.click()
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    violations = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
    page.context.close()


def test_the_slider_selects_the_studys_curves(page: Page) -> None:
    losses = pd.read_csv(ROOT / "reports/backprop/losses.csv")
    for rate, curve in losses.groupby("learning_rate"):
        choose_rate(page, float(str(rate)))
        expect(page.locator("#rate-value")).to_have_text(f"{rate:g}")
        shown = page.evaluate("trajectory.map(n => n.E_total)")
        assert shown == pytest.approx(curve["loss"].tolist(), rel=1e-10)


def test_the_seven_steps_show_the_numbers_of_steps_csv(page: Page) -> None:
    steps = pd.read_csv(ROOT / "reports/backprop/steps.csv")
    names = [name for name in map(str, steps) if name[0] in "haoEd"]
    page.get_by_role("button", name="Reset").click()
    for expected in steps[names].head(3).to_numpy().tolist():
        shown = page.evaluate(SHOWN, names)
        assert [float(text) for text in shown] == pytest.approx(expected, rel=1e-9)
        page.get_by_role("button", name="Step").click()


def test_a_changed_weight_changes_the_numbers_and_an_empty_one_does_not(page: Page) -> None:
    field = page.get_by_label("w5", exact=True)
    before = page.evaluate(SHOWN, ["E_total"])
    field.fill("")
    assert page.evaluate(SHOWN, ["E_total"]) == before
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("-2")
    assert page.evaluate(SHOWN, ["E_total"]) != before
    assert page.evaluate("trajectory[0].w5") == -2
    page.get_by_role("button", name="Reset").click()
    assert page.evaluate(SHOWN, ["E_total"]) == before


def test_play_advances_until_it_is_paused(page: Page) -> None:
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("curve.index >= 2")
    page.get_by_role("button", name="Pause").click()
    reached = page.locator("h3 .iteration").inner_text()
    page.wait_for_timeout(400)
    assert page.locator("h3 .iteration").inner_text() == reached


def test_the_errata_are_those_of_the_derivation(page: Page) -> None:
    derivation = (ROOT / "reports/backprop/derivation.md").read_text(encoding="utf-8")
    numbers = page.locator("#backprop .long td").all_inner_texts()
    assert len(numbers) == 2 * (2 + 6) + 3
    assert [number for number in numbers if f"| {number} |" not in derivation] == []
    assert page.locator("#backprop h4").count() == 3


def test_the_pages_network_is_pytorchs_on_all_test_images(page: Page, folder: Path) -> None:
    with inside(folder):
        network, digits = load_network(MODEL, CPU), load_test_digits(DATA, REFERENCE)
    assert_same_logits(page, network, digits.images)


@pytest.mark.parametrize("name", SMALL)
def test_the_page_computes_any_architecture_from_its_list(
    page: Page, folder: Path, name: str
) -> None:
    with inside(folder):
        images = load_test_digits(DATA, REFERENCE).images[:100]
    network = random_network(SMALL[name])
    content = network_data(network)
    page.evaluate("content => { Object.assign(network, readNetwork(content)); }", content)
    assert_same_logits(page, network, images)
    assert len(network_content(network)["layers"]) == len(SMALL[name].blocks) + 1


def assert_same_logits(page: Page, network: Network, images: torch.Tensor) -> None:
    expected, logits = predict(network, images), page_logits(page, images)
    assert (logits.argmax(1) == expected.argmax(1)).all()
    assert (logits - expected).abs().max() < 1e-4


def random_network(layers: Architecture) -> Network:
    """Return a network with random weights, biases and running statistics."""
    torch.manual_seed(3)
    network = Network(layers).eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            drawn = torch.rand_like(value) + 0.5 if "var" in name else torch.randn_like(value)
            # Convolutions that keep the scale keep the logits within float32's precision.
            value.copy_(drawn / math.sqrt(value[0].numel()) if value.ndim > 1 else drawn)
    return network


def test_a_drawing_is_scaled_to_20_pixels_and_centred_by_mass(page: Page) -> None:
    x, y = drawing_box(page)
    page.mouse.move(x + 40, y + 30)
    page.mouse.down()
    page.mouse.move(x + 40, y + 130, steps=10)
    page.mouse.move(x + 90, y + 130, steps=10)
    page.mouse.up()
    wait_for_prediction(page)
    alpha = page.evaluate(
        """[...inputCanvas.getContext('2d').getImageData(0, 0, 28, 28).data]
            .filter((_, k) => k % 4 === 3)"""
    )
    image = torch.tensor(alpha, dtype=torch.float64).view(28, 28)
    inked = (image > 25).nonzero()
    height, width = (inked.amax(0) - inked.amin(0) + 1).tolist()
    assert height == 20
    assert 10 <= width <= 14
    positions = torch.arange(28, dtype=torch.float64)
    for axis in (0, 1):
        centre = (image.sum(1 - axis) * positions).sum() / image.sum()
        assert centre == pytest.approx(14, abs=0.51)


def test_a_finger_draws_and_does_not_scroll(chromium: Browser, folder: Path) -> None:
    page = open_page(chromium, folder / PAGE, viewport=PHONE, has_touch=True)
    x, y = drawing_box(page)
    before = page.evaluate("scrollY")
    session = page.context.new_cdp_session(page)
    for kind, down in (("Start", 40), ("Move", 120), ("Move", 220)):
        event = {"type": f"touch{kind}", "touchPoints": [{"x": x + 100, "y": y + down}]}
        session.send("Input.dispatchTouchEvent", event)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for_prediction(page)
    assert page.evaluate("scrollY") == before
    page.context.close()


def test_the_keyboard_alone_draws_and_clears(page: Page) -> None:
    page.locator("#pad").focus()
    page.keyboard.press("Space")
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    wait_for_prediction(page)
    page.keyboard.press("Delete")
    expect(page.locator("#prediction")).to_have_text("–")


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


def test_a_cell_of_the_confusion_matrix_shows_its_images(page: Page, folder: Path) -> None:
    predictions = pd.read_csv(folder / "reports/evaluate/predictions.csv")
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


def test_charts_show_the_value_under_the_pointer(page: Page, folder: Path) -> None:
    history = pd.read_csv(folder / "reports/train/history.csv")
    chart = page.locator("#training-loss")
    chart.get_by_role("slider").fill("0")
    expect(chart.locator(".readout")).to_contain_text("epoch 1")
    expect(chart.locator(".readout b").first).to_have_text(f"{history['train_loss'][0]:.4g}")
    picture = chart.locator(".picture")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] / 2)
    expect(chart.locator(".readout")).to_contain_text("epoch 2")


def test_every_chart_has_values_on_its_axis_however_narrow_its_range(page: Page) -> None:
    charts = page.locator(".picture svg").filter(has=page.locator(".axis"))
    values = charts.evaluate_all("""charts => charts.map(chart => Array.from(
        chart.querySelectorAll("text[text-anchor=end]:not(.name)"), text => text.textContent))""")
    assert len(values) == 7
    assert all(2 <= len(texts) == len(set(texts)) for texts in values), values
    search = page.locator("#search-chart text[text-anchor=end]:not(.name)")
    assert search.all_text_contents() == ["0.024", "0.026", "0.028", "0.03"]


@pytest.mark.skipif(not (ROOT / PAGE).is_file(), reason="the page has not been built")
def test_a_one_drawn_on_the_committed_page_is_a_one(chromium: Browser) -> None:
    page = open_page(chromium, ROOT / PAGE, viewport=DESKTOP)
    x, y = drawing_box(page)
    page.mouse.move(x + 160, y + 40)
    page.mouse.down()
    page.mouse.move(x + 140, y + 240, steps=20)
    page.mouse.up()
    expect(page.locator(".verdict output")).to_have_text("1")
    page.context.close()


def test_seeds_and_search_are_shown_if_they_have_been_run(page: Page) -> None:
    first = page.locator("#seeds tbody tr").first.locator("td").all_inner_texts()
    assert first[:3] == ["12,442", "1,602,432", "99.200\N{NO-BREAK SPACE}%"]
    assert page.locator("#seeds .track .dot").count() == 6
    difference = page.locator("#seeds [aria-label=Differences] tbody tr").all_inner_texts()
    assert [row.split() for row in difference] == [
        *(["vgg", "by", "fast", "3", "+0.200", "-0.048", "to", "+0.448"],),
    ]
    finalists = page.locator("#search tbody th")
    assert finalists.all_inner_texts() == ["trial 2", "recipe fast"]
    expect(page.locator("#search .verdict")).to_contain_text("difference -0.00400")
    expect(page.locator("#search-chart .readout")).to_contain_text("lowest so far 0.023")


def test_nothing_in_the_data_ends_its_script_element(folder: Path) -> None:
    text = (folder / PAGE).read_text(encoding="utf-8")
    data = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert set(json.loads(data)) == {"backprop", "network", "digits", "history", "trials"}
