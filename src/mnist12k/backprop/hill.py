"""The hill of learning rates: from those that barely learn to those that saturate.

501 rates, 100 per decade, descend side by side. Where the behaviour changes between two
neighbours, the edge is narrowed down to a relative 1e-12. Two edges within 2.3 %, the grid's step,
can be missed.
"""

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist12k.backprop.autograd import sharpness
from mnist12k.backprop.network import Array, Forward
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import descent, loss_curves

RATES = np.geomspace(0.01, 1000, 501)
PATIENCE = 10_000  # updates per rate of the sweep
TARGET_LOSS = 1e-4
SETTLED = 1e-20  # below this loss the descent has reached a minimum
ROUNDING = 1e-28  # a loss below this is rounding error
FLAT_SLOPE = 1e-3  # of a sigmoid, a (1 - a): 0.25 in the middle, 0 at both ends

Mask = NDArray[np.bool_]


class Sweep(NamedTuple):
    """The outcome at each rate; every field of shape (rates,), NaN where it does not exist."""

    learning_rate: Array
    loss_after_1: Array
    loss_after_study: Array  # after the study's number of updates
    updates_needed: Array  # the first iteration with E_total < TARGET_LOSS
    rises: Mask  # whether any update raised the loss by more than rounding
    saturated: Mask  # whether both outputs' slopes are flat after the study's updates
    stable_below: Array  # 2 / lambda_max of the Hessian at the minimum found


class Hill(NamedTuple):
    """The learning rates at which the behaviour changes; None where the sweep has no such rate.

    first_step_edge: the smallest rate whose first update does not lower the loss.
    fastest, fastest_updates: fewest updates to E_total < TARGET_LOSS; of all rates that need as
        few, from fastest_from to fastest_to, the one with the lowest loss at that point.
    largest_never_rising: the largest rate at which no update raises the loss.
    saturation: the rate above which both outputs are flat after the study's updates.
    stable_below: 2 / lambda_max at the minimum reached by the smallest settled rate, which is
        closest to that of an infinitely small rate.
    """

    first_step_edge: float | None
    fastest: float | None
    fastest_from: float | None
    fastest_to: float | None
    fastest_updates: int | None
    largest_never_rising: float | None
    saturation: float | None
    stable_below: float | None


def sweep(network: SmallNetwork, iterations: int) -> Sweep:
    """Descend at all of RATES; `iterations` is the study's number of updates, at most PATIENCE."""
    updates_needed = np.full(len(RATES), np.nan)
    rises = np.zeros(len(RATES), dtype=bool)
    losses = np.full(len(RATES), np.inf)
    for iteration, step in enumerate(islice(descent(network, RATES), PATIENCE + 1)):
        before, losses = losses, step.passed.E_total
        rises |= _rises(before, losses)
        updates_needed[np.isnan(updates_needed) & (losses < TARGET_LOSS)] = iteration
        if iteration == 1:
            loss_after_1 = losses
        if iteration == iterations:
            loss_after_study, saturated = losses, _saturated(step.passed)
    settled = losses < SETTLED
    stable_below = np.full(len(RATES), np.nan)
    stable_below[settled] = 2 / sharpness(network, step.weights[:, settled])
    return Sweep(
        RATES, loss_after_1, loss_after_study, updates_needed, rises, saturated, stable_below
    )


def find_hill(network: SmallNetwork, iterations: int, swept: Sweep) -> Hill:
    """Narrow down the edges in the sweep; `iterations` is the study's number of updates."""
    start = loss_curves(network, [1.0], 0)[0, 0]

    def first_step_lowers(rates: Array) -> Mask:
        return np.asarray(loss_curves(network, rates.tolist(), 1)[1] < start)

    def never_rises(rates: Array) -> Mask:
        return ~_ever_rises(network, rates)

    def learns(rates: Array) -> Mask:
        return ~_saturated(next(islice(descent(network, rates), iterations, None)).passed)

    settled = np.flatnonzero(~np.isnan(swept.stable_below))
    fastest, fastest_from, fastest_to, fastest_updates = _fastest(network, swept)
    return Hill(
        first_step_edge=_first_end(first_step_lowers, swept.loss_after_1 < start),
        fastest=fastest,
        fastest_from=fastest_from,
        fastest_to=fastest_to,
        fastest_updates=fastest_updates,
        largest_never_rising=_last_end(never_rises, ~swept.rises),
        saturation=_last_end(learns, ~swept.saturated),
        stable_below=float(swept.stable_below[settled[0]]) if settled.size else None,
    )


def _fastest(
    network: SmallNetwork, swept: Sweep
) -> tuple[float, float, float, int] | tuple[None, None, None, None]:
    if np.isnan(swept.updates_needed).all():
        return None, None, None, None
    fewest = int(np.nanmin(swept.updates_needed))

    def losses_then(rates: Array) -> Array:
        return np.asarray(loss_curves(network, rates.tolist(), fewest)[fewest])

    def fast_enough(rates: Array) -> Mask:
        return np.asarray(losses_then(rates) < TARGET_LOSS)

    fast = swept.updates_needed == fewest
    best = int(np.argmin(np.where(fast, losses_then(RATES), np.inf)))
    slow = np.flatnonzero(~fast)
    below, above = slow[slow < best], slow[slow > best]
    low = _narrow(fast_enough, RATES[below[-1] + 1], RATES[below[-1]]) if below.size else RATES[0]
    high = _narrow(fast_enough, RATES[above[0] - 1], RATES[above[0]]) if above.size else RATES[-1]
    left, right = RATES[max(best - 1, 0)], RATES[min(best + 1, len(RATES) - 1)]
    while right - left > 1e-8 * left:  # a minimum is flat: it is known to half the digits
        rates = np.linspace(left, right, 17)
        best = int(np.argmin(losses_then(rates)))
        left, right = rates[max(best - 1, 0)], rates[min(best + 1, 16)]
    return float(min(max((left + right) / 2, low), high)), float(low), float(high), fewest


def _first_end(holds: Callable[[Array], Mask], swept: Mask) -> float | None:
    """Return the largest rate before `holds` first fails."""
    fails = np.flatnonzero(~swept)
    if not fails.size or fails[0] == 0:
        return None
    return _narrow(holds, RATES[fails[0] - 1], RATES[fails[0]])


def _last_end(holds: Callable[[Array], Mask], swept: Mask) -> float | None:
    """Return the rate above which `holds` is false everywhere."""
    good = np.flatnonzero(swept)
    if not good.size or good[-1] == len(RATES) - 1:
        return None
    return _narrow(holds, RATES[good[-1]], RATES[good[-1] + 1])


def _narrow(holds: Callable[[Array], Mask], good: float, bad: float) -> float:
    """Return the last rate at which `holds`, between a good one and a bad one."""
    while abs(bad - good) > 1e-12 * good:
        rates = np.linspace(good, bad, 17)
        first_bad = int(np.argmin(np.append(holds(rates[:-1]), False)))
        good, bad = rates[first_bad - 1], rates[first_bad]
    return float(good)


def _ever_rises(network: SmallNetwork, rates: Array) -> Mask:
    """Return which rates raise the loss within PATIENCE updates, before it is rounding error."""
    rises = np.zeros(len(rates), dtype=bool)
    losses = np.full(len(rates), np.inf)
    for step in islice(descent(network, rates), PATIENCE + 1):
        before, losses = losses, step.passed.E_total
        rises |= _rises(before, losses)
        if (rises | (losses < ROUNDING)).all():
            break
    return rises


def _rises(before: Array, after: Array) -> Mask:
    return np.asarray(after > before * (1 + 1e-12) + ROUNDING)


def _saturated(passed: Forward) -> Mask:
    slopes = [a * (1 - a) for a in (passed.a_o1, passed.a_o2)]
    return np.asarray(np.maximum(*slopes) < FLAT_SLOPE)
