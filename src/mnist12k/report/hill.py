"""The whole hill of learning rates: its picture, and what one may conclude from it."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from mnist12k.backprop.hill import (
    FLAT_SLOPE,
    PATIENCE,
    RATES,
    SETTLED,
    TARGET_LOSS,
    Hill,
    Sweep,
)
from mnist12k.report.figure import new_figure, save


def draw_hill(swept: Sweep, hill: Hill, iterations: int, largest_rate: float, path: Path) -> None:
    """Draw updates needed, final loss and stability against the learning rate, regimes named.

    `largest_rate` is the largest whose curve the study draws: where its own view ends.
    """
    figure, (needed, final, stable) = new_figure(width=9, height=9, rows=3)
    rates = swept.learning_rate
    needed.loglog(rates, swept.updates_needed, ".", markersize=3)
    needed.set(ylim=(0.7, PATIENCE), ylabel=f"updates until loss < {TARGET_LOSS:g}")
    # Once float64 holds no difference to the targets the loss is 0, which has no logarithm.
    final.loglog(rates, swept.loss_after_study.clip(min=1e-33), ".", markersize=3)
    final.set(ylabel=f"loss after {iterations} updates")
    stable.loglog(rates, swept.stable_below, ".", markersize=3, label="at the minimum found")
    stable.loglog(rates, rates, "--", color="#555555", linewidth=1, label="learning rate = 2/λmax")
    stable.set(ylabel="2 / λmax of the Hessian", xlabel="learning rate")
    figure.suptitle("The whole hill: what becomes of the 2-2-2 network at each learning rate")
    for axes in (needed, final, stable):
        _shade_regimes(axes, hill, named=axes is needed)
        axes.axvline(largest_rate, color="black", linestyle=":", label="largest of the curves")
    stable.legend(loc="upper left")
    save(figure, path)


def _shade_regimes(axes: Axes, hill: Hill, named: bool) -> None:
    starts = [
        (float(RATES[0]), "#e3f1e3", "the larger, the faster"),
        (hill.fastest, "#fdf3dc", "overshoots"),
        (hill.largest_never_rising, "#fbe3e0", "rises at first, then\nsettles where it is flatter"),
        (hill.saturation, "#e2e2e2", "saturates\n\n"),
    ]
    regimes = sorted((start, colour, name) for start, colour, name in starts if start is not None)
    ends = [start for start, *_ in regimes[1:]] + [float(RATES[-1])]
    axes.set_xlim(RATES[0], RATES[-1])
    for (start, colour, name), end in zip(regimes, ends, strict=True):
        axes.axvspan(start, end, color=colour, zorder=0)
        if named:
            middle = (start * end) ** 0.5
            axes.text(middle, PATIENCE, name, ha="center", va="bottom", fontsize=8)


def conclusions(swept: Sweep, hill: Hill, iterations: int) -> str:
    """Say in one paragraph of Markdown what the sweep shows, and what it does not show."""
    said = [
        f"{len(RATES)} rates from {RATES[0]:g} to {RATES[-1]:g} took {PATIENCE:,} updates each.",
        _on_speed(swept, hill),
        _on_rises(swept, hill),
        _on_the_hessian(swept, hill),
        _on_saturation(swept, hill, iterations),
        "All of this holds from these weights; others stand on another hill.",
    ]
    return " ".join(said)


def _on_speed(swept: Sweep, hill: Hill) -> str:
    if hill.fastest is None:
        return f"None of them brings the loss below {TARGET_LOSS:g}."
    needed = np.nan_to_num(swept.updates_needed, nan=np.inf)[swept.learning_rate <= hill.fastest]
    always = bool((needed[1:] <= needed[:-1]).all())
    enough = "1 update is" if hill.fastest_updates == 1 else f"{hill.fastest_updates} updates are"
    return (
        f"**{'Larger is faster up to' if always else 'The fastest rate is'} {hill.fastest:.6g}**, "
        f"where {enough} enough for a loss below {TARGET_LOSS:g}; any rate from "
        f"{hill.fastest_from:.4g} to {hill.fastest_to:.4g} needs as few."
    )


def _on_rises(swept: Sweep, hill: Hill) -> str:
    if hill.first_step_edge is None:
        first = "The first update lowers the loss at every rate."
    else:
        first = f"**At {hill.first_step_edge:.6g} the first update stops lowering the loss.**"
    if hill.largest_never_rising is None:
        return f"{first} At the largest rate no update ever raises it."
    below = swept.learning_rate <= hill.largest_never_rising
    but = int(swept.rises[below].sum())
    return (
        f"{first} **The largest rate at which no update ever raises it is "
        f"{hill.largest_never_rising:.6g}**, and {but or 'none'} of the smaller ones does."
    )


def _on_the_hessian(swept: Sweep, hill: Hill) -> str:
    if hill.stable_below is None:
        return f"None settles (at a loss below {SETTLED:g}), so there is no minimum to look at."
    edge = ""
    if hill.first_step_edge is not None:
        edge = f"; the first update's edge lies {hill.first_step_edge / hill.stable_below:.3f} "
        edge += "times as far out"
    settled = ~np.isnan(swept.stable_below)
    beyond = int((settled & (swept.learning_rate > hill.stable_below)).sum())
    kept = int((swept.learning_rate < swept.stable_below).sum())
    return (
        "Around a minimum, descent is stable at rates below 2/λmax of the Hessian there. At the "
        f"minimum that small rates find this is **{hill.stable_below:.6g}**{edge}. Minima are not "
        "a point here, but a surface (two equations, eight weights) on which λmax varies: "
        f"{settled.sum()} rates settle (at a loss below {SETTLED:g}), {beyond} of them beyond "
        f"{hill.stable_below:.6g}, and at {kept} of their minima 2/λmax is above the rate. Descent "
        "leaves a minimum that is too sharp for its rate, and stays at one that is not."
    )


def _on_saturation(swept: Sweep, hill: Hill, iterations: int) -> str:
    if hill.saturation is None:
        return f"After {iterations} updates the largest rate does not leave the outputs saturated."
    stuck = swept.learning_rate > hill.saturation
    out = int((swept.updates_needed[stuck] > iterations).sum())
    later = f" Patience moves that edge: {out} of these {stuck.sum()} rates get below "
    later += f"{TARGET_LOSS:g} later on."
    return (
        f"**Past {hill.saturation:.6g} the outputs saturate and nothing is learnt**: after "
        f"{iterations} updates both sigmoids' slopes are below {FLAT_SLOPE:g}, and the loss, "
        f"{swept.loss_after_1[0]:.4g} at the smallest rate, is "
        f"{swept.loss_after_study[-1]:.4g} at the largest." + (later if out else "")
    )
