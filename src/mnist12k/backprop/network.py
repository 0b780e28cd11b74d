"""The 2-2-2 network, its loss and its gradients, as derived on paper.

    i1, i2 -> h1, h2 (w1..w4, b1) -> o1, o2 (w5..w8, b2), a sigmoid after each;
    E_total = E1 + E2, the halved squared errors.

All names are the derivation's. The weights are a float64 array of shape (8, ...), w1 first; its
further axes hold independent networks.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist12k.backprop.settings import SmallNetwork

Array = NDArray[np.float64]


class Forward(NamedTuple):
    """Everything that a forward pass computes, each of the shape of one weight."""

    h1: Array
    a_h1: Array
    h2: Array
    a_h2: Array
    o1: Array
    a_o1: Array
    o2: Array
    a_o2: Array
    E1: Array
    E2: Array
    E_total: Array


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), without overflow at any x."""
    e: Array = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e))


def forward(network: SmallNetwork, weights: Array) -> Forward:
    """Step 1: compute the outputs and the loss."""
    i1, i2 = network.inputs
    t1, t2 = network.targets
    b1, b2 = network.biases
    w1, w2, w3, w4, w5, w6, w7, w8 = weights
    h1 = w1 * i1 + w2 * i2 + b1
    h2 = w3 * i1 + w4 * i2 + b1
    a_h1 = sigmoid(h1)
    a_h2 = sigmoid(h2)
    o1 = w5 * a_h1 + w6 * a_h2 + b2
    o2 = w7 * a_h1 + w8 * a_h2 + b2
    a_o1 = sigmoid(o1)
    a_o2 = sigmoid(o2)
    E1 = (t1 - a_o1) ** 2 / 2
    E2 = (t2 - a_o2) ** 2 / 2
    return Forward(h1, a_h1, h2, a_h2, o1, a_o1, o2, a_o2, E1, E2, E1 + E2)


def gradients(network: SmallNetwork, weights: Array, passed: Forward) -> Array:
    """Steps 2 to 6: dE_total/dw1 .. dE_total/dw8, shaped as the weights, from their forward pass.

    dE/dw3 and dE/dw4 have the factor a_h2 (1 - a_h2); the widely copied spreadsheet of this
    exercise has a_h1 (1 - a_h1) instead.
    """
    i1, i2 = network.inputs
    t1, t2 = network.targets
    _, _, _, _, w5, w6, w7, w8 = weights
    _, a_h1, _, a_h2, _, a_o1, _, a_o2, *_ = passed

    # Steps 2 and 3: the output layer.
    dE_do1 = (a_o1 - t1) * a_o1 * (1 - a_o1)
    dE_do2 = (a_o2 - t2) * a_o2 * (1 - a_o2)
    dE_dw5 = dE_do1 * a_h1
    dE_dw6 = dE_do1 * a_h2
    dE_dw7 = dE_do2 * a_h1
    dE_dw8 = dE_do2 * a_h2

    # Step 4: the hidden activations, which contribute to both errors.
    dE_da_h1 = dE_do1 * w5 + dE_do2 * w7
    dE_da_h2 = dE_do1 * w6 + dE_do2 * w8

    # Steps 5 and 6: the hidden layer.
    dE_dh1 = dE_da_h1 * a_h1 * (1 - a_h1)
    dE_dh2 = dE_da_h2 * a_h2 * (1 - a_h2)
    dE_dw1 = dE_dh1 * i1
    dE_dw2 = dE_dh1 * i2
    dE_dw3 = dE_dh2 * i1
    dE_dw4 = dE_dh2 * i2
    return np.stack([dE_dw1, dE_dw2, dE_dw3, dE_dw4, dE_dw5, dE_dw6, dE_dw7, dE_dw8])


def update(weights: Array, gradients: Array, learning_rate: float | Array) -> Array:
    """Step 7: move all weights at once, against their gradients."""
    return weights - learning_rate * gradients
