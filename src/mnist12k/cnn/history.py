"""The records that a training leaves: of every epoch, and of every step."""

from typing import NamedTuple

from torch import Tensor


class Epoch(NamedTuple):
    """One epoch's record; accuracies in [0, 1], losses per image, validation None without one.

    `learning_rate` is the last step's. The training figures are of the augmented images, as they
    came, each before the update that it brought.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


class Step(NamedTuple):
    """One update's record: its number within the epoch from 1, and the batch's mean loss."""

    epoch: int
    step: int
    learning_rate: float
    loss: Tensor
