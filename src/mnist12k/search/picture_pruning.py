"""What pruning would cost: epochs saved against the order of the final losses."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import pearsonr, rankdata

from mnist12k.report.figures.style import new_figure
from mnist12k.search.picture_style import (
    EVERY_TRIAL,
    Group,
    cases_dimension,
    complete,
    groups,
    legend_below,
)
from mnist12k.search.space import Space

COLUMNS = ["group", "epoch", "epochs_saved", "trials", "correlation", "low", "high"]
RANKED = 4  # trials, at least: Fisher's interval needs them
EPOCH_LABELS = 20  # there is room for


def rank_correlations(trials: pd.DataFrame, epochs: pd.DataFrame, space: Space) -> pd.DataFrame:
    """Return how well the loss after each epoch before the last ranks the final losses.

    One row per group (every complete trial, then each case of the space's first Cases dimension)
    and epoch: group, epoch, epochs_saved (the fraction saved by stopping there), trials,
    correlation (Spearman's), low and high (its 95 % interval by Fisher's transformation). Only
    trials that train longer count. Groups of fewer than four are left out.
    """
    losses = epochs.astype({"validation_loss": float}).pivot_table(
        index="trial", columns="epoch", values="validation_loss"
    )  # the mean over the seeds of a trial
    rows = []
    for group in ranked_groups(trials, space):
        final = group.trials.set_index("trial")["validation_loss"]
        after = losses.reindex(final.index)
        lengths = after.notna().mul(after.columns).max(axis="columns")
        for epoch in losses.columns:
            longer = lengths.index[lengths > epoch]
            pairs = after.loc[longer, epoch], final[longer]
            if len(longer) < RANKED or any(losses.max() == losses.min() for losses in pairs):
                continue
            spearman = pearsonr(*map(rankdata, pairs))
            saved = 1 - int(epoch) / lengths[longer].mean()
            low, high = spearman.confidence_interval()
            rows.append((group.name, epoch, saved, len(longer), spearman.statistic, low, high))
    return pd.DataFrame(rows, columns=COLUMNS)


def ranked_groups(trials: pd.DataFrame, space: Space) -> list[Group]:
    """Return all complete trials as a group, then those by case."""
    shown = complete(trials)
    by_case = list(groups(shown, space)) if cases_dimension(space) else []
    return [Group(EVERY_TRIAL, "black", "*", shown), *by_case]


def draw_pruning(trials: pd.DataFrame, epochs: pd.DataFrame, space: Space) -> Figure | None:
    """Draw `rank_correlations`, one line per group, with the interval of every trial's."""
    table = rank_correlations(trials, epochs, space)
    if table.empty:
        return None
    figure, (axes,) = new_figure(width=8, height=4.4)
    handles = []
    for group in ranked_groups(trials, space):
        rows = table[table["group"] == group.name]
        if rows.empty:
            continue
        handles += axes.plot(
            rows["epochs_saved"],
            rows["correlation"],
            color=group.colour,
            marker=group.marker,
            label=f"{group.name} (n = {rows['trials'].max()})",
        )
    every = table[table["group"] == EVERY_TRIAL]
    band = axes.fill_between(
        every["epochs_saved"],
        every["low"],
        every["high"],
        color="0.5",
        alpha=0.2,
        linewidth=0,
        label=f"95 % interval, {EVERY_TRIAL}",
    )
    axes.set(xlabel="epochs saved", ylabel="Spearman's rank correlation\nwith the final loss")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if pruned := (trials["state"] == "pruned").sum():
        text = f"Complete trials only: {pruned} of {len(trials)} were pruned"
        axes.set_title(text, loc="left")
    label_epochs(axes, table)
    legend_below(figure, [*handles, band])
    return figure


def label_epochs(axes: Axes, table: pd.DataFrame) -> None:
    """Write the epochs along the top, unless trainings of several lengths save different parts."""
    saved = table.drop_duplicates(["epoch", "epochs_saved"]).set_index("epoch")["epochs_saved"]
    if saved.index.is_unique:
        shown = saved[:: -(-len(saved) // EPOCH_LABELS)]
        top = axes.secondary_xaxis("top")
        top.set_xticks(shown.to_list(), shown.index.astype(str).to_list())
        top.set_xlabel("stopped after epoch")
