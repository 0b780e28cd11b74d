import numpy as np
import pytest
from oracle import MAZUR, ORACLE, SEED

from mnist12k.backprop.network import Network
from mnist12k.backprop.study import STEP_COLUMNS, loss_curves, steps


def test_the_curves_agree_with_fifty_digits() -> None:
    exact = ORACLE["seed"]["losses"]
    curves = loss_curves(SEED, [float(rate) for rate in exact], 100)
    for curve, losses in zip(curves.T, exact.values(), strict=True):
        for iteration, loss in losses.items():
            assert curve[int(iteration)] == pytest.approx(loss, rel=1e-12, abs=0)


def test_every_step_is_there_and_ends_where_its_curve_ends() -> None:
    rows = steps(MAZUR, 0.5, 7)
    assert rows.shape == (8, len(STEP_COLUMNS))
    column = {name: rows[:, k] for k, name in enumerate(STEP_COLUMNS)}
    np.testing.assert_array_equal(column["E_total"], loss_curves(MAZUR, [0.1, 0.5], 7)[:, 1])
    np.testing.assert_array_equal(column["w3"][1:], column["w3"][:-1] - 0.5 * column["dE_dw3"][:-1])
    assert (column["t2"] == MAZUR.targets[1]).all()
    assert (column["i1"] == MAZUR.inputs[0]).all()


def test_a_thousand_rates_descend_side_by_side_as_each_does_alone() -> None:
    rates = np.geomspace(0.01, 1000, 1000)
    curves = loss_curves(SEED, rates.tolist(), 20)
    for k in (0, 17, 500, 999):
        np.testing.assert_array_equal(curves[:, k], loss_curves(SEED, [rates[k]], 20)[:, 0])


def test_rates_at_which_exp_would_overflow_saturate_in_silence() -> None:
    # Any warning is an error here. The outputs of the first are 0, far from the targets of 0.5;
    # the others have killed the hidden units, too, and a sum of nothing comes out as 0.5.
    assert loss_curves(SEED, [1e4, 1e10, 1e100], 100)[-1].tolist() == [0.25, 0.0, 0.0]


def test_the_largest_numbers_that_params_yaml_may_hold_stay_finite() -> None:
    largest = Network((1e6, -1e6), (0.0, 1.0), (1e6, 1e6, -1e6, 1e6) * 2, (1e6, -1e6))
    assert np.isfinite(loss_curves(largest, [1e100], 1000)).all()
