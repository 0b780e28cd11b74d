"""The weights after every epoch: what they are, and that an interruption changes nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from workspace import make_workspace, quiet

from mnist12k.cnn.ema import averaged_tensors, copy
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.outputs import read_history, read_train_result
from mnist12k.params import load_params
from mnist12k.paths import CHECKPOINTS, DATA, EPOCHS, MODEL
from mnist12k.stages import train


class KilledError(Exception):
    pass


@contextmanager
def killed_after_one_epoch(_: Train, _resumes: bool) -> Iterator[Callable[[Epoch], None]]:
    def stop(_: Epoch) -> None:
        raise KilledError

    yield stop


@pytest.fixture
def interrupted(idx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """The settings of a training that was killed after its first epoch, in the current folder."""
    make_workspace(tmp_path / "killed", idx_folder)
    monkeypatch.chdir(tmp_path / "killed")
    settings = load_params().train
    with pytest.raises(KilledError):
        train.run(settings, killed_after_one_epoch)
    return settings


def kept() -> Path:
    (path,) = CHECKPOINTS.glob("*/training.npy")
    return path


def test_each_row_scores_as_the_training_did_after_that_epoch(workspace: Path) -> None:
    settings = load_params().train
    network = load_network(MODEL, torch.device("cpu"))
    _, holdout = split(load_training_digits(DATA, network.architecture), settings.validation_size)
    rows = np.load(workspace / EPOCHS, allow_pickle=False)
    history = read_history(read_train_result())
    weights = averaged_tensors(network)
    sizes = [each.numel() for each in weights]
    last = np.concatenate([each.contiguous().numpy().ravel() for each in weights])
    assert rows.dtype == np.float16
    assert rows.shape == (2, sum(sizes))
    assert np.array_equal(rows[-1], last.astype(np.float16))
    for row, loss in zip(rows, history["validation_loss"], strict=True):
        parts = torch.from_numpy(row.astype(np.float32)).split(sizes)
        copy([part.view(each.shape) for part, each in zip(parts, weights, strict=True)], weights)
        assert evaluate(network, holdout).loss == pytest.approx(loss, rel=0.01)


def test_a_resumed_training_keeps_the_same_weights(
    interrupted: Train, trained_template: Path
) -> None:
    kept()
    train.run(interrupted, quiet)
    assert EPOCHS.read_bytes() == (trained_template / EPOCHS).read_bytes()
    assert not [*CHECKPOINTS.glob("*/training.*y")]


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of_no_epoch(path: Path) -> None:
    np.save(path, np.load(path)[:0])


def of_another_training(path: Path) -> None:
    np.save(path, np.load(path) + np.float16(1))


def pickled(path: Path) -> None:
    np.save(path, np.array([None, {}]), allow_pickle=True)


@pytest.mark.parametrize("spoil", [missing, truncated, of_no_epoch, of_another_training, pickled])
def test_without_the_weights_of_its_epochs_a_training_starts_over(
    interrupted: Train,
    trained_template: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
) -> None:
    spoil(kept())
    train.run(interrupted, quiet)
    assert "training.pt is unusable (" in capsys.readouterr().err
    for path in (EPOCHS, MODEL):
        assert path.read_bytes() == (trained_template / path).read_bytes()


def test_a_kill_between_the_weights_and_the_checkpoint_loses_and_repeats_no_epoch(
    interrupted: Train, trained_template: Path
) -> None:
    """The weights are written first, so they may be one epoch ahead."""
    rows = np.load(kept())
    np.save(kept(), np.concatenate([rows, rows]))
    train.run(interrupted, quiet)
    assert EPOCHS.read_bytes() == (trained_template / EPOCHS).read_bytes()
