from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
from oracle import MAZUR, ORACLE, REFERENCE

from mnist12k.backprop.exact import exact_loss_curve
from mnist12k.backprop.settings import SmallNetwork


def loss(network: SmallNetwork, *weights: Any) -> Any:
    """E_total in mpmath, which differentiates it numerically."""
    (i1, i2), (t1, t2), (b1, b2) = (
        [mpmath.mpf(repr(number)) for number in numbers]
        for numbers in (network.inputs, network.targets, network.biases)
    )

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + mpmath.exp(-x))

    w1, w2, w3, w4, w5, w6, w7, w8 = weights
    a_h1, a_h2 = sigmoid(w1 * i1 + w2 * i2 + b1), sigmoid(w3 * i1 + w4 * i2 + b1)
    a_o1, a_o2 = sigmoid(w5 * a_h1 + w6 * a_h2 + b2), sigmoid(w7 * a_h1 + w8 * a_h2 + b2)
    return ((t1 - a_o1) ** 2 + (t2 - a_o2) ** 2) / 2


def differentiated_curve(network: SmallNetwork, rate: float, iterations: int) -> Sequence[float]:
    with mpmath.workdps(50):
        w = [mpmath.mpf(repr(number)) for number in network.weights]
        losses = [loss(network, *w)]
        for _ in range(iterations):
            slopes = [
                mpmath.diff(lambda *v: loss(network, *v), w, tuple(int(k == n) for n in range(8)))
                for k in range(8)
            ]
            w = [v - mpmath.mpf(repr(rate)) * slope for v, slope in zip(w, slopes, strict=True)]
            losses.append(loss(network, *w))
        return [float(each) for each in losses]


@pytest.mark.parametrize("rate", [0.5, 60.0, 300.0])
def test_the_exact_curve_is_that_of_a_numerically_differentiated_loss(rate: float) -> None:
    for network in (MAZUR, REFERENCE):
        np.testing.assert_allclose(
            exact_loss_curve(network, rate, 4), differentiated_curve(network, rate, 4), rtol=1e-15
        )


def test_the_exact_curve_is_the_oracles_to_the_last_bit() -> None:
    for rate, losses in ORACLE["reference"]["losses"].items():
        curve = exact_loss_curve(REFERENCE, float(rate), 100)
        assert {k: curve[int(k)] for k in losses} == losses


def test_rates_at_which_exp_overflows_are_exact_too() -> None:
    for rate, final in ((1e4, 0.25), (1e10, 0.0), (1e100, 0.0)):
        assert exact_loss_curve(REFERENCE, rate, 3)[-1] == final
