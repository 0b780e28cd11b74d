"""Gradient descent on the 2-2-2 network: its losses at many rates, every step at one."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from mnist12k.backprop.network import Array, Forward, forward, gradients, update
from mnist12k.backprop.settings import SmallNetwork

STEP_COLUMNS = (
    *("t1", "t2", "i1", "i2"),
    *("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"),
    *Forward._fields,
    *("dE_dw1", "dE_dw2", "dE_dw3", "dE_dw4", "dE_dw5", "dE_dw6", "dE_dw7", "dE_dw8"),
)


class Step(NamedTuple):
    """One iteration: weights of shape (8, ...), their forward pass, their gradients."""

    weights: Array
    passed: Forward
    gradients: Array


def descent(
    network: SmallNetwork,
    learning_rates: Array,
    gradients: Callable[[SmallNetwork, Array, Forward], Array] = gradients,
) -> Iterator[Step]:
    """Yield iteration 0 (before any update), 1, 2, ... at every rate at once, without end."""
    w = np.multiply.outer(np.array(network.weights), np.ones_like(learning_rates))
    while True:
        passed = forward(network, w)
        dE_dw = gradients(network, w, passed)
        yield Step(w, passed, dE_dw)
        w = update(w, dE_dw, learning_rates)


def trajectory(network: SmallNetwork, learning_rate: float, iterations: int) -> list[Step]:
    """Return iterations 0 to `iterations` of the descent at one rate."""
    return list(islice(descent(network, np.array(learning_rate)), iterations + 1))


def loss_curves(network: SmallNetwork, learning_rates: Sequence[float], iterations: int) -> Array:
    """Return E_total of shape (iterations + 1, rates); row 0 is before any update."""
    losses = np.empty((iterations + 1, len(learning_rates)))
    for row, step in zip(losses, descent(network, np.array(learning_rates)), strict=False):
        row[:] = step.passed.E_total
    return losses


def steps(network: SmallNetwork, learning_rate: float, iterations: int) -> Array:
    """Return every number of every iteration, of shape (iterations + 1, STEP_COLUMNS)."""
    return np.array(
        [
            [*network.targets, *network.inputs, *weights, *passed, *dE_dw]
            for weights, passed, dE_dw in trajectory(network, learning_rate, iterations)
        ]
    )
