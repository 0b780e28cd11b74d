"""The page as a reader has it: opened from disk in a real browser."""

import base64
import csv
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.model_file import load_network, save_network
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import load_test_digits
from mnist12k.files import write_csv, write_json, write_text
from mnist12k.params import load_params
from mnist12k.stages import report
from mnist12k.stages.seeds import Row, summaries

CPU = torch.device("cpu")
MEGABYTE = 1_000_000
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="there is no Chromium"),
]

# Numbers of one iteration that a page shows, read where it shows them.
SHOWN = """names => names.map(name =>
    document.querySelector(`.result [data-value="${name}"]`).textContent)"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, idx_folder: Path) -> Path:
    """A small training, evaluated, beside this repository's backprop study; and its page."""
    folder = tmp_path_factory.mktemp("page")
    make_workspace(folder, idx_folder)
    shutil.copytree(ROOT / "reports/backprop", folder / "reports/backprop")
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    with inside(folder):
        write_seeds_and_search()
        report.run(train_and_evaluate())
    return folder


def write_seeds_and_search() -> None:
    """Write what `mnist12k seeds` and `mnist12k tune` leave, in small."""
    rows = [Row("fast", seed, 4, None, 0.99 + seed / 1000, 50.0) for seed in (1, 2, 3)]
    write_csv("reports/seeds/results.csv", Row._fields, rows)
    write_json("reports/seeds/metrics.json", summaries(rows, 60_000))
    columns = ["trial", "state", "validation_loss"]
    trials = [(0, "complete", 0.03), (1, "pruned", 0.5), (2, "complete", 0.023)]
    write_csv("reports/tune/trials.csv", columns, trials)
    finalists = [("2", 5, 0.021, 0.994), ("2", 6, 0.023, 0.993), ("start", 5, 0.03, 0.99)]
    columns = ["trial", "seed", "validation_loss", "validation_accuracy"]
    write_csv("reports/tune/finalists.csv", columns, finalists)
    figures = {"trials": 3, "pruned": 1, "start_recipe": "fast"}
    write_json("reports/tune/metrics.json", figures)
    write_text("reports/tune/best_params.yaml", "train:\n  learning_rate: 0.5\n")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=browser.MILLISECONDS)
    with browser.chromium() as running:
        yield running


class Complaints(list[str]):
    """What a page has said on its console or asked of anybody."""

    def listen(self, page: Page) -> None:
        page.on("console", lambda message: self.append(message.text))
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("request", lambda request: self.append(request.url))


def opened(chromium: Browser, file: Path, **settings: Any) -> Page:
    page = chromium.new_context(**settings).new_page()
    page.set_default_timeout(browser.MILLISECONDS)
    page.goto(file.as_uri())
    return page


@pytest.fixture
def page(chromium: Browser, workspace: Path) -> Iterator[Page]:
    page = opened(chromium, workspace / report.PAGE, viewport=DESK)
    yield page
    page.context.close()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def wait_until_it_is_read(page: Page) -> None:
    """Wait for the answer to a drawing; until there is one, the page shows a test image's."""
    page.wait_for_function("!waiting && !document.querySelector('.sheet.empty')")
    expect(page.locator("#shown-now")).to_have_text("")
    expect(page.locator("#answer-now")).to_have_text(re.compile(r"\d"))


def choose_rate(page: Page, rate: float) -> None:
    page.locator("#rate").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        math.log10(rate),
    )


def classified(page: Page, images: torch.Tensor) -> torch.Tensor:
    """Return the page's logits for uint8 images, of shape (n, 10)."""
    logits = page.evaluate(
        """base64 => {
            const pixels = bytes(base64);
            return Array.from({ length: pixels.length / 784 },
                (_, k) => classify(pixels.subarray(784 * k, 784 * (k + 1))).logits);
        }""",
        base64.b64encode(images.numpy().tobytes()).decode(),
    )
    return torch.tensor(logits, dtype=torch.float64)


def test_it_opens_from_a_file_without_a_complaint_or_a_request(
    chromium: Browser, workspace: Path
) -> None:
    file = workspace / report.PAGE
    said = Complaints()
    page = chromium.new_page()
    said.listen(page)
    page.goto(file.as_uri())
    page.get_by_role("button", name="Step").click()
    page.get_by_role("button", name="A hard test image").click()
    page.wait_for_timeout(300)
    assert said == [file.as_uri()]
    assert file.stat().st_size < 3 * MEGABYTE
    page.close()


def test_the_page_alone_is_enough(chromium: Browser, workspace: Path, tmp_path: Path) -> None:
    shutil.copy(workspace / report.PAGE, tmp_path / "elsewhere.html")
    page = opened(chromium, tmp_path / "elsewhere.html", offline=True)
    expect(page.locator("#answer-now")).not_to_have_text("–")
    page.context.close()


def test_nothing_is_wider_than_a_phone(chromium: Browser, workspace: Path) -> None:
    page = opened(chromium, workspace / report.PAGE, viewport=PHONE, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_an_accessibility_checker_finds_nothing(
    chromium: Browser, workspace: Path, scheme: str, size: dict[str, int]
) -> None:
    page = opened(chromium, workspace / report.PAGE, color_scheme=scheme, viewport=size)
    page.locator("[data-cell]").first.click()
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    page.context.close()


def test_the_slider_changes_the_curve_to_the_studys(page: Page) -> None:
    rows = read_csv(ROOT / "reports/backprop/losses.csv")
    for rate in sorted({float(row["learning_rate"]) for row in rows}):
        choose_rate(page, rate)
        expect(page.locator("#rate-told")).to_have_text(f"{rate:g}")
        ours = page.evaluate("passed.map(n => n.E_total)")
        theirs = [float(row["loss"]) for row in rows if float(row["learning_rate"]) == rate]
        assert ours == pytest.approx(theirs, rel=1e-10)


def test_the_seven_steps_show_the_worksheets_numbers(page: Page) -> None:
    rows = read_csv(ROOT / "reports/backprop/steps.csv")
    names = [name for name in rows[0] if name[0] in "haoEd"]
    page.get_by_role("button", name="Back to the start").click()
    for row in rows[:3]:
        shown = page.evaluate(SHOWN, names)
        assert [float(text) for text in shown] == pytest.approx(
            [float(row[name]) for name in names], rel=1e-9
        )
        page.get_by_role("button", name="Step").click()


def test_a_changed_weight_changes_the_numbers_and_no_number_none(page: Page) -> None:
    field = page.get_by_label("w5", exact=True)
    before = page.evaluate(SHOWN, ["E_total"])
    field.fill("")
    assert page.evaluate(SHOWN, ["E_total"]) == before
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("-2")
    assert page.evaluate(SHOWN, ["E_total"]) != before
    assert page.evaluate("passed[0].w5") == -2
    page.get_by_role("button", name="Back to the start").click()
    assert page.evaluate(SHOWN, ["E_total"]) == before


def test_play_goes_on_by_itself_until_it_is_paused(page: Page) -> None:
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("curve.index >= 2")
    page.get_by_role("button", name="Pause").click()
    reached = page.locator("h3 .iteration").inner_text()
    page.wait_for_timeout(400)
    assert page.locator("h3 .iteration").inner_text() == reached


@pytest.mark.parametrize("weights", ["trained", "random"])
def test_the_pages_network_is_pytorchs_on_a_thousand_test_images(
    chromium: Browser, workspace: Path, tmp_path: Path, weights: str
) -> None:
    with inside(workspace):
        network, file = load_network(report.MODEL, CPU), report.PAGE.resolve()
        digits = load_test_digits(report.DATA)
    if weights == "random":
        network, file = with_random_weights(workspace, tmp_path)
    page = opened(chromium, file)
    ours, theirs = classified(page, digits.images), predict(network, digits.images, 1000)
    page.context.close()
    assert len(ours) == 1000
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    assert (ours - theirs).abs().max() < 1e-4


def with_random_weights(workspace: Path, folder: Path) -> tuple[Network, Path]:
    """Return a network whose every number, the running ones too, is drawn; and its page."""
    torch.manual_seed(3)
    network = Network().eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            drawn = torch.rand_like(value) + 0.5 if "var" in name else torch.randn_like(value)
            # Convolutions that neither fade nor blow up keep the logits within float32's digits.
            value.copy_(drawn / math.sqrt(value[0].numel()) if value.ndim == 4 else drawn)
    shutil.copytree(workspace, folder / "random", symlinks=True)
    with inside(folder / "random"):
        save_network(network, report.MODEL)
        report.run(load_params())
        return network, report.PAGE.resolve()


def test_what_is_drawn_is_centred_by_its_mass_in_a_box_of_twenty(page: Page) -> None:
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 130, steps=10)
    page.mouse.move(box["x"] + 90, box["y"] + 130, steps=10)
    page.mouse.up()
    wait_until_it_is_read(page)
    alpha = page.evaluate(
        "[...sight.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, k) => k % 4 === 3)"
    )
    seen = torch.tensor(alpha, dtype=torch.float64).view(28, 28)
    inked = (seen > 25).nonzero()
    height, width = (inked.amax(0) - inked.amin(0) + 1).tolist()
    assert height == 20
    assert 10 <= width <= 14
    places = torch.arange(28, dtype=torch.float64)
    for axis in (0, 1):
        assert (seen.sum(1 - axis) * places).sum() / seen.sum() == pytest.approx(14, abs=0.51)


def test_a_finger_draws_and_does_not_scroll(chromium: Browser, workspace: Path) -> None:
    page = opened(chromium, workspace / report.PAGE, viewport=PHONE, has_touch=True)
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    before = page.evaluate("scrollY")
    fingers = page.context.new_cdp_session(page)
    for kind, y in (("Start", 40), ("Move", 120), ("Move", 220)):
        touched = [{"x": box["x"] + 100, "y": box["y"] + y}]
        event = {"type": f"touch{kind}", "touchPoints": touched}
        fingers.send("Input.dispatchTouchEvent", event)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_until_it_is_read(page)
    assert page.evaluate("scrollY") == before
    page.context.close()


def test_the_keyboard_alone_draws_and_clears(page: Page) -> None:
    page.locator("#pad").focus()
    page.keyboard.press("Space")
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    wait_until_it_is_read(page)
    page.keyboard.press("Delete")
    expect(page.locator("#answer-now")).to_have_text("–")


def test_the_keyboard_alone_reaches_everything_one_can_use(page: Page) -> None:
    usable = page.evaluate(
        """() => {
            const all = [...document.querySelectorAll("a, button, input, summary, [tabindex]")];
            window.usable = all.filter((one) => one.checkVisibility());
            return window.usable.length;
        }"""
    )
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(usable + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("window.usable.indexOf(document.activeElement)"))
    assert reached - {-1} == set(range(usable))


def test_a_cell_of_the_confusion_matrix_shows_its_digits(page: Page, workspace: Path) -> None:
    rows = read_csv(workspace / "reports/evaluate/predictions.csv")
    for button in page.locator("[data-cell]").all()[:5]:
        label, prediction = list(button.get_attribute("data-cell") or "")
        there = [row for row in rows if (row["label"], row["prediction"]) == (label, prediction)]
        assert button.inner_text() == str(len(there))
        button.click()
        cards = page.locator("#cell .card")
        assert cards.count() == min(len(there), 12)
        index = cards.first.locator("small").inner_text().removeprefix("test image ")
        assert index in {row["index"] for row in there}


def test_charts_tell_the_value_under_the_pointer(page: Page, workspace: Path) -> None:
    history = read_csv(workspace / "reports/train/history.csv")
    chart = page.locator("#training-loss")
    chart.get_by_role("slider").fill("0")
    expect(chart.locator(".readout")).to_contain_text("epoch 1")
    expect(chart.locator(".readout b").first).to_have_text(f"{float(history[0]['train_loss']):.4g}")
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


@pytest.mark.skipif(not (ROOT / report.PAGE).is_file(), reason="the page has not been made")
def test_a_one_drawn_on_the_repositorys_page_is_a_one(chromium: Browser) -> None:
    page = opened(chromium, ROOT / report.PAGE, viewport=DESK)
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 160, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 240, steps=20)
    page.mouse.up()
    expect(page.locator("#answer-now")).to_have_text("1")
    page.context.close()


def test_seeds_and_search_are_shown_where_they_have_been_run(page: Page) -> None:
    expect(page.locator("#seeds tbody td").first).to_have_text("99.200\N{NO-BREAK SPACE}%")
    assert page.locator("#seeds .track .dot").count() == 3
    finalists = page.locator("#search tbody th")
    assert finalists.all_inner_texts() == ["trial 2", "the recipe itself"]
    expect(page.locator("#search-chart .readout")).to_contain_text("lowest so far 0.023")


def test_nothing_in_the_data_ends_its_script_element(workspace: Path) -> None:
    text = (workspace / report.PAGE).read_text(encoding="utf-8")
    inner = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert set(json.loads(inner)) == {"backprop", "network", "digits", "history", "trials"}
