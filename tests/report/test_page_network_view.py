"""The network at work on the page: one pixel's numbers, and which pixels mattered."""

from pathlib import Path

import browser
import pytest
import torch
import torch.nn.functional as F
from networks import REFERENCE, SMALL
from page_networks import random_network
from playwright.sync_api import Page, expect
from workspace import inside

from mnist12k.cnn.model_file import load_network
from mnist12k.digits.dataset import load_test_digits
from mnist12k.paths import DATA, MODEL
from mnist12k.report.page.network import network_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]

PROBE = """at => {
    const result = probe(shown.maps, at);
    const outputs = shown.outputs[at.layer];
    const index = (at.map * outputs.side + at.row) * outputs.side + at.column;
    return [result, outputs.values[index]];
}"""


def test_a_pixels_numbers_are_pytorchs(page: Page, page_folder: Path) -> None:
    with inside(page_folder):
        network = load_network(MODEL, torch.device("cpu"))
        image = load_test_digits(DATA, REFERENCE).images[7]
    page.evaluate("pixels => { show(Uint8Array.from(pixels)); }", image.flatten().tolist())
    layers = network.architecture
    entering = ((image.float() / 255 - layers.mean) / layers.deviation)[None, None]
    for number in range(len(layers.blocks)):
        block = network.get_submodule(f"blocks.{number}")
        convolution, norm = block.get_submodule("conv"), block.get_submodule("norm")
        with torch.no_grad():
            summed, leaving = convolution(entering), block(entering)
            normed = norm(summed)
        side = leaving.shape[-1]
        for map_, row, column in ((0, 0, 0), (5, side - 1, side // 2), (7, 1, side - 1)):
            at = {"layer": number, "map": map_, "row": row, "column": column}
            result, shown = page.evaluate(PROBE, at)
            assert shown == pytest.approx(leaving[0, map_, row, column].item(), abs=1e-4)
            scale = side_of(summed) // side if "pooled" in result else 1
            window = tuple(slice(k * scale, (k + 1) * scale) for k in (row, column))
            sums, norms = summed[0, map_][window], normed[0, map_][window]
            most = int(norms.relu().argmax())
            assert result["sum"] == pytest.approx(sums.flatten()[most].item(), abs=1e-3)
            assert result["normed"] == pytest.approx(norms.flatten()[most].item(), abs=1e-3)
            assert sum(each["sum"] for each in result["inputs"]) + result["bias"] == pytest.approx(
                result["sum"]
            )
            if "pooled" in result:
                assert result["pooled"] == pytest.approx(norms.relu().flatten().tolist(), abs=1e-3)
        entering = leaving


def side_of(maps: torch.Tensor) -> int:
    return maps.shape[-1]


@pytest.mark.parametrize("name", SMALL)
def test_the_steps_to_a_pixel_end_at_what_the_layer_shows(
    page: Page, page_folder: Path, name: str
) -> None:
    with inside(page_folder):
        image = load_test_digits(DATA, REFERENCE).images[3]
    content = network_data(random_network(SMALL[name]))
    page.evaluate("content => { Object.assign(network, readNetwork(content)); }", content)
    pixels = image.flatten().tolist()
    page.evaluate("pixels => { shown = classify(Uint8Array.from(pixels)); }", pixels)
    for layer in range(len(SMALL[name].blocks)):
        at = {"layer": layer, "map": 0, "row": 0, "column": 0}
        result, value = page.evaluate(PROBE, at)
        ended = max(result["pooled"]) if "pooled" in result else result["rectified"]
        assert ended == pytest.approx(value, abs=1e-4, rel=1e-4)


def test_a_click_and_the_keyboard_select_a_pixel(page: Page) -> None:
    canvas = page.locator("[data-layer='2'] canvas").nth(3)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    side = page.evaluate("shown.outputs[2].side")
    page.mouse.click(box["x"] + 4.5 / side * box["width"], box["y"] + 2.5 / side * box["height"])
    expect(page.locator("#probe h4")).to_have_text("Layer 3, map 4, row 3, column 5")
    page.locator("[data-layer='2']").press("ArrowDown")
    page.locator("[data-layer='2']").press("PageDown")
    expect(page.locator("#probe h4")).to_have_text("Layer 3, map 5, row 4, column 5")
    side = page.evaluate("shown.outputs[2].side")
    value = page.evaluate("k => brief(shown.outputs[2].values[k], 4)", (4 * side + 3) * side + 4)
    expect(page.locator("#probe p").last).to_contain_text(f"= {value}")


def test_what_mattered_is_what_pytorch_loses_without_it(page: Page, page_folder: Path) -> None:
    with inside(page_folder):
        network = load_network(MODEL, torch.device("cpu"))
        image = load_test_digits(DATA, REFERENCE).images[7]
    page.evaluate("pixels => { show(Uint8Array.from(pixels)); }", image.flatten().tolist())
    places = [(row, column) for row in range(0, 25, 2) for column in range(0, 25, 2)]
    images = image.repeat(1 + len(places), 1, 1)
    for each, (row, column) in zip(images[1:], places, strict=True):
        each[row : row + 4, column : column + 4] = 0
    with torch.no_grad():
        logits = network(images[:, None].float() / 255)
    label = int(logits[0].argmax())
    others = F.one_hot(torch.tensor(label), logits.shape[1]).bool()
    lead = logits[:, label] - logits.masked_fill(others, -torch.inf).amax(1)
    drops = lead[0] - lead[1:]
    page.get_by_role("button", name="Which pixels mattered?").click()
    text = page.locator("#occlusion-text")
    expect(text).to_contain_text("patches change the prediction")
    changed = (lead[1:] < 0).sum()
    expect(text).to_contain_text(f"{changed} of {len(places)} patches")
    expect(text).to_contain_text(f"lowers the lead of {label}")
    largest = float((text.inner_text().split("at most by ")[1]).split(";")[0])
    assert largest == pytest.approx(drops.max().item(), rel=0.01)
    assert page.locator("#occlusion-map").is_visible()


def test_pad_and_every_layer_are_side_by_side_on_a_desktop(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    pad = page.locator("#pad").bounding_box()
    boxes = [layer.bounding_box() for layer in page.locator("[data-layer]").all()]
    assert pad is not None
    top = pad["y"]
    for box in boxes:
        assert box is not None
        assert box["x"] >= pad["x"] + pad["width"]
        assert top - 60 <= box["y"]
        assert box["y"] + box["height"] <= top + 800


def test_every_map_has_a_name(page: Page) -> None:
    for number, (channels, element) in enumerate(
        zip([8, 8, 8, 16, 16, 32, 10], page.locator("[data-layer]").all(), strict=True)
    ):
        names = element.locator("small").all_inner_texts()
        first = 0 if number == 6 else 1
        assert names == [str(k) for k in range(first, first + channels)]
