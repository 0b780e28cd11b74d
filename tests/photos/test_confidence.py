"""The thresholds below which a digit is unsure, and their measurement."""

import numpy as np
import pytest
import torch
from drawn_digits import drawn
from networks import reference

from mnist12k.cnn.evaluate import predict
from mnist12k.digits.dataset import Digits
from mnist12k.photos.confidence import UNSURE, UNSURE_IF_WIDE, least_probability, measure
from mnist12k.photos.prepare import prepare


def test_ink_wider_than_high_needs_a_higher_probability() -> None:
    image = np.zeros((28, 28), dtype=np.uint8)
    image[4:24, 8:20] = 255
    assert least_probability(image) == UNSURE
    assert least_probability(image.T) == UNSURE_IF_WIDE


@pytest.mark.parametrize("sharpness", [1, 30])
def test_what_is_measured_is_what_predict_would_say(sharpness: float) -> None:
    random = np.random.default_rng(1)
    drawings = [prepare(1 - drawn(k % 10, 0.07, random)) for k in range(60)]
    images = torch.from_numpy(np.stack([*drawings, np.zeros((28, 28), dtype=np.uint8)]))
    network = reference()
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(sharpness)
    anew = np.stack([prepare(1 - image.numpy() / np.float32(255)) for image in images[:60]])
    probabilities = predict(network, torch.from_numpy(anew)).softmax(dim=1).numpy()
    labels = probabilities.argmax(axis=1)
    labels[:20] = (labels[:20] + 1) % 10  # so these are read wrong
    digits = Digits(images, torch.from_numpy(np.append(labels, 0)))

    result = measure(network, digits)
    highest = probabilities.max(axis=1)
    needed = np.array([least_probability(image) for image in anew])
    assert (result.total, result.refused, result.wrong) == (61, 1, 20)
    assert result.unsure == np.count_nonzero(highest < needed)
    assert result.unsure_wrong == np.count_nonzero((highest < needed)[:20])
    assert result.threshold == pytest.approx(highest[20:].min())  # 1 % of 40 is none
