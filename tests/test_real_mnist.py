import os
from pathlib import Path

import pytest
import torch

from mnist12k.cnn.fit import fit
from mnist12k.cnn.network import new_network
from mnist12k.digits.dataset import load_test_digits, load_training_digits, split
from mnist12k.digits.fetch import fetch
from mnist12k.errors import UserError
from mnist12k.params import Params

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Path:
    root = tmp_path_factory.mktemp("real") / "mnist"
    try:
        fetch("auto", params.fetch.sha256, root)
    except UserError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no source of MNIST can be reached: {error}")
    return root


def test_the_fetched_files_are_mnist(mnist: Path) -> None:
    training, test = load_training_digits(mnist), load_test_digits(mnist)
    assert (len(training.labels), len(test.labels)) == (60_000, 10_000)
    assert training.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    pixels = training.images.float() / 255
    assert round(pixels.mean().item(), 4) == 0.1307
    assert round(pixels.std().item(), 4) == 0.3081


def test_one_epoch_of_the_default_recipe_passes_97_percent(mnist: Path, params: Params) -> None:
    recipe = params.train.model_copy(update={"epochs": 1})
    network = new_network(recipe.dropout, recipe.seed, torch.device("cpu"))
    (epoch,) = fit(network, *split(load_training_digits(mnist), 5000), recipe)
    assert epoch.validation_accuracy is not None
    assert epoch.validation_accuracy > 0.97
