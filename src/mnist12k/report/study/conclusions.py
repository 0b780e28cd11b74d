"""What the sweep over learning rates shows, in words."""

import numpy as np

from mnist12k.backprop.hill import FLAT_SLOPE, PATIENCE, RATES, SETTLED, TARGET_LOSS, Hill, Sweep
from mnist12k.backprop.network import Array


def conclusions(start: float, swept: Sweep, hill: Hill, iterations: int) -> str:
    """Return one paragraph of Markdown; `start` is the loss before the first update."""
    rates = swept.learning_rate
    speed = f"None of them brings the loss below {TARGET_LOSS:g}."
    first = "The first update lowers the loss at every rate."
    rises = "At the largest rate no update raises the loss."
    end = f"After {iterations} updates the largest rate does not leave the outputs saturated."
    if hill.fastest is not None:
        needed = np.nan_to_num(swept.updates_needed, nan=np.inf)[rates <= hill.fastest]
        monotonic = (needed[1:] <= needed[:-1]).all()
        updates = "1 update" if hill.fastest_updates == 1 else f"{hill.fastest_updates} updates"
        speed = (
            f"**{'Larger is faster up to' if monotonic else 'The fastest rate is'} "
            f"{hill.fastest:.6g}**, which needs {updates} to a loss below {TARGET_LOSS:g}; all "
            f"rates from {hill.fastest_from:.4g} to {hill.fastest_to:.4g} need as few."
        )
    if hill.first_step_edge is not None:
        first = f"**At {hill.first_step_edge:.6g} the first update stops lowering the loss.**"
    if hill.largest_never_rising is not None:
        rising = swept.rises[rates <= hill.largest_never_rising].sum()
        rises = (
            "**The largest rate at which no update raises the loss is "
            f"{hill.largest_never_rising:.6g}**; of the smaller rates, {rising or 'none'} "
            f"{'have' if rising > 1 else 'has'} an update that does."
        )
    if hill.saturation is not None:
        end = (
            f"**Above {hill.saturation:.6g} the outputs saturate**: after {iterations} updates the "
            f"slopes of both sigmoids are below {FLAT_SLOPE:g}, and the loss, {start:.4g} at the "
            f"start, is {swept.loss_after_study[-1]:.4g} at the largest rate. "
            f"{beyond_saturation(rates, swept.updates_needed, hill.saturation)}"
        )
    return (
        f"Each of {len(RATES)} learning rates from {RATES[0]:g} to {RATES[-1]:g} was run for "
        f"{PATIENCE:,} updates. {speed} {first} {rises} {_stability(swept, hill)} {end} "
        "These results hold for these initial weights; others lead to other values."
    )


def beyond_saturation(rates: Array, updates_needed: Array, saturation: float) -> str:
    """Say what becomes of the rates above `saturation`; NaN in `updates_needed` is never."""
    beyond = updates_needed[rates > saturation]
    needed = beyond[~np.isnan(beyond)]
    if not len(beyond):
        return "No rate of the sweep is larger."
    larger = f"the {_counted(len(beyond), 'larger rate')} of the sweep"
    if not len(needed):
        return f"None of {larger} reaches a loss below {TARGET_LOSS:g}."
    which = "all" if len(needed) == len(beyond) else str(len(needed))
    span = f"{needed.min():,.0f}" + (f" to {needed.max():,.0f}" if len(needed) > 1 else "")
    return (
        f"That is a delay, not an end: {which} of {larger} still reach a loss below "
        f"{TARGET_LOSS:g}, after {span} updates."
    )


def without_target(updates_needed: Array) -> str:
    """Say how many rates of the sweep never reach the target loss."""
    never = int(np.isnan(updates_needed).sum())
    if not never:
        return f"Every rate gets there within {PATIENCE:,} updates."
    return (
        f"{_counted(never, 'rate')} did not get there within {PATIENCE:,} updates and left a gap."
    )


def below_limit(rates: Array, stable_below: Array) -> str:
    """Say how many rates settle, and how many of them are below the limit at their minimum."""
    settled = int((~np.isnan(stable_below)).sum())
    if not settled:
        return "No rate of the sweep settles at a minimum."
    stable = int((rates < stable_below).sum())
    return (
        f"{settled} of {len(rates)} rates settle at a minimum, "
        f"{'all' if stable == settled else stable} of them at one that is flat enough for them."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _stability(swept: Sweep, hill: Hill) -> str:
    if hill.stable_below is None:
        return f"No rate settles (at a loss below {SETTLED:g}), so there is no minimum to analyse."
    edge = ""
    if hill.first_step_edge is not None:
        ratio = hill.first_step_edge / hill.stable_below
        edge = f"; the first update stops lowering the loss at {ratio:.3f} times that rate"
    settled = ~np.isnan(swept.stable_below)
    beyond = (settled & (swept.learning_rate > hill.stable_below)).sum()
    stable = (swept.learning_rate < swept.stable_below).sum()
    return (
        "Around a minimum, gradient descent is stable at rates below 2/λmax, where λmax is the "
        "largest eigenvalue of the Hessian. At the minimum that small rates reach, this limit is "
        f"**{hill.stable_below:.6g}**{edge}. The minima form a surface (two equations in eight "
        f"weights) on which λmax varies: {settled.sum()} rates settle (at a loss below "
        f"{SETTLED:g}), {beyond} of them above {hill.stable_below:.6g}, and {stable} of them are "
        "below the limit at the minimum that they reach. Descent leaves a minimum that is too "
        "sharp for its rate, and stays at a flatter one."
    )
