"""The evaluated weights after every epoch of a training, kept beside its checkpoint."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mnist12k.cnn.checkpoint import Checkpoint, State
from mnist12k.cnn.ema import Weights
from mnist12k.files import atomic_write

Rows = list[NDArray[np.float16]]


class CheckpointOfAllEpochs(Checkpoint):
    """A checkpoint, and in `training.npy` beside it the averaged weights after every epoch so far.

    If that file lacks an epoch of the checkpoint, both are of no use, and the training starts over.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        super().__init__(path, fingerprint)
        self.file = path.with_suffix(".npy")
        self.rows: Rows = []
        if self.state is not None:
            try:
                self.rows = self._read_rows(self.state)
            except Exception as error:  # a damaged file leads numpy to any of them
                self.set_aside(error)

    def save(self, state: State) -> None:
        """Add the epoch and replace both files; the weights first, so that they lack no epoch."""
        self.rows[len(state["history"]) - 1 :] = [flat(state["average"])]
        write_rows(self.file, self.rows)
        super().save(state)

    def remove(self) -> None:
        """Delete both files, once the training is complete."""
        super().remove()
        self.file.unlink(missing_ok=True)

    def _read_rows(self, state: State) -> Rows:
        count = len(state["history"])
        rows = np.load(self.file, allow_pickle=False)[:count]
        if len(rows) < count or not np.array_equal(rows[-1], flat(state["average"])):
            raise ValueError(f"{self.file.name} has not the weights of its epochs")
        return [*rows]


def flat(weights: Weights) -> NDArray[np.float16]:
    """Return all values in one row; those beyond float16's 65,504 are infinite."""
    values = torch.cat([value.detach().cpu().contiguous().flatten() for value in weights])
    return values.half().numpy().astype("<f2")


def write_rows(path: Path, rows: Rows) -> None:
    """Write the weights after every epoch: float16 of shape (epochs, values)."""
    with atomic_write(path) as temporary:
        np.save(temporary, np.stack(rows), allow_pickle=False)
