"""The pictures of a search, drawn from its tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mnist12k.report.figures.style import new_figure, save
from mnist12k.search.intervals import mean_with_interval
from mnist12k.search.lowess import lowess
from mnist12k.search.picture_pruning import draw_pruning
from mnist12k.search.picture_race import draw_race
from mnist12k.search.picture_style import (
    LOSS,
    OTHER,
    complete,
    dot_size,
    dots,
    groups,
    legend_below,
    scale_log,
    scale_losses,
    values_of,
    with_value,
)
from mnist12k.search.race import RACE
from mnist12k.search.space import Range, Space

COLUMNS = 3  # panels side by side
SMOOTHED = 10  # values of a hyperparameter for a smoothed curve


def draw_search(
    trials: pd.DataFrame,
    epochs: pd.DataFrame,
    finalists: pd.DataFrame,
    space: Space,
    folder: Path,
) -> None:
    """Write by_choice, by_range, race and pruning as PNG, each if there is something to show.

    `trials` and `epochs` are those of outputs.read_trials and read_trial_epochs. `finalists` has
    one row per training: trial ("start" for the recipe), seed, round ("race" or "verdict"),
    validation_loss, validation_accuracy. Nothing is drawn for fewer than two complete trials.
    """
    if len(complete(trials)) < 2:
        return
    pictures = {
        "by_choice": draw_by_choice(trials, finalists, space),
        "by_range": draw_by_range(trials, space),
        "race": draw_race(trials, finalists, space),
        "pruning": draw_pruning(trials, epochs, space),
    }
    for name, figure in pictures.items():
        if figure is not None:
            save(figure, folder / f"{name}.png")


def draw_by_choice(trials: pd.DataFrame, finalists: pd.DataFrame, space: Space) -> Figure | None:
    """Draw the losses by case or choice, one panel per dimension.

    The best trial of each is marked, with its mean and 95 % interval over the seeds of the race.
    """
    dimensions = {
        name: values_of(dimension)
        for name, dimension in space.items()
        if not isinstance(dimension, Range) and name in trials
    }
    if not dimensions:
        return None
    shown, pruned = complete(trials), trials[trials["state"] == "pruned"]
    heights = [0.6 * len(values) + 0.5 for values in dimensions.values()]
    figure, grid = new_figure(rows=len(heights), width=8, height=sum(heights) + 0.6)
    figure.axes[0].get_gridspec().set_height_ratios(heights)  # type: ignore[union-attr]
    grid[0].xaxis.set_major_locator(MaxNLocator(6))
    text = "a complete trial, later ones lower"
    legend: dict[str, Any] = {
        text: Line2D([], [], color=OTHER, marker="o", linestyle="", label=text)
    }
    # From the first trial at the top of a band to the last at its bottom.
    places = dict(zip(trials["trial"], np.linspace(-0.3, 0.15, len(trials)), strict=True))
    for axes, (name, values) in zip(grid, dimensions.items(), strict=True):
        labels = []
        for row, value in enumerate(values):
            rows = with_value(shown, name, value)
            counts = f"{len(rows)} complete, {len(with_value(pruned, name, value))} pruned"
            word = value if isinstance(value, str) else json.dumps(value)  # true, as in YAML
            labels.append(f"{word}\n{counts}")
            for group in groups(rows, space):
                y = row + group.trials["trial"].map(places)
                dots(axes, group, group.trials["validation_loss"], y, dot_size(shown))
            if len(rows):
                best = rows.sort_values("validation_loss").iloc[0]
                marks = mark_best(axes, best, row + places[best["trial"]])
                race = finalists[finalists["round"] == RACE]
                seeds = race.loc[race["trial"] == str(best["trial"]), "validation_loss"]
                if len(seeds) >= 2:
                    marks += draw_interval(axes, seeds, row + 0.35)
                legend |= {mark.get_label(): mark for mark in marks}
        axes.set_yticks(range(len(values)), labels)
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_title(name, loc="left")
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.08)
    scale_losses(grid[0], "x", list(shown["validation_loss"]))
    grid[-1].set_xlabel(LOSS)
    legend_below(figure, list(legend.values()))
    return figure


def mark_best(axes: Axes, best: pd.Series, y: float) -> list[Any]:
    """Draw a ring around a trial, with its number to the left."""
    loss = best["validation_loss"]
    label = "the best trial, with its number"
    ring = axes.plot(loss, y, "o", color="black", fillstyle="none", markersize=11, label=label)
    axes.annotate(
        str(best["trial"]),
        (loss, y),
        xytext=(-9, 0),
        textcoords="offset points",
        horizontalalignment="right",
        verticalalignment="center",
    )
    return ring


def draw_interval(axes: Axes, losses: pd.Series, y: float) -> list[Any]:
    """Draw the mean of several losses and its 95 % interval."""
    mean, low, high = mean_with_interval(losses.tolist())
    label = "its mean and 95 % interval over the seeds of the race"
    ends = [[mean - low], [high - mean]]
    bar = axes.errorbar(
        mean, y, xerr=ends, fmt="D", color="black", markersize=4, capsize=3, label=label
    )
    return [bar]


def draw_by_range(trials: pd.DataFrame, space: Space) -> Figure | None:
    """Draw the losses against each range, one panel per range, with a smoothed curve."""
    shown = complete(trials)
    ranges = {
        name: dimension
        for name, dimension in space.items()
        if isinstance(dimension, Range) and name in trials and shown[name].notna().any()
    }
    if not ranges:
        return None
    columns = min(len(ranges), COLUMNS)
    rows = -(-len(ranges) // columns)
    figure = Figure(figsize=(4 + 2.2 * columns, 3.3 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    handles: dict[str, Line2D] = {}
    for axes, (name, dimension) in zip(grid, ranges.items(), strict=False):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        for group in groups(shown, space):
            numbers = pd.to_numeric(group.trials[name])
            y = group.trials["validation_loss"]
            handles[group.name] = dots(axes, group, numbers, y, dot_size(shown))
        if dimension.log:
            scale_log(axes, "x", dimension.low, dimension.high)
        known = shown[shown[name].notna()]
        if known[name].nunique() >= SMOOTHED:
            curve = smoothed(known[name], known["validation_loss"], dimension)
            (handles["smoothed"],) = axes.plot(*curve, color="black", label="smoothed (LOWESS)")
        axes.set_xlabel(name)
    for axes in grid[len(ranges) :]:
        axes.remove()
    for axes in grid[::columns]:
        axes.set_ylabel(LOSS)
    scale_losses(grid[0], "y", list(shown["validation_loss"]))
    legend_below(figure, list(handles.values()))
    return figure


def smoothed(
    numbers: pd.Series, losses: pd.Series, dimension: Range
) -> tuple[np.ndarray, np.ndarray]:
    """Return the different numbers, sorted, and the losses smoothed along the range's scale."""
    scale = np.log if dimension.log else np.asarray
    x = numbers.to_numpy(float)
    different = np.unique(x)
    return different, lowess(scale(x), losses.to_numpy(float), scale(different))
