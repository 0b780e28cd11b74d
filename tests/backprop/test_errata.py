import numpy as np
import pytest
from oracle import MAZUR, ORACLE, REFERENCE

from mnist12k.backprop.errata import (
    MAZUR_LEARNING_RATE,
    MAZUR_PUBLISHED_LOSS,
    loss_after_output_layer_first,
    workbook_gradients,
    workbook_losses,
)
from mnist12k.backprop.study import loss_curves, trajectory


def test_the_workbooks_mistake_gives_the_workbooks_numbers() -> None:
    first = trajectory(REFERENCE, 0.5, 0)[0]
    published = ORACLE["reference"]["first_gradients_of_the_published_workbook"]
    mistaken = workbook_gradients(REFERENCE, first.weights, first.passed)
    np.testing.assert_allclose(mistaken, published, rtol=1e-12)
    np.testing.assert_array_equal(mistaken[[0, 1, 4, 5, 6, 7]], first.gradients[[0, 1, 4, 5, 6, 7]])

    curves = ORACLE["reference"]["losses_of_the_published_workbook"]
    losses = workbook_losses(REFERENCE, tuple(map(float, curves)), 100)[-1]
    np.testing.assert_allclose(losses, [curve["100"] for curve in curves.values()], rtol=1e-12)


def test_mazurs_loss_comes_from_updating_the_output_layer_first() -> None:
    mistaken = loss_after_output_layer_first(MAZUR, MAZUR_LEARNING_RATE)
    assert round(mistaken, 9) == MAZUR_PUBLISHED_LOSS
    right = loss_curves(MAZUR, [MAZUR_LEARNING_RATE], 1)[1, 0]
    assert right == pytest.approx(0.2910277737, abs=5e-11)
