"""Train the CNN on MNIST's training images."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from mnist12k.cnn.checkpoint import Checkpoint
from mnist12k.cnn.device import be_deterministic, device_name, pick_device
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.model_file import save_network
from mnist12k.cnn.network import new_network, parameter_count
from mnist12k.cnn.summary import summarise
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.files import put_back_on_failure, write_csv, write_json, write_text
from mnist12k.fingerprint import training_fingerprint
from mnist12k.params import Params
from mnist12k.report.curves import draw_curves
from mnist12k.stages.progress import Progress

DATA = Path("data/mnist")
MODEL = Path("models/cnn.pt")
REPORTS = Path("reports/train")
OUTPUTS = [
    MODEL,
    *(REPORTS / n for n in ("curves.png", "history.csv", "metrics.json", "model_summary.txt")),
]
CHECKPOINTS = Path("checkpoints")

Tracked = Callable[[Params], AbstractContextManager[Callable[[Epoch], None]]]


def run(params: Params, tracked: Tracked) -> None:
    """Train by params.train; write the model, its history, its figures and its layer table.

    `tracked` is entered when all is well to begin and left when every file is written; it gives
    what hears of each epoch. A training that was interrupted goes on after its last whole epoch.
    """
    with put_back_on_failure(OUTPUTS, CHECKPOINTS / "last-good"):
        _train(params, tracked)


def _train(params: Params, tracked: Tracked) -> None:
    settings = params.train
    device = pick_device(settings.device)
    if settings.deterministic:
        be_deterministic()
    training, validation = split(load_training_digits(DATA), settings.validation_size)
    network = new_network(settings.dropout, settings.seed, device)
    print(
        f"{parameter_count(network):,} parameters, {len(training.labels):,} images to train on, "
        f"{len(validation.labels):,} held out, on {device_name(device)}"
    )

    fingerprint = training_fingerprint(settings)
    # Another device, or another number of threads, would go on to other bits.
    path = CHECKPOINTS / fingerprint / "training.pt"
    checkpoint = Checkpoint(path, f"{fingerprint} on {device_name(device)}")
    if checkpoint.problem:
        print(f"{checkpoint.problem}; training starts over", file=sys.stderr)
    earlier = checkpoint.history()
    if earlier:
        print(f"going on after epoch {len(earlier)} of an interrupted training")

    progress = Progress(settings.epochs, -(-len(training.labels) // settings.batch_size))

    started = time.time() - sum(epoch.seconds for epoch in earlier)
    with tracked(params) as log_epoch:
        for epoch in earlier:
            log_epoch(epoch)

        def epoch_ended(epoch: Epoch) -> None:
            progress.epoch_ended(epoch)
            log_epoch(epoch)

        on_step = progress.step_ended if sys.stderr.isatty() else None
        history = fit(network, training, validation, settings, epoch_ended, on_step, checkpoint)

        save_network(network, MODEL)
        write_csv(REPORTS / "history.csv", Epoch._fields, history)
        write_text(REPORTS / "model_summary.txt", summarise(network))
        figures = summary_figures(history) | {
            "parameters": parameter_count(network),
            "device": device_name(device),
            "started": round(started, 3),
            "fingerprint": fingerprint,
        }
        write_json(REPORTS / "metrics.json", figures)
        draw_curves(history, REPORTS / "curves.png")
    checkpoint.remove()


def summary_figures(history: list[Epoch]) -> dict[str, object]:
    """Return the last epoch's figures, the best validation accuracy, and the seconds it took."""
    last = history[-1]
    found: dict[str, object] = {
        "epochs": last.epoch,
        "train_loss": last.train_loss,
        "train_accuracy": last.train_accuracy,
    }
    if last.validation_accuracy is not None:
        best = max(history, key=lambda epoch: epoch.validation_accuracy or 0)
        found |= {
            "validation_loss": last.validation_loss,
            "validation_accuracy": last.validation_accuracy,
            "best_validation_accuracy": best.validation_accuracy,
            "best_validation_epoch": best.epoch,
        }
    return found | {"seconds": round(sum(epoch.seconds for epoch in history), 3)}
