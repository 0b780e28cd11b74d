"""Every gradient and loss curve of the study, checked against three other computations."""

import sys
from typing import NamedTuple

import numpy as np

from mnist12k.backprop.autograd import autograd_gradients
from mnist12k.backprop.exact import exact_loss_curve
from mnist12k.backprop.network import Array, forward
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import trajectory


class Deviation(NamedTuple):
    """The largest deviations over all iterations of one descent.

    Gradients: absolute, at each iteration's weights, from torch's autograd and from central
    differences of E_total, whose own error is near 1e-11. Curve: from the descent with 50 digits.
    For losses near 0 the relative deviation says little, since float64 outputs near a target of
    0.5 are 1e-16 apart.
    """

    gradient_autograd: float
    gradient_central: float
    curve_absolute: float
    curve_relative: float


def deviation(network: SmallNetwork, learning_rate: float, iterations: int) -> Deviation:
    """Descend at one learning rate, and measure the deviations."""
    path = trajectory(network, learning_rate, iterations)
    weights = np.stack([step.weights for step in path], axis=-1)
    closed = np.stack([step.gradients for step in path], axis=-1)
    losses = np.array([step.passed.E_total for step in path])
    exact = exact_loss_curve(network, learning_rate, iterations)
    errors = np.abs(losses - exact)
    return Deviation(
        float(np.abs(closed - autograd_gradients(network, weights)).max()),
        float(np.abs(closed - central_differences(network, weights)).max()),
        float(errors.max()),
        float((errors / np.maximum(exact, sys.float_info.min)).max()),
    )


def central_differences(network: SmallNetwork, weights: Array) -> Array:
    """Return (E(w + d) - E(w - d)) / 2d for each weight, in the weights' shape (8, n).

    d is the cube root of float64's epsilon, times the weight if that is above 1: this balances the
    formula's error d² against the rounding of E.
    """
    slopes = np.empty_like(weights)
    for k, w in enumerate(weights):
        d = np.cbrt(np.finfo(float).eps) * np.maximum(1, np.abs(w))
        above, below = weights.copy(), weights.copy()
        above[k] += d
        below[k] -= d
        rise = forward(network, above).E_total - forward(network, below).E_total
        slopes[k] = rise / (above[k] - below[k])
    return slopes
