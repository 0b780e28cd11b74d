"""The 2-2-2 network on the page, against numbers computed in Python."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
from pages import SHOWN, choose_rate
from playwright.sync_api import Browser, Page, expect
from project import ROOT

from mnist12k.backprop.autograd import autograd_gradients
from mnist12k.backprop.hill import sweep
from mnist12k.backprop.network import forward
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import loss_curves, trajectory
from mnist12k.params import Params, load_params
from mnist12k.paths import PAGE
from mnist12k.report.page.backprop import presets
from mnist12k.report.page.render import brief
from mnist12k.report.study.formulas import first_iteration

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]


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


def type_into(page: Page, name: str, text: str) -> None:
    """Type key by key, as a reader does."""
    field = page.get_by_label(name, exact=True)
    field.press("Control+a")
    field.press_sequentially(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1e999", "it should be between -1,000,000 and 1,000,000"),
        ("1,500", "it has a comma that may separate thousands or decimals"),
        ("0.1.2", "it is not a number"),
        ("abc", "it is not a number"),
    ],
)
def test_an_invalid_weight_says_why_and_leaves_no_earlier_keystroke(
    page: Page, text: str, problem: str
) -> None:
    type_into(page, "w5", text)
    assert page.evaluate("trajectory[0].w5") == 0.4
    message = page.locator("#lab-message").inner_text()
    assert message.startswith(f"w5 = {text}: {problem}")
    assert message.endswith("The page computes with 0.4.")
    assert page.get_by_label("w5", exact=True).get_attribute("aria-invalid") == "true"


def test_a_decimal_comma_is_understood_and_said(page: Page) -> None:
    type_into(page, "w5", "0,15")
    assert page.evaluate("trajectory[0].w5") == 0.15
    expect(page.locator("#lab-message")).to_have_text("w5: 0,15 is read as 0.15.")


def test_every_number_of_the_network_can_be_changed(page: Page) -> None:
    changed = SmallNetwork(
        inputs=(0.3, -1.2),
        targets=(0.9, 0.05),
        weights=(-0.3, 0.2, 2, 0.3, -0.4, 1.5, 0.5, 3),
        biases=(-0.1, 0.7),
    )
    letters = {"i": changed.inputs, "t": changed.targets, "b": changed.biases}
    for letter, values in (letters | {"w": changed.weights}).items():
        for number, value in enumerate(values, start=1):
            page.get_by_label(f"{letter}{number}", exact=True).fill(f"{value:g}")
    page.locator("[data-field=rate]").fill("1.7")
    shown = page.evaluate("trajectory.map(n => n.E_total)")
    assert shown == pytest.approx(loss_curves(changed, [1.7], 100)[:, 0].tolist(), rel=1e-10)
    chosen = page.locator("#preset").evaluate("select => select.selectedOptions[0].text")
    assert chosen == "one of your own"
    first = page.locator("#steps .line").first.inner_text()
    assert "(−0.1)" in first


@pytest.mark.parametrize("name", ["the write-up's", "Mazur's", "a saturated start"])
def test_a_presets_hill_is_pythons(page: Page, params: Params, name: str) -> None:
    small = dict(presets(params.backprop))[name]
    page.locator("#preset").select_option(name)
    if name != "the write-up's":
        page.wait_for_function("document.getElementById('hill-chart').dataset.ready === hillOf")
    needed = page.evaluate(
        "hillRates.map(rate => updatesNeeded(state, rate, study.target_loss, study.patience))"
    )
    swept = sweep(small, params.backprop.iterations).updates_needed
    assert needed == [None if np.isnan(count) else count for count in swept]


def test_a_click_on_the_hill_and_a_mark_choose_a_rate(page: Page) -> None:
    page.locator("#hill-chart").scroll_into_view_if_needed()
    ten = page.evaluate(
        """() => [...document.querySelectorAll("#hill-chart text[text-anchor=middle]")]
            .find(text => text.textContent === "10").getBoundingClientRect().toJSON()"""
    )
    page.mouse.click(ten["x"] + ten["width"] / 2, ten["y"] - 60)
    expect(page.locator("#rate-value")).to_have_text("10")
    hill = json.loads((ROOT / "reports/backprop/metrics.json").read_text("utf-8"))["hill"]
    page.get_by_role("button", name="fastest").click()
    expect(page.locator("#rate-value")).to_have_text(f"{hill['fastest']:.6g}")
    expect(page.locator("#hill-readout")).to_contain_text("after 1 update.")
    names = page.locator(".marks button").all_inner_texts()
    rates = [float(name.split()[0]) for name in names]
    edges = [hill[key] for key in ("fastest", "stable_below", "first_step_edge", "saturation")]
    studied = load_params(ROOT / "params.yaml").backprop.learning_rates
    assert rates == pytest.approx([*studied, *edges], rel=1e-3)


def test_the_state_is_in_the_url_and_comes_back_from_it(
    chromium: Browser, page: Page, page_folder: Path
) -> None:
    page.locator("#preset").select_option("Mazur's")
    type_into(page, "w5", "-1.25")
    type_into(page, "b2", "0.1")
    page.locator("[data-field=rate]").fill("12.5")
    page.get_by_role("button", name="Step").click()
    page.wait_for_function("location.hash.endsWith('update=1')")
    address = page.url
    assert page.locator("#link").evaluate("link => link.href") == address
    expected = page.evaluate("[state, curve.index, trajectory[1].E_total]")
    other = chromium.new_page()
    other.goto(address)
    assert other.evaluate("[state, curve.index, trajectory[1].E_total]") == expected
    assert other.get_by_label("w5", exact=True).input_value() == "-1.25"
    other.goto("about:blank")
    other.goto((page_folder / PAGE).as_uri() + "#lab?w=1,2&rate=0.7")
    assert other.evaluate("[state.rate, state.weights.length]") == [0.5, 8]
    other.close()


def test_a_line_lights_up_with_the_parts_of_the_diagram_that_it_is_about(page: Page) -> None:
    lit = """() => [...new Set([...document.querySelectorAll("#drawing .lit")]
        .map(part => part.dataset.part))].sort()"""
    expected = {
        "h1": ["h1", "i1", "i2", "w1", "w2"],
        "dE_dw5": ["E1", "o1", "w5"],
        "dE2_da_h1": ["E2", "h1", "o2", "t2", "w7"],
        "new_w3": ["w3"],
    }
    lines = page.locator("#steps .line").evaluate_all("all => all.map(line => line.dataset.name)")
    assert set(expected) <= set(lines)
    for number, name in enumerate(lines):
        page.get_by_role("button", name="Next line").click()
        assert page.locator("#steps .line.lit").get_attribute("data-name") == name
        phase = "Forward" if number < 11 else "Update" if name.startswith("new") else "Backward"
        assert page.locator("#walk-line").inner_text().startswith(phase)
        if name in expected and lines.index(name) == number:
            assert page.evaluate(lit) == expected[name]


def test_the_diagram_has_sums_activations_targets_and_directions(page: Page) -> None:
    numbers = first_iteration(load_params(ROOT / "params.yaml").backprop.presets.reference, 0.5)
    for unit in ("h1", "h2", "o1", "o2"):
        drawn = page.locator(f"#drawing .unit[data-part={unit}]")
        expect(drawn).to_contain_text(f"Σ {numbers[unit]:.4g}")
        expect(drawn).to_contain_text(f"σ {numbers[f'a_{unit}']:.4g}")
    expect(page.locator("#drawing text[data-part=t1]")).to_have_text("target 0.5")
    expect(page.locator("#drawing text[data-part=E2]")).to_have_text(f"error {numbers['E2']:.4g}")
    ends = page.locator("#drawing .edge").evaluate_all(
        """edges => edges.map(edge => [+edge.firstElementChild.getAttribute("x1"),
            +edge.firstElementChild.getAttribute("x2"), edge.querySelectorAll("path").length])"""
    )
    assert len(ends) == 8
    assert all(tail < head and heads == 1 for tail, head, heads in ends)


def test_a_weight_whose_gradient_is_zero_is_painted_as_still(page: Page) -> None:
    classes = "edges => edges.map(edge => edge.classList[1])"
    assert set(page.locator("#drawing .edge").evaluate_all(classes)) == {"down"}
    type_into(page, "i1", "0")
    type_into(page, "t1", "1")
    found = page.locator("#drawing .edge").evaluate_all(classes)
    gradients = page.evaluate("state.weights.map((_, k) => trajectory[0][`dE_dw${k + 1}`])")
    expected = ["still" if g == 0 else "down" if g > 0 else "up" for g in gradients]
    assert found == expected
    assert set(expected) == {"still", "down", "up"}


def test_the_sentences_about_rates_are_those_of_the_sweep(page: Page) -> None:
    hill = pd.read_csv(ROOT / "reports/backprop/hill.csv")
    edges = json.loads((ROOT / "reports/backprop/metrics.json").read_text("utf-8"))["hill"]
    beyond = hill[hill["learning_rate"] > edges["saturation"]]["updates_needed"]
    text = page.locator("#backprop").inner_text().replace("\n", " ")
    found = re.search(r"(\w+) of the (\d+) larger rates .* after (\d+) to (\d+) updates", text)
    assert found is not None
    assert beyond.notna().all()
    assert found.groups() == ("all", f"{len(beyond)}", f"{beyond.min():g}", f"{beyond.max():g}")
    assert hill["updates_needed"].notna().all()
    assert "Every rate gets there within 10,000 updates." in text
    settled = hill["stable_below"].notna().sum()
    flat = (hill["stable_below"] > hill["learning_rate"]).sum()
    assert settled == flat
    assert f"{flat} of {len(hill)} rates settle at a minimum, all of them" in text


def test_the_errata_say_how_far_off_the_published_numbers_are(page: Page) -> None:
    study = load_params(ROOT / "params.yaml").backprop
    rates, updates = study.learning_rates, study.iterations
    right = loss_curves(study.presets.reference, rates, updates)
    off = abs(right - published_curves(study.presets.reference, rates, updates)).max(axis=1)
    text = page.locator("#backprop").inner_text().replace("\n", " ")
    assert off.max() > off[-1]
    assert f"off by at most {off.max():.1e} along the curves" in text
    assert f"at most {off[-1]:.1e} after {updates} updates" in text
    assert "all eight are those of gradient descent in every digit" in text


def published_curves(small: SmallNetwork, rates: Sequence[float], updates: int) -> np.ndarray:
    """Return the losses of the published mistake, with autograd's gradients."""
    losses = np.empty((updates + 1, len(rates)))
    for column, rate in enumerate(rates):
        w = np.array(small.weights)
        for row in range(updates + 1):
            passed = forward(small, w)
            losses[row, column] = passed.E_total
            slopes = autograd_gradients(small, w[:, None])[:, 0].copy()
            first, second = (a * (1 - a) for a in (passed.a_h1, passed.a_h2))
            slopes[2:4] *= first / second
            w = w - rate * slopes
    return losses


def test_a_slice_of_the_loss_surface_has_pythons_losses(page: Page) -> None:
    small = load_params(ROOT / "params.yaml").backprop.presets.reference
    page.locator("#surface-part summary").click()
    page.locator("[data-axis='1']").select_option("w2")
    page.locator("#loss-chart").get_by_role("slider").fill("40")
    losses = page.evaluate(
        """() => {
            const ranges = [4, 1].map(surfaceRange);
            const weights = state.weights.map((_, k) => trajectory[40][`w${k + 1}`]);
            return [ranges, [...surfaceLosses(state, weights, [4, 1], ranges)]];
        }"""
    )
    (first, second), values = losses
    weights = np.array(trajectory(small, 0.5, 40)[40].weights)[:, None].repeat(61 * 61, 1)
    across, up = np.meshgrid(
        np.linspace(first[0], first[1], 61), np.linspace(second[1], second[0], 61)
    )
    weights[4], weights[1] = across.ravel(), up.ravel()
    np.testing.assert_allclose(values, forward(small, weights).E_total, rtol=1e-9)
    low, high = (brief(end, 3) for end in first)
    expected = f"w5 from {low} to {high} to the right, w2 from"
    expect(page.locator("#surface-text")).to_contain_text(expected)
