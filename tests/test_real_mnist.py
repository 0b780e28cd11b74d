import os
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_digits import twenty_pictures
from networks import REFERENCE

from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import Network, for_images, new_network
from mnist12k.digits.dataset import (
    load_test_digits,
    load_training_digits,
    mean_and_deviation,
    split,
)
from mnist12k.digits.fetch import fetch
from mnist12k.errors import UserError
from mnist12k.params import Params
from mnist12k.photos.confidence import measure
from mnist12k.photos.prepare import prepare
from mnist12k.photos.read import read_grey

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
    training, test = load_training_digits(mnist, REFERENCE), load_test_digits(mnist, REFERENCE)
    assert (len(training.labels), len(test.labels)) == (60_000, 10_000)
    assert training.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    pixels = training.images.float() / 255
    assert round(pixels.mean().item(), 4) == 0.1307
    assert round(pixels.std().item(), 4) == 0.3081
    assert mean_and_deviation(training.images) == (0.1307, 0.3081)


@pytest.fixture(scope="module")
def trained(mnist: Path, params: Params) -> tuple[Network, Epoch]:
    """A network after one epoch of the default recipe; most of a minute on two busy cores."""
    digits = load_training_digits(mnist, REFERENCE)
    recipe = for_images(params.train.model_copy(update={"epochs": 1}), digits.images)
    network = new_network(recipe, torch.device("cpu"))
    (epoch,) = fit(network, *split(digits, 5000), recipe)
    return network.eval(), epoch


def test_one_epoch_of_the_default_recipe_passes_97_percent(trained: tuple[Network, Epoch]) -> None:
    accuracy = trained[1].validation_accuracy
    assert accuracy is not None
    assert accuracy > 0.97


def test_of_twenty_pictures_that_are_not_from_mnist_18_are_read_right(
    trained: tuple[Network, Epoch], tmp_path: Path
) -> None:
    digits = twenty_pictures(tmp_path)
    images = np.stack([prepare(read_grey(tmp_path / name)) for name in digits])
    predictions = (
        predict(trained[0], torch.from_numpy(images), batch_size=20).argmax(dim=1).tolist()
    )
    wrong = {
        name: got
        for (name, digit), got in zip(digits.items(), predictions, strict=True)
        if got != digit
    }
    assert len(digits) == 20
    assert len(wrong) <= 2, wrong


def test_mnists_own_images_stay_as_readable_when_prepared_anew(
    trained: tuple[Network, Epoch], mnist: Path
) -> None:
    _, validation = split(load_training_digits(mnist, REFERENCE), 5000)
    some = validation.subset(torch.arange(500))
    predictions = predict(trained[0], some.images, batch_size=500).argmax(dim=1)
    right = int((predictions == some.labels).sum())
    anew = measure(trained[0], some)
    assert anew.total - anew.refused - anew.wrong >= right - 5
