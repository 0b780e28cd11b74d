"""The test accuracies of many seeds."""

from pathlib import Path

import pandas as pd
from matplotlib.ticker import PercentFormatter

from mnist12k.report.figures.style import new_figure, save


def draw_seeds(results: pd.DataFrame, path: Path) -> None:
    """Draw one column per network and recipe, one dot per training, and a line at the mean.

    `results` has the columns network, recipe and test_accuracy; equal accuracies are drawn side by
    side.
    """
    figure, (axes,) = new_figure()
    names = []
    groups = results.groupby(["network", "recipe"], sort=False)
    for column, ((network, recipe), group) in enumerate(groups):
        accuracies = group["test_accuracy"].astype(float)
        rank = accuracies.groupby(accuracies).cumcount()  # 0, 1, 2, ... among equal ones
        offset = 0.06 * ((rank + 1) // 2) * (-1) ** rank  # to the left and right in turn
        axes.plot(column + offset, accuracies, "o", alpha=0.6)
        mean = accuracies.mean()
        axes.hlines(mean, column - 0.35, column + 0.35, color="black", linewidth=1)
        axes.annotate(f"{mean:.3%}", (column + 0.37, mean), verticalalignment="center")
        names.append(f"{network}\nby {recipe}\n{len(group)} seeds")
    axes.set_xticks(range(len(names)), names)
    axes.set(xlim=(-0.6, len(names) - 0.2), ylabel="test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    axes.set_title("Test accuracy by network and recipe: one dot per seed, a line at the mean")
    save(figure, path)
