"""The exponential moving average of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Weights = list[Tensor]


def weights_of(network: nn.Module) -> Weights:
    """Return the network's own parameters and batch-norm statistics, all float."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]


@torch.no_grad()
def update(average: Weights, weights: Weights, fraction: float | Tensor) -> None:
    """Move `average`, in place, that far towards `weights`; a fraction of 1 is a copy."""
    if isinstance(fraction, Tensor):
        torch._foreach_lerp_(average, weights, [fraction] * len(weights))
    else:
        torch._foreach_lerp_(average, weights, fraction)


def share(decay: float, step: int) -> float:
    """Return how far the average moves after `step` steps (from 0): 1 - decay, early on further.

    Or the first weights would weigh too much: at most (1 + step) / (10 + step) of it stays.
    """
    return 1 - min(decay, (1 + step) / (10 + step))


@contextmanager
def in_place_of(weights: Weights, average: Weights) -> Iterator[None]:
    """Let the network compute with `average` instead of its own weights while the block runs."""
    own = [value.clone() for value in weights]
    put(average, weights)
    try:
        yield
    finally:
        put(own, weights)


@torch.no_grad()
def put(values: Weights, weights: Weights) -> None:
    """Copy `values` into a network's weights."""
    torch._foreach_copy_(weights, values)
