import pytest
import torch
from networks import by_recipe
from torch import Tensor
from workspace import threads

from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch, Step
from mnist12k.cnn.network import Network, new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, split
from mnist12k.errors import UserError


def settings(**changes: object) -> Train:
    small = {"epochs": 2, "batch_size": 64, "learning_rate": 0.05, "step_size": 1, "dropout": 0.1}
    return by_recipe("reference", 1, 5000, **small | changes)


def trained(
    digits: Digits, recipe: Train, validation_size: int = 100
) -> tuple[Network, list[Epoch]]:
    network = new_network(recipe, torch.device("cpu"))
    return network, fit(network, *split(digits, validation_size), recipe)


def weights(network: Network) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_a_network_learns(small_training_digits: Digits) -> None:
    _, history = trained(small_training_digits, settings(epochs=4))
    assert history[-1].train_loss < history[0].train_loss / 2
    assert history[-1].validation_accuracy is not None
    assert history[-1].validation_accuracy > 0.9


def test_the_history_is_what_the_network_really_scores(small_training_digits: Digits) -> None:
    network, history = trained(small_training_digits, settings())
    _, validation = split(small_training_digits, 100)
    measured = evaluate(network, validation)
    assert history[-1].validation_loss == measured.loss
    assert history[-1].validation_accuracy == measured.accuracy


def test_the_same_seed_gives_the_same_bits(small_training_digits: Digits) -> None:
    first, _ = trained(small_training_digits, settings())
    torch.rand(100)
    second, _ = trained(small_training_digits, settings())
    assert torch.equal(weights(first), weights(second))


def test_another_seed_gives_another_network(small_training_digits: Digits) -> None:
    first, _ = trained(small_training_digits, settings())
    second, _ = trained(small_training_digits, settings(seed=2))
    assert not torch.equal(weights(first), weights(second))


def test_every_epoch_and_every_step_is_reported_when_it_ends(small_training_digits: Digits) -> None:
    recipe = settings()
    events: list[Epoch | Step] = []
    network = new_network(recipe, torch.device("cpu"))
    training, validation = split(small_training_digits, 90)  # 510 images: 8 steps, the last of 62
    history = fit(network, training, validation, recipe, events.append, events.append)
    assert [item for item in events if isinstance(item, Epoch)] == history
    assert [item.step for item in events if isinstance(item, Step)] == [*range(1, 9)] * 2


def test_without_validation_images_there_is_no_validation_figure(
    small_training_digits: Digits,
) -> None:
    _, history = trained(small_training_digits, settings(epochs=1), validation_size=0)
    assert history[0].validation_loss is None
    assert history[0].validation_accuracy is None


def test_the_learning_rate_falls_as_scheduled(small_training_digits: Digits) -> None:
    recipe = settings(epochs=3, step_size=2, gamma=0.5)
    _, history = trained(small_training_digits, recipe)
    assert [epoch.learning_rate for epoch in history] == [0.05, 0.05, 0.025]


def test_the_network_ends_as_the_average_of_its_weights(small_training_digits: Digits) -> None:
    averaged, _ = trained(small_training_digits, settings(ema_decay=0.9))
    last, _ = trained(small_training_digits, settings(ema_decay=0))
    assert not torch.equal(weights(averaged), weights(last))


@pytest.mark.parametrize("rate", [1e20, 1e30])
def test_a_loss_that_is_no_longer_finite_stops_within_the_epoch(
    small_training_digits: Digits, rate: float
) -> None:
    events: list[Epoch] = []
    recipe = settings(epochs=3, learning_rate=rate)
    network = new_network(recipe, torch.device("cpu"))
    with pytest.raises(UserError) as caught:
        fit(network, *split(small_training_digits, 100), recipe, events.append)
    assert events == []
    (line,) = str(caught.value).splitlines()
    assert f"in epoch 1 at learning rate {rate:.3g}" in line
    assert "learning rate is probably too high" in line


@pytest.mark.parametrize(
    "changes",
    [
        {"nesterov": True},
        {"weight_decay": 0.1},
        {"label_smoothing": 0.1},
        {"dropout": 0.3},
        {"schedule": "cosine"},
        {"schedule": "linear"},
        {"momentum": 0.5},
    ],
)
def test_every_part_of_a_recipe_has_an_effect(
    small_training_digits: Digits, changes: dict[str, object]
) -> None:
    plain, _ = trained(small_training_digits, settings(epochs=1, step_size=5))
    changed, _ = trained(small_training_digits, settings(epochs=1, step_size=5, **changes))
    assert not torch.equal(weights(plain), weights(changed))


@pytest.mark.parametrize("count", [1, 2])
def test_a_network_learns_on_any_number_of_threads_and_twice_the_same(
    small_training_digits: Digits, count: int
) -> None:
    recipe = settings(ema_decay=0.5, rotation=5)
    with threads(count):
        first, history = trained(small_training_digits, recipe)
        second, _ = trained(small_training_digits, recipe)
    assert history[-1].train_loss < 1.2
    assert torch.equal(weights(first), weights(second))
