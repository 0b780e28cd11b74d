"""Train the CNN on the training images."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from mnist12k.cnn.device import be_deterministic, device_name, pick_device, use_threads
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.model_file import save_network
from mnist12k.cnn.network import for_images, new_network, parameter_count
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, load_training_digits, split
from mnist12k.errors import UserError
from mnist12k.files import all_or_none, write_json
from mnist12k.fingerprint import training_fingerprint
from mnist12k.outputs import HISTORY, TRAIN_METRICS, TRAIN_RESULT, TrainResult
from mnist12k.paths import CHECKPOINTS, DATA, EPOCHS, MODEL
from mnist12k.restore import keep_copies, restore_finished, restored_on_failure
from mnist12k.stages.epochs import CheckpointOfAllEpochs, write_rows
from mnist12k.stages.live import shown_live, write_history
from mnist12k.stages.progress import Progress
from mnist12k.threads import sharing_cores

OUTPUTS = (MODEL, EPOCHS, TRAIN_RESULT, HISTORY, TRAIN_METRICS)
Tracked = Callable[[Train, bool], AbstractContextManager[Callable[[Epoch], None]]]


def run(settings: Train, tracked: Tracked) -> None:
    """Train; write the model, the weights after every epoch, the history and the result.

    `tracked` gets whether the training resumes, is entered before the first epoch and left when
    every file is written; it yields the function that logs an epoch. An interrupted training
    resumes from its last completed epoch; a failed one restores the previous outputs.
    """
    with restored_on_failure("train", OUTPUTS):
        device = pick_device(settings.device)
        use_threads(settings.threads)
        digits = load_training_digits(DATA, settings.architecture)
        fingerprint = training_fingerprint(settings)
        with _only_one(CHECKPOINTS / fingerprint):
            _train(settings, fingerprint, device, digits, tracked)


def _train(
    settings: Train,
    fingerprint: str,
    device: torch.device,
    digits: Digits,
    tracked: Tracked,
) -> None:
    if settings.deterministic:
        be_deterministic()
    training, validation = split(digits, settings.validation_size)
    network = new_network(for_images(settings, digits.images), device)
    print(
        f"{parameter_count(network):,} parameters, {len(training.labels):,} training images, "
        f"{len(validation.labels):,} validation images, on {device_name(device)}"
    )

    # On another device, or with another number of threads, the bits would differ.
    path = CHECKPOINTS / fingerprint / "training.pt"
    checkpoint = CheckpointOfAllEpochs(path, f"{fingerprint} on {device_name(device)}")
    if restore_finished("train", checkpoint.fingerprint):
        print("this training was finished; DVC was stopped before it recorded that")
        checkpoint.remove()
        return
    completed = checkpoint.history()
    if completed:
        print(f"resuming an interrupted training after epoch {len(completed)}")

    progress = Progress(settings.epochs, -(-len(training.labels) // settings.batch_size))

    started = time.time() - sum(epoch.seconds for epoch in completed)
    with sharing_cores(), tracked(settings, bool(completed)) as log_epoch:
        for epoch in completed:
            log_epoch(epoch)
        with shown_live(completed) as show:

            def on_epoch(epoch: Epoch) -> None:
                progress.on_epoch(epoch)
                show(epoch)
                log_epoch(epoch)

            on_step = progress.on_step if sys.stderr.isatty() else None
            history = fit(network, training, validation, settings, on_epoch, on_step, checkpoint)

        last, best = history[-1], best_epoch(history)
        result = TrainResult(
            epochs=last.epoch,
            train_loss=last.train_loss,
            train_accuracy=last.train_accuracy,
            validation_loss=last.validation_loss,
            validation_accuracy=last.validation_accuracy,
            best_validation_accuracy=best and best.validation_accuracy,
            best_validation_epoch=best and best.epoch,
            seconds=round(sum(epoch.seconds for epoch in history), 3),
            parameters=parameter_count(network),
            device=device_name(device),
            started=round(started, 3),
            fingerprint=fingerprint,
        )
        with all_or_none():
            save_network(network, MODEL)
            write_rows(EPOCHS, checkpoint.rows)
            write_history(history)
            write_json(TRAIN_RESULT, result)
        keep_copies("train", OUTPUTS, checkpoint.fingerprint)
    checkpoint.remove()


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Raise UserError if another process runs the training whose checkpoints are in `folder`.

    A `dvc repro` that is killed may leave its training running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "training.lock", blocking=False):
            yield
    except Timeout as error:
        raise UserError("another process runs this training; wait for it or stop it") from error


def best_epoch(history: list[Epoch]) -> Epoch | None:
    """Return the first epoch with the highest validation accuracy; None without a hold-out set."""
    measured = [epoch for epoch in history if epoch.validation_accuracy is not None]
    return max(measured, key=lambda epoch: epoch.validation_accuracy or 0, default=None)
