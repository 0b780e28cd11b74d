"""The learning curves of a training."""

from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mnist12k.report.figures.style import new_figure, save


def draw_curves(history: pd.DataFrame, path: Path) -> None:
    """Draw loss and error rate per epoch, on the training images and on the hold-out set.

    `history` has the fields of cnn.history.Epoch; validation is NaN without a hold-out set.
    """
    figure, (losses, errors) = new_figure(columns=2, width=10)
    for part, label in (("train", "training, augmented"), ("validation", "validation")):
        measured = history.dropna(subset=f"{part}_accuracy")
        if len(measured):
            losses.plot(measured["epoch"], measured[f"{part}_loss"], label=label)
            errors.plot(measured["epoch"], 1 - measured[f"{part}_accuracy"], label=label)
    losses.set(xlabel="epoch", ylabel="loss (negative log-likelihood)", yscale="log")
    errors.set(xlabel="epoch", ylabel="error rate", yscale="log")
    errors.yaxis.set_major_formatter(PercentFormatter(1))
    errors.yaxis.set_minor_formatter(PercentFormatter(1))
    for axes in (losses, errors):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    save(figure, path)
