"""Two published results of this exercise that are wrong, and the mistakes that lead to them."""

from itertools import islice

import numpy as np

from mnist12k.backprop.network import Array, Forward, forward, gradients, update
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import descent

# "A Step by Step Backpropagation Example", Matt Mazur, 2015: E_total after one update.
MAZUR_LEARNING_RATE = 0.5
MAZUR_PUBLISHED_LOSS = 0.291027924
MAZUR_PUBLISHED_WEIGHTS = (
    *("0.149780716", "0.19956143", "0.24975114", "0.29950229"),
    *("0.35891648", "0.408666186", "0.511301270", "0.561370121"),
)


def workbook_gradients(network: SmallNetwork, weights: Array, passed: Forward) -> Array:
    """Return the gradients of the published workbook, wrong in dE/dw3 and dE/dw4.

    These two have a_h1 (1 - a_h1) where the derivation has a_h2 (1 - a_h2).
    """
    wrong = gradients(network, weights, passed)
    a_h1, a_h2 = passed.a_h1, passed.a_h2
    wrong[2:4] *= a_h1 * (1 - a_h1) / (a_h2 * (1 - a_h2))
    return wrong


def workbook_losses(
    network: SmallNetwork, learning_rates: tuple[float, ...], iterations: int
) -> Array:
    """Return E_total by `workbook_gradients`, of shape (iterations + 1, rates)."""
    path = descent(network, np.array(learning_rates), workbook_gradients)
    return np.array([step.passed.E_total for step in islice(path, iterations + 1)])


def loss_after_output_layer_first(network: SmallNetwork, learning_rate: float) -> float:
    """Return E_total after one update in the wrong order.

    w5..w8 are updated first, and the hidden layer's gradients then use the new w5..w8 instead of
    those of the forward pass.
    """
    w = np.array(network.weights)
    passed = forward(network, w)
    w[4:] = update(w, gradients(network, w, passed), learning_rate)[4:]
    w[:4] = update(w, gradients(network, w, passed), learning_rate)[:4]
    return float(forward(network, w).E_total)
