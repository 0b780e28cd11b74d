"""Scales of accuracies on the page; positions are percentages of the width."""

import math
from typing import NamedTuple

from mnist12k.report.page.render import percent


class LinearScale(NamedTuple):
    """A scale from one accuracy to another."""

    low: float
    high: float

    def position(self, accuracy: float) -> float:
        """Return where an accuracy lies."""
        return round((accuracy - self.low) / (self.high - self.low) * 100, 3)

    def ticks(self) -> list[tuple[str, float]]:
        """Return the ends' texts and positions."""
        return [(percent(self.low, 1), 0.0), (percent(self.high, 1), 100.0)]


class NinesScale(NamedTuple):
    """A scale on which 0, 90, 99, 99.9 % ... are evenly spaced; 100 % follows the last of them."""

    nines: int

    def position(self, accuracy: float) -> float:
        """Return where an accuracy lies; those between the last tick and 100 % are at 100 %."""
        count = -math.log10(1 - accuracy) if accuracy < 1 else math.inf
        return round(min(count, self.nines + 1) / (self.nines + 1) * 100, 3)

    def ticks(self) -> list[tuple[str, float]]:
        """Return the texts and positions of 0, 90, 99 % ... and 100 %."""
        values = [1 - 10.0**-count for count in range(self.nines + 1)]
        texts = [f"{round(value * 100, 10):g}\N{NO-BREAK SPACE}%" for value in [*values, 1.0]]
        return list(zip(texts, map(self.position, [*values, 1.0]), strict=True))
