"""Predictions and scores on digits that are not trained on."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import Digits


class Score(NamedTuple):
    """Mean negative log-likelihood, and accuracy in [0, 1]."""

    loss: float
    accuracy: float


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Return logits of shape (n, classes) for uint8 images of shape (n, h, w), evaluating."""
    was_training = network.training
    network.eval()
    logits = [network(to_unit_range(batch)) for batch in images.split(batch_size)]
    network.train(was_training)
    return torch.cat(logits)


def score(logits: Tensor, labels: Tensor) -> Score:
    """Score logits of shape (n, classes) against labels of shape (n,)."""
    loss = F.cross_entropy(logits, labels)
    correct = (logits.argmax(dim=1) == labels).sum()
    return Score(loss.item(), correct.item() / len(labels))


def evaluate(network: nn.Module, digits: Digits) -> Score:
    """Predict and score; `digits` must be on the network's device."""
    return score(predict(network, digits.images), digits.labels)
