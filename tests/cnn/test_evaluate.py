import math

import pytest
import torch
from networks import reference

from mnist12k.cnn.evaluate import predict, score
from mnist12k.digits.dataset import Digits


def test_logits_do_not_depend_on_the_batch_size(small_training_digits: Digits) -> None:
    network, images = reference(), small_training_digits.images[:50]
    whole = predict(network, images, 50)
    torch.testing.assert_close(predict(network, images, 7), whole)


def test_predicting_leaves_the_network_in_its_mode_and_its_statistics_alone(
    small_training_digits: Digits,
) -> None:
    network = reference(0.5).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predict(network, small_training_digits.images[:50], 10)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_loss_is_the_mean_negative_log_likelihood() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    measured = score(logits, torch.tensor([1, 0]))
    assert measured.loss == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-6)
    assert measured.accuracy == 1.0
