"""What the pictures of a search have in common: a colour per case, axes of losses, legends."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from mnist12k.search.space import Cases, Choices, Space

# Okabe and Ito's colours for the colour-blind, without black and yellow.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
LOSS = "mean validation loss"
MARKERS = "os^DvP<"  # one more than colours, so that the pairs repeat late
OTHER = "0.5"  # the colour of trials that have none of the cases
EVERY_TRIAL = "every complete trial"


class Group(NamedTuple):
    """Trials that are drawn alike: those of one case of the space's first Cases dimension."""

    name: str
    colour: str
    marker: str
    trials: pd.DataFrame


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the complete trials whose loss is finite."""
    losses = pd.to_numeric(trials["validation_loss"])
    rows = trials[(trials["state"] == "complete") & np.isfinite(losses.astype(float))]
    return rows.astype({"trial": int, "validation_loss": float})


def with_value(trials: pd.DataFrame, name: str, value: object) -> pd.DataFrame:
    """Return the trials whose hyperparameter has this value; None is an empty cell."""
    column = trials[name]
    if value is None:
        return trials[column.isna()]
    # As text too: beside a word, a table's numbers are words.
    return trials[(column == value) | (column.astype(str) == str(value))]


def cases_dimension(space: Space) -> str | None:
    """Return the name of the space's first Cases dimension, which colours mean."""
    return next((name for name, each in space.items() if isinstance(each, Cases)), None)


def groups(trials: pd.DataFrame, space: Space) -> Iterator[Group]:
    """Yield the trials by case, in the space's order, which fixes the colours.

    Cases without trials are left out. Trials without a case come last, and trials of a space
    without cases are one group.
    """
    name = cases_dimension(space)
    if name is None or name not in trials:
        yield Group(EVERY_TRIAL, PALETTE[0], MARKERS[0], trials)
        return
    dimension = space[name]
    assert isinstance(dimension, Cases)
    rest = trials
    for value, colour, marker in zip(
        values_of(dimension), cycle(PALETTE), cycle(MARKERS), strict=False
    ):
        rows = with_value(trials, name, value)
        rest = rest.drop(rows.index)
        if len(rows):
            yield Group(str(value), colour, marker, rows)
    if len(rest):
        yield Group(f"another {name}", OTHER, "X", rest)


def values_of(dimension: Cases | Choices) -> Sequence[Any]:
    """Return the values of a dimension of cases or choices, in the space's order."""
    return list(dimension.spaces) if isinstance(dimension, Cases) else list(dimension.values)


def scale_losses(axes: Axes, name: Literal["x", "y"], losses: Sequence[float]) -> None:
    """Make the axis of losses logarithmic if they span a decade."""
    low, high = min(losses), max(losses)
    if 0 < 10 * low <= high:
        scale_log(axes, name, low, high)


def scale_log(axes: Axes, name: Literal["x", "y"], low: float, high: float) -> None:
    """Make an axis logarithmic, with plain numbers: 0.1, 0.2, 0.5, 1."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def whole_numbers(axis: Axis) -> None:
    """Put an axis's ticks on whole numbers."""
    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """Make the figure higher for a legend under its axes, as wide as its longest label allows."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(int(figure.get_figwidth() * 11) // (longest + 8), len(handles)))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.22 * rows + 0.1)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def dots(axes: Axes, group: Group, x: Any, y: Any, size: float) -> Line2D:
    """Draw one dot per trial of a group, and return them; `size` is in points."""
    (line,) = axes.plot(
        x,
        y,
        group.marker,
        color=group.colour,
        label=group.name,
        markersize=size,
        markeredgewidth=0,
        alpha=0.75,
    )
    return line


def dot_size(trials: pd.DataFrame) -> float:
    """Return the size of a trial's dot, in points."""
    return 6 if len(trials) < 100 else 4
