from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import MAZUR, ORACLE, REFERENCE

from mnist12k.backprop.autograd import autograd_gradients
from mnist12k.backprop.network import forward, gradients, sigmoid, update
from mnist12k.backprop.proof import central_differences
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import Step, trajectory
from mnist12k.report.study.formulas import FORMULAS, GRADIENTS, first_iteration

PRESETS = ((REFERENCE, ORACLE["reference"]), (MAZUR, ORACLE["mazur"]))


def numbers(limit: float, count: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[st.floats(-limit, limit)] * count)


NETWORKS = st.builds(
    SmallNetwork,
    inputs=numbers(2, 2),
    targets=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    weights=numbers(3, 8),
    biases=numbers(2, 2),
)


def step_of(network: SmallNetwork) -> Step:
    return trajectory(network, 0.5, 0)[0]


@pytest.mark.parametrize(("network", "oracle"), PRESETS, ids=["reference", "mazur"])
def test_a_forward_pass_agrees_with_fifty_digits(
    network: SmallNetwork, oracle: dict[str, Any]
) -> None:
    passed = forward(network, np.array(network.weights))._asdict()
    for name, exact in oracle["first_forward"].items():
        assert passed[name] == pytest.approx(exact, rel=1e-12, abs=0), name


@pytest.mark.parametrize(("network", "oracle"), PRESETS, ids=["reference", "mazur"])
def test_gradients_agree_with_fifty_digits(network: SmallNetwork, oracle: dict[str, Any]) -> None:
    np.testing.assert_allclose(step_of(network).gradients, oracle["first_gradients"], rtol=1e-12)


def test_one_update_moves_all_weights_at_once() -> None:
    w = np.array(MAZUR.weights)
    updated = update(w, gradients(MAZUR, w, forward(MAZUR, w)), ORACLE["mazur"]["learning_rate"])
    np.testing.assert_allclose(updated, ORACLE["mazur"]["weights_after_1"], rtol=1e-12)
    loss = forward(MAZUR, updated).E_total
    assert loss == pytest.approx(ORACLE["mazur"]["loss_after_1"], rel=1e-12, abs=0)


@given(NETWORKS)
def test_gradients_of_any_network_are_autograds(network: SmallNetwork) -> None:
    closed = step_of(network).gradients
    theirs = autograd_gradients(network, np.array(network.weights)[:, None])[:, 0]
    np.testing.assert_allclose(closed, theirs, rtol=0, atol=1e-14)


@given(NETWORKS)
def test_gradients_of_any_network_are_the_slopes_of_its_loss(network: SmallNetwork) -> None:
    slopes = central_differences(network, np.array(network.weights)[:, None])[:, 0]
    np.testing.assert_allclose(step_of(network).gradients, slopes, rtol=0, atol=1e-9)


@given(st.lists(NETWORKS, min_size=2, max_size=4))
def test_networks_side_by_side_are_what_each_is_alone(networks: list[SmallNetwork]) -> None:
    first = networks[0]
    alone = [step_of(first.model_copy(update={"weights": network.weights})) for network in networks]
    w = np.array([network.weights for network in networks]).T
    together = forward(first, w)
    dE_dw = gradients(first, w, together)
    for k, step in enumerate(alone):
        # To a few units in the last place: NumPy's exp rounds vectors and numbers differently.
        values = [values[k] for values in together]
        np.testing.assert_allclose(values, step.passed, rtol=1e-14, atol=1e-16)
        np.testing.assert_allclose(dE_dw[:, k], step.gradients, rtol=1e-14, atol=1e-16)


@given(NETWORKS)
def test_the_formulas_shown_are_those_computed(network: SmallNetwork) -> None:
    numbers: dict[str, Any] = first_iteration(network, 0.5) | {"sigmoid": sigmoid}
    assert {*GRADIENTS, *step_of(network).passed._fields} < set(FORMULAS)
    for name, formula in FORMULAS.items():
        value = eval(formula.replace("^", "**"), numbers)  # noqa: S307
        assert value == pytest.approx(numbers[name], rel=1e-14, abs=1e-16), name


def test_a_sigmoid_is_one_half_at_0_and_does_not_overflow() -> None:
    far = np.array([-1e308, -1e4, -745.0, 0.0, 40.0, 1e4, 1e308])
    np.testing.assert_array_equal(sigmoid(far)[[0, 1, 3, 4, 5, 6]], [0, 0, 0.5, 1, 1, 1])
    assert 0 < sigmoid(far)[2] < 1e-300
