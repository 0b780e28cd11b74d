"""The page without JavaScript, on paper, in its colours."""

import re
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from pages import DESKTOP, open_page
from playwright.sync_api import Browser, Page, ViewportSize

from mnist12k.paths import PAGE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]
A4: ViewportSize = {"width": 718, "height": 1047}  # pixels of an A4 sheet within margins of 1 cm


@pytest.fixture
def plain(chromium: Browser, page_folder: Path) -> Iterator[Page]:
    """The page where scripts are off."""
    page = open_page(chromium, page_folder / PAGE, java_script_enabled=False, viewport=DESKTOP)
    yield page
    page.context.close()


def test_without_scripts_every_number_is_there(plain: Page, page: Page) -> None:
    lines = plain.locator("#steps .line").all_text_contents()
    assert lines == page.locator("#steps .line").all_text_contents()
    assert len(lines) == 41
    for part in ("#drawing text", "#drawing .edge", ".facts dt", "#evaluation .row b"):
        shown = plain.locator(part).all_text_contents()
        assert shown == page.locator(part).all_text_contents()
    empty = [line for line in lines if re.search(r"= *·|= *$|\( *\)", line)]
    assert empty == []


def test_without_scripts_no_control_is_dead(plain: Page) -> None:
    visible = plain.locator("input, select, canvas, button:not(.matrix button)").evaluate_all(
        "controls => controls.filter(one => one.checkVisibility()).map(one => one.outerHTML)"
    )
    assert visible == []
    assert plain.locator(".matrix button:not(:disabled)").count() == 0


def test_paper_keeps_colours_opens_every_step_and_cuts_no_column(page: Page) -> None:
    page.set_viewport_size(A4)
    page.emulate_media(media="print")
    page.wait_for_timeout(300)
    adjust = "element => getComputedStyle(element).printColorAdjust"
    for part in (".track .range", ".bar i", ".matrix button", "#drawing .node"):
        assert page.locator(part).first.evaluate(adjust) == "exact"
    hidden = page.locator("#steps .line").evaluate_all(
        "lines => lines.filter(line => !line.checkVisibility() || !line.clientHeight).length"
    )
    assert hidden == 0
    cut = page.locator(".scroll, table, pre").evaluate_all(
        """parts => parts.filter(part => part.getBoundingClientRect().right > innerWidth + 1)
            .map(part => part.getAttribute("aria-label") || part.innerText.slice(0, 40))"""
    )
    assert cut == []
    assert page.evaluate("document.documentElement.scrollWidth") <= A4["width"]
    inside = "element => getComputedStyle(element).breakInside"
    for part in ("figure", "#steps .line", ".rows .row", "tbody tr"):
        assert page.locator(part).first.evaluate(inside) == "avoid"


def test_a_printed_pdf_has_the_closed_steps_too(page: Page, tmp_path: Path) -> None:
    page.evaluate(
        """() => { window.opened = 0; window.addEventListener("beforeprint", () => {
            window.opened = document.querySelectorAll("details:not([open])").length; }); }"""
    )
    before = page.locator("details[open]").count()
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").stat().st_size > 100_000
    assert page.evaluate("window.opened") == 0
    assert page.locator("details[open]").count() == before


LUMINANCE = """element => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = getComputedStyle(element).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
    return [0.2126 * red + 0.7152 * green + 0.0722 * blue, red - green];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_errors_stand_out_from_blanks_and_from_right_ones(
    chromium: Browser, page_folder: Path, scheme: str
) -> None:
    page = open_page(chromium, page_folder / PAGE, color_scheme=scheme, viewport=DESKTOP)
    page.evaluate(
        """() => { const cell = document.querySelector(".matrix tbody td:empty");
            cell.innerHTML = '<button class="wrong" style="--shade: 0.1">1</button>'; }"""
    )
    blank, _ = page.locator(".matrix tbody td:empty").first.evaluate(LUMINANCE)
    right, _ = page.locator(".matrix .right").first.evaluate(LUMINANCE)
    wrong, red = page.locator(".matrix .wrong").first.evaluate(LUMINANCE)
    assert abs(blank - right) > 10  # a zero cell is not tinted like a right one
    assert red > 15
    if scheme == "dark":
        assert wrong > blank
    else:
        assert wrong < blank
    page.context.close()


def test_a_colour_means_one_thing(page: Page) -> None:
    """Those of a sign are not those of charts' lines, of errors or of other results."""
    names = ("plus", "minus", "wrong", "line-1", "line-2", "faint")
    colours = page.evaluate(
        """names => names.map(name =>
            getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim())""",
        list(names),
    )
    assert len(set(colours)) == len(names)
    lines = page.locator(".chart path").evaluate_all("paths => paths.map(p => p.style.stroke)")
    assert lines
    assert all("--line-1" in line for line in lines)
    second = page.locator(".result .row .value").last
    assert page.evaluate("document.querySelectorAll('.result .row .value').length") == 2
    shown = second.evaluate("value => getComputedStyle(value).backgroundColor")
    first = page.locator(".result .row .value").first
    assert shown != first.evaluate("value => getComputedStyle(value).backgroundColor")


def test_every_term_is_explained_in_the_glossary(page: Page) -> None:
    links = page.locator("a.term").evaluate_all("all => all.map(one => one.hash.slice(1))")
    explained = page.locator(".glossary dt").evaluate_all("all => all.map(one => one.id)")
    assert set(links) <= set(explained)
    assert len(explained) == len(set(explained))
    for word in ("recipe", "logit", "batch-norm", "pruned", "calibration-error"):
        assert f"term-{word}" in links


def test_slower_is_not_said_as_a_fraction_of_fast(page: Page) -> None:
    said = page.locator("#benchmarks summary .ordinal").all_inner_texts()
    assert said
    assert all(float(re.findall(r"[\d.]+", text)[0]) >= 1 for text in said)
    assert any(text.startswith("takes 1.34 times as long") for text in said)


def test_a_stack_of_layers_has_a_sheet_per_channel(page: Page) -> None:
    items = page.locator(".layers li")
    for item in items.all()[1:]:
        channels = int((item.locator("b").inner_text()).split()[0])
        assert item.locator("rect").count() == channels


def test_seeds_are_explained_in_numbers(page: Page) -> None:
    text = page.locator("#seeds > p").first.inner_text().replace("\n", " ")
    assert "The 3 trainings of vgg by fast end between 99.20" in text
    assert "and 99.60" in text
    assert "The data do not tell vgg from reference." in text
