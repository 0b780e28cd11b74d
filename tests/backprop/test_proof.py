from collections.abc import Callable

import numpy as np
import pytest
from oracle import MAZUR, REFERENCE

from mnist12k.backprop import proof, study
from mnist12k.backprop.errata import workbook_gradients
from mnist12k.backprop.proof import central_differences, deviation
from mnist12k.backprop.settings import SmallNetwork

RATES = (0.1, 0.2, 0.5, 0.8, 1.0, 2.0)


@pytest.mark.parametrize("rate", RATES)
def test_every_gradient_and_loss_of_the_presets_is_right(rate: float) -> None:
    for network in (REFERENCE, MAZUR):
        largest = deviation(network, rate, 100)
        assert largest.gradient_autograd <= 1e-14
        assert largest.gradient_central <= 1e-10
        assert largest.curve_relative <= 1e-12


def test_the_error_of_the_published_workbook_does_not_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mistaken(network: SmallNetwork, rate: float, iterations: int) -> list[study.Step]:
        path = study.descent(network, np.array(rate), workbook_gradients)
        return [next(path) for _ in range(iterations + 1)]

    descend: Callable[..., list[study.Step]] = mistaken
    monkeypatch.setattr(proof, "trajectory", descend)
    largest = deviation(REFERENCE, 0.5, 100)
    assert largest.gradient_autograd > 1e-7
    assert largest.gradient_central > 1e-7
    assert largest.curve_relative > 1e-8


def test_central_differences_are_right_for_weights_of_any_size() -> None:
    # Far out on a sigmoid every slope is 0, and so is every difference.
    weights = np.full((8, 1), 1e9)
    np.testing.assert_array_equal(central_differences(REFERENCE, weights), np.zeros((8, 1)))


def test_deviations_stay_finite_where_the_loss_is_lost_to_rounding() -> None:
    for rate in (40.0, 1e5, 1e100):
        largest = deviation(REFERENCE, rate, 100)
        assert np.isfinite(largest).all()
        assert largest.gradient_autograd <= 1e-14
