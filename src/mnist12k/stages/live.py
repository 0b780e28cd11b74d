"""The epochs of a running training, for `dvc plots show`, `dvc exp show` and the DVC extension."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from mnist12k.cnn.history import Epoch
from mnist12k.files import write_json, write_table, write_text
from mnist12k.outputs import HISTORY, TRAIN_METRICS
from mnist12k.paths import store_root
from mnist12k.restore import in_dvc

# The DVC extension of VS Code reads plots and metrics again when this file of DVCLive changes.
SIGNAL = ".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED"


@contextmanager
def shown_live(completed: Sequence[Epoch]) -> Iterator[Callable[[Epoch], None]]:
    """Yield a function that adds an epoch to what is shown; if the block fails, nothing stays.

    Outside DVC, which has removed the previous training's files, it writes nothing.
    """
    if not in_dvc("train"):
        yield lambda _: None
        return
    epochs = [*completed]

    def show(epoch: Epoch) -> None:
        epochs[epoch.epoch - 1 :] = [epoch]  # a training may start over
        with contextlib.suppress(OSError):
            write_history(epochs)
            write_text(store_root() / SIGNAL, str(epoch.epoch))

    try:
        if completed:
            show(completed[-1])
        yield show
    except BaseException:
        HISTORY.unlink(missing_ok=True)
        TRAIN_METRICS.unlink(missing_ok=True)
        raise


def write_history(epochs: Sequence[Epoch]) -> None:
    """Write one row per epoch, and the last epoch's validation accuracy as DVC's metric."""
    write_table(HISTORY, pd.DataFrame(epochs))
    accuracy = epochs[-1].validation_accuracy
    write_json(TRAIN_METRICS, {} if accuracy is None else {"validation_accuracy": accuracy})
