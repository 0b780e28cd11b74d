import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import by_recipe, reference
from torch import Tensor

from mnist12k.cnn.checkpoint import Checkpoint
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, split


@pytest.fixture
def settings() -> Train:
    """Everything that has a state: momentum, average, dropout, augmentation, a schedule."""
    changes = {"epochs": 3, "batch_size": 128, "dropout": 0.1, "ema_decay": 0.9}
    return by_recipe("best", 1, 100).model_copy(update=changes)


class KilledError(Exception):
    pass


def trained(
    digits: Digits, settings: Train, path: Path | None = None, killed_after: int = 0
) -> tuple[dict[str, Tensor], list[Epoch]]:
    network = new_network(settings, torch.device("cpu"))
    epochs: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        if epoch.epoch == killed_after:
            raise KilledError

    checkpoint = Checkpoint(path, "f") if path else None
    fit(network, *split(digits, 100), settings, on_epoch, checkpoint=checkpoint)
    return network.state_dict(), epochs


def test_a_resumed_training_ends_with_the_bits_of_an_uninterrupted_one(
    small_training_digits: Digits, settings: Train, tmp_path: Path
) -> None:
    uninterrupted, history = trained(small_training_digits, settings)
    path = tmp_path / "training.pt"
    with pytest.raises(KilledError):
        trained(small_training_digits, settings, path, killed_after=2)
    resumed, rest = trained(small_training_digits, settings, path)
    assert [epoch.epoch for epoch in rest] == [3]
    assert rest[0]._replace(seconds=0) == history[2]._replace(seconds=0)
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)


def test_a_checkpoint_has_the_history(
    small_training_digits: Digits, settings: Train, tmp_path: Path
) -> None:
    path = tmp_path / "training.pt"
    with pytest.raises(KilledError):
        trained(small_training_digits, settings, path, killed_after=1)
    checkpoint = Checkpoint(path, "f")
    assert [epoch.epoch for epoch in checkpoint.history()] == [1]
    checkpoint.remove()
    assert Checkpoint(path, "f").history() == []


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("sprung"),)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def of_another_network(path: Path) -> None:
    torch.save(reference().state_dict(), path)


def that_runs_code(path: Path) -> None:
    torch.save({"weights": Trap()}, path, pickle_module=pickle)


def changed(key: str, value: object) -> Callable[[Path], None]:
    """Return what replaces one part of the state by `value`."""

    def spoil(path: Path) -> None:
        torch.save(torch.load(path, weights_only=True) | {key: value}, path)

    return spoil


NO_STATE: dict[str, list[object]] = {
    "network": [None, {}, {"head.weight": torch.zeros(1)}],
    "average": [None, [], [torch.zeros(2)], [1, 2], [torch.full((), torch.nan)] * 38],
    "optimizer": [None, {}, {"state": {}, "param_groups": []}],
    "generator": [None, torch.zeros(3), torch.zeros(5056).byte()],
    "history": [None, [1], [(1, 2)], [(2, *[0.1] * 6)]],
}
SPOILED = [
    *(damaged, of_another_network, that_runs_code),
    *(changed(key, value) for key, values in NO_STATE.items() for value in values),
]


@pytest.mark.parametrize("spoil", SPOILED)
def test_an_unusable_file_is_named_and_set_aside(
    small_training_digits: Digits,
    settings: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "training.pt"
    with pytest.raises(KilledError):
        trained(small_training_digits, settings, path, killed_after=1)
    spoil(path)
    uninterrupted, _ = trained(small_training_digits, settings)
    capsys.readouterr()
    retrained, epochs = trained(small_training_digits, settings, path)
    assert f"{path} is unusable" in capsys.readouterr().err
    assert (tmp_path / "training.bad").is_file()
    assert not (tmp_path / "sprung").exists()
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert all(torch.equal(uninterrupted[name], retrained[name]) for name in uninterrupted)


def test_a_checkpoint_of_another_training_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "training.pt"
    keys = ("network", "average", "optimizer", "generator", "history")
    Checkpoint(path, "one").save({key: [] for key in keys})
    assert Checkpoint(path, "one").state is not None
    assert Checkpoint(path, "two").state is None
    assert "of another training" in capsys.readouterr().err
