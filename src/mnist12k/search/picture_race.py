"""The picture of the finalists' race, and of the verdict on its winner."""

from collections import Counter

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist12k.report.figures.style import new_figure
from mnist12k.search.intervals import mean_with_interval
from mnist12k.search.picture_style import (
    EVERY_TRIAL,
    LOSS,
    Group,
    complete,
    groups,
    legend_below,
    scale_losses,
    whole_numbers,
)
from mnist12k.search.race import RACE, START, VERDICT
from mnist12k.search.space import Space

LINES = ("-", "--", ":", "-.")  # of finalists of the same case


def running_means(finalists: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each finalist's mean loss after each round of the race, by round from 1.

    Finalists of more rounds come first, then those of lower means. A training that diverged has no
    row, and its round no mean.
    """
    race = finalists[finalists["round"] == RACE].sort_values("seed")
    rounds = {seed: i for i, seed in enumerate(race["seed"].unique(), start=1)}
    means = {
        str(name): rows.set_index(rows["seed"].map(rounds))["validation_loss"].expanding().mean()
        for name, rows in race.groupby("trial")
    }
    return dict(sorted(means.items(), key=lambda item: (-item[1].index[-1], item[1].iloc[-1])))


def paired_differences(finalists: pd.DataFrame) -> pd.Series:
    """Return the challenger's loss minus the recipe's by seed of the verdict.

    The series has the challenger's name; it is empty before a verdict.
    """
    verdict = finalists[finalists["round"] == VERDICT]
    losses = verdict.pivot_table(index="seed", columns="trial", values="validation_loss")
    challengers = [str(name) for name in losses if name != START]
    if not challengers or START not in losses:
        return pd.Series(dtype=float)
    return pd.Series(losses[challengers[0]] - losses[START], name=challengers[0]).dropna()


def draw_race(trials: pd.DataFrame, finalists: pd.DataFrame, space: Space) -> Figure | None:
    """Draw the finalists' running means and, in a second panel, the verdict's differences."""
    means = running_means(finalists)
    differences = paired_differences(finalists)
    if len(means) < 2:
        return None
    columns = 1 if differences.empty else 2
    figure, grid = new_figure(columns=columns, width=4 + 3 * columns, height=4.2)
    handles = draw_means(grid[0], means, groups_of(trials, space))
    if len(differences):
        handles += draw_differences(grid[1], differences)
    legend_below(figure, handles)
    return figure


def groups_of(trials: pd.DataFrame, space: Space) -> dict[str, Group]:
    """Return the group of each complete trial, by its number as a text."""
    return {
        str(number): group
        for group in groups(complete(trials), space)
        for number in group.trials["trial"]
    }


def draw_means(axes: Axes, means: dict[str, pd.Series], by_trial: dict[str, Group]) -> list[Artist]:
    """Draw a line per finalist, with a cross where it was dropped; return the lines."""
    last = max(mean.index[-1] for mean in means.values())
    drawn: Counter[str] = Counter()
    lines: list[Artist] = []
    for name, mean in means.items():
        label, colour, marker = "the recipe", "black", "*"
        if name != START:
            case, colour, marker, _ = by_trial[name]
            label = f"trial {name}, {case}" if case != EVERY_TRIAL else f"trial {name}"
        if dropped := mean.index[-1] < last:
            label += f", dropped after {mean.index[-1]}"
        style = LINES[drawn[colour] % len(LINES)]
        drawn[colour] += 1
        lines += axes.plot(
            mean.index, mean, style, color=colour, marker=marker, markersize=5, label=label
        )
        if dropped:
            axes.plot(mean.index[-1], mean.iloc[-1], "x", color=colour, markersize=13, mew=2)
    axes.set(xlabel="seeds of the race", ylabel=f"{LOSS} so far")
    axes.set_title("Race: a cross where a finalist was dropped", loc="left")
    whole_numbers(axes.xaxis)
    scale_losses(axes, "y", [loss for mean in means.values() for loss in mean])
    return lines


def draw_differences(axes: Axes, differences: pd.Series) -> list[Artist]:
    """Draw one dot per seed, and the mean with its 95 % interval (Student's t) if there are two.

    Returns what belongs into the legend.
    """
    axes.axhline(0, color="black", linewidth=1)
    mean, count = differences.mean(), len(differences)
    axes.plot(range(1, count + 1), differences, "o", color="black", markersize=5)
    line = axes.axhline(mean, color="black", linestyle=(0, (1, 1)), label="mean difference")
    handles: list[Artist] = [line]
    title = f"Verdict: {mean:.5f} ({count} {'seed' if count == 1 else 'seeds'})"
    if count >= 2:
        _, low, high = mean_with_interval(differences.tolist())
        label = "its 95 % interval"
        handles += [axes.axhspan(low, high, color="0.5", alpha=0.25, linewidth=0, label=label)]
        title += f"\n95 % interval {low:.5f} to {high:.5f}"
    axes.set_title(title.replace("-", "−"), loc="left")
    axes.set_xlim(0.5, count + 0.5)
    axes.set_xlabel("seeds of the verdict")
    axes.set_ylabel(f"difference in validation loss\n(below 0: trial {differences.name} is better)")
    whole_numbers(axes.xaxis)
    return handles
