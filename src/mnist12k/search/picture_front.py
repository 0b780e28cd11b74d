"""The picture of a search with two objectives."""

import pandas as pd
from matplotlib.figure import Figure

from mnist12k.report.figures.style import new_figure
from mnist12k.search.objectives import ON_FRONT
from mnist12k.search.picture_style import LOSS, OTHER, PALETTE, scale_losses


def draw_front(trials: pd.DataFrame) -> Figure | None:
    """Draw every trial of objectives.front_table, and the front as steps; None without two."""
    if len(trials) < 2:
        return None
    second = str(trials.columns[2])
    figure, (axes,) = new_figure(height=4.2)
    axes.plot(trials[second], trials["validation_loss"], "o", color=OTHER, label="every trial")
    front = trials[trials[ON_FRONT]]
    axes.plot(
        *(front[second], front["validation_loss"]),
        *("o-",),
        drawstyle="steps-post",
        color=PALETTE[0],
        label="Pareto front",
    )
    scale_losses(axes, "y", trials["validation_loss"].tolist())
    axes.set(xlabel=second, ylabel=LOSS)
    axes.legend()
    return figure
