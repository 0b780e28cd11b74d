"""Gradient descent on the 2-2-2 network: its losses at many rates, and every step at one."""

import numpy as np

from mnist12k.backprop.network import Array, Forward, forward, gradients, update

STEP_COLUMNS = (
    *("t1", "t2", "i1", "i2"),
    *("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"),
    *Forward._fields,
    *("dE_dw1", "dE_dw2", "dE_dw3", "dE_dw4", "dE_dw5", "dE_dw6", "dE_dw7", "dE_dw8"),
)


def loss_curves(
    inputs: tuple[float, float],
    targets: tuple[float, float],
    weights: tuple[float, ...],
    learning_rates: tuple[float, ...],
    iterations: int,
) -> Array:
    """Return E_total of shape (iterations + 1, rates); row 0 is before any update."""
    rates = np.array(learning_rates)
    w = np.repeat(np.array(weights)[:, None], len(rates), axis=1)
    losses = np.empty((iterations + 1, len(rates)))
    for iteration in range(iterations + 1):
        passed = forward(inputs, targets, w)
        losses[iteration] = passed.E_total
        w = update(w, gradients(inputs, targets, w, passed), rates)
    return losses


def steps(
    inputs: tuple[float, float],
    targets: tuple[float, float],
    weights: tuple[float, ...],
    learning_rate: float,
    iterations: int,
) -> Array:
    """Return every number of every iteration, of shape (iterations + 1, STEP_COLUMNS)."""
    w = np.array(weights)
    rows = np.empty((iterations + 1, len(STEP_COLUMNS)))
    for iteration in range(iterations + 1):
        passed = forward(inputs, targets, w)
        dE_dw = gradients(inputs, targets, w, passed)
        rows[iteration] = [*targets, *inputs, *w, *passed, *dE_dw]
        w = update(w, dE_dw, learning_rate)
    return rows
