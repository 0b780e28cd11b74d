import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mnist12k.cnn.checkpoint import Checkpoint
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import Network, new_network
from mnist12k.digits.dataset import Digits, split
from mnist12k.params import Params, Train


@pytest.fixture
def settings(params: Params) -> Train:
    """Everything that has a state: momentum, average, dropout, augmentation, a schedule."""
    changes = {"epochs": 3, "batch_size": 128, "dropout": 0.1, "average": 0.9}
    return params.training("best", 1, 100).model_copy(update=changes)


class KilledError(Exception):
    pass


def trained(
    digits: Digits, settings: Train, path: Path | None = None, killed_after: int = 0
) -> tuple[dict[str, Tensor], list[Epoch]]:
    network = new_network(settings.dropout, settings.seed, torch.device("cpu"))
    told: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        told.append(epoch)
        if epoch.epoch == killed_after:
            raise KilledError

    checkpoint = Checkpoint(path, "f") if path else None
    fit(network, *split(digits, 100), settings, on_epoch, checkpoint=checkpoint)
    return network.state_dict(), told


def test_a_resumed_training_ends_with_the_bits_of_an_unbroken_one(
    small_training_digits: Digits, settings: Train, tmp_path: Path
) -> None:
    unbroken, history = trained(small_training_digits, settings)
    path = tmp_path / "training.pt"
    with pytest.raises(KilledError):
        trained(small_training_digits, settings, path, killed_after=2)
    resumed, rest = trained(small_training_digits, settings, path)
    assert [epoch.epoch for epoch in rest] == [3]
    assert rest[0]._replace(seconds=0) == history[2]._replace(seconds=0)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_a_checkpoint_tells_its_history(
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
    torch.save(Network().state_dict(), path)


def that_runs_code(path: Path) -> None:
    torch.save({"weights": Trap()}, path, pickle_module=pickle)


@pytest.mark.parametrize("spoil", [damaged, of_another_network, that_runs_code])
def test_a_file_of_no_use_is_named_and_set_aside(
    small_training_digits: Digits,
    settings: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "training.pt"
    with pytest.raises(KilledError):
        trained(small_training_digits, settings, path, killed_after=1)
    spoil(path)
    checkpoint = Checkpoint(path, "f")
    assert checkpoint.problem is not None
    assert str(path) in checkpoint.problem
    assert checkpoint.state is None
    assert not path.exists()
    assert (tmp_path / "training.bad").is_file()
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_another_training_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    keys = ("network", "average", "optimizer", "generator", "history")
    Checkpoint(path, "one").save(dict.fromkeys(keys))
    assert Checkpoint(path, "one").state is not None
    assert "of another training" in (Checkpoint(path, "two").problem or "")
