"""Pictures of what the network gets wrong."""

from pathlib import Path

import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from mnist12k.report.figure import new_figure, save

MISTAKES = 20  # as many as fit a page and stay readable


def confusion_matrix(labels: Tensor, predictions: Tensor) -> Tensor:
    """Return counts of shape (10, 10), int64: a row a true digit, a column a predicted one."""
    return torch.bincount(labels * 10 + predictions, minlength=100).view(10, 10)


def draw_confusion(matrix: Tensor, path: Path) -> None:
    """Draw the counts, coloured on a logarithmic scale so that single mistakes show."""
    figure, (axes,) = new_figure(width=6.5, height=6)
    axes.grid(visible=False)
    shown = matrix.numpy().astype(float)
    axes.imshow(shown.clip(min=0.5), cmap="Blues", norm=LogNorm(vmin=0.5))
    middle = shown.max() ** 0.6
    for digit, row in enumerate(matrix.tolist()):
        for predicted, count in enumerate(row):
            if count:
                colour = "white" if count > middle else "black"
                axes.text(predicted, digit, str(count), ha="center", va="center", color=colour)
    axes.set(xticks=range(10), yticks=range(10), xlabel="predicted", ylabel="true")
    wrong = int(matrix.sum() - matrix.diagonal().sum())
    axes.set_title(f"{int(matrix.sum()):,} test images, {wrong} wrong")
    save(figure, path)


def draw_mistakes(
    images: Tensor, labels: Tensor, predictions: Tensor, probabilities: Tensor, path: Path
) -> None:
    """Draw the wrongly read digits of which the network was surest, the surest first."""
    wrong = (predictions != labels).nonzero().squeeze(1)
    surest = wrong[probabilities[wrong].argsort(descending=True, stable=True)][:MISTAKES]
    figure = Figure(figsize=(8, 7), layout="constrained")
    figure.suptitle(f"{len(wrong)} mistakes; the {len(surest)} of which the network is surest")
    for axes, index in zip(figure.subplots(4, 5).flat, surest.tolist(), strict=False):
        axes.imshow(images[index].numpy(), cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(
            f"{int(labels[index])} read as {int(predictions[index])}, "
            f"{float(probabilities[index]):.0%}\n# {index}",
            fontsize=8,
        )
    for axes in figure.axes:
        axes.axis("off")
    save(figure, path)
