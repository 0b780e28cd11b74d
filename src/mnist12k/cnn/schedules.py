"""Learning rates as plain functions of the step, counted from 0 over the whole training."""

import math

from mnist12k.cnn.settings import Recipe

# One cycle starts this far below its highest rate, and ends this far below its start (torch's).
ONE_CYCLE_START = 25
ONE_CYCLE_END = 1e4


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of `step` under the recipe's schedule."""
    highest, steps = recipe.learning_rate, recipe.epochs * steps_per_epoch
    match recipe.schedule:
        case "step":
            assert recipe.step_size is not None
            assert recipe.gamma is not None
            return steps_down(step, highest, recipe.step_size * steps_per_epoch, recipe.gamma)
        case "one_cycle":
            assert recipe.warm_up is not None
            return one_cycle(step, highest, steps, recipe.warm_up)
        case "cosine":
            return cosine(step, highest, steps, recipe.final_fraction)
        case "linear":
            return linear(step, highest, steps)


def steps_down(step: int, highest: float, size: int, gamma: float) -> float:
    """Return `highest`, multiplied by `gamma` after every `size` steps."""
    return highest * gamma ** (step // size)


def linear(step: int, highest: float, steps: int) -> float:
    """Fall from `highest` along a straight line that reaches 0 at `steps`."""
    return highest * (1 - step / steps)


def cosine(step: int, highest: float, steps: int, final_fraction: float) -> float:
    """Fall along half a cosine that reaches `final_fraction * highest` at `steps`.

    Loshchilov and Hutter, 2017 (SGDR).
    """
    return _between(highest, final_fraction * highest, step / steps)


def one_cycle(step: int, highest: float, steps: int, warm_up: float) -> float:
    """Rise to `highest` and fall again, both along half a cosine (Smith and Topin, 2018).

    The peak is at step `warm_up * steps - 1`, the end at `steps - 1`, as in torch's OneCycleLR.
    """
    start = highest / ONE_CYCLE_START
    peak, last = max(warm_up * steps - 1, 0), steps - 1
    if step <= peak:
        return _between(start, highest, step / peak if peak else 1)
    return _between(highest, start / ONE_CYCLE_END, (step - peak) / (last - peak))


def _between(begin: float, end: float, fraction: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * fraction)) / 2
