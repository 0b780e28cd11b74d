"""The CNN on the page, against PyTorch."""

from pathlib import Path

import browser
import pytest
import torch
from networks import REFERENCE, SMALL
from page_networks import random_network
from pages import page_logits
from playwright.sync_api import Page
from workspace import inside

from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import load_test_digits
from mnist12k.paths import DATA, MODEL
from mnist12k.report.page.network import network_content, network_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="Chromium is not installed"),
]


def test_the_pages_network_is_pytorchs_on_all_test_images(page: Page, page_folder: Path) -> None:
    with inside(page_folder):
        network, digits = (
            load_network(MODEL, torch.device("cpu")),
            load_test_digits(DATA, REFERENCE),
        )
    assert_same_logits(page, network, digits.images)


@pytest.mark.parametrize("name", SMALL)
def test_the_page_computes_any_architecture_from_its_list(
    page: Page, page_folder: Path, name: str
) -> None:
    with inside(page_folder):
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
