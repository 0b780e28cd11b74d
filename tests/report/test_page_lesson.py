"""The training within the page: its gradients against PyTorch's, and what it learns."""

import base64
from pathlib import Path

import browser
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import REFERENCE
from pages import DESKTOP, committed_data, open_page
from playwright.sync_api import Browser, Page, expect
from project import ROOT
from workspace import inside

from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.params import load_params
from mnist12k.paths import DATA, PAGE
from mnist12k.report.page.lesson import lesson_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]

GRADIENTS = """() => {
    const weights = newWeights(randomFrom(5));
    const random = randomFrom(6);
    for (const name in weights)
        weights[name] = weights[name].map((w) => w + 0.2 * (random() - 0.5));
    const batch = [...learntDigits.slice(0, 3), ...otherDigits.slice(-4)];
    const { loss, slopes } = lossAndGradients(weights, batch);
    const plain = (part) =>
        Object.fromEntries(Object.entries(part).map(([name, values]) => [name, [...values]]));
    return {
        images: batch.map(({ levels }) => [...levels]), labels: batch.map(({ label }) => label),
        weights: plain(weights), loss, slopes: plain(slopes),
    };
}"""


def test_the_small_networks_gradients_are_pytorchs(page: Page) -> None:
    result = page.evaluate(GRADIENTS)
    weights = {
        name: torch.tensor(values, dtype=torch.float64, requires_grad=True)
        for name, values in result["weights"].items()
    }
    images = torch.tensor(result["images"], dtype=torch.float64).view(-1, 1, 28, 28)
    maps = F.conv2d(images, weights["filters"].view(8, 1, 5, 5), weights["filterBiases"])
    features = F.max_pool2d(maps.relu(), 4).flatten(1)
    logits = F.linear(features, weights["linear"].view(10, -1), weights["biases"])
    loss = F.cross_entropy(logits, torch.tensor(result["labels"]))
    loss.backward()
    assert result["loss"] == pytest.approx(loss.item(), rel=1e-12)
    for name, weight in weights.items():
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0
        slopes = torch.tensor(result["slopes"][name], dtype=torch.float64)
        torch.testing.assert_close(slopes, weight.grad, rtol=1e-9, atol=1e-12)


def test_its_digits_are_training_images_in_equal_numbers_and_none_of_the_hold_out_set(
    page_folder: Path,
) -> None:
    with inside(page_folder):
        digits = load_training_digits(DATA, REFERENCE)
        training, validation = split(digits, load_params().train.validation_size)
    content = lesson_data(training)
    packed = np.frombuffer(base64.b64decode(content["pixels"]), np.uint8)
    levels = np.stack([packed >> 4, packed & 15], 1).reshape(-1, 28, 28)
    labels = content["labels"]
    counts = np.bincount(labels[: content["learnt"]]), np.bincount(labels[content["learnt"] :])
    assert [set(count.tolist()) for count in counts] == [{30}, {10}]

    def rounded(images: torch.Tensor) -> list[bytes]:
        return [np.rint(image / 17).astype(np.uint8).tobytes() for image in images.numpy()]

    known = dict(zip(rounded(training.images), training.labels.tolist(), strict=True))
    assert [known[image.tobytes()] for image in levels] == labels
    assert len({image.tobytes() for image in levels}) == len(labels)
    assert not {image.tobytes() for image in levels} & set(rounded(validation.images))


def test_training_lowers_the_loss_shapes_the_filters_and_stops_by_itself(page: Page) -> None:
    before = page.evaluate("[...learner.weights.filters]")
    page.locator("#lesson-train").click()
    expect(page.locator("#lesson-train")).to_have_text("Pause")
    page.wait_for_function("!lesson")
    expect(page.locator("#lesson-said")).to_have_text("Stopped after 20 epochs.")
    expect(page.locator("#lesson-train")).to_have_text("Train")
    scores = page.evaluate("learner.scores")
    assert len(scores) == 21
    assert scores[0]["learnt"]["loss"] > 2
    assert scores[-1]["learnt"]["loss"] < 0.1 * scores[0]["learnt"]["loss"]
    assert scores[-1]["others"]["error"] < 20
    assert np.abs(np.subtract(page.evaluate("[...learner.weights.filters]"), before)).max() > 0.01
    shown = page.locator("#lesson-loss .readout b").all_inner_texts()
    assert float(shown[0]) == pytest.approx(scores[-1]["learnt"]["loss"], rel=1e-3)


# The strokes of a 1, with points of the pad.
ONE = """() => {
    newDrawing(null, [[{ x: 150, y: 40 }, { x: 140, y: 240 }]]);
    show(normalised(drawing.strokes));
}"""


@pytest.mark.parametrize("label", ["1", "7"])
def test_a_drawing_becomes_read_as_it_is_taught(page: Page, label: str) -> None:
    page.evaluate(ONE)
    page.locator("#lesson-train").click()
    page.wait_for_function("!lesson")
    before = page.locator("#lesson-reading").inner_text()
    page.locator("#lesson-label").select_option(label)
    page.locator("#teach").click()
    page.wait_for_function("!lesson")
    after = page.locator("#lesson-reading").inner_text()
    assert after.startswith(f"{label}, at 9")
    said = page.locator("#lesson-said").inner_text()
    assert said.startswith(f"Taught as {label}: read as {before} before, as {after} after ")
    expect(page.locator("#lesson-state")).to_contain_text("1 drawing has been taught")
    page.locator("#lesson-again").click()
    expect(page.locator("#lesson-state")).to_contain_text("Random start 2, epoch 0 of 20")
    expect(page.locator("#lesson-state")).not_to_contain_text("taught")


def test_the_keyboard_trains_pauses_and_teaches(page: Page) -> None:
    page.locator("#pad").focus()
    for key in ("Space", *["ArrowDown"] * 20, "Space"):
        page.keyboard.press(key)
    page.wait_for_function("!scheduled")
    button = page.locator("#lesson-train")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("learner.scores.length > 2")
    page.keyboard.press("Enter")
    expect(button).to_have_text("Train")
    epochs = page.evaluate("learner.scores.length")
    page.wait_for_timeout(300)
    assert page.evaluate("learner.scores.length") == epochs
    page.locator("#lesson-label").focus()
    page.keyboard.press("4")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("!lesson")
    expect(page.locator("#lesson-said")).to_contain_text("Taught as 4: ")
    expect(page.locator("#lesson-reading")).to_contain_text("4, at 9")


def test_an_empty_pad_teaches_nothing(page: Page) -> None:
    page.locator("#clear").click()
    page.locator("#teach").click()
    expect(page.locator("#lesson-said")).to_have_text("Draw a digit on the pad first.")
    assert page.evaluate("lesson === null && learner.taught.length === 0")


def test_with_reduced_motion_the_pictures_change_when_the_training_stops(
    chromium: Browser, page_folder: Path
) -> None:
    page = open_page(chromium, page_folder / PAGE, viewport=DESKTOP, reduced_motion="reduce")
    page.evaluate(
        """() => { window.changes = 0; new MutationObserver(() => { window.changes++; })
            .observe(document.querySelector("#lesson-loss .picture"), { childList: true }); }"""
    )
    page.locator("#lesson-train").click()
    page.wait_for_function("!lesson")
    page.wait_for_timeout(50)
    assert page.evaluate("window.changes") == 1
    expect(page.locator("#lesson-state")).to_contain_text("epoch 20 of 20")
    page.context.close()


@pytest.mark.skipif(not (ROOT / PAGE).is_file(), reason="the page has not been built")
def test_of_mnists_digits_it_learns_to_read_others(page: Page) -> None:
    content = committed_data().get("lesson")
    if content is None:
        pytest.skip("the committed page has no digits to learn from")
    page.evaluate(
        """content => { const [learnt, others] = unpacked(content);
            learntDigits.splice(0, Infinity, ...learnt);
            otherDigits.splice(0, Infinity, ...others); learner = newLearner(1); }""",
        content,
    )
    page.locator("#lesson-train").click()
    page.wait_for_function("!lesson")
    last = page.evaluate("learner.scores.at(-1)")
    assert last["learnt"]["error"] < 2
    assert last["others"]["error"] < 20
