"""The errors in published versions of this exercise, as data."""

from typing import NamedTuple

import numpy as np

from mnist12k.backprop.errata import (
    MAZUR_LEARNING_RATE,
    MAZUR_PUBLISHED_LOSS,
    MAZUR_PUBLISHED_WEIGHTS,
    loss_after_output_layer_first,
    workbook_gradients,
    workbook_losses,
)
from mnist12k.backprop.settings import Backprop
from mnist12k.backprop.study import loss_curves, trajectory
from mnist12k.report.study.formulas import GRADIENTS


class Erratum(NamedTuple):
    """One error, and the numbers that show it; formulas are in backticks, see `notation`."""

    title: str
    text: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def errata(study: Backprop) -> list[Erratum]:
    """Return the errata of the presets, whichever network is studied."""
    text = "The equation of `o2` contains `w_h2`, a name defined nowhere; `a_h2` is meant."
    return [_workbook(study), Erratum("The text of the exercise", text), _mazur(study)]


def _workbook(study: Backprop) -> Erratum:
    network, rates, iterations = study.presets.reference, study.learning_rates, study.iterations
    (first,) = trajectory(network, 0.0, 0)
    published = workbook_gradients(network, first.weights, first.passed)
    losses = loss_curves(network, rates, iterations)
    published_losses = workbook_losses(network, rates, iterations)
    errors = abs(losses - published_losses).max(axis=1)
    after = f"after {iterations} update{'' if iterations == 1 else 's'}"
    numbers = [
        (f"`{GRADIENTS[k]}` in iteration 0", first.gradients[k], published[k])
        for k in np.flatnonzero(first.gradients != published)
    ]
    curves = [f"loss {after} at learning rate {rate:g}" for rate in rates]
    numbers += zip(curves, losses[-1], published_losses[-1], strict=True)
    return Erratum(
        "The workbook published with the exercise (preset reference)",
        "Its cells for `dE_dw3` and `dE_dw4` contain `a_h1 * (1 - a_h1)` in place of "
        "`a_h2 * (1 - a_h2)`, the factor of step 6, and its loss curves follow these gradients. "
        f"Its losses are off by at most {errors.max():.1e} along the curves, and by at most "
        f"{errors[-1]:.1e} {after}.",
        ("quantity", "correct", "as published"),
        tuple((name, f"{correct:.10g}", f"{wrong:.10g}") for name, correct, wrong in numbers),
    )


def _mazur(study: Backprop) -> Erratum:
    network, rate = study.presets.mazur, MAZUR_LEARNING_RATE
    at_once = loss_curves(network, [rate], 1)[1, 0]
    in_turn = loss_after_output_layer_first(network, rate)
    weights = trajectory(network, rate, 1)[1].weights
    right = sum(map(_has_digits, weights, MAZUR_PUBLISHED_WEIGHTS))
    which = "all eight" if right == len(weights) else f"{right} of eight"
    return Erratum(
        'Matt Mazur, "A Step by Step Backpropagation Example" (preset mazur)',
        f"The published loss after one update at learning rate {rate:g} is "
        f"{MAZUR_PUBLISHED_LOSS:.9f}. It results from updating the output layer first and then "
        "computing the gradients of the hidden layer with the new `w5` to `w8`. Gradient descent "
        "computes all gradients with the weights of the forward pass. Of the weights published "
        f"for that update, {which} are those of gradient descent in every digit.",
        ("update", "loss"),
        (
            ("all weights at once", f"{at_once:.10f}"),
            (
                "output layer first, then the hidden layer with the new `w5` to `w8`",
                f"{in_turn:.10f}",
            ),
            ("as published", f"{MAZUR_PUBLISHED_LOSS:.9f}"),
        ),
    )


def _has_digits(value: float, published: str) -> bool:
    """Return whether `published` is the value, rounded to as many decimals."""
    return f"{value:.{len(published.partition('.')[2])}f}" == published
