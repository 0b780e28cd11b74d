import math
from collections.abc import Sequence

import pytest
import torch
from networks import REFERENCE, SMALL
from torch import Tensor, nn

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import Network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, split
from mnist12k.errors import UserError
from mnist12k.params import Params
from mnist12k.search.fused import fit_fused

pytestmark = pytest.mark.usefixtures("one_thread")
VALIDATION = 100
ACCELERATOR = torch.accelerator.current_accelerator(check_available=True)
ABSENT = pytest.mark.skipif(ACCELERATOR is None, reason="needs an accelerator")
DEVICES = ["cpu", pytest.param(str(ACCELERATOR), marks=[pytest.mark.gpu, ABSENT])]
# In float32, summing in another order can change which pixel a max-pool selects. Solo trainings
# whose initial weights differed by one rounding (1.2e-7) ended 2e-7 apart, or after such a change
# up to 0.004 apart in weights and 6e-5 in loss; training itself changed weights by 0.5.
FLOAT32, FLOAT32_LOSS = 0.02, 1e-3


@pytest.fixture
def three(params: Params) -> list[Train]:
    """Three trainings that differ in everything in which they may differ."""
    settings = params.search()._replace(start=params.recipes["best"])
    settings = settings._replace(
        train=params.train.model_copy(update={"validation_size": VALIDATION})
    )
    common = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01}
    changes: list[dict[str, object]] = [
        {"dropout": 0.1, "ema_decay": 0.9},
        {
            "learning_rate": 0.02,
            "schedule": "step",
            "step_size": 1,
            "gamma": 0.1,
            "momentum": 0.5,
            "nesterov": False,
            "weight_decay": 0,
            "label_smoothing": 0.1,
            "ema_decay": 0,
            "rotation": 0,
            "shift": 0,
            "scale": 0,
            "shear": 0,
        },
        {
            "schedule": "cosine",
            "momentum": 0.8,
            "weight_decay": 0.01,
            "dropout": 0.3,
            "ema_decay": 0.5,
            "shear": 5,
            "fill": 9,
        },
    ]
    return [
        settings.for_point({}, seed).model_copy(update=common | change)
        for seed, change in enumerate(changes, start=1)
    ]


@pytest.fixture
def digits(small_training_digits: Digits) -> tuple[Digits, Digits]:
    """200 training images, three batches and a shorter one, and 100 validation images."""
    return split(small_training_digits.subset(torch.arange(300)), VALIDATION)


class DoubleNetwork(Network):
    """The network in float64, where the order of sums does not matter."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())


def new_networks(
    settings: Sequence[Train],
    kind: type[Network] = Network,
    device: str = "cpu",
    layers: Architecture = REFERENCE,
) -> list[Network]:
    """Return networks as `new_network` does, but of any class and architecture."""
    networks = []
    for train in settings:
        torch.manual_seed(train.seed)
        network = kind(layers, train.dropout).to(memory_format=torch.channels_last)
        dtype = torch.float64 if kind is DoubleNetwork else torch.float32
        networks.append(network.to(device, dtype))
    return networks


def state(network: nn.Module) -> Tensor:
    """Return weights, batch-norm statistics, and batch counts as one vector."""
    return torch.cat([value.cpu().double().flatten() for value in network.state_dict().values()])


def noise(digits: Digits) -> Digits:
    """Return random images with these labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, digits.images.shape, generator=generator, dtype=torch.uint8)
    return Digits(images, digits.labels)


def require_same_as_solo(
    settings: Sequence[Train],
    digits: tuple[Digits, Digits],
    device: str = "cpu",
    layers: Architecture = REFERENCE,
) -> None:
    """Train in float64, as one and one by one, and compare the networks and their histories."""
    # Augmentation is in float32, and gives the same bits only on a CPU. Losses are summed in it.
    tolerance, loss_tolerance = (1e-9, 1e-5) if device == "cpu" else (FLOAT32, FLOAT32_LOSS)
    if device != "cpu":  # whose sums of an even background differ, and so what a max-pool selects
        digits = (noise(digits[0]), noise(digits[1]))
    networks = new_networks(settings, DoubleNetwork, device, layers)
    histories = fit_fused(networks, *digits, settings)
    for train, network, history in zip(settings, networks, histories, strict=True):
        (solo,) = new_networks([train], DoubleNetwork, device, layers)
        expected = fit(solo, *digits, train)
        torch.testing.assert_close(state(network), state(solo), rtol=0, atol=tolerance)
        for epoch, expected_epoch in zip(history, expected, strict=True):
            assert epoch[:-1] == pytest.approx(expected_epoch[:-1], rel=loss_tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chosen", [slice(0, 3), slice(0, 1), slice(1, 2)])
def test_models_trained_as_one_end_as_each_does_alone(
    digits: tuple[Digits, Digits], three: list[Train], chosen: slice, device: str
) -> None:
    require_same_as_solo(three[chosen], digits, device)


@pytest.mark.parametrize("name", SMALL)
def test_the_fused_program_follows_the_networks_architecture(
    digits: tuple[Digits, Digits], three: list[Train], name: str
) -> None:
    settings = [train.model_copy(update={"epochs": 1}) for train in three[:2]]
    require_same_as_solo(settings, digits, "cpu", SMALL[name])


def test_colour_images_are_trained_on_as_one_as_they_are_alone(
    digits: tuple[Digits, Digits], three: list[Train]
) -> None:
    settings = [train.model_copy(update={"epochs": 1}) for train in three]
    colour = [
        Digits(torch.stack([images, 255 - images, images // 2], dim=1), labels)
        for images, labels in digits
    ]
    layers = REFERENCE.model_copy(update={"channels": 3})
    require_same_as_solo(settings, (colour[0], colour[1]), "cpu", layers)


def test_in_float32_they_end_as_close_as_rounding_allows(
    digits: tuple[Digits, Digits], three: list[Train]
) -> None:
    networks = new_networks(three)
    histories = fit_fused(networks, *digits, three)
    for train, network, history in zip(three, networks, histories, strict=True):
        (solo,) = new_networks([train])
        expected = fit(solo, *digits, train)
        torch.testing.assert_close(state(network), state(solo), rtol=0, atol=FLOAT32)
        for name in ("train_loss", "validation_loss"):
            expected_loss = pytest.approx(getattr(expected[-1], name), rel=FLOAT32_LOSS)
            assert getattr(history[-1], name) == expected_loss
        rates = [epoch.learning_rate for epoch in expected]
        assert [epoch.learning_rate for epoch in history] == rates


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("deterministic")
def test_a_diverged_model_changes_no_bit_of_the_others(
    digits: tuple[Digits, Digits], three: list[Train], device: str
) -> None:
    expected = new_networks(three, device=device)
    expected_histories = fit_fused(expected, *digits, three)
    settings = [three[0], three[1].model_copy(update={"learning_rate": 1e20}), three[2]]
    networks = new_networks(settings, device=device)
    histories = fit_fused(networks, *digits, settings)
    assert all(not math.isfinite(epoch.train_loss) for epoch in histories[1])
    for model in (0, 2):
        assert torch.equal(state(networks[model]), state(expected[model]))
        epochs = [epoch[:-1] for epoch in expected_histories[model]]
        assert [epoch[:-1] for epoch in histories[model]] == epochs


def test_models_learn_and_their_histories_agree_with_evaluate(
    small_training_digits: Digits, three: list[Train]
) -> None:
    settings = [train.model_copy(update={"epochs": 4, "learning_rate": 0.05}) for train in three]
    training, validation = split(small_training_digits, VALIDATION)
    networks = new_networks(settings)
    histories = fit_fused(networks, training, validation, settings)
    for network, history in zip(networks, histories, strict=True):
        assert history[-1].train_loss < history[0].train_loss / 1.5
        score = evaluate(network, validation)
        assert history[-1].validation_loss == pytest.approx(score.loss, rel=1e-4)
        assert history[-1].validation_accuracy == score.accuracy


def test_on_epoch_is_called_for_every_model_after_every_epoch(
    digits: tuple[Digits, Digits], three: list[Train]
) -> None:
    calls: list[tuple[int, Epoch]] = []
    histories = fit_fused(new_networks(three), *digits, three, lambda *call: calls.append(call))
    assert calls == [(model, histories[model][epoch]) for epoch in (0, 1) for model in (0, 1, 2)]


def test_without_a_hold_out_set_there_are_no_validation_figures(
    small_training_digits: Digits, three: list[Train]
) -> None:
    for history in fit_fused(new_networks(three), *split(small_training_digits, 0), three):
        assert {(epoch.validation_loss, epoch.validation_accuracy) for epoch in history} == {
            (None, None)
        }


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 3), ("batch_size", 32), ("validation_size", 7), ("interpolation", "nearest")],
)
def test_settings_that_must_agree_are_an_error_of_one_line(
    digits: tuple[Digits, Digits], three: list[Train], name: str, value: object
) -> None:
    settings = [*three[:2], three[2].model_copy(update={name: value})]
    with pytest.raises(UserError, match=rf"^{name} = .*{value}.*: models trained as one must "):
        fit_fused(new_networks(settings), *digits, settings)
