"""What a training records: of every epoch, and of every step."""

from typing import NamedTuple

from torch import Tensor


class Epoch(NamedTuple):
    """One epoch; accuracies in [0, 1], losses per image, validation None without a hold-out set.

    `learning_rate` is the last step's. The training figures are of the augmented images, each
    measured before the update that it contributes to.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


class Step(NamedTuple):
    """One update: its number within the epoch, from 1, and the batch's mean loss."""

    epoch: int
    step: int
    learning_rate: float
    loss: Tensor
