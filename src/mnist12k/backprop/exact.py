"""The same descent with 50 decimal digits, to measure float64's rounding errors."""

from decimal import Context, Decimal, localcontext

import numpy as np

from mnist12k.backprop.network import Array
from mnist12k.backprop.settings import SmallNetwork

# An exp that overflows is infinite, and its sigmoid 0: not an error.
FIFTY_DIGITS = Context(prec=50, Emin=-999_999, Emax=999_999, traps=[])


def exact_loss_curve(network: SmallNetwork, learning_rate: float, iterations: int) -> Array:
    """Return E_total at iterations 0 to `iterations`, computed with 50 digits, then rounded.

    Numbers are taken as written: 0.1 is one tenth. The chain rule is applied layer by layer,
    without the formulas of `network`.
    """
    with localcontext(FIFTY_DIGITS):
        inputs, targets, weights, (b1, b2) = (
            [Decimal(repr(number)) for number in numbers]
            for numbers in (network.inputs, network.targets, network.weights, network.biases)
        )
        rate = Decimal(repr(learning_rate))
        hidden, output = [weights[:2], weights[2:4]], [weights[4:6], weights[6:]]
        losses = []
        for _ in range(iterations + 1):
            a_h = _layer(hidden, inputs, b1)
            a_o = _layer(output, a_h, b2)
            errors = [a - t for a, t in zip(a_o, targets, strict=True)]
            losses.append(float(sum(error * error for error in errors) / 2))
            dE_do = [error * a * (1 - a) for error, a in zip(errors, a_o, strict=True)]
            dE_dh = [
                sum(d * row[k] for d, row in zip(dE_do, output, strict=True)) * a * (1 - a)
                for k, a in enumerate(a_h)
            ]
            output = _descend(output, dE_do, a_h, rate)
            hidden = _descend(hidden, dE_dh, inputs, rate)
    return np.array(losses)


def _layer(weights: list[list[Decimal]], values: list[Decimal], bias: Decimal) -> list[Decimal]:
    sums = [sum(w * v for w, v in zip(row, values, strict=True)) + bias for row in weights]
    return [1 / (1 + (-x).exp()) for x in sums]


def _descend(
    weights: list[list[Decimal]], dE: list[Decimal], values: list[Decimal], rate: Decimal
) -> list[list[Decimal]]:
    return [
        [w - rate * d * v for w, v in zip(row, values, strict=True)]
        for d, row in zip(dE, weights, strict=True)
    ]
