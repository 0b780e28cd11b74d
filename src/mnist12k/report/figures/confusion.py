"""The confusion matrix, and the most confident mistakes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from mnist12k.report.figures.style import new_figure, save

MISTAKES = 20  # as many as stay readable in one figure


def confusion_matrix(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return int counts by class, one row per label and one column per prediction.

    `predictions` has the columns label and prediction, each the index of a class.
    """
    counts = pd.crosstab(predictions["label"], predictions["prediction"])
    every = range(len(classes))
    counts = counts.reindex(index=every, columns=every, fill_value=0)
    names = pd.Index(list(classes))
    return counts.set_axis(names, axis=0).set_axis(names, axis=1)


def draw_confusion(matrix: pd.DataFrame, path: Path) -> None:
    """Draw the counts, coloured on a logarithmic scale so that single mistakes are visible."""
    classes = len(matrix)
    size = max(6, 0.42 * classes)
    figure, (axes,) = new_figure(width=size + 0.5, height=size)
    axes.grid(visible=False)
    counts = matrix.to_numpy()
    axes.imshow(counts.clip(min=0.5), cmap="Blues", norm=LogNorm(vmin=0.5))
    middle = counts.max() ** 0.6
    for (label, prediction), count in np.ndenumerate(counts):
        if count:
            colour = "white" if count > middle else "black"
            axes.text(prediction, label, str(count), ha="center", va="center", color=colour)
    axes.set(xlabel="prediction", ylabel="label")
    turned = max(map(len, matrix.columns)) > 3  # characters
    axes.set_xticks(range(classes), matrix.columns, rotation=90 if turned else 0)
    axes.set_yticks(range(classes), matrix.index)
    wrong = counts.sum() - counts.trace()
    axes.set_title(f"{counts.sum():,} test images, {wrong:,} misclassified")
    save(figure, path)


def draw_mistakes(
    images: Tensor, predictions: pd.DataFrame, classes: Sequence[str], path: Path
) -> None:
    """Draw the misclassified images with the highest predicted probability, highest first.

    `images` is uint8 as in `Digits`, on the CPU; `predictions` has one row per image:
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
        image = images[index] if images.dim() == 3 else images[index].permute(1, 2, 0)
        axes.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=255)  # of colour, the colours
        verdict = f"{classes[label]} read as {classes[prediction]}"
        axes.set_title(f"{verdict}, {probability:.0%}\n# {index}", fontsize=8)
    for axes in figure.axes:
        axes.axis("off")
    save(figure, path)
