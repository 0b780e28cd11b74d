import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.fit import fit
from mnist12k.cnn.fused import fit_fused
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import Digits, split
from mnist12k.errors import UserError
from mnist12k.params import Params, Train

pytestmark = pytest.mark.usefixtures("one_thread")
VALIDATION = 100
ACCELERATOR = torch.accelerator.current_accelerator(check_available=True)
ABSENT = pytest.mark.skipif(ACCELERATOR is None, reason="no accelerator here")
DEVICES = ["cpu", pytest.param(str(ACCELERATOR), marks=[pytest.mark.gpu, ABSENT])]
# In float32 another order of the same sums may choose another pixel in a max-pool. Solo runs whose
# first weights were moved by a rounding, 1.2e-7, ended 2e-7 away, or after such a choice up to
# 0.004 in weights and 6e-5 in loss; training itself moved weights by 0.5.
FLOAT32, FLOAT32_LOSS = 0.02, 1e-3


@pytest.fixture
def three(params: Params) -> list[Train]:
    """Three trainings that differ in all that may differ."""
    common = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01}
    still = {"rotation": 0, "shift": 0, "scale": 0, "shear": 0}
    changes: list[dict[str, object]] = [
        {"dropout": 0.1, "average": 0.9},
        {
            "learning_rate": 0.02,
            "schedule": "step",
            "step_size": 1,
            "gamma": 0.1,
            "momentum": 0.5,
            "nesterov": False,
            "weight_decay": 0,
            "label_smoothing": 0.1,
            "average": 0,
            **still,
        },
        {
            "schedule": "cosine",
            "momentum": 0.8,
            "weight_decay": 0.01,
            "dropout": 0.3,
            "average": 0.5,
            "shear": 5,
            "fill": 9,
        },
    ]
    return [
        params.training("best", seed, VALIDATION).model_copy(update=common | change)
        for seed, change in enumerate(changes, start=1)
    ]


class DoubleNetwork(Network):
    """The network in float64, where the order of sums does not show."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())


def new_networks(
    settings: Sequence[Train], kind: type[Network] = Network, device: str = "cpu"
) -> list[Network]:
    """Return networks as `new_network` does, of any kind."""
    networks = []
    for own in settings:
        torch.manual_seed(own.seed)
        network = kind(own.dropout).to(memory_format=torch.channels_last)
        dtype = torch.float64 if kind is DoubleNetwork else torch.float32
        networks.append(network.to(device, dtype))
    return networks


def few(digits: Digits) -> tuple[Digits, Digits]:
    """Return 200 images to train on, three batches and a short one, and 100 to validate on."""
    return split(digits.subset(torch.arange(300)), VALIDATION)


def state(network: nn.Module) -> Tensor:
    """Return weights, batch-norm statistics, and counts of batches."""
    return torch.cat([value.cpu().double().flatten() for value in network.state_dict().values()])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chosen", [slice(0, 3), slice(0, 1), slice(1, 2)])
def test_models_trained_as_one_end_as_each_does_alone(
    small_training_digits: Digits, three: list[Train], chosen: slice, device: str
) -> None:
    settings = three[chosen]
    digits = few(small_training_digits)
    # Images are augmented in float32, and only a CPU was seen to do that to the bit alike.
    tolerance, of_figures = (1e-9, 1e-5) if device == "cpu" else (FLOAT32, FLOAT32_LOSS)
    fused = new_networks(settings, DoubleNetwork, device)
    histories = fit_fused(fused, *digits, settings)
    for own, network, history in zip(settings, fused, histories, strict=True):
        (alone,) = new_networks([own], DoubleNetwork, device)
        expected = fit(alone, *digits, own)
        torch.testing.assert_close(state(network), state(alone), rtol=0, atol=tolerance)
        for epoch, theirs in zip(history, expected, strict=True):
            # Losses are added up in float32.
            assert epoch[:-1] == pytest.approx(theirs[:-1], rel=of_figures)


def test_in_float32_they_end_as_close_as_float32_allows(
    small_training_digits: Digits, three: list[Train]
) -> None:
    digits = few(small_training_digits)
    fused = new_networks(three)
    histories = fit_fused(fused, *digits, three)
    for own, network, history in zip(three, fused, histories, strict=True):
        (alone,) = new_networks([own])
        expected = fit(alone, *digits, own)
        torch.testing.assert_close(state(network), state(alone), rtol=0, atol=FLOAT32)
        assert history[-1].train_loss == pytest.approx(expected[-1].train_loss, rel=FLOAT32_LOSS)
        assert history[-1].validation_loss == pytest.approx(
            expected[-1].validation_loss, rel=FLOAT32_LOSS
        )
        assert [epoch.learning_rate for epoch in history] == [
            epoch.learning_rate for epoch in expected
        ]


@pytest.mark.parametrize("device", DEVICES)
def test_a_model_that_is_lost_changes_no_bit_of_its_neighbours(
    small_training_digits: Digits, three: list[Train], device: str
) -> None:
    digits = few(small_training_digits)
    sound = new_networks(three, device=device)
    expected = fit_fused(sound, *digits, three)
    three[1] = three[1].model_copy(update={"learning_rate": 1e20})
    networks = new_networks(three, device=device)
    histories = fit_fused(networks, *digits, three)
    assert all(not math.isfinite(epoch.train_loss) for epoch in histories[1])
    for model in (0, 2):
        assert torch.equal(state(networks[model]), state(sound[model]))
        assert [epoch[:-1] for epoch in histories[model]] == [e[:-1] for e in expected[model]]


def test_models_learn_and_their_history_is_what_they_score(
    small_training_digits: Digits, three: list[Train]
) -> None:
    settings = [own.model_copy(update={"epochs": 4, "learning_rate": 0.05}) for own in three]
    training, validation = split(small_training_digits, VALIDATION)
    networks = new_networks(settings)
    for network, history in zip(
        networks, fit_fused(networks, training, validation, settings), strict=True
    ):
        assert history[-1].train_loss < history[0].train_loss / 1.5
        measured = evaluate(network, validation)
        assert history[-1].validation_loss == pytest.approx(measured.loss, rel=1e-4)
        assert history[-1].validation_accuracy == measured.accuracy


def test_every_models_epoch_is_told_as_it_ends(
    small_training_digits: Digits, three: list[Train]
) -> None:
    told: list[tuple[int, Epoch]] = []
    histories = fit_fused(
        new_networks(three),
        *few(small_training_digits),
        three,
        lambda model, epoch: told.append((model, epoch)),
    )
    assert [(model, epoch.epoch) for model, epoch in told] == [
        (model, epoch) for epoch in (1, 2) for model in (0, 1, 2)
    ]
    assert all(epoch == histories[model][epoch.epoch - 1] for model, epoch in told)


def test_without_validation_images_no_model_has_a_validation_figure(
    small_training_digits: Digits, three: list[Train]
) -> None:
    histories = fit_fused(new_networks(three), *split(small_training_digits, 0), three)
    for history in histories:
        assert {epoch.validation_loss for epoch in history} == {None}
        assert {epoch.validation_accuracy for epoch in history} == {None}


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 3), ("batch_size", 32), ("validation_size", 7), ("interpolation", "nearest")],
)
def test_models_that_differ_in_shape_or_count_are_refused_in_one_line(
    small_training_digits: Digits, three: list[Train], name: str, value: object
) -> None:
    three[2] = three[2].model_copy(update={name: value})
    with pytest.raises(UserError) as caught:
        fit_fused(new_networks(three), *split(small_training_digits, VALIDATION), three)
    (line,) = str(caught.value).splitlines()
    assert name in line
    assert str(value) in line
