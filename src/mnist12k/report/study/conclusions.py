"""What the sweep over learning rates shows, in words."""

import numpy as np

from mnist12k.backprop.hill import FLAT_SLOPE, PATIENCE, RATES, SETTLED, TARGET_LOSS, Hill, Sweep


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
        saturated = rates > hill.saturation
        end = (
            f"**Above {hill.saturation:.6g} the outputs saturate**: after {iterations} updates the "
            f"slopes of both sigmoids are below {FLAT_SLOPE:g}, and the loss, {start:.4g} at the "
            f"start, is {swept.loss_after_study[-1]:.4g} at the largest rate."
        )
        if later := (swept.updates_needed[saturated] > iterations).sum():
            end += (
                f" With more updates, {later} of these {saturated.sum()} rates still get below "
                f"{TARGET_LOSS:g}."
            )
    return (
        f"Each of {len(RATES)} learning rates from {RATES[0]:g} to {RATES[-1]:g} was run for "
        f"{PATIENCE:,} updates. {speed} {first} {rises} {_stability(swept, hill)} {end} "
        "These results hold for these initial weights; others lead to other values."
    )


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
