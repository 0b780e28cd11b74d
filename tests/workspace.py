"""A project folder on small data, with a training in it, made within this process."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from project import ROOT, SMALL

from mnist12k.cnn.history import Epoch
from mnist12k.cnn.settings import Train
from mnist12k.outputs import TuneMetrics
from mnist12k.params import Params, load_params
from mnist12k.processes import this_process
from mnist12k.stages import evaluate, train

# Variables that would select another project's store.
FOREIGN = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME")
# Names of processes: one that has ended on this machine, one of another machine.
DEAD, ELSEWHERE = f"{this_process().partition('-')[0]}-999999999-1", "0123456789ab-1-1"


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch compute with so many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def quiet(_: Train, _resumes: bool) -> nullcontext[Callable[[Epoch], None]]:
    """Track nothing."""
    return nullcontext(lambda _: None)


def make_workspace(folder: Path, idx_folder: Path) -> None:
    """Put everything that a training needs into a folder."""
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for old in ("epochs: null", "validation_size: 5000"):
        assert old in text
        text = text.replace(old, SMALL[old], 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    (folder / "src").symlink_to(ROOT / "src", target_is_directory=True)
    shutil.copytree(idx_folder, folder / "data/mnist/MNIST/raw")


def train_and_evaluate() -> Params:
    """Run both stages in the current folder, untracked."""
    params = load_params()
    train.run(params.train, quiet)
    evaluate.run(params.evaluate)
    return params


def search_metrics(**changes: object) -> TuneMetrics:
    """Return the metrics of a finished search of three trials, with some of them changed."""
    metrics = {
        "study": "mnist12k-1",
        "search": "a1",
        "fingerprint": "1",
        "trials": 3,
        "pruned": 1,
        "epochs": 7,
        "trainings_of_finalists": 3,
        "epochs_of_finalists": 9,
        "start_recipe": "fast",
        "challenger_trial": 2,
        "verdict": "better",
        "verdict_seeds": 2,
        "difference_mean": -0.004,
        "difference_low": -0.006,
        "difference_high": -0.002,
        "challenger_validation_loss_mean": 0.022,
        "challenger_validation_accuracy_mean": 0.9935,
        "start_validation_loss_mean": 0.026,
        "start_validation_accuracy_mean": 0.992,
    }
    return TuneMetrics.model_validate(metrics | changes)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Make `folder` the current one, and its own MLflow store the one in use."""
    before = Path.cwd()
    hidden = {name: os.environ.pop(name) for name in FOREIGN if name in os.environ}
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        for name in FOREIGN:  # MLflow writes the store that it is given into its variable
            os.environ.pop(name, None)
        os.environ.update(hidden)
