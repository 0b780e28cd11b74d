"""The picture of many trainings."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from mnist12k.report.figure import new_figure, save


def draw_seeds(accuracies: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw a dot a training in a column a recipe, equal ones side by side, and a line a mean."""
    figure, (axes,) = new_figure()
    for column, values in enumerate(accuracies.values()):
        places = []
        for index, value in enumerate(values):
            earlier = values[:index].count(value)  # 0, 1, 2, ... to the left and right in turn
            places.append(column + 0.06 * ((earlier + 1) // 2) * (-1) ** earlier)
        axes.plot(places, values, "o", alpha=0.6)
        mean = statistics.mean(values)
        axes.hlines(mean, column - 0.35, column + 0.35, color="black", linewidth=1)
        axes.annotate(f"{mean:.3%}", (column + 0.37, mean), verticalalignment="center")
    axes.set_xticks(
        range(len(accuracies)),
        [f"{name}\n{len(values)} seeds" for name, values in accuracies.items()],
    )
    axes.set(xlim=(-0.6, len(accuracies) - 0.2), ylabel="test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    axes.set_title("Each dot a training from a seed of its own; the line their mean")
    save(figure, path)
