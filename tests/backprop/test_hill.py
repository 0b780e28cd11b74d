import numpy as np
import pytest
from oracle import MAZUR, REFERENCE

from mnist12k.backprop.autograd import sharpness
from mnist12k.backprop.hill import RATES, Hill, Sweep, find_hill, sweep
from mnist12k.backprop.network import forward, gradients
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import descent, loss_curves

ITERATIONS = 100


@pytest.fixture(scope="module")
def swept() -> Sweep:
    return sweep(REFERENCE, ITERATIONS)


@pytest.fixture(scope="module")
def hill(swept: Sweep) -> Hill:
    return find_hill(REFERENCE, ITERATIONS, swept)


def test_the_first_update_lowers_the_loss_up_to_the_edge_and_not_beyond(hill: Hill) -> None:
    assert hill.first_step_edge is not None
    start, after = loss_curves(
        REFERENCE, [hill.first_step_edge * side for side in (0.999999, 1.000001)], 1
    )
    assert after[0] < start[0]
    assert after[1] > start[1]
    assert hill.first_step_edge == pytest.approx(67.1006197, abs=1e-6)


def test_no_rate_of_a_finer_grid_is_faster_than_the_fastest(hill: Hill) -> None:
    assert hill.fastest is not None
    assert hill.fastest_updates is not None
    losses = loss_curves(REFERENCE, np.geomspace(0.01, 1000, 20_001).tolist(), hill.fastest_updates)
    assert (losses[:-1] >= 1e-4).all()
    assert losses[-1].min() == pytest.approx(
        loss_curves(REFERENCE, [hill.fastest], hill.fastest_updates)[-1, 0], rel=1e-4
    )
    assert hill.fastest_from is not None
    assert hill.fastest_to is not None
    ends = [hill.fastest_from, hill.fastest_to]
    assert (loss_curves(REFERENCE, ends, hill.fastest_updates)[-1] < 1e-4).all()
    outside = [hill.fastest_from * 0.999999, hill.fastest_to * 1.000001]
    assert (loss_curves(REFERENCE, outside, hill.fastest_updates)[-1] >= 1e-4).all()


def test_the_loss_never_rises_up_to_the_largest_such_rate_and_does_beyond(
    hill: Hill, swept: Sweep
) -> None:
    edge = hill.largest_never_rising
    assert edge is not None
    # Losses below 1e-28 are rounding errors.
    rises = (
        np.diff(
            np.maximum(loss_curves(REFERENCE, [edge * 0.999999, edge * 1.000001], 3000), 1e-28),
            axis=0,
        )
        > 0
    )
    assert not rises[:, 0].any()
    assert rises[:, 1].any()
    np.testing.assert_array_equal(swept.rises, edge < RATES)


def test_above_saturation_the_outputs_stay_at_an_end_of_the_sigmoid(hill: Hill) -> None:
    assert hill.saturation is not None
    path = descent(
        REFERENCE, np.array([hill.saturation * 0.999999, hill.saturation * 1.000001, 1000.0])
    )
    passed = [next(path) for _ in range(ITERATIONS + 1)][-1].passed
    slope = np.maximum(passed.a_o1 * (1 - passed.a_o1), passed.a_o2 * (1 - passed.a_o2))
    assert slope[0] > 1e-3
    assert (slope[1:] < 1e-3).all()
    assert (passed.E_total[1:] > 0.2).all()


def test_descent_leaves_a_minimum_at_rates_above_two_over_its_sharpness(hill: Hill) -> None:
    assert hill.stable_below is not None
    path = descent(REFERENCE, np.array(1.0))
    minimum = [next(path) for _ in range(3000)][-1]
    assert minimum.passed.E_total < 1e-28
    assert 2 / sharpness(REFERENCE, minimum.weights[:, None])[0] == pytest.approx(
        hill.stable_below, rel=1e-3
    )
    near = REFERENCE.model_copy(update={"weights": tuple(minimum.weights + 1e-7)})
    losses = loss_curves(near, np.multiply(hill.stable_below, [0.95, 1.05]).tolist(), 60)
    assert losses[-1, 0] < losses[0, 0] / 100
    assert losses[-1, 1] > losses[0, 1] * 100


def test_a_descent_settles_only_where_it_is_flat_enough_for_its_rate(swept: Sweep) -> None:
    settled = ~np.isnan(swept.stable_below)
    assert settled.sum() > 400
    assert (swept.stable_below[settled] > RATES[settled]).all()
    assert (RATES[settled] > 61.9).sum() > 100


def test_sharpness_is_the_largest_curvature_of_the_hand_written_gradients() -> None:
    w = np.array(MAZUR.weights)
    sides = w[:, None, None] + 1e-6 * np.eye(8)[:, :, None] * [1, -1]
    slopes = gradients(MAZUR, sides, forward(MAZUR, sides))
    hessian = (slopes[..., 0] - slopes[..., 1]) / 2e-6
    assert sharpness(MAZUR, w[:, None])[0] == pytest.approx(
        np.linalg.eigvalsh(hessian)[-1], rel=1e-7
    )


def test_an_edge_that_a_network_does_not_have_is_none() -> None:
    hill = find_hill(MAZUR, ITERATIONS, sweep(MAZUR, ITERATIONS))
    assert hill.first_step_edge is None
    assert hill.largest_never_rising is None
    assert hill.fastest_updates == 1


def test_a_network_that_cannot_learn_has_no_hill() -> None:
    flat = SmallNetwork(
        inputs=(0.0, 0.0),
        targets=(0.0, 1.0),
        weights=(0.0,) * 4 + (1e6,) * 4,
        biases=(1e6, 1e6),
    )
    assert set(find_hill(flat, ITERATIONS, sweep(flat, ITERATIONS))) == {None}
