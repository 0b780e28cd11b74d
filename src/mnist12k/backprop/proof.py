"""Every gradient and every curve of the study, held against three other computations."""

import sys
from typing import NamedTuple

import numpy as np

from mnist12k.backprop.autograd import autograd_gradients
from mnist12k.backprop.exact import exact_loss_curve
from mnist12k.backprop.network import Array, Network, forward
from mnist12k.backprop.study import trajectory


class Deviation(NamedTuple):
    """The largest deviations over all iterations of one descent.

    The gradients' are absolute, each taken at that iteration's weights: from torch's autograd,
    and from central differences of E_total, whose own error is near 1e-11. The curve's are from
    the descent with 50 digits. Where a loss nears 0 its relative deviation says little: float64
    outputs near a target of 0.5 are 1e-16 apart.
    """

    gradient_autograd: float
    gradient_central: float
    curve_absolute: float
    curve_relative: float


def deviation(network: Network, learning_rate: float, iterations: int) -> Deviation:
    """Descend at one rate, and measure every number of the descent."""
    path = trajectory(network, learning_rate, iterations)
    weights = np.stack([step.weights for step in path], axis=-1)
    closed = np.stack([step.gradients for step in path], axis=-1)
    losses = np.array([step.passed.E_total for step in path])
    exact = exact_loss_curve(network, learning_rate, iterations)
    off = np.abs(losses - exact)
    return Deviation(
        float(np.abs(closed - autograd_gradients(network, weights)).max()),
        float(np.abs(closed - central_differences(network, weights)).max()),
        float(off.max()),
        float((off / np.maximum(exact, sys.float_info.min)).max()),
    )


def central_differences(network: Network, weights: Array) -> Array:
    """Return (E(w + d) - E(w - d)) / 2d for each weight, of shape (8, n) as the weights.

    d is the cube root of float64's epsilon, times the weight where that is over 1: there the
    formula's own error d² meets the rounding of E.
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
