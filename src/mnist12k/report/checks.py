"""Sections of the derivation's page: how right its numbers are, and whose are wrong."""

from collections.abc import Mapping

from mnist12k.backprop.errata import (
    MAZUR_LEARNING_RATE,
    MAZUR_PUBLISHED_LOSS,
    loss_after_output_layer_first,
    workbook_gradients,
    workbook_losses,
)
from mnist12k.backprop.network import Network
from mnist12k.backprop.proof import Deviation
from mnist12k.backprop.study import loss_curves, trajectory
from mnist12k.report.markdown import table


def gradient_check(deviations: Mapping[tuple[str, float], Deviation], iterations: int) -> str:
    """Return the page's section on how far each number is from three other computations."""
    rows = [
        [f"`{name}`", f"{rate:g}", *(f"{value:.1e}" for value in deviation)]
        for (name, rate), deviation in deviations.items()
    ]
    head = ["network", "rate", "autograd", "central differences", "curve", "curve, relative"]
    return f"""## Is it right?

The largest deviations over iterations 0 to {iterations}: of the closed-form gradients from torch's
autograd in float64 and from central differences (whose own error is near 1e-11), both at every
iteration's weights, and of the loss curve from one that is computed with 50 decimal digits.

{table(head, rows)}"""


def errata(
    seed: Network, mazur: Network, learning_rates: tuple[float, ...], iterations: int
) -> str:
    """Return the page's section on published figures of this exercise that are wrong."""
    first = trajectory(seed, 0.0, 0)[0]
    wrong = workbook_gradients(seed, first.weights, first.passed)
    rows = [
        [f"∂E/∂w{k + 1} before the first update", f"{right:.10g}", f"{mistaken:.10g}"]
        for k, (right, mistaken) in enumerate(zip(first.gradients, wrong, strict=True))
        if right != mistaken
    ]
    losses = loss_curves(seed, learning_rates, iterations)[-1]
    mistaken_losses = workbook_losses(seed, learning_rates, iterations)
    rows += [
        [f"loss after {iterations} updates at rate {rate:g}", f"{right:.10g}", f"{mistaken:.10g}"]
        for rate, right, mistaken in zip(learning_rates, losses, mistaken_losses, strict=True)
    ]
    simultaneous = loss_curves(mazur, [MAZUR_LEARNING_RATE], 1)[1, 0]
    output_layer_first = loss_after_output_layer_first(mazur, MAZUR_LEARNING_RATE)
    mazur_rows = [
        ["all weights at once", f"{simultaneous:.10f}"],
        ["w5 to w8 first, and ∂E/∂w1 to ∂E/∂w4 from the new ones", f"{output_layer_first:.10f}"],
        ["as published", f"{MAZUR_PUBLISHED_LOSS:.9f}"],
    ]
    return f"""## Errata

**The workbook that this exercise was published with** (network `seed`) has
$`a_{{h1}} (1 - a_{{h1}})`$ in its cells for ∂E/∂w3 and ∂E/∂w4, where step 6 has
$`a_{{h2}} (1 - a_{{h2}})`$. Its curves are the mistaken ones. After {iterations} updates they are
at most {abs(losses - mistaken_losses).max():.1e} off, too little to see in any plot.

{table(["", "right", "with the mistake"], rows)}
**Its text** has `w_h2` in the equation of o2, a name that nothing else bears: a_h2 is meant.

**"A Step by Step Backpropagation Example"** (Matt Mazur, network `mazur`, learning rate
{MAZUR_LEARNING_RATE:g}) gives {MAZUR_PUBLISHED_LOSS:.9f} as the loss after one update. That is
what comes out if the output layer is updated first and the hidden layer's gradients then use its
new weights, in place of those that the forward pass used.

{table(["update", "loss after it"], mazur_rows)}"""
