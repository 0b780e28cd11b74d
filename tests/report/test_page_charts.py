"""Charts and scales."""

import json
import math
from pathlib import Path

import browser
import pandas as pd
import pytest
from playwright.sync_api import Page, expect
from project import ROOT

from mnist12k.outputs import HillEdges
from mnist12k.report.page.backprop import bracketed
from mnist12k.report.page.render import brief
from mnist12k.report.study.regimes import regimes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]


def test_charts_show_the_value_under_the_pointer(page: Page, page_folder: Path) -> None:
    history = pd.read_csv(page_folder / "reports/train/history.csv")
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
    assert len(values) == 10
    assert all(2 <= len(texts) == len(set(texts)) for texts in values), values
    search = page.locator("#search-chart text[text-anchor=end]:not(.name)")
    assert sorted(search.all_text_contents()) == ["0.05", "0.1", "0.2", "0.5"]


def test_a_slider_points_at_its_charts_cursor(page: Page) -> None:
    """A click on the slider below the cursor chooses the value that the cursor is at."""
    for chart in page.locator(".chart").filter(has=page.locator("ul.readout")).all():
        slider = chart.get_by_role("slider")
        last = int(slider.get_attribute("max") or 0)
        slider.scroll_into_view_if_needed()
        for index in {last // 5, last // 2, last}:
            slider.fill(str(index))
            cursor = chart.locator(".cursor line").evaluate(
                "line => line.getBoundingClientRect().left + line.getBoundingClientRect().width / 2"
            )
            track = slider.bounding_box()
            assert track is not None
            page.mouse.click(cursor, track["y"] + track["height"] / 2)
            assert abs(int(slider.input_value()) - index) <= 1 / 200 * last


def test_the_rate_slider_is_on_the_scale_of_the_hill_above_it(page: Page) -> None:
    slider = page.locator("#rate")
    slider.scroll_into_view_if_needed()
    track = slider.bounding_box()
    assert track is not None
    texts = page.locator("#hill-chart text[text-anchor=middle]")
    for text in ("0.1", "1", "10", "100"):
        box = texts.get_by_text(text, exact=True).bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] / 2, track["y"] + track["height"] / 2)
        assert math.log10(page.evaluate("state.rate")) == pytest.approx(
            math.log10(float(text)), abs=0.02
        )


def test_the_axis_of_every_scale_stands_below_its_track(page: Page) -> None:
    for rows in page.locator(".rows").all():
        rows.scroll_into_view_if_needed()
        track, ticks = (rows.locator(part).first.bounding_box() for part in (".track", ".ticks"))
        assert track is not None
        assert ticks is not None
        assert ticks["x"] == pytest.approx(track["x"], abs=0.5)
        assert ticks["width"] == pytest.approx(track["width"], abs=0.5)


def test_charts_of_the_hill_shade_its_regimes(page: Page, page_folder: Path) -> None:
    text = (page_folder / "reports/backprop/metrics.json").read_text("utf-8")
    hill = HillEdges(**json.loads(text)["hill"])
    expected = regimes(hill)
    assert len(expected) == 4
    for name in ("hill-chart", "hill-loss-chart", "stable-chart"):
        bands = page.locator(f"#{name} .band").evaluate_all(
            "bands => bands.map(band => [+band.getAttribute('x'), +band.getAttribute('width')])"
        )
        fractions = [width / sum(width for _, width in bands) for _, width in bands]
        decades = [math.log10(regime.end / regime.start) / 5 for regime in expected]
        assert fractions == pytest.approx(decades, abs=1e-6)


def test_the_stability_chart_has_the_sweeps_limits(page: Page) -> None:
    hill = pd.read_csv(ROOT / "reports/backprop/hill.csv")
    slider = page.locator("#stable-chart").get_by_role("slider")
    for index in (0, 250, 400, 500):
        slider.fill(str(index))
        shown = page.locator("#stable-chart .readout b").first.inner_text()
        limit = hill["stable_below"][index]
        expected = "no minimum reached" if math.isnan(limit) else brief(limit)
        assert shown == expected


def test_the_search_chart_has_a_point_per_trial_and_hollow_ones_for_pruned(page: Page) -> None:
    points = page.locator("#search-chart .point")
    assert points.count() == 3
    assert page.locator("#search-chart .point.hollow").count() == 1
    assert page.locator("#search-chart path").count() == 1  # the lowest so far
    page.locator("#search-chart").get_by_role("slider").fill("1")
    expect(page.locator("#search-chart .readout")).to_contain_text("trial 1")
    expect(page.locator("#search-chart .readout b").first).to_have_text("0.5")


def test_only_a_certainty_is_100_percent(page: Page) -> None:
    texts = {0: "0.0 %", 1e-9: "< 0.1 %", 0.5: "50.0 %", 0.9994: "99.9 %", 0.9996: "> 99.9 %"}
    for fraction, text in (texts | {1: "100.0 %"}).items():
        assert page.evaluate("fraction => asPercent(fraction)", fraction) == text


def test_numbers_look_alike_with_and_without_scripts(page: Page) -> None:
    for value in (0.0, 1.0, 0.15, -0.013, 3.456789e-7, 1e-5, 12345.678, 1e20, -2e-9):
        for digits in (2, 4, 6, 10):
            assert page.evaluate("([v, d]) => brief(v, d)", [value, digits]) == brief(value, digits)
        assert page.evaluate("v => bracketed(v)", value) == bracketed(value)
