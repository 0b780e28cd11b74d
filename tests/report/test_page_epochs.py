"""The slider over the epochs of the training."""

import shutil
from pathlib import Path

import browser
import numpy as np
import pytest
import torch
from pages import build_page, page_logits
from playwright.sync_api import Browser, Page, expect
from workspace import inside

from mnist12k.cnn.ema import averaged_tensors, copy
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import Digits, load_training_digits, split
from mnist12k.params import load_params
from mnist12k.paths import DATA, EPOCHS, MODEL, PAGE
from mnist12k.report.page import epochs
from mnist12k.report.page.epochs import epochs_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]


def network_and_holdout() -> tuple[Network, Digits]:
    """Return the network in the current folder, and its hold-out set."""
    network = load_network(MODEL, torch.device("cpu"))
    digits = load_training_digits(DATA, network.architecture)
    return network, split(digits, load_params().train.validation_size)[1]


def shown_counts(page: Page) -> list[int]:
    return [int(text or 0) for text in page.locator("[data-count]").all_text_contents()]


def test_the_slider_shows_the_network_after_each_epoch(page: Page, page_folder: Path) -> None:
    with inside(page_folder):
        network, holdout = network_and_holdout()
        rows = np.load(EPOCHS, allow_pickle=False)
    last = page_logits(page, holdout.images[:20])
    torch.testing.assert_close(
        last, predict(network, holdout.images[:20]).double(), rtol=1e-3, atol=1e-3
    )
    assert sum(shown_counts(page)) == 100
    pixels = page.evaluate("[...pixelsShown]")
    probabilities = page.locator("#bars b").all_inner_texts()

    slider = page.locator("#epoch")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "epoch 1 of 2")
    expect(page.locator("#epoch-text")).to_have_text("epoch 1 of 2")
    weights = averaged_tensors(network)
    parts = torch.from_numpy(rows[0].astype(np.float32)).split([each.numel() for each in weights])
    copy([part.view(each.shape) for part, each in zip(parts, weights, strict=True)], weights)
    expected = predict(network, holdout.images)
    torch.testing.assert_close(
        page_logits(page, holdout.images[:20]), expected[:20].double(), rtol=1e-3, atol=1e-3
    )
    assert page.evaluate("[...pixelsShown]") == pixels
    assert page.locator("#bars b").all_inner_texts() != probabilities
    torch.testing.assert_close(
        torch.tensor(page.evaluate("shown.logits")),
        page_logits(page, torch.tensor(pixels).byte())[0].float(),
    )

    table = np.zeros((10, 10), int)
    for label, prediction in zip(holdout.labels, expected.argmax(1), strict=True):
        table[label, prediction] += 1
    assert shown_counts(page) == table.ravel().tolist()
    expect(page.locator("#epoch-right")).to_have_text(f"{np.trace(table)} of 100")

    page.keyboard.press("End")
    assert torch.equal(page_logits(page, holdout.images[:20]), last)
    assert page.locator("#bars b").all_inner_texts() == probabilities


def test_weights_of_another_training_are_left_out_with_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, holdout = network_and_holdout()
    content = epochs_data(network, holdout)
    assert content is not None
    assert content["epochs"] == [1, 2]
    rows = np.load(EPOCHS)
    shutil.copytree(Path(__file__).parents[2] / "reports/backprop", workspace / "reports/backprop")
    shutil.copytree(Path(__file__).parents[2] / "benchmarks", workspace / "benchmarks")
    for changed in (rows[::-1], rows[:, 1:], rows.astype(np.float32), rows[:0]):
        np.save(EPOCHS, changed)
        build_page()
        (line,) = capsys.readouterr().err.splitlines()
        assert "the page omits the epochs: models/epochs.npy does not end with the weights" in line
        assert 'id="epoch"' not in PAGE.read_text(encoding="utf-8")
    EPOCHS.write_bytes(b"spoilt")
    build_page()
    assert "models/epochs.npy is damaged" in capsys.readouterr().err
    EPOCHS.unlink()
    build_page()
    assert capsys.readouterr().err == ""
    assert 'id="epoch"' not in PAGE.read_text(encoding="utf-8")


def test_without_the_slider_the_page_works(
    chromium: Browser, page_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    shutil.copytree(page_folder, folder, symlinks=True)
    with inside(folder):
        EPOCHS.unlink()
        build_page()
    errors: list[str] = []
    page = chromium.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((folder / PAGE).as_uri())
    expect(page.locator("#prediction")).not_to_have_text("–")
    assert page.locator("#epoch").count() == 0
    assert errors == []
    page.close()


@pytest.mark.usefixtures("workspace")
def test_a_long_training_has_fewer_epochs_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    network, holdout = network_and_holdout()
    rows = np.load(EPOCHS)
    np.save(EPOCHS, np.concatenate([np.repeat(rows[:1], 99, 0), rows[1:]]))
    monkeypatch.setattr(epochs, "BYTES", 5 * rows[0].nbytes)
    content = epochs_data(network, Digits(*(part[:0] for part in holdout)))
    assert content is not None
    assert content["epochs"] == [1, 26, 51, 75, 100]
    assert content["counts"] == []
