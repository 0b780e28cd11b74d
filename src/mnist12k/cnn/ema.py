"""The exponential moving average (EMA) of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Weights = list[Tensor]


def averaged_tensors(network: nn.Module) -> Weights:
    """Return the network's parameters and batch-norm statistics themselves, all float."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]


@torch.no_grad()
def update(average: Weights, weights: Weights, fraction: float | Tensor) -> None:
    """Move `average`, in place, by that fraction towards `weights`; 1 copies them."""
    if isinstance(fraction, Tensor):
        torch._foreach_lerp_(average, weights, [fraction] * len(weights))
    else:
        torch._foreach_lerp_(average, weights, fraction)


def update_fraction(decay: float, step: int) -> float:
    """Return the fraction of the update after `step` steps (from 0): 1 - decay, larger at first.

    At most (1 + step) / (10 + step) of the average is kept, so that the first weights fade.
    """
    return 1 - min(decay, (1 + step) / (10 + step))


@contextmanager
def swapped_in(average: Weights, weights: Weights) -> Iterator[None]:
    """Make the network compute with `average` instead of its weights within the block."""
    trained = [value.clone() for value in weights]
    copy(average, weights)
    try:
        yield
    finally:
        copy(trained, weights)


@torch.no_grad()
def copy(values: Weights, weights: Weights) -> None:
    """Copy `values` into a network's weights."""
    torch._foreach_copy_(weights, values)
