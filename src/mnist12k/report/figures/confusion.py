"""The confusion matrix, and the most confident mistakes."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from mnist12k.report.figures.style import new_figure, save

MISTAKES = 20  # as many as stay readable in one figure


def confusion_matrix(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return 10x10 int counts, one row per label and one column per prediction.

    `predictions` has the columns label and prediction, each a digit from 0 to 9.
    """
    counts = pd.crosstab(predictions["label"], predictions["prediction"])
    return counts.reindex(index=range(10), columns=range(10), fill_value=0)


def draw_confusion(matrix: pd.DataFrame, path: Path) -> None:
    """Draw the counts, coloured on a logarithmic scale so that single mistakes are visible."""
    figure, (axes,) = new_figure(width=6.5, height=6)
    axes.grid(visible=False)
    counts = matrix.to_numpy()
    axes.imshow(counts.clip(min=0.5), cmap="Blues", norm=LogNorm(vmin=0.5))
    middle = counts.max() ** 0.6
    for (label, prediction), count in np.ndenumerate(counts):
        if count:
            colour = "white" if count > middle else "black"
            axes.text(prediction, label, str(count), ha="center", va="center", color=colour)
    axes.set(xticks=range(10), yticks=range(10), xlabel="prediction", ylabel="label")
    wrong = counts.sum() - counts.trace()
    axes.set_title(f"{counts.sum():,} test images, {wrong:,} misclassified")
    save(figure, path)


def draw_mistakes(images: Tensor, predictions: pd.DataFrame, path: Path) -> None:
    """Draw the misclassified digits with the highest predicted probability, highest first.

    `images` is uint8 of shape (n, 28, 28), on the CPU; `predictions` has one row per image:
    index, label, prediction, probability.
    """
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    drawn = wrong.sort_values("probability", ascending=False, kind="stable").head(MISTAKES)
    figure = Figure(figsize=(8, 7), layout="constrained")
    title = f"The {len(drawn)} most confident of {len(wrong)} mistakes"
    figure.suptitle(title if len(wrong) else "No mistakes")
    grid = figure.subplots(4, 5).flat
    rows = drawn[["index", "label", "prediction", "probability"]].itertuples(index=False)
    for axes, (index, label, prediction, probability) in zip(grid, rows, strict=False):
        axes.imshow(images[index].numpy(), cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(f"{label} read as {prediction}, {probability:.0%}\n# {index}", fontsize=8)
    for axes in figure.axes:
        axes.axis("off")
    save(figure, path)
