"""How sure a network must be of a digit, measured on MNIST images that it was not trained on."""

import math
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError
from mnist12k.photos.prepare import prepare

# Below this probability a digit is unsure: the threshold of `python benchmarks/unsure.py`.
UNSURE = 0.9
# Ink wider than high may be two digits that touch each other, and needs more.
UNSURE_IF_WIDE = 0.99
FALSE_ALARMS = 0.01  # at most this fraction of the correctly read digits may be unsure


def is_wide(image: NDArray[np.uint8]) -> bool:
    """Return whether the ink of a prepared image, (28, 28), is wider than high."""
    height, width = (np.ptp(np.flatnonzero(image.any(axis=axis))) for axis in (1, 0))
    return bool(width > height)


def least_probability(image: NDArray[np.uint8]) -> float:
    """Return the probability below which the digit of a prepared image, (28, 28), is unsure."""
    return UNSURE_IF_WIDE if is_wide(image) else UNSURE


class Confidence(NamedTuple):
    """Of digits prepared as pictures are: how many, and how many are refused, wrong, unsure, both.

    `threshold` is the largest for which only FALSE_ALARMS of the correctly read ones are unsure.
    """

    total: int
    refused: int
    wrong: int
    unsure: int
    unsure_wrong: int
    threshold: float


def measure(network: Network, digits: Digits) -> Confidence:
    """Prepare the digits anew, as dark ink on white, and count what is wrong and unsure."""
    images, labels = [], []
    for pixels, label in zip(digits.images.cpu().numpy(), digits.labels.tolist(), strict=True):
        with suppress(UserError):
            images.append(prepare(1 - pixels / np.float32(255)))
            labels.append(label)
    device = digits.images.device
    logits = predict(network, torch.from_numpy(np.stack(images)).to(device)).cpu()
    highest, predictions = logits.softmax(dim=1).max(dim=1)
    is_right = predictions == torch.tensor(labels)
    is_unsure = highest < torch.tensor([least_probability(image) for image in images])
    right = highest[is_right].sort().values
    return Confidence(
        total=len(digits.labels),
        refused=len(digits.labels) - len(labels),
        wrong=int((~is_right).sum()),
        unsure=int(is_unsure.sum()),
        unsure_wrong=int((is_unsure & ~is_right).sum()),
        threshold=right[math.floor(FALSE_ALARMS * len(right))].item(),
    )
