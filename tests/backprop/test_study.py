import numpy as np
import pytest
from oracle import MAZUR, ORACLE, REFERENCE

from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import STEP_COLUMNS, loss_curves, steps


def test_the_curves_agree_with_fifty_digits() -> None:
    exact = ORACLE["reference"]["losses"]
    curves = loss_curves(REFERENCE, [float(rate) for rate in exact], 100)
    for curve, losses in zip(curves.T, exact.values(), strict=True):
        for iteration, loss in losses.items():
            assert curve[int(iteration)] == pytest.approx(loss, rel=1e-12, abs=0)


def test_every_iteration_has_a_row_and_its_loss_is_the_curves() -> None:
    rows = steps(MAZUR, 0.5, 7)
    assert rows.shape == (8, len(STEP_COLUMNS))
    column = {name: rows[:, k] for k, name in enumerate(STEP_COLUMNS)}
    np.testing.assert_array_equal(column["E_total"], loss_curves(MAZUR, [0.1, 0.5], 7)[:, 1])
    np.testing.assert_array_equal(column["w3"][1:], column["w3"][:-1] - 0.5 * column["dE_dw3"][:-1])
    assert (column["t2"] == MAZUR.targets[1]).all()
    assert (column["i1"] == MAZUR.inputs[0]).all()


def test_a_thousand_rates_at_once_give_what_each_gives_alone() -> None:
    rates = np.geomspace(0.01, 1000, 1000)
    curves = loss_curves(REFERENCE, rates.tolist(), 20)
    for k in (0, 17, 500, 999):
        np.testing.assert_array_equal(curves[:, k], loss_curves(REFERENCE, [rates[k]], 20)[:, 0])


def test_rates_at_which_exp_would_overflow_saturate_without_a_warning() -> None:
    # Any warning fails the test. The outputs of the first are 0, far from the targets of 0.5;
    # the others have zeroed the hidden units as well, and the sigmoid of 0 is 0.5.
    assert loss_curves(REFERENCE, [1e4, 1e10, 1e100], 100)[-1].tolist() == [0.25, 0.0, 0.0]


def test_the_largest_numbers_allowed_in_params_yaml_stay_finite() -> None:
    largest = SmallNetwork(
        inputs=(1e6, -1e6),
        targets=(0.0, 1.0),
        weights=(1e6, 1e6, -1e6, 1e6) * 2,
        biases=(1e6, -1e6),
    )
    assert np.isfinite(loss_curves(largest, [1e100], 1000)).all()
