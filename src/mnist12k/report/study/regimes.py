"""The regimes of the hill: ranges of learning rates with one behaviour."""

from typing import NamedTuple

from mnist12k.backprop.hill import RATES, Hill
from mnist12k.outputs import HillEdges


class Regime(NamedTuple):
    """What gradient descent does at learning rates from `start` to `end`."""

    start: float
    end: float
    name: str


def regimes(hill: Hill | HillEdges) -> list[Regime]:
    """Return the regimes of the sweep by rate, without those that this hill does not have."""
    starts = [
        (float(RATES[0]), "up to the fastest rate"),
        (hill.fastest, "overshoots"),
        (hill.largest_never_rising, "loss rises, then settles where it is flatter"),
        (hill.saturation, "saturates first"),
    ]
    found = sorted((start, name) for start, name in starts if start is not None)
    ends = [start for start, _ in found[1:]] + [float(RATES[-1])]
    return [Regime(start, end, name) for (start, name), end in zip(found, ends, strict=True)]
