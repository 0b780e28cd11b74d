"""The picture of a training."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator, PercentFormatter

from mnist12k.cnn.history import Epoch
from mnist12k.report.figure import new_figure, save


def draw_curves(history: Sequence[Epoch], path: Path) -> None:
    """Draw loss and error, each on the training and the validation images, after each epoch."""
    figure, (losses, errors) = new_figure(columns=2, width=10)
    epochs = [epoch.epoch for epoch in history]
    losses.plot(epochs, [epoch.train_loss for epoch in history], label="training, augmented")
    errors.plot(
        epochs, [1 - epoch.train_accuracy for epoch in history], label="training, augmented"
    )
    measured = [epoch for epoch in history if epoch.validation_accuracy is not None]
    if measured:
        epochs = [epoch.epoch for epoch in measured]
        validation_errors = [1 - (epoch.validation_accuracy or 0) for epoch in measured]
        losses.plot(epochs, [epoch.validation_loss or 0 for epoch in measured], label="validation")
        errors.plot(epochs, validation_errors, label="validation")
    losses.set(xlabel="epoch", ylabel="loss (negative log-likelihood)", yscale="log")
    errors.set(xlabel="epoch", ylabel="wrong answers", yscale="log")
    errors.yaxis.set_major_formatter(PercentFormatter(1))
    errors.yaxis.set_minor_formatter(PercentFormatter(1))
    for axes in (losses, errors):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    save(figure, path)
