import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist12k.cnn.evaluate import predict, score
from mnist12k.cnn.intervals import student_t, wilson_interval
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import Digits


def test_logits_do_not_depend_on_the_batch_size(small_training_digits: Digits) -> None:
    network, images = Network(), small_training_digits.images[:50]
    whole = predict(network, images, 50)
    torch.testing.assert_close(predict(network, images, 7), whole)


def test_predicting_leaves_the_network_in_its_mode_and_its_statistics_alone(
    small_training_digits: Digits,
) -> None:
    network = Network(0.5).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predict(network, small_training_digits.images[:50], 10)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_loss_is_the_mean_negative_log_likelihood() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    measured = score(logits, torch.tensor([1, 0]))
    assert measured.loss == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-6)
    assert measured.accuracy == 1.0


def test_the_interval_of_the_published_result_is_the_one_it_is_quoted_with() -> None:
    low, high = wilson_interval(9946, 10_000)
    assert (round(low * 100, 2), round(high * 100, 2)) == (99.30, 99.59)


@given(total=st.integers(1, 20_000), data=st.data())
def test_the_interval_holds_the_share_and_solves_wilsons_equation(
    total: int, data: st.DataObject
) -> None:
    correct = data.draw(st.integers(0, total))
    share = correct / total
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:  # the ends are where the share is 1.96 standard errors away
            distance = abs(share - end) / math.sqrt(end * (1 - end) / total)
            assert distance == pytest.approx(1.959964, rel=1e-4)


@pytest.mark.parametrize(
    ("freedom", "factor"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (19, 2.0930), (1000, 1.9623)]
)
def test_students_t_is_that_of_the_tables(freedom: int, factor: float) -> None:
    assert student_t(freedom) == pytest.approx(factor, abs=5e-5)
